// Wires the parts into OpenClaw: a service, tools, a command. What they do stands in src/.

import { homedir } from "node:os";
import { definePluginEntry } from "openclaw/plugin-sdk/plugin-entry";
import { register } from "./src/register.js";

export default definePluginEntry({
  id: "codeswarm",
  name: "codeswarm",
  description:
    "Swarms of coding agents on a Slurm cluster: tools that launch and prompt them, /swarm, and a wake when they are done.",
  register: (/** @type {any} */ api) => register(api, homedir()),
});
