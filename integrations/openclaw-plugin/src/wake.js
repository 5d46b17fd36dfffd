// Whom to wake when a prompt has ended: sessions that asked for it and were not told by a call of their own. Pure but for the
// file that it is handed.

import { many } from "./reply.js";

/** So many prompts are remembered; what comes beyond is answered, but wakes nobody. */
const MOST = 1_000;

/**
 * @typedef {object} Session
 * @property {string} sessionKey
 * @property {string | undefined} agentId
 */
/** @typedef {{ prompt: string, session_key: string, agent_id?: string }} Entry */

export class WakeBook {
  /** @type {Map<string, Entry>} */
  #asked = new Map();
  /** @type {Map<string, number>} calls of a session that wait for a prompt now */
  #waiting = new Map();
  #keep;

  /**
   * @param {Entry[]} entries of an earlier life
   * @param {(entries: Entry[]) => void} keep makes them outlive this one
   */
  constructor(entries, keep) {
    this.#keep = keep;
    for (const entry of entries.slice(0, MOST)) this.#asked.set(keyOf(entry.prompt, entry.session_key), entry);
  }

  /** The prompts of which somebody is to be told. */
  get prompts() {
    return [...new Set([...this.#asked.values()].map((entry) => entry.prompt))];
  }

  /**
   * A session asks for a prompt, and is told when it has ended.
   * @param {string} prompt
   * @param {Session} session
   * @returns {"new" | "known" | "full"}
   */
  ask(prompt, { sessionKey, agentId }) {
    const key = keyOf(prompt, sessionKey);
    if (this.#asked.has(key)) return "known";
    if (this.#asked.size >= MOST) return "full";
    this.#asked.set(key, { prompt, session_key: sessionKey, ...(agentId && { agent_id: agentId }) });
    this.#write();
    return "new";
  }

  /**
   * Whether a session is to be told of a prompt.
   * @param {string} prompt
   * @param {Session | undefined} session
   */
  has(prompt, session) {
    return session !== undefined && this.#asked.has(keyOf(prompt, session.sessionKey));
  }

  /**
   * A call of a session waits for a prompt, until the returned function is called.
   * @param {string} prompt
   * @param {Session | undefined} session
   */
  waits(prompt, session) {
    if (!session) return () => {};
    const key = keyOf(prompt, session.sessionKey);
    this.#waiting.set(key, (this.#waiting.get(key) ?? 0) + 1);
    return () => {
      const left = (this.#waiting.get(key) ?? 1) - 1;
      if (left > 0) this.#waiting.set(key, left);
      else this.#waiting.delete(key);
    };
  }

  /**
   * A session knows how it ended, or there is nothing to be told.
   * @param {string} prompt
   * @param {string} sessionKey
   */
  told(prompt, sessionKey) {
    if (this.#asked.delete(keyOf(prompt, sessionKey))) this.#write();
  }

  /**
   * Whom to wake for a prompt that has ended. Each stays in the book until it was `told`.
   * @param {string} prompt
   * @returns {Entry[]}
   */
  toWake(prompt) {
    return [...this.#asked].flatMap(([key, entry]) =>
      entry.prompt === prompt && !this.#waiting.has(key) ? [entry] : [],
    );
  }

  #write() {
    this.#keep([...this.#asked.values()]);
  }
}

/** @param {string} prompt @param {string} sessionKey */
function keyOf(prompt, sessionKey) {
  return JSON.stringify([prompt, sessionKey]);
}

/**
 * What the session reads. It names things and repeats nothing that an agent has said: this line has the system's voice.
 * @param {string} prompt
 * @param {import("./turns.js").Turns} turns
 */
export function wakeText(prompt, turns) {
  const name = JSON.stringify(prompt);
  const ways = Object.entries(turns.ends).map(([how, count]) => `${count} ${how}`);
  return (
    `codeswarm: ${turns.count === 1 ? "the turn" : `all ${many(turns.count, "turn")}`} of prompt ${name} to swarm ` +
    `${turns.swarmId} ${turns.count === 1 ? "has" : "have"} ended (${ways.join(", ")}). ` +
    `codeswarm_wait with prompt ${name} tells the answers.`
  );
}

/**
 * What it reads when an agent asks.
 * @param {string} prompt
 * @param {import("./turns.js").Turns} turns
 * @param {{ node: number }[]} questions
 */
export function questionText(prompt, turns, questions) {
  const name = JSON.stringify(prompt);
  const nodes = [...new Set(questions.map((question) => question.node))];
  const shown = nodes.slice(0, 8).join(", ") + (nodes.length > 8 ? " and others" : "");
  return (
    `codeswarm: node ${shown} of swarm ${turns.swarmId} asks for approval while it works on prompt ${name}. ` +
    `codeswarm_wait with prompt ${name} tells what it asks; codeswarm_approve answers.`
  );
}
