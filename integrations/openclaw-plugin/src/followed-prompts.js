// Prompts that are followed: what has become of their turns, for everybody who waits for it, over the deaths of routers. A
// prompt is recalled from each router anew, and what was heard before is passed over: nothing is lost or told twice.

import { Failed, Late } from "./failures.js";
import { Position, Turns } from "./turns.js";
import { within } from "./waiting.js";

/** So many prompts may be followed at once, be it by calls or by sessions that are to be woken. */
const MOST_FOLLOWED = 1_000;

/** @typedef {import("./requests.js").Event} Event */
/** @typedef {import("./waiting.js").Waiting} Waiting */

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

export class FollowedPrompts {
  #client;
  /** @type {Map<string, Followed>} */
  #followed = new Map();
  /** @type {Map<string, Followed>} by injection */
  #injections = new Map();
  /** @type {Map<string, Promise<unknown>>} the last recall of each prompt: one at a time */
  #recalls = new Map();

  /** @param {import("./router-client.js").RouterClient} client */
  constructor(client) {
    this.#client = client;
  }

  get size() {
    return this.#followed.size;
  }

  /** Everybody looks again. */
  notify() {
    for (const followed of this.#followed.values()) followed.notify();
  }

  /** Another router is there. */
  recallAll() {
    for (const followed of this.#followed.values())
      if (!followed.toldAll || !followed.turns.isOver) this.#recall(followed);
  }

  /** @param {Event} event */
  hear(event) {
    const followed = this.#injections.get(event.injection_id);
    const heard = followed?.turns.hear(event);
    if (!followed?.toldAll) return;
    if (heard === "news") followed.notify();
    else if (heard === "progress") for (const watcher of followed.watchers) watcher();
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
        throw new Failed(
          "too many prompts are followed already; codeswarm_output reads an answer without following it",
        );
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
      if (this.#client.closed) reject(this.#client.closed);
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
    const read = this.#inTurn(name, async () => {
      const stop = this.#client.listen(listener);
      try {
        await this.#client.look(question, waiting);
      } finally {
        stop();
      }
    });
    return within(read, waiting);
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
    this.#inTurn(followed.name, () => this.#client.ask(question)).then(
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
}
