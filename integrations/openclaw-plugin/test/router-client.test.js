import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { Failed, isUnknownRequest, Late } from "../src/failures.js";
import { RouterClient } from "../src/router-client.js";

/** Longer than anything here takes. */
const DEADLINE = 60_000;
const FAKE = join(import.meta.dirname, "fake-router.js");

/** Plays `play` with a client of a fake router of this manner; what the router was asked is handed on. */
async function withRouter(manner, play) {
  const folder = mkdtempSync(join(tmpdir(), "cs-client-"));
  const past = join(folder, "past");
  const logged = [];
  const client = new RouterClient([process.execPath, [FAKE, past, manner]], (words) => logged.push(words));
  try {
    await play(client, () => readFileSync(past, "utf8").trim().split("\n"), logged);
  } finally {
    await client.close();
    rmSync(folder, { recursive: true });
  }
}

const ping = {
  command: { command: "ping" },
  hear: (event) => (event.type === "pong" ? { value: event.pid } : undefined),
};
const inject = {
  command: { command: "inject", content: "x" },
  hear: (event) => (event.type === "inject_ack" ? { value: "accepted" } : undefined),
};

test("a prompt whose router died before it answered is said again under the same name, and accepted", () =>
  withRouter("dies unanswered", async (client, past) => {
    assert.equal(await client.act("p", inject, { ms: DEADLINE }), "accepted");
    assert.deepEqual(past(), ["born", "inject p", "born", "inject p"]);
  }));

test("a turn whose router dies in the middle is told whole and once", () =>
  withRouter("dies in mid-turn", async (client, past) => {
    const followed = client.prompts.follow("p");
    const writing = [];
    followed.watchers.add(() => writing.push(followed.turns.each[0].writing));
    assert.equal(await client.prompts.until(followed, (turns) => turns.isOver, { ms: DEADLINE }), true);
    assert.deepEqual(followed.turns.each[0].answer, { text: "whole answer", isCut: false });
    assert.equal(
      writing.every((text) => "whole answer".startsWith(text)),
      true,
      `${writing}`,
    );
    client.prompts.unfollow(followed);
    assert.deepEqual(past(), ["born", "recall p", "born", "recall p"]);
    // The end may be heard before the recall's own end.
    while (client.open.requests > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(client.open.followed, 0);
  }));

test("what was said is read from its start by each who asks, also beside one another", () =>
  withRouter("", async (client) => {
    const reader = () => {
      const read = {
        text: [],
        begin: () => (read.text = []),
        recalled: () => {},
        event: (event) => read.text.push(event.type),
      };
      return read;
    };
    const readers = [reader(), reader(), reader()];
    const followed = client.prompts.follow("p");
    await Promise.all(readers.map((one) => client.prompts.read("p", one, { ms: DEADLINE })));
    for (const { text } of readers)
      assert.deepEqual(text, [
        "inject_ack",
        "turn_started",
        "assistant_delta",
        "assistant_delta",
        "assistant",
        "turn_complete",
      ]);
    assert.equal(await client.prompts.until(followed, (turns) => turns.isOver, { ms: DEADLINE }), true);
    client.prompts.unfollow(followed);
  }));

test("an unknown name is told as that, and known once it is", () =>
  withRouter("", async (client) => {
    const followed = client.prompts.follow("nothing");
    await assert.rejects(
      client.prompts.until(followed, () => true, { ms: DEADLINE }),
      isUnknownRequest,
    );
    client.prompts.unfollow(followed);
    await assert.rejects(
      client.prompts.read("nothing", { begin() {}, recalled() {}, event() {} }, { ms: DEADLINE }),
      isUnknownRequest,
    );
  }));

test("who waits is released by time and by a signal, and a router that reads nothing is no deadlock", () =>
  withRouter("deaf", async (client) => {
    await assert.rejects(
      client.look(ping, { ms: 50, late: "later" }),
      (error) => error instanceof Late && error.message === "later",
    );
    const cancel = new AbortController();
    const content = { ...inject, command: { command: "inject", content: "x".repeat(1024 * 1024) } };
    const waiting = client.act("p", content, { ms: DEADLINE, signal: cancel.signal });
    cancel.abort(new Error("cancelled"));
    await assert.rejects(waiting, /cancelled/);
    assert.equal(client.open.requests, 1, "what acts is kept, what looks is not");
    const many = Array.from({ length: 70 }, (_, number) =>
      client.act(`p${number}`, content, { ms: 50 }).catch((error) => error),
    );
    const errors = await Promise.all(many);
    assert.equal(
      errors.some((error) => /too much is waiting/.test(error.message)),
      true,
    );
    assert.equal(client.open.requests < 64, true);
  }));

test("all who wait are released when the client closes, and nothing is asked any more", () =>
  withRouter("deaf", async (client) => {
    const followed = client.prompts.follow("p");
    const waiting = [client.look(ping, { ms: DEADLINE }), client.prompts.until(followed, () => true, { ms: DEADLINE })];
    const released = waiting.map((one) => assert.rejects(one, /the plugin/));
    client.release(new Failed("OpenClaw ends the plugin"));
    await Promise.all(released);
    await assert.rejects(client.look(ping, { ms: DEADLINE }), /the plugin/);
  }));

test("a configuration that cannot be used, and a program that is not there, are told in a sentence with what to do", async () => {
  await withRouter("78", async (client, _past, logged) => {
    await assert.rejects(client.look(ping, { ms: DEADLINE }), /ended with 78: line 3: cluster.backend is not known/);
    assert.match(logged.at(-1), /started again in/);
  });
  const client = new RouterClient(["/nowhere/codeswarm", []], () => {});
  await assert.rejects(
    client.look(ping, { ms: DEADLINE }),
    /\/nowhere\/codeswarm cannot be started \(ENOENT\); set plugins.entries.codeswarm.config.program/,
  );
  await client.close();
});

test("the router leaves when its input ends", () =>
  withRouter("", async (client) => {
    const pid = await client.look(ping, { ms: DEADLINE });
    assert.equal(client.pid, pid);
    await client.close();
    assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
  }));
