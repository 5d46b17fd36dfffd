// Where it is kept who is to be woken, so that a restart of OpenClaw forgets nobody.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const VERSION = 1;

/** @param {string} stateDir OpenClaw's state directory */
export function wakesPath(stateDir) {
  return join(stateDir, "codeswarm", "wakes.json");
}

/**
 * @param {string} path
 * @param {(words: string) => void} log
 * @returns {import("./wake.js").Entry[]}
 */
export function readWakes(path, log) {
  let text;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ENOENT")
      log(`${path} cannot be read, so earlier prompts wake nobody: ${error}`);
    return [];
  }
  try {
    const { version, wakes } = JSON.parse(text);
    if (version !== VERSION || !Array.isArray(wakes)) throw new Error(`it is no file of version ${VERSION}`);
    return wakes.filter((one) => typeof one?.prompt === "string" && typeof one?.session_key === "string");
  } catch (error) {
    log(`${path} is not understood, so earlier prompts wake nobody: ${error}`);
    return [];
  }
}

/**
 * @param {string} path
 * @param {import("./wake.js").Entry[]} wakes
 */
export function writeWakes(path, wakes) {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const whole = `${path}.${process.pid}`;
  writeFileSync(whole, JSON.stringify({ version: VERSION, wakes }), { mode: 0o600 });
  renameSync(whole, path);
}
