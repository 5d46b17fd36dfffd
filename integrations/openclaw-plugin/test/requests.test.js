import assert from "node:assert/strict";
import test from "node:test";
import { Failed } from "../src/failures.js";
import { Requests } from "../src/requests.js";

const pong = () => ({
  command: { command: "ping" },
  hear: (event) => (event.type === "pong" ? { value: event.pid } : undefined),
});

test("an answer goes to whoever asked under its name, and to nobody twice", async () => {
  const requests = new Requests();
  const one = requests.open("a", pong());
  const other = requests.open("b", pong());
  assert.equal(one.line, '{"command":"ping","request_id":"a"}');
  requests.hear({ type: "pong", request_id: "b", pid: 2 });
  requests.hear({ type: "pong", request_id: "b", pid: 3 });
  requests.hear({ type: "link", up: true });
  requests.hear({ type: "pong", request_id: "a", pid: 1 });
  assert.deepEqual(await Promise.all([one.answer, other.answer]), [1, 2]);
  assert.equal(requests.size, 0);
});

test("what is not answered is said to the next router under the same name, and heard from its start", async () => {
  const requests = new Requests();
  let acknowledged = 0;
  const inject = {
    command: { command: "inject", nodes: "all" },
    begin: () => (acknowledged = 0),
    hear: () => ((acknowledged += 1) === 2 ? { value: acknowledged } : undefined),
  };
  const { line, answer } = requests.open("p", inject);
  requests.hear({ type: "inject_ack", request_id: "p" });
  assert.deepEqual(requests.again(), [line]);
  requests.hear({ type: "inject_ack", request_id: "p" });
  assert.equal(requests.size, 1, "the first router's word is not counted with the second one's");
  requests.hear({ type: "inject_ack", request_id: "p" });
  assert.equal(await answer, 2);
  assert.deepEqual(requests.again(), []);
});

test("a refusal is the router's sentence", async () => {
  const requests = new Requests();
  const { answer } = requests.open("a", pong());
  requests.hear({ type: "command_rejected", request_id: "a", code: "unknown_swarm", reason: "there is no swarm x" });
  await assert.rejects(answer, { code: "unknown_swarm", message: "there is no swarm x" });
});

test("the same name with the same content joins, with another content it is refused", async () => {
  const requests = new Requests();
  const first = requests.open("a", pong());
  const second = requests.open("a", pong());
  assert.equal(second.line, undefined);
  const other = requests.open("a", { command: { command: "swarm_list" }, hear: () => undefined });
  await assert.rejects(other.answer, { code: "request_id_reused" });
  requests.hear({ type: "pong", request_id: "a", pid: 7 });
  assert.deepEqual(await Promise.all([first.answer, second.answer]), [7, 7]);
});

test("no more is held than 64 MiB and 512 questions", async () => {
  const requests = new Requests();
  const content = "x".repeat(30 * 1024 * 1024);
  const big = () => ({ command: { command: "inject", content }, hear: () => undefined });
  const held = [requests.open("1", big()), requests.open("2", big())];
  await assert.rejects(requests.open("3", big()).answer, /too much is waiting/);
  requests.drop("1");
  await assert.rejects(held[0].answer, Failed);
  held.push(requests.open("3", big()));
  assert.notEqual(held[2].line, undefined, "there is room again");
  for (let number = requests.size; number < 512; number += 1) held.push(requests.open(`small ${number}`, pong()));
  await assert.rejects(requests.open("one more", pong()).answer, /too much is waiting/);
  const failed = held.slice(1).map(({ answer }) => assert.rejects(answer, /the end/));
  requests.fail(new Failed("the end"));
  await Promise.all(failed);
  assert.equal(requests.size, 0);
  assert.notEqual(requests.open("after", pong()).line, undefined);
});
