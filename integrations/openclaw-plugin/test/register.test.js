import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { register } from "../src/register.js";
import { settingsOf } from "../src/settings.js";
import { shared } from "../src/swarms.js";

const FAKE = join(import.meta.dirname, "fake-router.js");
const manifest = JSON.parse(readFileSync(join(import.meta.dirname, "../openclaw.plugin.json"), "utf8"));

/** What OpenClaw is to a plugin, with a fake router of this manner as the program. */
class OpenClaw {
  folder = mkdtempSync(join(tmpdir(), "cs-openclaw-"));
  tools = new Map();
  commands = new Map();
  hooks = new Map();
  woken = [];
  heartbeats = [];
  logger = { info: () => {} };
  runtime = {
    system: {
      enqueueSystemEvent: (text, session) => this.woken.push({ text, ...session }),
      requestHeartbeat: (request) => this.heartbeats.push(request),
    },
  };

  constructor(manner = "", settings = {}) {
    const program = join(this.folder, "program");
    const past = join(this.folder, "past");
    writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${FAKE}' '${past}' '${manner}'\n`, { mode: 0o700 });
    this.pluginConfig = { program, ...settings };
    register(this, "/home/ada");
  }

  registerService(service) {
    this.service = service;
  }
  registerTool(factory, { name }) {
    this.tools.set(name, factory);
  }
  registerCommand(command) {
    this.commands.set(command.name, command);
  }
  on(hook, handler) {
    this.hooks.set(hook, handler);
  }

  start() {
    this.service.start({ stateDir: this.folder });
  }
  call(tool, given, { sessionKey = "agent:main:main", signal, onUpdate } = {}) {
    return this.tools.get(tool)({ sessionKey, agentId: "main" }).execute("call", given, signal, onUpdate);
  }
  async end() {
    await this.service.stop();
    rmSync(this.folder, { recursive: true });
    delete shared().isStopped;
  }
}

const prompt = (wait_s) => ({ swarm_id: "sw-1", nodes: "all", text: "x", idempotency_key: "p", wait_s });

test("the manifest promises the tools that are registered, and their parameters are flat", async () => {
  const openclaw = new OpenClaw();
  try {
    assert.deepEqual([...openclaw.tools.keys()], manifest.contracts.tools);
    assert.deepEqual(Object.keys(manifest.toolMetadata), manifest.contracts.tools);
    for (const [name, factory] of openclaw.tools) {
      const { parameters, description } = factory({});
      assert.equal(parameters.additionalProperties, false, name);
      assert.equal(
        description.length < 1_200 && parameters.required.every((one) => one in parameters.properties),
        true,
        name,
      );
      for (const one of Object.values(parameters.properties))
        assert.equal(["string", "integer", "boolean"].includes(one.type) && one.description.length > 5, true, name);
    }
    const skill = readFileSync(join(import.meta.dirname, "../skills/codeswarm/SKILL.md"), "utf8");
    const named = new Set(skill.match(/codeswarm_[a-z]+/g));
    assert.deepEqual([...named].sort(), [...manifest.contracts.tools].sort());
    assert.deepEqual([...openclaw.commands.keys()], ["swarm"]);
  } finally {
    await openclaw.end();
  }
});

test("a prompt shows what is written, returns the answers, and wakes nobody who was told", async () => {
  const openclaw = new OpenClaw();
  try {
    openclaw.start();
    const shown = [];
    const { content, details } = await openclaw.call("codeswarm_prompt", prompt(60), {
      onUpdate: (partial) => shown.push(partial),
    });
    assert.deepEqual(JSON.parse(content[0].text), details.codeswarm);
    assert.deepEqual(details.codeswarm.news, [{ node: 0, status: "completed", answer: "whole answer" }]);
    assert.equal(details.codeswarm.done, true);
    assert.equal(shown.at(-1).content[0].text, "1 of 1 turns have ended");
    assert.deepEqual(openclaw.woken, []);
  } finally {
    await openclaw.end();
  }
});

