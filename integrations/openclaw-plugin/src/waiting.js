// How long somebody waits, and what ends it before: never the work.

import { aborted, Late } from "./failures.js";

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
export async function within(answer, { ms, late, signal }) {
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
