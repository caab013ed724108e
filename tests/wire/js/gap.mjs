// What the clients of the package named by SDK make of events that are gone when they come back from a cut.
// Says "halfway" when it may be cut, and wants a line on stdin when it has been: then it opens its gates.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { Gate } from "./gate.mjs";
import { Page } from "./page.mjs";

const { Client } = await import(process.env.SDK);
const client = new Client({ apiUrl: process.env.URL, apiKey: null });
const gates = [];
process.stdin.once("data", () => gates.forEach((gate) => gate.open()));
const input = () => {
  const gate = new Gate();
  gates.push(gate);
  return { messages: [{ type: "human", content: "hello" }], gate: gate.path };
};

const STORIES = 3;
let left = STORIES;
const halfway = () => {
  left -= 1;
  if (left === 0) console.log("halfway");
};
const isPartial = ({ event, data }) => event === "messages" && data[0].content === "You said ";

const read = async (stream) => {
  const parts = [];
  for await (const part of stream) if (isPartial(parts[parts.push(part) - 1])) halfway();
  return parts;
};

const wasTold = async (threadId, parts) => {
  assert.deepEqual(parts.filter(({ event }) => event === "error"), []);
  const gaps = parts.filter(({ event, data }) => event === "metadata" && data.gap);
  assert.equal(gaps.length, 1, JSON.stringify(parts));
  const before = parts[parts.indexOf(gaps[0]) - 1];
  assert.equal(gaps[0].data.gap.after, Number(before.id.split("-")[1]));
  const state = await client.threads.getState(threadId);
  assert.equal(state.values.messages.at(-1).content, "You said hello");
  const more = await client.runs.wait(threadId, "patient", { input: { messages: [{ type: "human", content: "more" }] } });
  assert.equal(more.messages.at(-1).content, "You said more");
};

describe("over a gap", { concurrency: STORIES, timeout: 90_000 }, () => {
  const streamMode = ["updates", "messages-tuple"];

  test("a stream ends as if nothing were missing, and the thread goes on", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await wasTold(threadId, await read(client.runs.stream(threadId, "patient", { input: input(), streamMode })));
  });

  test("who has joined is told, too", async () => {
    const { thread_id: threadId } = await client.threads.create();
    const run = await client.runs.create(threadId, "patient", { input: input(), streamMode });
    await wasTold(threadId, await read(client.runs.joinStream(threadId, run.run_id, { lastEventId: "-1" })));
  });

  test("a page shows the whole answer in the end, and takes the next message", async () => {
    const page = new Page({ assistantId: "patient" });
    after(() => page.close());
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit(input(), { onDisconnect: "continue" });
    await page.until(() => page.text.endsWith("ai: You said "));
    halfway();
    const whole = "human: hello\nai: Hello.\nai: You said hello";
    await page.settled(whole);
    assert.equal(page.stream.error, undefined);
    page.stream.submit({ messages: [{ type: "human", content: "more" }] });
    await page.settled(`${whole}\nhuman: more\nai: Hello.\nai: You said more`);
  });
});
