// What the plugin's parts share: the router, and whom to wake. One for the whole process, however often OpenClaw loads the
// plugin's modules.

import { aborted, Failed, isUnknownRequest } from "./failures.js";
import { RouterClient } from "./router-client.js";
import { routerCommand } from "./settings.js";
import { questionText, WakeBook, wakeText } from "./wake.js";

/** Questions of many nodes that come within so many milliseconds are one wake. */
const TOGETHER = 1_000;

/** @typedef {import("./wake.js").Session} Session */
/** @typedef {{ prompt: string, session_key: string, agent_id?: string }} Entry */
/**
 * @typedef {object} Waking
 * @property {WakeBook} book
 * @property {(entry: Entry, text: string) => void} wake
 */
/**
 * @typedef {object} Watched
 * @property {import("./followed-prompts.js").Followed} followed
 * @property {() => void} look
 * @property {Set<string>} toldQuestions
 * @property {NodeJS.Timeout | undefined} asking
 */

export class Swarms {
  client;
  #log;
  /** @type {Waking | undefined} */
  #waking;
  /** @type {Map<string, Watched>} */
  #watched = new Map();

  /**
   * @param {import("./settings.js").Settings} settings
   * @param {(words: string) => void} log
   */
  constructor(settings, log) {
    this.#log = log;
    this.client = new RouterClient(routerCommand(settings), log, {
      up: () => this.health?.clearFailure(),
      down: (why) => this.health?.reportFailure(new Error(why)),
    });
  }

  /** @type {{ reportFailure: (error: unknown) => void, clearFailure: () => void } | undefined} OpenClaw's record of the service */
  health;

  /** Whether a service of OpenClaw owns it; else a call alone has started it. */
  isServed = false;

  /**
   * A service owns it from now on.
   * @param {Waking | undefined} waking
   */
  serve(waking) {
    this.isServed = true;
    this.#waking = waking;
    this.client.start();
    for (const prompt of waking?.book.prompts ?? []) this.#watch(prompt);
  }

