// codeswarm_prompt and codeswarm_steer: accepted at once, answered while it is waited for or later.

import { many, ranks } from "../reply.js";
import { progressText, toldTurns } from "./told.js";
import { count, key, nodes, parameters, promptKey, selector, swarmId, text } from "./schema.js";

/** How long the router may take to accept, and to tell what was. */
const PATIENCE = 25_000;
/** How long answers are waited for if nothing is said, and at most, in seconds. */
const WAIT = 60;
const LONGEST_WAIT = 300;
/** How often what goes on is shown at most, in milliseconds. */
const SHOW = 250;

const AGAIN =
  "the router has not answered in 25 s; the prompt may have been accepted, or is when the router is back: call again with the same " +
  "arguments and idempotency_key, which never sends twice";

export const prompt = {
  name: "codeswarm_prompt",
  label: "Prompt a swarm",
  description:
    "Send a prompt (task, question, instruction) to all nodes or some nodes of a swarm of coding agents, and wait a while for " +
    "their answers. Each node works on it in turn and keeps its conversation. When the time is up the turns go on: you are " +
    "woken when all have ended, or call codeswarm_wait with the same idempotency_key as prompt.",
  parameters: parameters(
    {
      swarm_id: swarmId,
      nodes,
      text: text(
        "What the agents are asked to do. Each sees only this text and its own working directory, so say everything.",
      ),
      idempotency_key: promptKey,
      wait_s: count(`How many seconds to wait for the answers; ${WAIT} if left out, 0 not to wait.`, LONGEST_WAIT, 0),
    },
    ["swarm_id", "nodes", "text", "idempotency_key"],
  ),
  /** @param {any} given @param {import("./index.js").Call} call */
  async run(given, call) {
    await inject(given, false, call);
    return waitForAll(given.idempotency_key, Math.min(given.wait_s ?? WAIT, LONGEST_WAIT), call);
  },
};

/**
 * Waits for all turns of a prompt, or for a question, showing what goes on.
 * @param {string} name
 * @param {number} seconds
 * @param {import("./index.js").Call} call
 */
function waitForAll(name, seconds, call) {
  const enough = (/** @type {import("../turns.js").Turns} */ turns) =>
    turns.isOver || turns.pending.some((turn) => turn.questions.size > 0);
  const late = `the prompt is accepted, and the router does not tell what becomes of it yet; call codeswarm_wait with prompt ${JSON.stringify(name)}`;
  return call.swarms.turns(
    name,
    call.session,
    enough,
    { ms: seconds * 1000, past: PATIENCE, late, signal: call.signal },
    (turns) => toldTurns(name, turns, undefined, call.wakes(name)),
    shown(call),
  );
}

/**
 * Hands what goes on to whoever watches the call, not too often, and the last of it always.
 * @param {import("./index.js").Call} call
 */
export function shown(call) {
  let last = 0;
  let seen = "";
  /** @type {NodeJS.Timeout | undefined} */
  let later;
  const show = (/** @type {import("../turns.js").Turns} */ turns) => {
    clearTimeout(later);
    later = undefined;
    last = Date.now();
    const text = progressText(turns);
    if (text === seen) return;
    seen = text;
    call.update?.(text, { ended: turns.count - turns.pending.length, turns: turns.count });
  };
  call.atEnd(() => clearTimeout(later));
  return (/** @type {import("../turns.js").Turns} */ turns) => {
    if (Date.now() - last >= SHOW || turns.isOver) show(turns);
    else later ??= setTimeout(show, SHOW, turns);
  };
}

export const steer = {
  name: "codeswarm_steer",
  label: "Steer agents",
  description:
    "Tell running agents of a swarm something while they work, without interrupting their turn: a correction, a hint, new facts. A " +
    "node that is idle takes it as a prompt.",
  parameters: parameters(
    { swarm_id: swarmId, nodes, text: text("What to tell the agents while they work."), idempotency_key: key },
    ["swarm_id", "nodes", "text", "idempotency_key"],
  ),
  /** @param {any} given @param {import("./index.js").Call} call */
  async run(given, call) {
    const name = given.idempotency_key;
    const recalled = await inject(given, true, call);
    return {
      prompt: name,
      swarm_id: given.swarm_id,
      turns: recalled.length,
      nodes: ranks(recalled),
      next: `${many(recalled.length, "agent")} will read it; codeswarm_wait with prompt ${JSON.stringify(name)} tells when`,
    };
  },
};

/**
 * Sends a prompt; returns which nodes a steering text went to.
 * @param {any} given
 * @param {boolean} steers
 * @param {import("./index.js").Call} call
 * @returns {Promise<number[]>}
 */
async function inject(given, steers, call) {
  const name = given.idempotency_key;
  const { client } = call.swarms;
  const target = { swarm_id: given.swarm_id, nodes: selector(given.nodes) };
  const command = { command: "inject", ...target, content: given.text, ...(steers && { steer: true }) };
  const isAccepted = {
    command,
    hear: (/** @type {any} */ event) => (event.type === "inject_ack" ? { value: undefined } : undefined),
  };
  const { signal } = call;
  const waiting = { ms: PATIENCE, late: AGAIN, signal };
  if (!steers) {
    const wake = call.swarms.wakeFor(name, call.session);
    await client.act(name, isAccepted, { ...waiting, answered: wake.asked, refused: wake.refused });
    return [];
  }
  await client.act(name, isAccepted, waiting);
  /** @type {number[]} */
  let nodes = [];
  const isRecalled = {
    command: { command: "recall", of: name },
    hear: (/** @type {any} */ event) => {
      if (event.type === "recalled") nodes = event.injections.map((/** @type {any} */ one) => one.node_id);
      return event.type === "recalled" ? { value: undefined } : undefined;
    },
  };
  await client.look(isRecalled, waiting);
  return nodes;
}
