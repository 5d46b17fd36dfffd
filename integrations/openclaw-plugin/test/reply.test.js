import assert from "node:assert/strict";
import test from "node:test";
import { fits, head, LONGEST_REPLY, names, plain, ranks, shortened, tail } from "../src/reply.js";

test("ranks read back", () => {
  assert.equal(ranks([8, 0, 1, 2, 5, 7, 1]), "0-2,5,7-8");
  for (let node = 0; node < 10; node += 1) assert.equal(names("0-2,5,7-8", node), [0, 1, 2, 5, 7, 8].includes(node));
  assert.equal(ranks([]), "");
  for (const nonsense of ["", "all", "-", "3-1", "1-", "é"]) assert.equal(names(nonsense, 1), false, nonsense);
});

test("a reply is shortened until it fits", () => {
  const value = { news: Array.from({ length: 1_000 }, () => "é".repeat(100)), cursor: "x" };
  const left = shortened(value, "news");
  assert.equal(fits(value) && left > 50 && left === value.news.length, true, `${left}`);
  assert.equal(shortened({ news: [1, 2] }, "news"), 2);
  assert.equal(shortened({ news: [], text: "x".repeat(LONGEST_REPLY) }, "news"), 0);
});

test("a head says whether it is all, a tail is the end, and no character is cut in two", () => {
  assert.deepEqual(head("hé\u001b[2Jllo", 5), ["héllo", true]);
  assert.deepEqual(head("héllo", 2), ["hé…", false]);
  assert.deepEqual(head("🐝🐝", 3), ["🐝…", false]);
  assert.equal(tail("🐝🐝", 3), "🐝");
  assert.equal(tail("ab", 3), "ab");
  assert.equal(head("\u001b[31m".repeat(100), 5)[0], "…");
});

test("no terminal obeys what an agent says", () => {
  assert.equal(plain("a\u001b]0;title\u0007b\u001b[1;31mc\rd\u0000\u202ee\tf\ng"), "abcde\tf\ng");
});
