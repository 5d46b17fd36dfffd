// Questions to the router and the prompts that are followed, over one child that may die at any moment. Whatever is open is
// said to the next router under the same name, and followed prompts are recalled: nothing is done or told twice.

import { randomUUID } from "node:crypto";
import { aborted, Failed, Late, Refused } from "./failures.js";
import { Requests } from "./requests.js";
import { RouterProcess } from "./router-process.js";
import { Position, Turns } from "./turns.js";

/** So many prompts may be followed at once, be it by calls or by sessions that are to be woken. */
const MOST_FOLLOWED = 1_000;
/** What acts and is not answered in time is still said to a router that comes back within so long. */
const KEPT = 600_000;

/** @typedef {import("./requests.js").Event} Event */
/**
 * @template T
 * @typedef {import("./requests.js").Question<T>} Question
 */

/** One prompt's turns, for everybody who follows them. */
export class Followed {
  turns = new Turns();
  /** All that was until now has been told. */
  toldAll = false;
  /** @type {Error | undefined} */
  trouble;
  isRecalled = false;
  followers = 0;
  /** @type {Set<() => void>} who hears of ends, questions and trouble */
  listeners = new Set();
  /** @type {Set<() => void>} who hears of whatever goes on */
  watchers = new Set();

  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  notify() {
    for (const listener of [...this.listeners, ...this.watchers]) listener();
  }
}

export class RouterClient {
  #requests = new Requests();
  #process;
  #log;
  #names = `openclaw-${randomUUID()}`;
  #named = 0;
  /** @type {Map<string, Followed>} */
  #followed = new Map();
  /** @type {Map<string, Followed>} by injection */
  #injections = new Map();
  /** @type {Map<string, Promise<unknown>>} the last recall of each prompt: one at a time */
  #recalls = new Map();
  /** @type {Set<(event: Event) => void>} */
  #listeners = new Set();
  /** @type {Error | undefined} */
  #closed;

  /**
   * @param {[program: string, words: string[]]} command
   * @param {(words: string) => void} log
   * @param {{ up?: () => void, down?: (why: string) => void }} [health]
   */
  constructor(command, log, health = {}) {
    this.#log = log;
    const hearer = {
      up: () => {
        this.#up();
        health.up?.();
      },
      line: (/** @type {string} */ line) => this.#line(line),
      down: (/** @type {string} */ why, /** @type {boolean} */ forGood) => {
        if (forGood) this.#requests.fail(new Failed(why));
        health.down?.(why);
      },
    };
    this.#process = new RouterProcess(command, hearer, log);
  }

