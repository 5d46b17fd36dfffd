// `/swarm`: what a person asks without a model in between.

import { randomUUID } from "node:crypto";
import { head } from "./reply.js";
import { terminating } from "./tools/control.js";
import { output } from "./tools/output.js";
import { statusOf, swarmList } from "./tools/status.js";
import { interrupt } from "./tools/control.js";

/** So many swarms and nodes are shown. */
const SHOWN = 30;
const PATIENCE = 25_000;

const HELP = `/swarm                     the swarms
/swarm SWARM               one, node by node
/swarm output PROMPT NODE  what a node answered
/swarm interrupt SWARM [NODES]
/swarm terminate SWARM
/swarm router              how the router is
A swarm may be named by the beginning of its name.`;

/**
 * @param {string} words what stands behind the command
 * @param {import("./tools/index.js").Call} call
 * @returns {Promise<string>}
 */
export async function swarmCommand(words, call) {
  const [first, ...rest] = words.trim().split(/\s+/);
  switch (first) {
    case "":
    case "list":
      return list(await swarmList(call));
    case "help":
      return HELP;
    case "router":
      return router(call);
    case "output":
      return outputOf(rest, call);
    case "interrupt":
      return interruptNodes(rest, call);
    case "terminate":
      return terminateSwarm(rest, call);
    default:
      return rest.length === 0 ? nodesOf(await statusOf(await named(first, call), call)) : HELP;
  }
}

/** @param {[id: string, swarm: any][]} swarms */
function list(swarms) {
  if (swarms.length === 0) return "No swarms. Ask for one in the chat, or start one with `codeswarm launch`.";
  const lines = swarms.slice(0, SHOWN).map(([id, swarm]) => {
    const job = swarm.job_id ? `, job ${swarm.job_id}` : "";
    return `${id}: ${swarm.status}, ${swarm.node_count} × ${swarm.agent} (${swarm.provider}${job})`;
  });
  return [...lines, ...more(swarms.length)].join("\n");
}

/** @param {any} now */
function nodesOf(now) {
  const state = [now.status, now.slurm_state].filter(Boolean).join(", ");
  const lines = now.nodes.slice(0, SHOWN).map((/** @type {any} */ node) => {
    const host = node.host ? ` on ${node.host}` : "";
    const error = node.error ? `: ${head(node.error, 120)[0]}` : "";
    return `node ${node.node_id}: ${node.state}${host}, ${node.turns} turns, ${node.open_injections} open${error}`;
  });
  const reason = now.reason ? [head(now.reason, 400)[0]] : [];
  return [`${now.swarm_id}: ${state}`, ...reason, ...lines, ...more(now.nodes.length)].join("\n");
}

/** @param {number} count */
function more(count) {
  return count > SHOWN ? [`and ${count - SHOWN} more`] : [];
}

/** @param {import("./tools/index.js").Call} call */
async function router(call) {
  const { client } = call.swarms;
  const question = {
    command: { command: "ping" },
    hear: (/** @type {any} */ event) => (event.type === "pong" ? { value: event } : undefined),
  };
  const late = "the router has not answered in 25 s; `codeswarm doctor` on a terminal tells what is wrong";
  const pong = await client.look(question, { ms: PATIENCE, late, signal: call.signal });
  const through = pong.pid === client.pid ? "" : `, reached through process ${client.pid}`;
  return `Router ${pong.version}, process ${pong.pid}${through}, ${pong.live_swarms} live swarms.`;
}

/** @param {string[]} words @param {import("./tools/index.js").Call} call */
async function outputOf([prompt, node], call) {
  if (!prompt) return HELP;
  const given = { prompt, node: node === undefined ? undefined : Number(node), limit: 3_000 };
  const page = await output.run(given, call);
  const rest = page.next_offset < page.length ? `\n… (${page.length - page.next_offset} more characters)` : "";
  return `node ${page.node}, ${page.status}:\n${page.text}${rest}`;
}

/** @param {string[]} words @param {import("./tools/index.js").Call} call */
async function interruptNodes([swarm, nodes = "all"], call) {
  if (!swarm) return HELP;
  const given = { swarm_id: await named(swarm, call), nodes, idempotency_key: `openclaw-command-${randomUUID()}` };
  const { interrupted_nodes } = await interrupt.run(given, call);
  return `The running turns of nodes ${interrupted_nodes} end.`;
}

/** @param {string[]} words @param {import("./tools/index.js").Call} call */
async function terminateSwarm([swarm], call) {
  if (!swarm) return HELP;
  const id = await named(swarm, call);
  const late = "the router has not answered in 25 s; say it again";
  const hasEnded = await call.swarms.client.look(terminating(id), { ms: PATIENCE, late, signal: call.signal });
  return hasEnded ? `${id} had ended already.` : `${id} is ending.`;
}

/** The swarm of which this is the name, or the beginning of one name alone. @param {string} given @param {import("./tools/index.js").Call} call */
async function named(given, call) {
  const ids = (await swarmList(call)).map(([id]) => id);
  const matching = ids.filter((id) => id.startsWith(given));
  if (ids.includes(given) || matching.length === 0) return given;
  if (matching.length > 1) throw new Error(`${given} may be ${matching.slice(0, 5).join(", ")}; say more of the name`);
  return matching[0];
}