test("a session that did not wait is woken once, also by the OpenClaw that comes after", async () => {
  const openclaw = new OpenClaw("dies in mid-turn");
  try {
    openclaw.start();
    const { details } = await openclaw.call("codeswarm_prompt", prompt(0));
    assert.equal(details.codeswarm.done, false);
    assert.match(details.codeswarm.next, /you are woken/);
    // OpenClaw ends before the second life of the router tells the end.
    await openclaw.service.stop();
    const before = openclaw.woken.length;
    openclaw.start();
    while (openclaw.heartbeats.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(before, 0);
    assert.deepEqual(
      openclaw.woken.map(({ sessionKey, agentId }) => [sessionKey, agentId]),
      [["agent:main:main", "main"]],
    );
    assert.match(openclaw.woken[0].text, /^codeswarm: the turn of prompt "p" to swarm sw-1 has ended \(1 completed\)/);
    assert.deepEqual(openclaw.heartbeats[0], {
      source: "other",
      intent: "immediate",
      reason: "codeswarm",
      sessionKey: "agent:main:main",
      agentId: "main",
    });
    // Nor again when somebody asks, or by a third one.
    await openclaw.call("codeswarm_wait", { prompt: "p" });
    await openclaw.service.stop();
    openclaw.start();
    await openclaw.call("codeswarm_wait", { prompt: "p" });
    assert.equal(openclaw.woken.length, 1);
  } finally {
    await openclaw.end();
  }
});

test("a session is woken once for an agent's question, and again for the end", async () => {
  const openclaw = new OpenClaw("asks");
  try {
    openclaw.start();
    const arrived = async (count) => {
      while (openclaw.woken.length < count) await new Promise((resolve) => setTimeout(resolve, 5));
      return openclaw.woken[count - 1].text;
    };
    // Of this question the call itself tells.
    const { details } = await openclaw.call("codeswarm_prompt", prompt(60));
    assert.deepEqual(details.codeswarm.questions, [{ node: 0, call_id: "call_1", asks: "rm -r x" }]);
    assert.match(details.codeswarm.next, /codeswarm_approve answers/);
    // A service that starts anew does not know that, and tells it.
    await openclaw.service.stop();
    assert.equal(openclaw.woken.length, 0);
    openclaw.start();
    assert.match(await arrived(1), /^codeswarm: node 0 of swarm sw-1 asks for approval while it works on prompt "p"/);
    const given = { swarm_id: "sw-1", node: 0, call_id: "call_1", decision: "accept", idempotency_key: "a" };
    const answered = await openclaw.call("codeswarm_approve", given);
    assert.equal(answered.details.codeswarm.answered, true);
    assert.match(await arrived(2), /^codeswarm: the turn of prompt "p"/);
    assert.equal(openclaw.heartbeats.length, 2);
  } finally {
    await openclaw.end();
  }
});

test("with wake off nobody is woken, and the reply does not promise it", async () => {
  const openclaw = new OpenClaw("dies in mid-turn", { wake: false });
  try {
    openclaw.start();
    const { details } = await openclaw.call("codeswarm_prompt", prompt(0));
    assert.doesNotMatch(details.codeswarm.next, /woken/);
    await openclaw.call("codeswarm_wait", { prompt: "p", timeout_s: 60 });
    assert.deepEqual(openclaw.woken, []);
  } finally {
    await openclaw.end();
  }
});

test("without a service a tool starts the router itself; a service that comes later takes it over", async () => {
  const openclaw = new OpenClaw();
  try {
    const { details } = await openclaw.call("codeswarm_wait", { prompt: "p" });
    assert.equal(details.codeswarm.done, true);
    const pid = shared().swarms.client.pid;
    openclaw.start();
    assert.equal(shared().swarms.client.pid, pid);
  } finally {
    await openclaw.end();
  }
});

test("of a reload, the old service ends its own router, whichever of the two comes first", async () => {
  const old = new OpenClaw();
  const young = new OpenClaw();
  try {
    old.start();
    young.start();
    await old.service.stop();
    const { details } = await young.call("codeswarm_wait", { prompt: "p" });
    assert.equal(details.codeswarm.done, true);
    assert.equal(shared().swarms.isServed, true);
  } finally {
    await young.end();
    await old.end();
  }
});

test("a Gateway that ends releases who waits, and so does the end of the service; then no router is started any more", async () => {
  const openclaw = new OpenClaw("dies in mid-turn");
  try {
    const gateway = new AbortController();
    openclaw.hooks.get("gateway_start")({}, { abortSignal: gateway.signal });
    openclaw.start();
    const waiting = openclaw.call("codeswarm_wait", { swarm_id: "sw-1" });
    gateway.abort();
    const { details } = await waiting;
    assert.equal(details.status, "failed");
    assert.match(details.error, /OpenClaw is stopping; the swarm goes on/);
    await openclaw.service.stop();
    const late = await openclaw.call("codeswarm_wait", { prompt: "p" });
    assert.match(late.details.error, /OpenClaw stops the plugin/);
  } finally {
    await openclaw.end();
  }
});

test("a call that is cancelled throws, and one that is wrong says so", async () => {
  const openclaw = new OpenClaw("dies in mid-turn");
  try {
    openclaw.start();
    const cancel = new AbortController();
    const waiting = openclaw.call("codeswarm_wait", { swarm_id: "sw-1" }, { signal: cancel.signal });
    cancel.abort(new Error("cancelled by the user"));
    await assert.rejects(waiting, /cancelled by the user/);
    for (const [given, sentence] of [
      [{ swarm_id: "s", nodes: "all", text: "x" }, "codeswarm_prompt: idempotency_key is missing"],
      [{ ...prompt(0), text: 7 }, "codeswarm_prompt: text must be a text"],
      [{ ...prompt(0), cwd: "/" }, "codeswarm_prompt has no parameter cwd"],
    ])
      assert.equal((await openclaw.call("codeswarm_prompt", given)).details.error, sentence);
    const help = await openclaw.commands.get("swarm").handler({ args: "help" });
    assert.match(help.text, /^\/swarm /);
  } finally {
    await openclaw.end();
  }
});

test("what is configured", () => {
  assert.deepEqual(settingsOf(undefined, "/home/ada"), { program: "codeswarm", configuration: undefined, wake: true });
  assert.deepEqual(settingsOf({ program: "~/bin/codeswarm", configuration: "~/hpc.json", wake: false }, "/home/ada"), {
    program: "/home/ada/bin/codeswarm",
    configuration: "/home/ada/hpc.json",
    wake: false,
  });
});
