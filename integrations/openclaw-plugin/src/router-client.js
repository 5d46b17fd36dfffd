// Questions to the router, over one child that may die at any moment. Whatever is open is said to the next router under the same
// name, so nothing is done twice.

import { randomUUID } from "node:crypto";
import { Failed, Refused } from "./failures.js";
import { FollowedPrompts } from "./followed-prompts.js";
import { Requests } from "./requests.js";
import { RouterProcess } from "./router-process.js";
import { within } from "./waiting.js";

/** What acts and is not answered in time is still said to a router that comes back within so long. */
const KEPT = 600_000;

/** @typedef {import("./requests.js").Event} Event */
/** @typedef {import("./waiting.js").Waiting} Waiting */
/**
 * @template T
 * @typedef {import("./requests.js").Question<T>} Question
 */

export class RouterClient {
  prompts = new FollowedPrompts(this);
  #requests = new Requests();
  #process;
  #log;
  #names = `openclaw-${randomUUID()}`;
  #named = 0;
  /** @type {Set<(event: Event) => void>} */
  #listeners = new Set();
  /** @type {Error | undefined} */
  #closed;
  /** @type {Error | undefined} why no router starts until somebody has done something */
  #broken;

  /**
   * @param {[program: string, words: string[]]} command
   * @param {(words: string) => void} log
   * @param {{ up?: () => void, down?: (why: string) => void }} [health]
   */
  constructor(command, log, health = {}) {
    this.#log = log;
    const hearer = {
      // What goes wrong here must not reach OpenClaw, whose process this is.
      up: this.#guarded(() => {
        this.#broken = undefined;
        this.#up();
        health.up?.();
      }),
      line: this.#guarded((/** @type {string} */ line) => this.#line(line)),
      down: this.#guarded((/** @type {string} */ why, /** @type {boolean} */ forGood) => {
        this.#broken = forGood ? new Failed(why) : undefined;
        if (this.#broken) this.#requests.fail(this.#broken);
        health.down?.(why);
      }),
    };
    this.#process = new RouterProcess(command, hearer, log);
  }

  start() {
    if (!this.#closed) this.#process.start();
  }

  get pid() {
    return this.#process.pid;
  }

  /** Why nothing is asked any more. */
  get closed() {
    return this.#closed;
  }

  get open() {
    return { requests: this.#requests.size, followed: this.prompts.size };
  }

  /** Ends everybody's waiting at once, and the router after its last answers. Swarms go on. */
  async close() {
    this.release(new Failed("OpenClaw ends the plugin; the swarm goes on, and the same call later tells the rest"));
    await this.#process.stop();
  }

  /** @param {Error} why nobody waits any longer */
  release(why) {
    this.#closed = why;
    this.#requests.fail(why);
    this.prompts.notify();
  }

  /**
   * A question that only looks, under a name of its own.
   * @template T
   * @param {Question<T>} question
   * @param {Waiting} waiting
   * @returns {Promise<T>}
   */
  async look(question, waiting) {
    const id = this.#newName();
    const answer = this.#open(id, question);
    try {
      return await within(answer, waiting);
    } finally {
      this.#requests.drop(id);
    }
  }

  /**
   * The same, for as long as it takes.
   * @template T
   * @param {Question<T>} question
   */
  ask(question) {
    return this.#open(this.#newName(), question);
  }

  /**
   * A command under the name that its asker chose. Nobody's waiting ends it: it stays open, and is said again, until it is
   * answered or ten minutes have passed.
   * @template T
   * @param {string} id
   * @param {Question<T>} question
   * @param {Waiting & { answered?: (answer: T) => void, refused?: () => void }} waiting `answered` and `refused` also hear what
   *   comes late
   * @returns {Promise<T>}
   */
  act(id, question, waiting) {
    const answer = this.#open(id, question);
    const kept = setTimeout(() => this.#requests.drop(id), KEPT);
    kept.unref();
    const heard = answer.then(
      (value) => waiting.answered?.(value),
      (error) => {
        if (error instanceof Refused) waiting.refused?.();
      },
    );
    heard.finally(() => clearTimeout(kept));
    return within(
      heard.then(() => answer),
      waiting,
    );
  }

  /**
   * Hears every event that comes, until the returned function is called.
   * @param {(event: Event) => void} listener
   */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #newName() {
    this.#named += 1;
    return `${this.#names}-${this.#named}`;
  }

  /**
   * @template T
   * @param {string} id
   * @param {Question<T>} question
   */
  #open(id, question) {
    if (this.#closed) return Promise.reject(this.#closed);
    this.#process.start();
    if (this.#broken && !this.#process.pid) return Promise.reject(this.#broken);
    const { line, answer } = this.#requests.open(id, question);
    if (line !== undefined) this.#process.say(line);
    return answer;
  }

  /**
   * @template {unknown[]} Words
   * @param {(...words: Words) => void} hear
   */
  #guarded(hear) {
    return (/** @type {Words} */ ...words) => {
      try {
        hear(...words);
      } catch (error) {
        this.#log(`what the router said was not understood: ${error}`);
      }
    };
  }

  /** A router is there: it hears what is open, and is asked about what is followed. */
  #up() {
    for (const line of this.#requests.again()) this.#process.say(line);
    this.prompts.recallAll();
  }

  /** @param {string} line */
  #line(line) {
    /** @type {Event} */
    const event = JSON.parse(line);
    this.prompts.hear(event);
    this.#requests.hear(event);
    for (const listener of this.#listeners) listener(event);
  }
}
