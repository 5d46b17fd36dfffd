// The router as a child process: its pipes, its death, its next life. Knows lines and no command.

import { spawn } from "node:child_process";
import { LineSplitter } from "./lines.js";
import { Backoff } from "./backoff.js";

/** How long it may take to leave when its standard input has ended (it promises two seconds), and after SIGTERM. */
const LEAVES_WITHIN = 5_000;
const ENDS_WITHIN = 2_000;
/** So much of its standard error is kept for the sentence that needs it. */
const KEPT_ERRORS = 4_000;
/** A start that failed for good is not tried more often than this, however many ask. */
const ASKED_AGAIN = 1_000;

/** Exit statuses that another start does not change: wrong use, and a configuration that cannot be used. */
const WRONG_USE = 2;
const WRONG_CONFIGURATION = 78;

/**
 * @typedef {object} Hearer
 * @property {() => void} up a router takes lines; what is open is said again
 * @property {(line: string) => void} line it has said something
 * @property {(why: string, forGood: boolean) => void} down it has gone; `forGood` when somebody must do something first
 */

export class RouterProcess {
  #command;
  #hearer;
  #log;
  #backoff = new Backoff();
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #child;
  /** @type {string[]} */
  #queue = [];
  #takes = false;
  /** @type {NodeJS.Timeout | undefined} */
  #again;
  #stopping = false;
  #triedAt = 0;
  #errors = "";

  /**
   * @param {[program: string, words: string[]]} command
   * @param {Hearer} hearer
   * @param {(words: string) => void} log
   */
  constructor(command, hearer, log) {
    this.#command = command;
    this.#hearer = hearer;
    this.#log = log;
  }

  get pid() {
    return this.#child?.pid;
  }

  /** Starts it, if it does not run; while a pause after a failure lasts only when somebody asks. */
  start() {
    if (this.#child || this.#stopping || Date.now() - this.#triedAt < ASKED_AGAIN) return;
    clearTimeout(this.#again);
    this.#triedAt = Date.now();
    const [program, words] = this.#command;
    // A process group of its own, so that Ctrl-C on the terminal of OpenClaw ends it by the end of its input, in order.
    let child;
    try {
      child = spawn(program, words, { stdio: "pipe", detached: true });
    } catch (error) {
      this.#gone(cannotStart(program, /** @type {Error} */ (error)), true);
      return;
    }
    this.#child = child;
    this.#errors = "";
    const lines = new LineSplitter();
    child.stdout.on("data", (piece) => lines.push(piece).forEach((line) => this.#hearer.line(line)));
    child.stderr.on("data", (piece) => {
      this.#errors = (this.#errors + piece.toString("utf8")).slice(-KEPT_ERRORS);
    });
    // That it reads no more is told by its end.
    child.stdin.on("error", () => {});
    child.stdin.on("drain", () => this.#write(child));
    child.on("error", (error) => this.#ended(child, cannotStart(program, error), true));
    child.on("close", (code, signal) => {
      const how = signal ? `was ended by ${signal}` : `ended with ${code}`;
      const forGood = code === WRONG_USE || code === WRONG_CONFIGURATION;
      this.#ended(child, `the router ${how}${this.#lastWords()}`, forGood);
    });
    child.on("spawn", () => {
      this.#log(`router started, process ${child.pid}`);
      this.#takes = true;
      this.#hearer.up();
    });
    // A command of OpenClaw that is done may end although the router lives; its pipes end with it.
    child.unref();
    for (const pipe of [child.stdin, child.stdout, child.stderr])
      /** @type {import("node:net").Socket} */ (pipe).unref?.();
  }

  /**
   * Says a line as soon as it is read; nothing where no router runs, since the next one is told all that is open. How much
   * may wait is for whoever calls to bound.
   * @param {string} line
   */
  say(line) {
    if (!this.#child || !this.#takes) return;
    this.#queue.push(line);
    this.#write(this.#child);
  }

  /** Ends the router and not its swarms: its input ends, and it leaves by itself. */
  async stop() {
    this.#stopping = true;
    clearTimeout(this.#again);
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const closed = new Promise((resolve) => child.once("close", resolve));
    child.ref();
    child.stdin?.end();
    if (await within(closed, LEAVES_WITHIN)) return;
    child.kill("SIGTERM");
    if (await within(closed, ENDS_WITHIN)) return;
    child.kill("SIGKILL");
    await within(closed, ENDS_WITHIN);
  }

  /** @param {import("node:child_process").ChildProcess} child */
  #write(child) {
    if (child !== this.#child || !child.stdin?.writable) return;
    let written = 0;
    while (written < this.#queue.length && !child.stdin.writableNeedDrain) {
      child.stdin.write(`${this.#queue[written]}\n`);
      written += 1;
    }
    this.#queue.splice(0, written);
  }

  /**
   * @param {import("node:child_process").ChildProcess} child
   * @param {string} why
   * @param {boolean} forGood
   */
  #ended(child, why, forGood) {
    if (child !== this.#child) return;
    this.#child = undefined;
    this.#takes = false;
    this.#queue = [];
    if (!this.#stopping) this.#gone(why, forGood);
  }

  /** @param {string} why @param {boolean} forGood */
  #gone(why, forGood) {
    const pause = this.#backoff.after(Date.now() - this.#triedAt);
    this.#log(`${why}; started again in ${pause} ms`);
    this.#again = setTimeout(() => {
      this.#triedAt = 0;
      this.start();
    }, pause);
    this.#again.unref();
    this.#hearer.down(why, forGood);
  }

  #lastWords() {
    const lines = this.#errors.trim().split("\n").slice(-3);
    const words = lines.join(" / ").trim();
    return words === "" ? "" : `: ${words.slice(-600)}`;
  }
}

/** @param {string} program @param {NodeJS.ErrnoException} error */
function cannotStart(program, error) {
  const advice = "set plugins.entries.codeswarm.config.program to the path of the codeswarm command";
  return `${program} cannot be started (${error.code ?? error.message}); ${advice}`;
}

/** @param {Promise<unknown>} done @param {number} ms */
async function within(done, ms) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, ms, false)));
  const inTime = await Promise.race([done.then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}