  start() {
    if (!this.#closed) this.#process.start();
  }

  get pid() {
    return this.#process.pid;
  }

  get open() {
    return { requests: this.#requests.size, followed: this.#followed.size };
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
    for (const followed of this.#followed.values()) followed.notify();
  }

  /**
   * A question that only looks, under a name of its own.
   * @template T
   * @param {Question<T>} question
   * @param {Waiting} waiting
   * @returns {Promise<T>}
   */
  async look(question, waiting) {
    this.#named += 1;
    const id = `${this.#names}-${this.#named}`;
    const answer = this.#open(id, question);
    try {
      return await within(answer, waiting);
    } finally {
      this.#requests.drop(id);
    }
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
    return within(heard.then(() => answer), waiting);
  }

  /**
   * Follows the prompts of a request until `release` is called with what is returned.
   * @param {string} name the request
   * @returns {Followed}
   */
  follow(name) {
    let followed = this.#followed.get(name);
    if (!followed) {
      if (this.#followed.size >= MOST_FOLLOWED)
        throw new Failed("too many prompts are followed already; codeswarm_output reads an answer without following it");
      followed = new Followed(name);
      this.#followed.set(name, followed);
    }
    if (!followed.toldAll) this.#recall(followed);
    followed.followers += 1;
    return followed;
  }

  /** @param {Followed} followed */
  unfollow(followed) {
    followed.followers -= 1;
    if (followed.followers > 0) return;
    if (this.#followed.get(followed.name) === followed) this.#followed.delete(followed.name);
    for (const injection of followed.turns.injections)
      if (this.#injections.get(injection) === followed) this.#injections.delete(injection);
  }

  /**
   * Waits until a followed prompt is as `enough` has it; `false` when the time is up before.
   * @param {Followed} followed
   * @param {(turns: Turns) => boolean} enough
   * @param {Waiting} waiting
   * @returns {Promise<boolean>}
   */
  async until(followed, enough, waiting) {
    const { promise, resolve, reject } = Promise.withResolvers();
    const look = () => {
      if (this.#closed) reject(this.#closed);
      else if (followed.trouble) reject(followed.trouble);
      else if (followed.toldAll && enough(followed.turns)) resolve(true);
    };
    followed.listeners.add(look);
    look();
    try {
      return await within(promise, waiting);
    } catch (error) {
      if (error instanceof Late) return false;
      throw error;
    } finally {
      followed.listeners.delete(look);
    }
  }

  /**
   * All that has come of a request so far, event by event from its start.
   * @param {string} name the request
   * @param {{ begin: () => void, recalled: (event: Event) => void, event: (event: Event) => void }} reader
   * @param {Waiting} waiting
   */
  read(name, reader, waiting) {
    /** @type {Map<string, Position>} */
    let injections = new Map();
    const listener = (/** @type {Event} */ event) => {
      if (injections.get(event.injection_id)?.passes(event)) reader.event(event);
    };
    const question = {
      command: { command: "recall", of: name },
      begin: () => {
        injections = new Map();
        reader.begin();
      },
      hear: (/** @type {Event} */ event) => {
        if (event.type === "recalled") {
          injections = new Map(event.injections.map((/** @type {any} */ one) => [one.injection_id, new Position()]));
          reader.recalled(event);
        }
        return event.type === "caught_up" ? { value: undefined } : undefined;
      },
    };
    return this.#inTurn(name, async () => {
      this.#listeners.add(listener);
      try {
        await this.look(question, waiting);
      } finally {
        this.#listeners.delete(listener);
      }
    });
  }

  /**
   * Hears every event that comes, until the returned function is called.
   * @param {(event: Event) => void} listener
   */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * @template T
   * @param {string} id
   * @param {Question<T>} question
   */
  #open(id, question) {
    if (this.#closed) return Promise.reject(this.#closed);
    this.#process.start();
    const { line, answer } = this.#requests.open(id, question);
    if (line !== undefined) this.#process.say(line);
    return answer;
  }

  /** @param {Followed} followed */
  #recall(followed) {
    if (followed.isRecalled) return;
    followed.isRecalled = true;
    followed.trouble = undefined;
    const question = {
      command: { command: "recall", of: followed.name },
      hear: (/** @type {Event} */ event) => {
        if (event.type === "recalled") {
          followed.turns.recalled(event);
          for (const injection of followed.turns.injections) this.#injections.set(injection, followed);
        }
        return event.type === "caught_up" ? { value: undefined } : undefined;
      },
    };
    this.#named += 1;
    const id = `${this.#names}-${this.#named}`;
    this.#inTurn(followed.name, () => this.#open(id, question)).then(
      () => {
        followed.isRecalled = false;
        followed.toldAll = true;
        followed.notify();
      },
      (error) => {
        followed.isRecalled = false;
        followed.toldAll = false;
        followed.trouble = error;
        followed.notify();
      },
    );
  }

  /**
   * One recall of a prompt at a time, so that whoever reads hears all of it once.
   * @template T
   * @param {string} name
   * @param {() => Promise<T>} recall
   * @returns {Promise<T>}
   */
  #inTurn(name, recall) {
    const before = this.#recalls.get(name) ?? Promise.resolve();
    const mine = before.catch(() => {}).then(recall);
    this.#recalls.set(name, mine);
    const done = () => {
      if (this.#recalls.get(name) === mine) this.#recalls.delete(name);
    };
    mine.then(done, done);
    return mine;
  }

  /** A router is there: it hears what is open, and what is followed from the start. */
  #up() {
    for (const line of this.#requests.again()) this.#process.say(line);
    for (const followed of this.#followed.values())
      if (!followed.toldAll || !followed.turns.isOver) this.#recall(followed);
  }

  /** @param {string} line */
  #line(line) {
    /** @type {Event} */
    let event;
    try {
      event = JSON.parse(line);
    } catch {
      this.#log(`the router said what is no event: ${line.slice(0, 200)}`);
      return;
    }
    const followed = this.#injections.get(event.injection_id);
    const heard = followed?.turns.hear(event);
    if (followed?.toldAll) {
      if (heard === "news") followed.notify();
      else if (heard === "progress") for (const watcher of followed.watchers) watcher();
    }
    this.#requests.hear(event);
    for (const listener of this.#listeners) listener(event);
  }
}

/**
 * @typedef {object} Waiting
 * @property {number} ms how long at most
 * @property {string} [late] the sentence when that was too short
 * @property {AbortSignal} [signal] ends the waiting, never the work
 */

/**
 * @template T
 * @param {Promise<T>} answer
 * @param {Waiting} waiting
 * @returns {Promise<T>}
 */
async function within(answer, { ms, late, signal }) {
  const { promise, reject } = Promise.withResolvers();
  const timer = setTimeout(() => reject(new Late(late ?? "this takes longer; call again with the same arguments")), ms);
  const abort = () => reject(aborted(signal));
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  // Whichever comes second is heard by nobody.
  promise.catch(() => {});
  answer.catch(() => {});
  try {
    return await Promise.race([answer, promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/**
 * Whether the router does not know a request of this name.
 * @param {unknown} error
 */
export function isUnknownRequest(error) {
  return error instanceof Refused && error.code === "unknown_request";
}
