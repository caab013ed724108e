// A script of the JavaScript client: prints what it got as one line of JSON. Usage: node client.mjs URL

import { Client } from "@langchain/langgraph-sdk";

const client = new Client({ apiUrl: process.argv[2], apiKey: null });
const got = {};

const collect = async (stream) => {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
};

const settled = async (threadId) => {
  for (;;) {
    const thread = await client.threads.get(threadId);
    if (thread.status !== "busy") return thread.status;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

const input = { left: 2, seen: [] };
const { thread_id: threadId } = await client.threads.create();

// stream, and the same again by joining
const created = [];
const seen = await collect(
  client.runs.stream(threadId, "countdown", {
    input,
    streamMode: ["values", "updates", "custom"],
    streamResumable: true,
    onRunCreated: (run) => created.push(run),
  }),
);
got.created = created.length === 1 && created[0].thread_id === threadId;
got.events = seen.map((part) => part.event);
const runId = created[0].run_id;
const joined = await collect(client.runs.joinStream(threadId, runId, { lastEventId: "-1" }));
got.joined = JSON.stringify(joined) === JSON.stringify(seen);
const rest = await collect(client.runs.joinStream(threadId, runId, { lastEventId: seen[4].id }));
got.rest = JSON.stringify(rest) === JSON.stringify(seen.slice(5));

// wait, with and without a thread
got.waited = await client.runs.wait(threadId, "countdown", { input: { left: 1 } });
got.stateless = await client.runs.wait(null, "countdown", { input });
got.failed = await client.runs
  .wait(null, "failing", { input: { how: "value", left: 0 } })
  .then(() => "nothing", (error) => error.message);

// a question
const { thread_id: asking } = await client.threads.create();
const asked = await client.runs.wait(asking, "ask", { input: { topic: "tea" } });
got.asked = asked.__interrupt__.map((one) => one.value);
got.answered = await client.runs.wait(asking, "ask", { command: { resume: "green" } });

// cancel while it streams
const { thread_id: slow } = await client.threads.create();
let slowRun;
const events = [];
for await (const part of client.runs.stream(slow, "slow", {
  input: { left: 2, pause: 30, seen: [] },
  streamMode: ["custom"],
})) {
  events.push(part.event);
  slowRun ??= part.data.run_id;
  if (part.event === "custom") await client.runs.cancel(slow, slowRun, true);
}
got.cancelled = events;
got.status = [await settled(slow), (await client.runs.get(slow, slowRun)).status];
got.refused = await client.runs.cancel(slow, slowRun).then(() => 0, (error) => error.status);
got.found = (await client.threads.search({ ids: [slow] })).length;
got.states = (await client.threads.getHistory(threadId, { limit: 3 })).length;

console.log(JSON.stringify(got));
