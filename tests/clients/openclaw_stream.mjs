// A client of OpenClaw's Gateway that says a message in a session and prints what its tools show meanwhile, a JSON object each, until
// the run has ended: node openclaw_stream.mjs PORT TOKEN SESSION MESSAGE
import { randomUUID } from "node:crypto";

const [port, token, sessionKey, message] = process.argv.slice(2);
const socket = new WebSocket(`ws://127.0.0.1:${port}`);
let sent = 0;
const ask = (method, params) => socket.send(JSON.stringify({ type: "req", id: `${(sent += 1)}`, method, params }));

const end = (code, words) => {
  if (words) console.error(words);
  process.exitCode = code;
  socket.close();
};

socket.addEventListener("message", ({ data }) => {
  const frame = JSON.parse(data);
  if (frame.type === "event" && frame.event === "connect.challenge")
    ask("connect", {
      minProtocol: 4,
      maxProtocol: 4,
      client: { id: "gateway-client", version: "0", platform: "linux", mode: "backend" },
      role: "operator",
      scopes: ["operator.read", "operator.write", "operator.admin"],
      caps: ["tool-events"],
      auth: { token },
    });
  if (frame.type === "res" && !frame.ok) end(1, JSON.stringify(frame));
  if (frame.type === "res" && frame.id === "1" && frame.ok)
    ask("chat.send", { sessionKey, message, idempotencyKey: randomUUID() });
  if (frame.type !== "event" || frame.event !== "agent") return;
  const { stream, data: told } = frame.payload;
  if (stream === "tool" && told.phase === "update") console.log(JSON.stringify(told));
  if (stream === "lifecycle" && told.phase === "end") end(0);
  if (stream === "lifecycle" && told.phase === "error") end(1, JSON.stringify(told));
});
socket.addEventListener("close", ({ code, reason }) => {
  if (code !== 1000 && code !== 1005) end(1, `closed: ${code} ${reason}`);
});
