import assert from "node:assert/strict";
import test from "node:test";
import { LONGEST_REPLY, replyText } from "../src/reply.js";
import { Reading } from "../src/tools/output.js";
import { summary } from "../src/tools/status.js";
import { progressText, toldTurns } from "../src/tools/told.js";
import { Turns } from "../src/turns.js";

const recalled = (count) => ({
  swarm_id: "sw-1",
  injections: Array.from({ length: count }, (_, node) => ({ injection_id: `i${node}`, node_id: node })),
});

function ended(count, answer) {
  const turns = new Turns();
  turns.recalled(recalled(count));
  for (let node = 0; node < count; node += 1) {
    turns.hear({ type: "assistant", content: answer, seq: 1, injection_id: `i${node}` });
    turns.hear({ type: "turn_complete", status: "completed", seq: 2, injection_id: `i${node}` });
  }
  return turns;
}

test("of a thousand nodes each end is told once, in replies that are short enough", () => {
  const turns = ended(1_000, '"quoted"\n'.repeat(400));
  const told = [];
  let cursor;
  for (let call = 1; ; call += 1) {
    const reply = toldTurns("p", turns, cursor, true);
    assert.equal(replyText(reply).length <= LONGEST_REPLY, true, `${replyText(reply).length} characters`);
    told.push(...reply.news.map((one) => one.node));
    cursor = reply.cursor;
    if (reply.next.startsWith("all turns have ended")) break;
    assert.equal(reply.news.length > 0 && call < 100, true);
    assert.match(reply.next, /call codeswarm_wait with this cursor at once/);
  }
  assert.deepEqual(
    told,
    Array.from({ length: 1_000 }, (_, node) => node),
  );
  assert.deepEqual(toldTurns("p", turns, cursor, true).news, []);
});

test("a long answer is marked as cut, and a reply says what comes next", () => {
  const [one] = toldTurns("p", ended(1, "x".repeat(5_000)), undefined, false).news;
  assert.deepEqual([one.cut, one.answer.length], [true, 2_001]);
  assert.equal(toldTurns("p", ended(1, "short"), undefined, false).news[0].cut, undefined);
  const turns = new Turns();
  assert.match(toldTurns("p", turns, undefined, false).next, /gave no prompt to any node/);
  turns.recalled(recalled(3));
  assert.match(toldTurns("p", turns, undefined, true).next, /you are woken/);
  assert.match(toldTurns("p", turns, undefined, false).next, /nothing is lost meanwhile/);
});

test("who watches sees what is written, of some nodes", () => {
  const turns = new Turns();
  turns.recalled(recalled(10));
  for (let node = 0; node < 10; node += 1)
    turns.hear({ type: "assistant_delta", content: "x".repeat(10_000), seq: 1, injection_id: `i${node}` });
  const text = progressText(turns);
  assert.match(text, /^0 of 10 turns have ended\nnode 0: … x+\n/);
  assert.equal(text.endsWith("and 2 other nodes") && text.length < 4_000, true, `${text.length}`);
});

test("pages make the text, whatever their size, and the last one says so", () => {
  const say = (reading) => {
    reading.begin();
    reading.recalled(recalled(2));
    const words = [
      { type: "assistant", content: "héllo" },
      { type: "command_completed", command: "ls", output: "a\nb\n", exit_code: 0 },
      { type: "assistant", content: "🐝 wörld\n" },
      { type: "turn_complete", status: "completed" },
    ];
    for (const node of [0, 1])
      words.forEach((word, number) =>
        reading.event({
          ...word,
          content: word.content && `${word.content}`,
          seq: number + 1,
          node_id: node,
          injection_id: `i${node}`,
        }),
      );
    return reading.told("p");
  };
  for (const [detail, whole] of [
    [false, "héllo\n\n🐝 wörld"],
    [true, "héllo\n\n$ ls [exit code 0]\na\nb\n\n🐝 wörld"],
  ])
    for (let limit = 2; limit < 40; limit += 1) {
      let text = "";
      for (let eof = false; !eof;) {
        const page = say(new Reading(1, detail, text.length, limit));
        assert.equal(page.text.length <= limit && page.text.length > 0 && page.text.isWellFormed(), true);
        assert.equal(page.length, whole.length);
        text += page.text;
        eof = page.eof;
      }
      assert.equal(text, whole);
    }
  const again = new Reading(1, false, 0, 100);
  say(again);
  assert.equal(say(again).text, "héllo\n\n🐝 wörld", "another router tells it from the start");
  assert.throws(() => say(new Reading(undefined, false, 0, 10)), /nodes 0-1; say which one/);
  assert.throws(() => say(new Reading(7, false, 0, 10)), /it went to 0-1/);
});

test("a swarm of ten thousand nodes is told in a short reply", () => {
  const nodes = Array.from({ length: 10_000 }, (_, node) => ({
    node_id: node,
    state: node === 3 ? "lost" : "idle",
    turns: 1,
    tokens: 10,
    error: node === 3 ? "\u001b[31mgone" : undefined,
  }));
  const told = summary({ swarm_id: "sw-1", status: "running", node_count: 10_000, nodes });
  assert.equal(replyText(told).length <= LONGEST_REPLY, true);
  assert.deepEqual([told.nodes_by_state, told.tokens], [{ idle: 9_999, lost: 1 }, 100_000]);
  assert.equal(told.nodes_not_shown, 10_000 - told.nodes.length);
  assert.equal(told.nodes[3].error, "gone");
});
