// A client of OpenClaw's Gateway that says a message or a command in a session and prints what tools show meanwhile, and what is
// answered in the end, a JSON object each: node openclaw_stream.mjs PORT TOKEN SESSION MESSAGE
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
  if (frame.type !== "event" || frame.payload?.sessionKey !== sessionKey) return;
  const { stream, data: told, state, message: said } = frame.payload;
  if (frame.event === "agent" && stream === "tool" && told.phase === "update")
    console.log(JSON.stringify({ shown: told }));
  if (frame.event === "chat" && state === "final") {
    console.log(JSON.stringify({ said }));
    end(0);
  }
  if (frame.event === "chat" && (state === "error" || state === "aborted")) end(1, data);
});
socket.addEventListener("close", ({ code, reason }) => {
  if (code !== 1000 && code !== 1005) end(1, `closed: ${code} ${reason}`);
});
