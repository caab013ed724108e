// What the clients of the package named by SDK make of a server that is killed and comes back while they read.
// Says "halfway" when it may be killed, and wants a line on stdin when it is back. The gates are opened by who has been
// told of the second attempt.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { Gate } from "./gate.mjs";
import { Page } from "./page.mjs";

const back = new Promise((resolve) => process.stdin.once("data", resolve));
let cut = false;
if (process.env.SDK === "langgraph-sdk-2") {
  // 2.0.0 gives up when its first attempt to reconnect is refused, 1.15.0 tries five times. So something like a proxy
  // that holds requests for a while is in between.
  const unheld = globalThis.fetch;
  globalThis.fetch = async (...request) => {
    if (cut) await back;
    return unheld(...request);
  };
}

const { Client } = await import(process.env.SDK);
const client = new Client({ apiUrl: process.env.URL, apiKey: null });
const input = (gate) => ({ messages: [{ type: "human", content: "hello" }], gate: gate.path });

// A step is stored before the next one begins: what the client has seen of the next one proves that it isn't repeated.
const durability = "sync";

const STORIES = 3;
let left = STORIES;
const halfway = () => {
  left -= 1;
  if (left > 0) return;
  cut = true;
  console.log("halfway");
};
const isPartial = ({ event, data }) => event === "messages" && data[0].content === "You said ";
const number = ({ id }) => Number(id.split("-")[1]);

// Reads a stream over the cut; returns its parts.
const read = async (stream, gate) => {
  const parts = [];
  for await (const part of stream) {
    parts.push(part);
    if (isPartial(part) && parts.filter(isPartial).length === 1) halfway();
    if (part.event === "metadata" && part.data.attempt === 2) gate.open();
  }
  return parts;
};

const missesNothing = (parts) => {
  const of = (event) => parts.filter((part) => part.event === event).map(({ data }) => data);
  assert.deepEqual(of("metadata").map(({ attempt }) => attempt), [1, 2]);
  assert.deepEqual(of("updates").flatMap(Object.keys), ["greet", "answer"]);
  const second = parts.slice(parts.findLastIndex(({ event }) => event === "metadata"));
  const said = second.filter(({ event }) => event === "messages").map(({ data }) => data[0].content);
  assert.equal(said.join(""), "You said hello");
  for (const [n, part] of parts.slice(1).entries()) assert(number(part) > number(parts[n]), part.id);
};

describe("over a restart", { concurrency: STORIES, timeout: 90_000 }, () => {
  test("a stream goes on, and misses nothing", async () => {
    const { thread_id: threadId } = await client.threads.create();
    const gate = new Gate();
    const options = { input: input(gate), streamMode: ["updates", "messages-tuple"], durability };
    const parts = await read(client.runs.stream(threadId, "patient", options), gate);
    missesNothing(parts);
    const state = await client.threads.getState(threadId);
    assert.equal(state.values.messages.at(-1).content, "You said hello");
  });

  test("who has joined goes on, too", async () => {
    const { thread_id: threadId } = await client.threads.create();
    const gate = new Gate();
    const options = { input: input(gate), streamMode: ["updates", "messages-tuple"], durability };
    const run = await client.runs.create(threadId, "patient", options);
    const stream = client.runs.joinStream(threadId, run.run_id, { lastEventId: "-1" });
    missesNothing(await read(stream, gate));
    assert.equal((await client.runs.get(threadId, run.run_id)).status, "success");
  });

  test("a page of another origin shows the answer to its end", async () => {
    const gate = new Gate();
    const attempts = [];
    const page = new Page({
      assistantId: "patient",
      onMetadataEvent: ({ attempt }) => {
        attempts.push(attempt);
        if (attempt === 2) gate.open();
      },
    });
    after(() => page.close());
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit(input(gate), { durability });
    await page.until(() => page.text.endsWith("ai: You said "));
    halfway();
    await page.settled("human: hello\nai: Hello.\nai: You said hello");
    assert.deepEqual(attempts, [1, 2]);
    assert.equal(page.stream.error, undefined);
  });
});
