// What the plugin's entry in OpenClaw's configuration means. Pure.

/**
 * @typedef {object} Settings
 * @property {string} program the codeswarm command
 * @property {string | undefined} configuration its configuration file; without one it is a local swarm of echo agents
 * @property {boolean} wake whether a session is woken when what it asked for has ended
 */

/**
 * @param {unknown} entry plugins.entries.codeswarm.config, as OpenClaw has checked it
 * @param {string} home the user's own folder, which `~/` at the start of a path means
 * @returns {Settings}
 */
export function settingsOf(entry, home) {
  const { program, configuration, wake } = /** @type {Record<string, unknown>} */ (entry ?? {});
  const path = (/** @type {unknown} */ value) =>
    typeof value === "string" && value !== "" ? value.replace(/^~(?=\/)/, home) : undefined;
  return { program: path(program) ?? "codeswarm", configuration: path(configuration), wake: wake !== false };
}

/**
 * The router's command line. On a state that another router serves it passes lines through to that one and takes its
 * place when it dies, so it is right whoever else runs.
 * @param {Settings} settings
 * @returns {[program: string, words: string[]]}
 */
export function routerCommand({ program, configuration }) {
  const named = configuration === undefined ? [] : ["--config", configuration];
  return [program, ["router", "--daemon", ...named]];
}
