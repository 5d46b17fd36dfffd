import assert from "node:assert/strict";
import test from "node:test";
import { Cursor, Turns } from "../src/turns.js";

const recalled = (count) => ({
  type: "recalled",
  swarm_id: "sw-1",
  injections: Array.from({ length: count }, (_, node) => ({ injection_id: `i${node}`, job_id: "7", node_id: node })),
});

/** What a turn of one node says, from its acceptance to its end. */
function story(node, answer, first = 1) {
  const about = { injection_id: `i${node}`, node_id: node };
  const worker = [
    { type: "turn_started" },
    ...[...answer].map((content) => ({ type: "assistant_delta", content })),
    { type: "assistant", content: answer },
    { type: "turn_complete", status: "completed" },
  ];
  return [
    { type: "inject_ack", seq: first - 1, sub: 1, ...about },
    { type: "inject_delivered", seq: first - 1, sub: 2, ...about },
    ...worker.map((event, number) => ({ ...event, seq: first + number, ...about })),
  ];
}

test("a turn goes through its states to one end", () => {
  const turns = new Turns();
  turns.recalled(recalled(1));
  const doing = story(0, "Hi").map((event) => (turns.hear(event), turns.each[0].doing));
  assert.deepEqual(doing, [
    "accepted",
    "delivered to its node, which has not read it yet",
    "started",
    "writing",
    "writing",
    "writing",
    "writing",
  ]);
  assert.deepEqual(turns.each[0].end, { how: "completed" });
  assert.deepEqual(turns.each[0].answer, { text: "Hi", isCut: false });
  assert.equal(turns.isOver, true);
});

test("what is told again from the start, at whatever place a router died, changes nothing and doubles nothing", () => {
  const whole = story(0, "one two three");
  const once = new Turns();
  once.recalled(recalled(1));
  for (const event of whole) once.hear(event);
  for (let cut = 0; cut <= whole.length; cut += 1) {
    const turns = new Turns();
    turns.recalled(recalled(1));
    const heard = whole.slice(0, cut).map((event) => turns.hear(event));
    turns.recalled(recalled(1));
    const again = whole.map((event) => turns.hear(event));
    assert.equal(
      again.slice(0, cut).every((one) => one === undefined),
      true,
      `cut at ${cut}`,
    );
    assert.equal([...heard, ...again].filter((one) => one === "news").length, 1, `one end, cut at ${cut}`);
    assert.deepEqual(turns, once, `cut at ${cut}`);
  }
});

test("words of the router and of the worker about one place are told apart", () => {
  const turns = new Turns();
  turns.recalled(recalled(1));
  const about = { injection_id: "i0" };
  assert.equal(turns.hear({ type: "inject_ack", seq: 4, sub: 1, ...about }), "progress");
  assert.equal(turns.hear({ type: "inject_delivered", seq: 4, sub: 2, ...about }), "progress");
  assert.equal(turns.hear({ type: "inject_ack", seq: 4, sub: 1, ...about }), undefined);
  assert.equal(
    turns.hear({ type: "turn_complete", status: "failed", error: { message: "gone" }, seq: 4, sub: 3, ...about }),
    "news",
  );
  assert.deepEqual(turns.each[0].end, { how: "failed", why: "gone" });
});

test("a cursor tells each end and each question once", () => {
  const turns = new Turns();
  turns.recalled(recalled(4));
  for (const event of [...story(0, "a"), ...story(2, "c")]) turns.hear(event);
  turns.hear({ type: "approval_required", call_id: "call_1", command: "rm x", seq: 5, injection_id: "i1" });
  const first = new Cursor(undefined);
  assert.deepEqual(
    first.newEnds(turns).map((turn) => turn.node),
    [0, 2],
  );
  assert.deepEqual(first.newQuestions(turns), [{ node: 1, call_id: "call_1", asks: "rm x" }]);
  const text = first.after(turns, new Set([0, 2]));
  assert.equal(text, "0,2;call_1");
  const second = new Cursor(text);
  assert.deepEqual([second.newEnds(turns), second.newQuestions(turns)], [[], []]);
  for (const event of story(3, "d")) turns.hear(event);
  turns.hear({ type: "approval_resolved", call_id: "call_1", seq: 6, injection_id: "i1" });
  assert.deepEqual(
    second.newEnds(turns).map((turn) => turn.node),
    [3],
  );
  assert.equal(second.after(turns, new Set([3])), "0,2-3");
  for (const nonsense of [7, "all", ";;", "9999999999", "-"])
    assert.deepEqual(
      new Cursor(nonsense).newEnds(turns).map((turn) => turn.node),
      [0, 2, 3],
    );
});

test("little is kept of what is long", () => {
  const turns = new Turns();
  turns.recalled(recalled(1));
  const about = { injection_id: "i0" };
  for (let seq = 1; seq <= 2_000; seq += 1)
    turns.hear({ type: "assistant_delta", content: "🐝 word ".repeat(50), seq, ...about });
  assert.equal(turns.each[0].writing.length <= 400, true);
  assert.equal(turns.each[0].writing.isWellFormed(), true);
  turns.hear({ type: "assistant", content: "🐝".repeat(4_000_000), seq: 2_001, ...about });
  assert.equal(turns.each[0].answer.isCut, true);
  assert.equal(turns.each[0].answer.text.length <= 2_001, true);
  assert.equal(turns.each[0].answer.text.isWellFormed(), true);
});
