import assert from "node:assert/strict";
import test from "node:test";
import { Backoff } from "../src/backoff.js";

test("pauses double up to half a minute, and a router that lived long is no failure in a row", () => {
  const backoff = new Backoff(() => 0);
  const pauses = Array.from({ length: 10 }, () => backoff.after(10));
  assert.deepEqual(pauses, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
  assert.equal(backoff.after(60_000), 200);
  assert.equal(backoff.after(10), 400);
});

test("pauses of many differ, by a fifth at most", () => {
  assert.equal(new Backoff(() => 1).after(0), 240);
});
