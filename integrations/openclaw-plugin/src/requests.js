// What was asked on the connection and is not answered: who hears an event, what is said again to the next router, and how
// much may be open at once. Pure: it is handed lines and events and answers with lines.

import { Failed, Refused } from "./failures.js";

/** @typedef {{ type?: string, request_id?: string, [field: string]: any }} Event */

/**
 * One question: `hear` is shown every event that carries its name, and returns `{ value }` when it is answered. `begin` is
 * called whenever it is said to a router, since another one tells everything from the start.
 * @template T
 * @typedef {object} Question
 * @property {Record<string, unknown>} command without its request_id
 * @property {() => void} [begin]
 * @property {(event: Event) => { value: T } | undefined} hear
 */

/** So many questions, and bytes of them, may be open. */
const MOST = 512;
const MOST_BYTES = 64 * 1024 * 1024;

const FULL = "too much is waiting for the router already; call again when some of it is answered";

export class Requests {
  /** @type {Map<string, { line: string, question: Question<any>, settle: PromiseWithResolvers<any> }>} */
  #open = new Map();
  #bytes = 0;

  get size() {
    return this.#open.size;
  }

  /**
   * Opens a question. The same name with the same content joins the one that is open.
   * @template T
   * @param {string} id
   * @param {Question<T>} question
   * @returns {{ line: string | undefined, answer: Promise<T> }} the line to say, if there is one
   */
  open(id, question) {
    const line = JSON.stringify({ ...question.command, request_id: id });
    const known = this.#open.get(id);
    if (known?.line === line) return { line: undefined, answer: known.settle.promise };
    if (known) {
      const reason = `another command under the idempotency_key ${JSON.stringify(id)} is under way; choose another key`;
      return { line: undefined, answer: Promise.reject(new Refused("request_id_reused", reason)) };
    }
    if (this.#open.size >= MOST || this.#bytes + line.length > MOST_BYTES)
      return { line: undefined, answer: Promise.reject(new Failed(FULL)) };
    const settle = Promise.withResolvers();
    this.#open.set(id, { line, question, settle });
    this.#bytes += line.length;
    question.begin?.();
    return { line, answer: settle.promise };
  }

  /**
   * Shows an event to whom it answers.
   * @param {Event} event
   */
  hear(event) {
    const entry = event.request_id === undefined ? undefined : this.#open.get(event.request_id);
    if (!entry || event.request_id === undefined) return;
    if (event.type === "command_rejected") {
      this.#close(event.request_id);
      entry.settle.reject(new Refused(event.code, event.reason));
      return;
    }
    const answer = entry.question.hear(event);
    if (!answer) return;
    this.#close(event.request_id);
    entry.settle.resolve(answer.value);
  }

  /**
   * Everything that is open, for another router: the same names, which it knows if the first one had taken them.
   * @returns {string[]}
   */
  again() {
    return [...this.#open.values()].map(({ line, question }) => {
      question.begin?.();
      return line;
    });
  }

  /**
   * Nobody wants the answer any more.
   * @param {string} id
   */
  drop(id) {
    const entry = this.#open.get(id);
    this.#close(id);
    // Nobody hears it; without a hearer it would count as a mistake of ours.
    entry?.settle.promise.catch(() => {});
    entry?.settle.reject(new Failed("nobody waits for this answer any longer"));
  }

  /** @param {Error} error why none of them is answered */
  fail(error) {
    const open = [...this.#open.values()];
    this.#open.clear();
    this.#bytes = 0;
    for (const { settle } of open) settle.reject(error);
  }

  /** @param {string} id */
  #close(id) {
    this.#bytes -= this.#open.get(id)?.line.length ?? 0;
    this.#open.delete(id);
  }
}
