// A program that keeps a router as its child, in Node.js: `node router_client.mjs CODESWARM CONFIG`.
// Prints one JSON object about what it saw, and exits with 1 if anything was not as promised.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";

const [program, config] = process.argv.slice(2);
const NODES = 2;

const router = spawn(program, ["router", "--config", config, "--daemon"], { stdio: ["pipe", "pipe", "pipe"] });
const exited = new Promise((resolve) => router.once("exit", (code, signal) => resolve({ code, signal })));
const closed = new Promise((resolve) => router.once("close", resolve));

let log = "";
router.stderr.setEncoding("utf8").on("data", (text) => (log += text));

const events = [];
const stray = [];
const waiting = [];

createInterface({ input: router.stdout, crlfDelay: Infinity }).on("line", (line) => {
  let event;
  try {
    event = JSON.parse(line);
  } catch {
    stray.push(line);
    return;
  }
  events.push(event);
  for (const wait of waiting.filter(({ wanted }) => wanted(event))) {
    waiting.splice(waiting.indexOf(wait), 1);
    wait.resolve(event);
  }
});

/** The first event, from the very first on, that is wanted. */
function event(wanted) {
  const found = events.find(wanted);
  return found ? Promise.resolve(found) : new Promise((resolve) => waiting.push({ wanted, resolve }));
}

// The router remembers names for ever, so they must differ from those of earlier runs.
const run = randomUUID();
let requests = 0;

/** Sends a command; returns its name. */
function send(command) {
  const request_id = `${run}-${++requests}`;
  router.stdin.write(`${JSON.stringify({ ...command, request_id })}\n`);
  return request_id;
}

function check(condition, message) {
  if (!condition) {
    throw new Error(message);
  }
}

async function conversation() {
  const launch = send({ command: "swarm_launch", nodes: NODES });
  const launched = await event((e) => e.request_id === launch && e.type === "swarm_launched");
  const swarm_id = launched.swarm_id;
  await event((e) => e.type === "swarm_status" && e.swarm_id === swarm_id && e.status === "running");

  const prompt = "Grüße\u2028aus Node.js [[echo deltas=20 pace_ms=1]]";
  const inject = send({ command: "inject", swarm_id, nodes: "all", content: prompt });
  const answers = [];
  for (let node = 0; node < NODES; node++) {
    const of_node = (e) => e.request_id === inject && e.node_id === node;
    const end = await event((e) => of_node(e) && e.type === "turn_complete");
    check(end.status === "completed", `node ${node} ended as ${end.status}`);
    const deltas = events.filter((e) => of_node(e) && e.type === "assistant_delta").map((e) => e.content);
    const whole = events.find((e) => of_node(e) && e.type === "assistant");
    check(deltas.join("") === whole.content, `node ${node}: the deltas make another text`);
    answers.push(whole.content);
  }

  const refused = send({ command: "inject", swarm_id, nodes: NODES, content: "nobody" });
  const refusal = await event((e) => e.request_id === refused);
  check(refusal.type === "command_rejected" && refusal.code === "node_out_of_range", JSON.stringify(refusal));

  send({ command: "swarm_terminate", swarm_id });
  await event((e) => e.type === "swarm_terminated" && e.swarm_id === swarm_id);
  return answers;
}

try {
  const answers = await conversation();
  const began = performance.now();
  router.stdin.end();
  const { code, signal } = await exited;
  const leaving_ms = Math.round(performance.now() - began);
  await closed;
  check(stray.length === 0, `not JSON: ${stray[0]}`);
  console.log(JSON.stringify({ answers, code, signal, leaving_ms, events: events.length }));
} catch (error) {
  router.kill("SIGKILL");
  console.error(error, "\nthe router's log:", log, "\nits events:", JSON.stringify(events, null, 1));
  process.exit(1);
}
