// The tools as OpenClaw registers them: each a question to the router in words for a model.

import { Failed } from "../failures.js";
import { replyText } from "../reply.js";
import { approve, interrupt, terminate } from "./control.js";
import { launch } from "./launch.js";
import { output } from "./output.js";
import { prompt, steer } from "./prompt.js";
import { status } from "./status.js";
import { wait } from "./wait.js";

/**
 * What a call has around it.
 * @typedef {object} Call
 * @property {import("../swarms.js").Swarms} swarms
 * @property {import("../wake.js").Session | undefined} session
 * @property {AbortSignal | undefined} signal ends the waiting, never the work
 * @property {((text: string, progress: object) => void) | undefined} update shows what goes on
 * @property {(done: () => void) => void} atEnd
 * @property {(prompt: string) => boolean} wakes whether the session is woken when this prompt has ended
 */
/**
 * @typedef {object} Tool
 * @property {string} name
 * @property {string} label
 * @property {string} description
 * @property {{ properties: Record<string, object>, required: string[] }} parameters
 * @property {(given: any, call: Call) => Promise<Record<string, any>>} run
 */

/** @type {Tool[]} */
export const tools = [launch, prompt, wait, status, output, steer, interrupt, approve, terminate];

/**
 * A tool for one session.
 * @param {Tool} tool
 * @param {() => import("../swarms.js").Swarms} swarms
 * @param {{ sessionKey?: string, agentId?: string }} context
 */
export function toolFor(tool, swarms, { sessionKey, agentId } = {}) {
  const { name, label, description, parameters } = tool;
  const session = sessionKey ? { sessionKey, agentId } : undefined;
  return {
    name,
    label,
    description,
    parameters,
    /** @param {string} _id @param {any} given @param {AbortSignal} [signal] @param {(partial: object) => void} [onUpdate] */
    async execute(_id, given, signal, onUpdate) {
      /** @type {(() => void)[]} */
      const ends = [];
      try {
        check(tool, given ?? {});
        const ours = swarms();
        /** @type {Call} */
        const call = {
          swarms: ours,
          session,
          signal,
          update: onUpdate && ((text, progress) => shows(onUpdate, result(text, { codeswarm: progress }))),
          atEnd: (done) => ends.push(done),
          wakes: (prompt) => ours.wakes(prompt, session),
        };
        const value = await tool.run(given ?? {}, call);
        return result(replyText(value), { codeswarm: value });
      } catch (error) {
        // Who has cancelled the call hears nothing; and of what is thrown, OpenClaw hands on no words to some of its callers.
        if (signal?.aborted) throw error;
        const sentence = error instanceof Error ? error.message : String(error);
        return result(sentence, { status: "failed", error: sentence });
      } finally {
        for (const end of ends) end();
      }
    },
  };
}

/**
 * A watcher that fails costs no answer, and not the process either: it is also called from timers.
 * @param {(partial: object) => void} onUpdate
 * @param {object} partial
 */
function shows(onUpdate, partial) {
  try {
    onUpdate(partial);
  } catch {
    // It sees less.
  }
}

/**
 * OpenClaw grades a call by such words as `status` at the top of `details`, so what we tell is wrapped.
 * @param {string} text
 * @param {object} details
 */
function result(text, details) {
  return { content: [{ type: "text", text }], details };
}

/**
 * What is missing is told here; what is wrong, by the router.
 * @param {Tool} tool
 * @param {Record<string, unknown>} given
 */
function check({ name, parameters }, given) {
  for (const one of parameters.required)
    if (given[one] === undefined || given[one] === "") throw new Failed(`${name}: ${one} is missing`);
  for (const one of ["idempotency_key", "prompt", "swarm_id", "text"])
    if (given[one] !== undefined && typeof given[one] !== "string") throw new Failed(`${name}: ${one} must be a text`);
  const unknown = Object.keys(given).filter((one) => !(one in parameters.properties));
  if (unknown.length > 0) throw new Failed(`${name} has no parameter ${unknown.join(", ")}`);
}
