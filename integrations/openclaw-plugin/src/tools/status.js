// codeswarm_status: all swarms, or one node by node.

import { head, shortened } from "../reply.js";
import { parameters, swarmId } from "./schema.js";

/** How long the router may take to answer. */
const PATIENCE = 25_000;
const LATE = "the router has not answered in 25 s; `codeswarm doctor` on a terminal tells what is wrong";
/** So many swarms are listed. */
const LISTED = 200;

export const status = {
  name: "codeswarm_status",
  label: "Show swarms",
  description:
    "Show the swarms of coding agents: all of them, or one node by node (Slurm job, queue state and reason, which nodes are up, " +
    "busy or lost, turns and tokens).",
  parameters: parameters(
    { swarm_id: { ...swarmId, description: "One swarm, node by node; leave it out for a list of all." } },
    [],
  ),
  /** @param {any} given @param {import("./index.js").Call} call */
  async run(given, call) {
    return given.swarm_id === undefined ? list(await swarmList(call)) : summary(await statusOf(given.swarm_id, call));
  },
};

/**
 * @param {string} swarm_id
 * @param {import("./index.js").Call} call
 * @returns {Promise<import("../requests.js").Event>}
 */
export function statusOf(swarm_id, call) {
  const question = {
    command: { command: "swarm_status", swarm_id },
    hear: (/** @type {any} */ event) => (event.type === "swarm_status" ? { value: event } : undefined),
  };
  return call.swarms.client.look(question, { ms: PATIENCE, late: LATE, signal: call.signal });
}

/**
 * Those that live first, then the youngest.
 * @param {import("./index.js").Call} call
 * @returns {Promise<[id: string, swarm: any][]>}
 */
export async function swarmList(call) {
  const question = {
    command: { command: "swarm_list" },
    hear: (/** @type {any} */ event) => (event.type === "swarm_list" ? { value: event.swarms } : undefined),
  };
  const swarms = await call.swarms.client.look(question, { ms: PATIENCE, late: LATE, signal: call.signal });
  const isOver = (/** @type {any} */ swarm) => (swarm.status === "terminated" || swarm.status === "failed" ? 1 : 0);
  return Object.entries(swarms).sort(
    ([, one], [, other]) => isOver(one) - isOver(other) || other.created.localeCompare(one.created),
  );
}

/** @param {[id: string, swarm: any][]} swarms */
function list(swarms) {
  /** @type {Record<string, any>} */
  const value = {
    swarms: swarms.slice(0, LISTED).map(([swarm_id, swarm]) => ({
      swarm_id,
      status: swarm.status,
      nodes: swarm.node_count,
      agent: swarm.agent,
      provider: swarm.provider,
      job_id: swarm.job_id,
      created: swarm.created,
      first_prompt: swarm.system_prompt && head(swarm.system_prompt, 80)[0],
    })),
  };
  const shown = shortened(value, "swarms");
  if (shown < swarms.length) value.swarms_not_shown = swarms.length - shown;
  if (swarms.length === 0) value.next = "there is no swarm; codeswarm_launch starts one";
  return value;
}

/** What a wait holds against later: the swarm's state and how many nodes are up. @param {any} now */
export function upAndState(now) {
  const up = now.nodes.filter((/** @type {any} */ node) => node.state === "idle" || node.state === "busy").length;
  return `${now.status} ${up}/${now.node_count} ${now.slurm_state ?? ""}`.trimEnd();
}

/** One swarm for a model. @param {any} now */
export function summary(now) {
  /** @type {Record<string, number>} */
  const states = {};
  for (const { state } of now.nodes) states[state] = (states[state] ?? 0) + 1;
  /** @type {Record<string, any>} */
  const value = {
    swarm_id: now.swarm_id,
    job_id: now.job_id,
    status: now.status,
    node_count: now.node_count,
    nodes_by_state: states,
    tokens: now.nodes.reduce((/** @type {number} */ sum, /** @type {any} */ node) => sum + (node.tokens ?? 0), 0),
    slurm_state: now.slurm_state,
    reason: now.reason && head(now.reason, 600)[0],
    nodes: now.nodes.map((/** @type {any} */ node) => ({
      node: node.node_id,
      state: node.state,
      turns: node.turns,
      waiting: node.open_injections,
      host: node.host,
      injection_id: node.injection_id,
      last_event: node.last_event,
      error: node.error && head(node.error, 200)[0],
    })),
  };
  const shown = shortened(value, "nodes");
  if (shown < now.nodes.length) value.nodes_not_shown = now.nodes.length - shown;
  return value;
}
