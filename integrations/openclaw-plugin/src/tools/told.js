// What a call tells of a prompt's turns. Pure.

import { head, shortened } from "../reply.js";
import { Cursor } from "../turns.js";

/** So many turns that go on, and questions, are described. */
const PENDING = 8;
const QUESTIONS = 20;

/** @typedef {import("../turns.js").Turns} Turns */

/**
 * @param {string} name the prompt
 * @param {Turns} turns
 * @param {unknown} given the cursor of an earlier answer
 * @param {boolean} wakesLater whether the session is woken by itself when all have ended
 */
export function toldTurns(name, turns, given, wakesLater) {
  const cursor = new Cursor(given);
  const ends = cursor.newEnds(turns);
  const room = Math.min(Math.max(Math.floor(8_000 / Math.max(ends.length, 1)), 60), 2_000);
  const pending = turns.pending;
  /** @type {Record<string, any>} */
  const value = {
    prompt: name,
    swarm_id: turns.swarmId,
    done: pending.length === 0,
    turns: turns.count,
    pending: pending.length,
    news: ends.map((turn) => told(turn, room)),
    questions: cursor.newQuestions(turns).slice(0, QUESTIONS),
    going_on: pending.slice(0, PENDING).map(({ node, doing }) => ({ node, doing })),
  };
  // Room for what is said behind it.
  value.cursor = cursor.after(turns, new Set(ends.map((turn) => turn.node)));
  value.next = " ".repeat(300);
  const shown = shortened(value, "news");
  value.cursor = cursor.after(turns, new Set(ends.slice(0, shown).map((turn) => turn.node)));
  value.next = next(turns, ends.length - shown, wakesLater);
  return value;
}

/** @param {import("../turns.js").Turn} turn @param {number} room */
function told({ node, end, answer }, room) {
  const [text, isAll] = head(answer?.text ?? "", room);
  return {
    node,
    status: end?.how,
    ...(end?.why !== undefined && { why: end.why }),
    ...(answer && { answer: text }),
    ...(answer && (answer.isCut || !isAll) && { cut: true }),
  };
}

/** @param {Turns} turns @param {number} left @param {boolean} wakesLater */
function next(turns, left, wakesLater) {
  if (turns.count === 0)
    return "this request gave no prompt to any node; codeswarm_wait with swarm_id waits for the swarm itself";
  if (left > 0) return "more turns have ended: call codeswarm_wait with this cursor at once";
  if (turns.isOver) return "all turns have ended; codeswarm_output has the whole text of a node's answer";
  if (turns.pending.some((turn) => turn.questions.size > 0))
    return "an agent asks whether it may: codeswarm_approve answers, then call codeswarm_wait with this cursor";
  return wakesLater
    ? "the turns go on: end your turn, and you are woken when all have ended; or call codeswarm_wait with this cursor"
    : "the turns go on: call codeswarm_wait with this cursor, or come back later; nothing is lost meanwhile";
}

/**
 * What somebody who watches the call sees meanwhile.
 * @param {Turns} turns
 */
export function progressText(turns) {
  const pending = turns.pending;
  const lines = pending.slice(0, PENDING).map(({ node, doing, writing }) => {
    const words = writing.trim();
    return `node ${node}: ${words === "" ? doing : `… ${words}`}`;
  });
  if (pending.length > PENDING) lines.push(`and ${pending.length - PENDING} other nodes`);
  return [`${turns.count - pending.length} of ${turns.count} turns have ended`, ...lines].join("\n");
}
