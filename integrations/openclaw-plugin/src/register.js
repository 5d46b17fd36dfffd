// What OpenClaw is handed: the service that owns the router, the tools, the command, and what ends the waiting of calls.

import { Failed } from "./failures.js";
import { settingsOf } from "./settings.js";
import { shared, Swarms, swarmsFor } from "./swarms.js";
import { swarmCommand } from "./command.js";
import { toolFor, tools } from "./tools/index.js";
import { WakeBook } from "./wake.js";
import { readWakes, wakesPath, writeWakes } from "./wakes-file.js";

const CONFIGURATION = "plugins.entries.codeswarm.config";

/**
 * @param {any} api OpenClaw's
 * @param {string} home
 */
export function register(api, home) {
  const settings = settingsOf(api.pluginConfig, home);
  const log = (/** @type {string} */ words) => api.logger?.info?.(`codeswarm: ${words}`);
  const swarms = () => swarmsFor(settings, log);

  api.registerService(service(api, settings, log));
  for (const tool of tools)
    api.registerTool((/** @type {any} */ context) => toolFor(tool, swarms, context), { name: tool.name });
  api.registerCommand({
    name: "swarm",
    description: "Show and end swarms of coding agents: /swarm help",
    acceptsArgs: true,
    handler: async (/** @type {any} */ context) => {
      const call = {
        swarms: swarms(),
        session: undefined,
        signal: undefined,
        update: undefined,
        atEnd: () => {},
        wakes: () => false,
      };
      try {
        return { text: await swarmCommand(context.args ?? "", call) };
      } catch (error) {
        return { text: `/swarm: ${error instanceof Error ? error.message : error}` };
      }
    },
  });
  // A Gateway that ends waits for calls before it stops services; so theirs ends when it begins to.
  api.on?.("gateway_start", (/** @type {any} */ _event, /** @type {any} */ context) => {
    const signal = context?.abortSignal;
    const release = () =>
      shared().swarms?.client.release(
        new Failed("OpenClaw is stopping; the swarm goes on, and the same call later tells the rest"),
      );
    signal?.addEventListener("abort", release, { once: true });
  });
}

/** @param {any} api @param {import("./settings.js").Settings} settings @param {(words: string) => void} log */
function service(api, settings, log) {
  /** @type {Swarms | undefined} */
  let mine;
  return {
    id: "codeswarm-router",
    reload: { configPrefixes: [CONFIGURATION] },
    /** @param {any} context */
    start(context) {
      const here = shared();
      // Of a reload, the old service may stop after this one has started: each ends its own.
      mine = here.swarms && !here.swarms.isServed ? here.swarms : new Swarms(settings, log);
      here.swarms = mine;
      here.isStopped = false;
      mine.health = context.serviceHealth;
      mine.serve(settings.wake ? waking(api, wakesPath(context.stateDir), log) : undefined);
    },
    async stop() {
      const here = shared();
      if (here.swarms === mine) {
        here.swarms = undefined;
        here.isStopped = true;
      }
      await mine?.close();
      mine = undefined;
    },
  };
}

/** @param {any} api @param {string} path @param {(words: string) => void} log */
function waking(api, path, log) {
  const keep = (/** @type {import("./wake.js").Entry[]} */ entries) => {
    try {
      writeWakes(path, entries);
    } catch (error) {
      log(`${path} cannot be written, so a restart of OpenClaw forgets whom to wake: ${error}`);
    }
  };
  return {
    book: new WakeBook(readWakes(path, log), keep),
    wake: (
      /** @type {import("./wake.js").Entry} */ { session_key: sessionKey, agent_id: agentId },
      /** @type {string} */ text,
    ) => {
      const { system } = api.runtime;
      const session = { sessionKey, ...(agentId && { agentId }) };
      system.enqueueSystemEvent(text, session);
      system.requestHeartbeat({ source: "other", intent: "immediate", reason: "codeswarm", ...session });
    },
  };
}
