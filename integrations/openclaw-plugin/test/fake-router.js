// A router of two lives for tests: what it is asked and when it dies is said by its arguments, what it was asked in its past by
// a file.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [past, manner] = process.argv.slice(2);
if (manner === "78") {
  process.stderr.write("line 3: cluster.backend is not known\n");
  process.exit(78);
}
if (manner === "deaf") setInterval(() => {}, 1_000);
else {
  const lives = existsSync(past)
    ? readFileSync(past, "utf8")
        .split("\n")
        .filter((line) => line === "born").length
    : 0;
  appendFileSync(past, "born\n");
  const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
  const about = { injection_id: "i0", job_id: "7", node_id: 0, request_id: "p" };
  const story = [
    { type: "inject_ack", seq: 1, sub: 1 },
    { type: "turn_started", seq: 2 },
    { type: "assistant_delta", content: "whole ", seq: 3 },
    { type: "assistant_delta", content: "answer", seq: 4 },
    { type: "assistant", content: "whole answer", seq: 5 },
    { type: "turn_complete", status: "completed", seq: 6 },
  ].map((event) => ({ ...event, ...about }));
  for await (const line of createInterface({ input: process.stdin })) {
    const { command, request_id, of } = JSON.parse(line);
    appendFileSync(past, `${command} ${of ?? request_id}\n`);
    if (command === "ping") say({ type: "pong", request_id, pid: process.pid });
    // The first life takes the prompt and dies before it says so.
    if (command === "inject" && lives === 0 && manner === "dies unanswered") process.exit(1);
    if (command === "inject") say(story[0]);
    if (command === "approve_execution") {
      say({ type: "approval_ack", call_id: "call_1", request_id });
      say({ ...about, type: "approval_resolved", call_id: "call_1", decision: "accept", by: "client", seq: 4 });
      say({ ...about, type: "turn_complete", status: "completed", seq: 5 });
    }
    if (command !== "recall") continue;
    if (of !== "p") {
      say({ type: "command_rejected", code: "unknown_request", reason: `no request ${of}`, request_id });
      continue;
    }
    const injections = [{ injection_id: "i0", job_id: "7", node_id: 0 }];
    say({ type: "recalled", of, swarm_id: "sw-1", injections, request_id });
    if (lives === 0 && manner === "dies in mid-turn") {
      for (const event of story.slice(0, 3)) say(event);
      say({ type: "caught_up", request_id });
      process.stdout.write('{"type":"assistant_delta","content":"ans', () => process.exit(1));
      continue;
    }
    if (manner === "asks") {
      for (const event of story.slice(0, 2)) say(event);
      say({ ...about, type: "approval_required", call_id: "call_1", command: "rm -r x", seq: 3 });
    } else for (const event of story) say(event);
    say({ type: "caught_up", request_id });
  }
}
