// What has become of one prompt's turns, as far as events have told. Pure. Events may be told again, by another router or
// because somebody asked again: what lies at or before the last position that was heard of a turn changes nothing.

import { head, names, plain, ranks, tail } from "./reply.js";

/** So much of an answer, and of a message that is being written, is kept. */
const ANSWER = 2_000;
const WRITING = 400;

/** @typedef {import("./requests.js").Event} Event */

/** The last position that was heard of a stream. */
export class Position {
  #seq = -1;
  #sub = 0;

  /**
   * Whether an event lies behind it; then it is the last one from now on. What has no position always does.
   * @param {Event} event
   */
  passes({ seq, sub = 0 }) {
    if (seq === undefined) return true;
    if (seq < this.#seq || (seq === this.#seq && sub <= this.#sub)) return false;
    this.#seq = seq;
    this.#sub = sub;
    return true;
  }
}

/** What an event was: an end or something about questions, anything else, or nothing new. */
/** @typedef {"news" | "progress" | undefined} Heard */

const NEWS = new Set(["turn_complete", "inject_failed", "approval_required", "approval_resolved"]);

export class Turn {
  /** @type {{ how: string, why?: string } | undefined} */
  end;
  doing = "waiting to be delivered";
  /** @type {{ text: string, isCut: boolean } | undefined} the last whole message */
  answer;
  /** The end of what is being written. */
  writing = "";
  /** @type {Map<string, string>} what it asks and nobody has answered, by the question's name */
  questions = new Map();
  #position = new Position();

  /** @param {number} node */
  constructor(node) {
    this.node = node;
  }

  /**
   * @param {Event} event
   * @returns {Heard}
   */
  hear(event) {
    if (!this.#position.passes(event)) return undefined;
    this.#take(event);
    return NEWS.has(event.type ?? "") ? "news" : "progress";
  }

  /** @param {Event} event */
  #take(event) {
    switch (event.type) {
      case "inject_ack":
        this.doing = "accepted";
        break;
      case "inject_delivered":
        this.doing = "delivered to its node, which has not read it yet";
        break;
      case "inject_pending":
        this.doing = head(event.reason, 200)[0];
        break;
      case "inject_received":
        this.doing = `waiting behind ${event.queued_behind} other prompts`;
        break;
      case "turn_started":
        this.doing = "started";
        break;
      case "assistant_delta":
        this.doing = "writing";
        this.writing = tail(this.writing + plain(event.content), WRITING);
        break;
      case "assistant": {
        const [text, isAll] = head(event.content, ANSWER);
        this.answer = { text, isCut: !isAll };
        this.doing = "writing";
        this.writing = "";
        break;
      }
      case "reasoning":
      case "reasoning_delta":
        this.doing = "thinking";
        break;
      case "command_started":
        this.doing = `running ${head(event.command, 100)[0]}`;
        break;
      case "command_completed":
        this.doing = `has run ${head(event.command, 100)[0]}`;
        break;
      case "tool_started":
        this.doing = `using ${head(event.name, 60)[0]}`;
        break;
      case "file_change":
        this.doing = `changed ${event.changes.length} files`;
        break;
      case "approval_required":
        this.questions.set(event.call_id, head(event.command, 500)[0]);
        this.doing = "asks whether it may";
        break;
      case "approval_resolved":
        this.questions.delete(event.call_id);
        break;
      case "inject_failed":
        this.#ended("not_started", event.reason);
        break;
      case "turn_complete":
        this.#ended(event.status, event.error?.message);
        break;
    }
  }

  /** @param {string} how @param {string | undefined} why */
  #ended(how, why) {
    this.end ??= why === undefined ? { how } : { how, why: head(why, 300)[0] };
    this.questions.clear();
    this.writing = "";
  }
}

export class Turns {
  /** @type {string | undefined} */
  swarmId;
  /** @type {Map<string, Turn>} by injection */
  #turns = new Map();
  /** @type {Turn[]} each, in the order of their nodes */
  each = [];

  /**
   * Which prompts there are; said again it changes nothing.
   * @param {Event} recalled
   */
  recalled(recalled) {
    this.swarmId = recalled.swarm_id;
    for (const { injection_id, node_id } of recalled.injections)
      if (!this.#turns.has(injection_id)) this.#turns.set(injection_id, new Turn(node_id));
    this.each = [...this.#turns.values()].sort((one, other) => one.node - other.node);
  }

  /**
   * @param {Event} event
   * @returns {Heard}
   */
  hear(event) {
    return this.#turns.get(event.injection_id)?.hear(event);
  }

  get injections() {
    return this.#turns.keys();
  }

  get count() {
    return this.#turns.size;
  }

  get pending() {
    return this.each.filter((turn) => !turn.end);
  }

  get isOver() {
    return this.each.every((turn) => turn.end);
  }

  /** How many ended in which way. */
  get ends() {
    /** @type {Record<string, number>} */
    const ends = {};
    for (const { end } of this.each) if (end) ends[end.how] = (ends[end.how] ?? 0) + 1;
    return ends;
  }
}

/** What an earlier answer has covered: ends by node, and questions by name. As text: `0-3,7;call_3`. */
export class Cursor {
  #ends;
  #questions;

  /** @param {unknown} text as a model gives it back; what is none covers nothing */
  constructor(text) {
    const [ends, ...questions] = typeof text === "string" ? text.split(";") : [""];
    this.#ends = ends;
    this.#questions = new Set(questions);
  }

  /** @param {Turns} turns */
  newEnds(turns) {
    return turns.each.filter((turn) => turn.end && !names(this.#ends, turn.node));
  }

  /** @param {Turns} turns */
  newQuestions(turns) {
    return turns.pending.flatMap(({ node, questions }) =>
      [...questions]
        .filter(([name]) => !this.#questions.has(name))
        .map(([name, asks]) => ({ node, call_id: name, asks })),
    );
  }

  /**
   * The cursor that covers what this one does, these ends, and all open questions.
   * @param {Turns} turns
   * @param {Set<number>} told
   */
  after(turns, told) {
    const covered = turns.each.filter(({ end, node }) => end && (told.has(node) || names(this.#ends, node)));
    const questions = turns.pending.flatMap((turn) => [...turn.questions.keys()]);
    return [ranks(covered.map((turn) => turn.node)), ...questions].join(";");
  }
}
