// The client of the Model Context Protocol's own SDK: lists the tools of `codeswarm mcp`, has a swarm answer a prompt, and ends it.
// node mcp_sdk_client.mjs SDK_FOLDER PROGRAM ARGUMENT...   prints one JSON object
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const [folder, command, ...args] = process.argv.slice(2);
const resolve = createRequire(join(folder, "package.json")).resolve;
const load = (path) => import(pathToFileURL(resolve(`@modelcontextprotocol/sdk/client/${path}.js`)).href);
const { Client } = await load("index");
const { StdioClientTransport } = await load("stdio");

const transport = new StdioClientTransport({ command, args, env: { ...process.env } });
const client = new Client({ name: "codeswarm-tests", version: "1" }, { capabilities: {} });
await client.connect(transport);
const progress = [];
// callTool checks what comes back against the tool's own output schema, once the tools were listed.
const { tools } = await client.listTools();
const call = async (name, args) => {
  const result = await client.callTool({ name, arguments: args }, undefined, { onprogress: (step) => progress.push(step) });
  if (result.isError) throw new Error(`${name}: ${JSON.stringify(result.content)}`);
  return result.structuredContent ?? JSON.parse(result.content[0].text);
};
const { swarm_id } = await call("launch", { nodes: 2, idempotency_key: "launch" });
await call("prompt", { swarm_id, nodes: "all", text: "six times seven", idempotency_key: "prompt" });
const news = [];
let waited = { done: false };
while (!waited.done) {
  waited = await call("wait", { prompt: "prompt", ...(waited.cursor ? { cursor: waited.cursor } : {}) });
  news.push(...waited.news);
}
const output = await call("output", { prompt: "prompt", node: 1 });
const refused = await client.callTool({ name: "status", arguments: { swarm_id: "nobody" } });
await call("terminate", { swarm_id, idempotency_key: "end" });
const server = client.getServerVersion();
await client.close();
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), server, swarm_id, news, output, refused, progress: progress.length }));