  async close() {
    for (const { asking } of this.#watched.values()) clearTimeout(asking);
    this.#watched.clear();
    await this.client.close();
  }

  /**
   * A session is about to ask for this prompt, and is told when it has ended. Written down before it is asked for, so that no
   * end of OpenClaw in between can lose it.
   * @param {string} prompt
   * @param {Session | undefined} session
   * @returns {{ asked: () => void, refused: () => void }} what to call when the router has taken or refused it
   */
  wakeFor(prompt, session) {
    const book = this.#waking?.book;
    const known = session && book ? book.ask(prompt, session) : "full";
    if (known === "full") return { asked: () => {}, refused: () => {} };
    return {
      asked: () => this.#watch(prompt),
      refused: () => {
        if (known === "new") book?.told(prompt, session?.sessionKey ?? "");
      },
    };
  }

  /**
   * Whether a session is woken when this prompt has ended.
   * @param {string} prompt
   * @param {Session | undefined} session
   */
  wakes(prompt, session) {
    return this.#watched.has(prompt) && (this.#waking?.book.has(prompt, session) ?? false);
  }

  /**
   * Waits for a prompt's turns, and lends what is known of them to `tell`.
   * @template T
   * @param {string} prompt
   * @param {Session | undefined} session who waits, and is not woken meanwhile
   * @param {(turns: import("./turns.js").Turns) => boolean} enough
   * @param {import("./waiting.js").Waiting & { past: number }} waiting `past`: how long what was may take to be told
   * @param {(turns: import("./turns.js").Turns) => T} tell
   * @param {(turns: import("./turns.js").Turns) => void} [progress]
   * @returns {Promise<T>}
   */
  async turns(prompt, session, enough, waiting, tell, progress) {
    const followed = this.client.prompts.follow(prompt);
    const release = this.#waking?.book.waits(prompt, session);
    const heard = () => progress?.(followed.turns);
    followed.watchers.add(heard);
    const { signal } = waiting;
    try {
      if (!(await this.client.prompts.until(followed, () => true, { ms: waiting.past, signal })))
        throw new Failed(waiting.late);
      await this.client.prompts.until(followed, enough, { ms: waiting.ms, signal });
      if (signal?.aborted) throw aborted(signal);
      const told = tell(followed.turns);
      if (followed.turns.isOver) this.#waking?.book.told(prompt, session?.sessionKey ?? "");
      for (const name of openQuestions(followed.turns)) this.#watched.get(prompt)?.toldQuestions.add(name);
      return told;
    } finally {
      followed.watchers.delete(heard);
      release?.();
      this.#watched.get(prompt)?.look();
      this.client.prompts.unfollow(followed);
    }
  }

  /** @param {string} prompt */
  #watch(prompt) {
    if (this.#watched.has(prompt)) return;
    let followed;
    try {
      followed = this.client.prompts.follow(prompt);
    } catch (error) {
      this.#log(`prompt ${prompt} will wake nobody: ${error}`);
      return;
    }
    const look = () => this.#look(prompt);
    /** @type {Watched} */
    const watched = { followed, look, toldQuestions: new Set(), asking: undefined };
    this.#watched.set(prompt, watched);
    followed.listeners.add(look);
    look();
  }

  /** @param {string} prompt */
  #look(prompt) {
    const watched = this.#watched.get(prompt);
    if (!watched || !this.#waking) return;
    const { followed } = watched;
    const { book } = this.#waking;
    if (isUnknownRequest(followed.trouble)) {
      for (const entry of book.toWake(prompt)) book.told(prompt, entry.session_key);
    } else if (followed.toldAll && followed.turns.isOver) {
      if (followed.turns.count > 0) this.#wake(prompt, wakeText(prompt, followed.turns));
      for (const entry of book.toWake(prompt)) book.told(prompt, entry.session_key);
    } else if (followed.toldAll) {
      this.#lookForQuestions(prompt, watched);
    }
    if (book.prompts.includes(prompt)) return;
    clearTimeout(watched.asking);
    followed.listeners.delete(watched.look);
    this.#watched.delete(prompt);
    this.client.prompts.unfollow(followed);
  }

  /** @param {string} prompt @param {Watched} watched */
  #lookForQuestions(prompt, watched) {
    const { followed, toldQuestions } = watched;
    const untold = () => openQuestions(followed.turns).filter((name) => !toldQuestions.has(name));
    if (watched.asking || untold().length === 0) return;
    watched.asking = setTimeout(() => {
      watched.asking = undefined;
      const names = new Set(untold());
      if (names.size === 0 || this.#waking?.book.toWake(prompt).length === 0) return;
      const asked = followed.turns.pending.filter((turn) => [...turn.questions.keys()].some((name) => names.has(name)));
      for (const name of names) toldQuestions.add(name);
      this.#wake(prompt, questionText(prompt, followed.turns, asked));
    }, TOGETHER);
    watched.asking.unref();
  }

  /** @param {string} prompt @param {string} text */
  #wake(prompt, text) {
    for (const entry of this.#waking?.book.toWake(prompt) ?? []) {
      try {
        this.#waking?.wake(entry, text);
      } catch (error) {
        this.#log(`session ${entry.session_key} could not be woken: ${error}`);
      }
    }
  }
}

/** @param {import("./turns.js").Turns} turns */
function openQuestions(turns) {
  return turns.pending.flatMap((turn) => [...turn.questions.keys()]);
}

/**
 * The one of this process. OpenClaw loads a plugin's modules several times, once to run its service and again for its tools, and
 * each time their variables are new; so it is kept beside them.
 * @returns {{ swarms?: Swarms, isStopped?: boolean }}
 */
export function shared() {
  const place = Symbol.for("codeswarm.openclaw-plugin.1");
  const globals = /** @type {Record<symbol, any>} */ (globalThis);
  return (globals[place] ??= {});
}

/**
 * For a call: the service's, or, where OpenClaw runs no services (`openclaw agent --local`), one that lasts as long as the
 * process.
 * @param {import("./settings.js").Settings} settings
 * @param {(words: string) => void} log
 */
export function swarmsFor(settings, log) {
  const here = shared();
  if (!here.swarms && here.isStopped) throw new Failed("OpenClaw stops the plugin; the swarms go on, call again later");
  here.swarms ??= new Swarms(settings, log);
  return here.swarms;
}
