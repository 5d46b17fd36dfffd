// codeswarm_output: what one node said to one prompt, page by page. Only the page is kept.

import { Failed } from "../failures.js";
import { fits, head, plain, ranks, whole } from "../reply.js";
import { Turns } from "../turns.js";
import { count, flag, parameters, promptName } from "./schema.js";
import { aboutPrompt } from "./wait.js";

/** Reading a long past takes a while. */
const PATIENCE = 50_000;
/** Characters of a page, if nothing is said, and at most. */
const PAGE = 6_000;
const LONGEST_PAGE = 8_000;
/** So much of what a command printed is shown. */
const PRINTED = 2_000;

export const output = {
  name: "codeswarm_output",
  label: "Read an answer",
  description:
    "Read the whole answer of one node to a prompt, page by page; with detail also the shell commands it ran, what they printed, and " +
    "the files it changed. Works while the node is still at it, and after its swarm has ended.",
  parameters: parameters(
    {
      prompt: promptName,
      node: count("Which node's answer; may be left out if the prompt went to one node.", undefined, 0),
      offset: count("Where to begin, in characters; next_offset of the page before.", undefined, 0),
      limit: count(`How many characters at most; ${PAGE} if left out.`, LONGEST_PAGE),
      detail: flag("Also the commands that the agent ran, what they printed, and the files that it changed."),
    },
    ["prompt"],
  ),
  /** @param {any} given @param {import("./index.js").Call} call */
  async run(given, call) {
    // Of two characters at least, so that a pair fits and each page gets on.
    const limit = Math.min(Math.max(given.limit ?? PAGE, 2), LONGEST_PAGE);
    const reading = new Reading(given.node, given.detail === true, given.offset ?? 0, limit);
    const late = "what the node said could not be read in 50 s; call codeswarm_output again with the same arguments";
    try {
      await call.swarms.client.prompts.read(given.prompt, reading, { ms: PATIENCE, late, signal: call.signal });
    } catch (error) {
      throw aboutPrompt(given.prompt, error);
    }
    return reading.told(given.prompt);
  },
};

/** Collects one page while the past is told. */
export class Reading {
  #turns = new Turns();
  /** @type {Page} */
  #page;

  /** @param {number | undefined} node @param {boolean} detail @param {number} offset @param {number} limit */
  constructor(node, detail, offset, limit) {
    this.node = node;
    this.detail = detail;
    this.offset = offset;
    this.limit = limit;
    this.#page = new Page(offset, limit);
  }

  begin() {
    this.#turns = new Turns();
    this.#page = new Page(this.offset, this.limit);
  }

  /** @param {import("../requests.js").Event} event */
  recalled(event) {
    this.#turns.recalled(event);
  }

  /** @param {import("../requests.js").Event} event */
  event(event) {
    this.#turns.hear(event);
    if (this.node !== undefined && event.node_id !== this.node) return;
    if (event.type === "assistant") this.#page.paragraph(event.content);
    if (!this.detail) return;
    if (event.type === "command_completed") {
      const code = event.exit_code === undefined ? "" : ` [exit code ${event.exit_code}]`;
      this.#page.paragraph(`$ ${event.command.trimEnd()}${code}\n${head(event.output, PRINTED)[0]}`);
    }
    if (event.type === "file_change")
      this.#page.paragraph(`changed ${event.changes.map((/** @type {any} */ change) => change.path).join(", ")}`);
  }

  /** @param {string} prompt */
  told(prompt) {
    const turns = this.#turns.each;
    const to = ranks(turns.map((turn) => turn.node));
    if (turns.length === 0) throw new Failed("this request gave no prompt to any node");
    if (this.node === undefined && turns.length > 1)
      throw new Failed(`the prompt went to nodes ${to}; say which one as node`);
    const turn = this.node === undefined ? turns[0] : turns.find(({ node }) => node === this.node);
    if (!turn) throw new Failed(`the prompt did not go to that node; it went to ${to}`);
    // Newlines and quotes take two characters in a reply.
    for (let text = this.#page.text; ; text = whole(text, Math.floor((text.length * 9) / 10))) {
      const next = this.offset + text.length;
      const value = {
        prompt,
        node: turn.node,
        status: turn.end?.how ?? "running",
        why: turn.end?.why,
        text,
        offset: this.offset,
        next_offset: next,
        length: this.#page.length,
        eof: next >= this.#page.length && turn.end !== undefined,
      };
      if (fits(value) || text === "") return value;
    }
  }
}

/** Some characters of a text that comes in paragraphs. */
class Page {
  text = "";
  length = 0;
  #offset;
  #limit;

  /** @param {number} offset @param {number} limit */
  constructor(offset, limit) {
    this.#offset = offset;
    this.#limit = limit;
  }

  /** @param {string} text */
  paragraph(text) {
    if (this.length > 0) this.#add("\n\n");
    this.#add(plain(text).trimEnd());
  }

  /** @param {string} piece */
  #add(piece) {
    const from = Math.max(this.#offset - this.length, 0);
    const room = this.#limit - this.text.length;
    // A page that is full takes nothing more, also where a pair did not fit into its last place.
    if (room > 0 && from < piece.length && this.length + from === this.#offset + this.text.length)
      this.text += whole(piece.slice(from), room);
    this.length += piece.length;
  }
}
