import assert from "node:assert/strict";
import test from "node:test";
import { LineSplitter } from "../src/lines.js";

test("lines are the same in whatever pieces they come", () => {
  const whole = Buffer.from("Grüße\n\nzwei 🐝\nund kein Ende");
  for (let size = 1; size <= whole.length; size += 1) {
    const lines = new LineSplitter();
    const heard = [];
    for (let at = 0; at < whole.length; at += size) heard.push(...lines.push(whole.subarray(at, at + size)));
    assert.deepEqual(heard, ["Grüße", "", "zwei 🐝"], `pieces of ${size}`);
  }
});

test("a line beyond the limit is passed over, in whatever pieces it comes, and the next one is heard", () => {
  const whole = Buffer.from("short\n123456789\nshort again\n");
  for (let size = 1; size <= whole.length; size += 1) {
    const lines = new LineSplitter(11);
    const narrow = new LineSplitter(8);
    const heard = [];
    const heardNarrow = [];
    for (let at = 0; at < whole.length; at += size) {
      heard.push(...lines.push(whole.subarray(at, at + size)));
      heardNarrow.push(...narrow.push(whole.subarray(at, at + size)));
    }
    assert.deepEqual(heard, ["short", "123456789", "short again"]);
    assert.deepEqual(heardNarrow, ["short"]);
  }
});
