// codeswarm_wait: until something of a prompt's turns, or of a swarm, is new.

import { Failed, isUnknownRequest, Refused } from "../failures.js";
import { Cursor } from "../turns.js";
import { shown } from "./prompt.js";
import { count, parameters, promptName, swarmId } from "./schema.js";
import { statusOf, summary, upAndState } from "./status.js";
import { toldTurns } from "./told.js";

/** How long is waited if nothing is said, and at most, in seconds. */
const WAIT = 30;
const LONGEST_WAIT = 300;
/** The router may take this long to tell the past, however short the wait is to be. */
const PAST = 8_000;
/** How often a swarm that says nothing is looked at. */
const LOOK_AGAIN = 2_000;

export const wait = {
  name: "codeswarm_wait",
  label: "Wait for a swarm",
  description:
    "Wait for answers of a prompt to a swarm of coding agents, or for a swarm's state to change. Returns at the first news (a node has " +
    "finished, failed, or asks for approval), with a cursor for the next call. done tells that all nodes have ended their " +
    "turns. Waiting or not changes nothing: agents go on by themselves.",
  parameters: parameters(
    {
      prompt: {
        ...promptName,
        description: "Wait for answers: the idempotency_key of a prompt, or of a launch that had one.",
      },
      swarm_id: { ...swarmId, description: "Or wait for a swarm to come up, change or end." },
      cursor: {
        type: "string",
        description:
          "What the last call for this returned as cursor; leave it out the first time. What it covers is not told again.",
      },
      timeout_s: count(`How many seconds to wait at most for a change; ${WAIT} if left out.`, LONGEST_WAIT, 0),
    },
    [],
  ),
  /** @param {any} given @param {import("./index.js").Call} call */
  run(given, call) {
    const seconds = Math.min(given.timeout_s ?? WAIT, LONGEST_WAIT);
    if (given.prompt !== undefined) return forTurns(given.prompt, given.cursor, seconds, call);
    if (given.swarm_id !== undefined) return forSwarm(given.swarm_id, given.cursor ?? "", seconds, call);
    throw new Failed("say prompt (the idempotency_key of a prompt or launch) or swarm_id");
  },
};

/** @param {string} name @param {unknown} given @param {number} seconds @param {import("./index.js").Call} call */
async function forTurns(name, given, seconds, call) {
  const cursor = new Cursor(given);
  const enough = (/** @type {import("../turns.js").Turns} */ turns) =>
    turns.isOver || cursor.newEnds(turns).length > 0 || cursor.newQuestions(turns).length > 0;
  const late = "the router has not told in this time what became of the prompt; wait again with the same arguments";
  const waiting = { ms: seconds * 1000, past: Math.max(PAST, seconds * 1000), late, signal: call.signal };
  try {
    return await call.swarms.turns(
      name,
      call.session,
      enough,
      waiting,
      (turns) => toldTurns(name, turns, given, call.wakes(name)),
      shown(call),
    );
  } catch (error) {
    throw aboutPrompt(name, error);
  }
}

/**
 * The sentence for a name under which nothing is known.
 * @param {string} name
 * @param {unknown} error
 */
export function aboutPrompt(name, error) {
  if (!isUnknownRequest(error)) return error;
  const reason =
    `nothing was asked here under the idempotency_key ${JSON.stringify(name)}, or its launch is still on its way; ` +
    "codeswarm_prompt and codeswarm_launch return the key to wait for";
  return new Refused("unknown_request", reason);
}

/** @param {string} id @param {string} seen @param {number} seconds @param {import("./index.js").Call} call */
async function forSwarm(id, seen, seconds, call) {
  const until = Date.now() + seconds * 1000;
  const { signal } = call;
  let wakeUp = () => {};
  const stop = call.swarms.client.listen((event) => {
    if (event.swarm_id === id && NEWS.has(event.type ?? "") && event.nodes === undefined) wakeUp();
  });
  try {
    for (;;) {
      const news = new Promise((resolve) => (wakeUp = () => resolve(undefined)));
      const now = await statusOf(id, call);
      const cursor = upAndState(now);
      const isOver = now.status === "terminated" || now.status === "failed";
      const left = until - Date.now();
      if (cursor !== seen || isOver || left <= 0) return { ...summary(now), changed: cursor !== seen, cursor };
      await pause(news, Math.min(left, LOOK_AGAIN), signal);
    }
  } finally {
    stop();
  }
}

const NEWS = new Set(["swarm_status", "node_ready", "node_lost", "swarm_terminated"]);

/** @param {Promise<unknown>} news @param {number} ms @param {AbortSignal | undefined} signal */
async function pause(news, ms, signal) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  let abort = () => {};
  const over = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
    abort = () => resolve(undefined);
    signal?.addEventListener("abort", abort, { once: true });
  });
  await Promise.race([news, over]);
  clearTimeout(timer);
  signal?.removeEventListener("abort", abort);
}
