// codeswarm_interrupt, codeswarm_approve and codeswarm_terminate.

import { Failed } from "../failures.js";
import { names, ranks } from "../reply.js";
import { count, key, nodes, parameters, selector, swarmId, text } from "./schema.js";
import { statusOf } from "./status.js";

const PATIENCE = 25_000;
const AGAIN =
  "the router has not answered in 25 s, and may have done it, or does it when it is back: call again with the same arguments and " +
  "idempotency_key, which never does it twice";

/**
 * @param {string} name
 * @param {import("../requests.js").Question<any>} question
 * @param {import("./index.js").Call} call
 */
const act = (name, question, call) =>
  call.swarms.client.act(name, question, { ms: PATIENCE, late: AGAIN, signal: call.signal });

export const interrupt = {
  name: "codeswarm_interrupt",
  label: "Interrupt agents",
  description:
    "Interrupt (cancel, stop) the running turn of nodes of a swarm. The agents stay and take further prompts.",
  parameters: parameters(
    {
      swarm_id: swarmId,
      nodes,
      injection_id: text("Only this injection, as codeswarm_status names it, whether it runs or waits."),
      idempotency_key: {
        ...key,
        description: "A name that you choose. The same name again never interrupts another turn.",
      },
    },
    ["swarm_id", "nodes", "idempotency_key"],
  ),
  /** @param {any} given @param {import("./index.js").Call} call */
  async run(given, call) {
    const { node_count } = await statusOf(given.swarm_id, call);
    const wanted = ranksOf(selector(given.nodes), node_count);
    let missing = new Set(wanted);
    const { swarm_id, injection_id } = given;
    const question = {
      command: { command: "interrupt", swarm_id, nodes: selector(given.nodes), injection_id },
      begin: () => (missing = new Set(wanted)),
      hear: (/** @type {any} */ event) => {
        if (event.type === "interrupt_ack") missing.delete(event.node_id);
        return missing.size === 0 ? { value: undefined } : undefined;
      },
    };
    await act(given.idempotency_key, question, call);
    return {
      interrupted_nodes: ranks(wanted),
      next: "the running turns of these nodes end as interrupted, if there were any; codeswarm_wait on their prompts tells",
    };
  },
};

/** @param {unknown} chosen @param {number} nodeCount */
function ranksOf(chosen, nodeCount) {
  const all = Array.from({ length: nodeCount }, (_, node) => node);
  const wanted = chosen === "all" ? all : all.filter((node) => typeof chosen === "string" && names(chosen, node));
  if (wanted.length === 0)
    throw new Failed(
      `nodes: ${JSON.stringify(chosen)} names no node of the swarm, which has 0 to ${nodeCount - 1}; say "all" or ranks such as "0,2-4"`,
    );
  return wanted;
}

export const approve = {
  name: "codeswarm_approve",
  label: "Answer an agent",
  description:
    "Answer an agent of a swarm that asks whether it may run a command or change a file (codeswarm_wait tells of such questions).",
  parameters: parameters(
    {
      swarm_id: swarmId,
      node: count("The node that asks.", undefined, 0),
      call_id: text("The question, as codeswarm_wait names it."),
      decision: {
        type: "string",
        enum: ["accept", "accept_for_session", "decline", "cancel"],
        description: "The answer.",
      },
      idempotency_key: key,
    },
    ["swarm_id", "node", "call_id", "decision", "idempotency_key"],
  ),
  /** @param {any} given @param {import("./index.js").Call} call */
  async run(given, call) {
    const { swarm_id, node, call_id, decision } = given;
    const question = {
      command: { command: "approve_execution", swarm_id, node_id: node, call_id, decision },
      hear: (/** @type {any} */ event) => (event.type === "approval_ack" ? { value: undefined } : undefined),
    };
    await act(given.idempotency_key, question, call);
    return { answered: true, next: "the turn goes on; call codeswarm_wait with its prompt" };
  },
};

export const terminate = {
  name: "codeswarm_terminate",
  label: "End a swarm",
  description: "End a swarm: stop its coding agents and cancel its Slurm job. Its answers stay readable.",
  parameters: parameters({ swarm_id: swarmId, idempotency_key: key }, ["swarm_id", "idempotency_key"]),
  /** @param {any} given @param {import("./index.js").Call} call */
  async run(given, call) {
    const { swarm_id } = given;
    const hasEnded = await act(given.idempotency_key, terminating(swarm_id), call);
    return {
      swarm_id,
      state: hasEnded ? "ended" : "terminating",
      next: "codeswarm_wait with swarm_id tells when it has ended; codeswarm_output still reads its answers",
    };
  },
};

/**
 * Whether it had ended already.
 * @param {string} swarm_id
 */
export function terminating(swarm_id) {
  return {
    command: { command: "swarm_terminate", swarm_id },
    hear: (/** @type {any} */ event) => {
      if (event.type === "swarm_terminated") return { value: true };
      return event.type === "swarm_status" ? { value: false } : undefined;
    },
  };
}
