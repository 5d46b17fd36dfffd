// codeswarm_launch: a swarm, or the word that it is on its way.

import { Late } from "../failures.js";
import { count, flag, key, parameters, text } from "./schema.js";

/** How long the answer is waited for: `sbatch`, and on a first connection also the program on its way to the cluster. */
const PATIENCE = 45_000;

/** Parameters that the router takes as settings of the provider. */
const SETTINGS = ["partition", "account", "qos", "time_limit", "constraint", "gres", "agents_per_node"];

export const launch = {
  name: "codeswarm_launch",
  label: "Launch a swarm",
  description:
    "Launch a swarm of coding agents (Codex) on a Slurm cluster or on this machine: N nodes, each with one persistent agent in its own " +
    "working directory, that take prompts and answer in parallel. Use it to fan out coding, review, analysis, test or data work " +
    "over many nodes of an HPC cluster. Returns the swarm_id, while the Slurm job may still wait in its queue; prompts can be " +
    "sent right away. Ends only by codeswarm_terminate or the job's time limit.",
  parameters: parameters(
    {
      nodes: count("How many nodes, each with a coding agent of its own."),
      idempotency_key: {
        ...key,
        description:
          'A name that you choose for this launch, such as "launch-review-1". The same name again never launches twice.',
      },
      prompt: text("A first prompt for every node. Its answers are waited for under the same idempotency_key."),
      instructions: text("Standing instructions, written as AGENTS.md into each agent's working directory."),
      provider: text('"slurm" or "local" (this machine), where the configuration allows both.'),
      partition: text("The Slurm partition."),
      account: text("The Slurm account that is charged."),
      qos: text("The Slurm quality of service."),
      time_limit: text('The longest the swarm may run, as sbatch --time takes it, such as "02:00:00".'),
      constraint: text("Features that the nodes must have."),
      gres: text('Generic resources of each node, such as "gpu:1".'),
      agents_per_node: count("How many agents share one node.", 1024),
      immediate: flag("Refuse instead of waiting in the queue: that many nodes must be idle now."),
    },
    ["nodes", "idempotency_key"],
  ),
  /** @param {any} given @param {import("./index.js").Call} call */
  async run(given, call) {
    const name = given.idempotency_key;
    const settings = Object.fromEntries(
      SETTINGS.filter((one) => given[one] !== undefined).map((one) => [one, given[one]]),
    );
    const question = {
      command: {
        command: "swarm_launch",
        nodes: given.nodes,
        system_prompt: given.prompt,
        agents_md_content: given.instructions,
        provider: given.provider,
        immediate: given.immediate,
        ...(Object.keys(settings).length > 0 && { provider_params: settings }),
      },
      hear: (/** @type {any} */ event) => (event.type === "swarm_launched" ? { value: event } : undefined),
    };
    const hasPrompt = given.prompt !== undefined;
    const wake = hasPrompt ? call.swarms.wakeFor(name, call.session) : undefined;
    const waiting = { ms: PATIENCE, signal: call.signal, answered: wake?.asked, refused: wake?.refused };
    try {
      const launched = await call.swarms.client.act(name, question, waiting);
      return {
        swarm_id: launched.swarm_id,
        job_id: launched.job_id,
        nodes: launched.node_count,
        provider: launched.provider,
        slurm_state: launched.slurm_state,
        slurm_reason: launched.slurm_reason,
        next: next(name, hasPrompt, call.wakes(name)),
      };
    } catch (error) {
      if (!(error instanceof Late)) throw error;
      return {
        swarm_id: null,
        state: "on its way",
        next: "the launch is not answered yet and goes on: call codeswarm_launch again with the same arguments and idempotency_key, which never launches twice",
      };
    }
  },
};

/** @param {string} name @param {boolean} hasPrompt @param {boolean} wakes */
function next(name, hasPrompt, wakes) {
  if (!hasPrompt) return "call codeswarm_prompt to give its nodes work; prompts wait until the nodes are up";
  const wait = `codeswarm_wait with prompt ${JSON.stringify(name)} tells the answers`;
  return wakes ? `end your turn, and you are woken when all nodes have answered; ${wait}` : wait;
}
