// The queue of `useStream({ queue: "server" })`, which the newer client keeps as pending runs of the server at URL: the
// controller under the hooks, and what takes a queue over at once.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Gate } from "./gate.mjs";

const { Client } = await import(process.env.SDK);
const { StreamController } = await import(`${process.env.SDK}/stream`);
const client = new Client({ apiUrl: process.env.URL, apiKey: null });

const LATE_MS = 30_000;
const human = (content) => ({ messages: [{ type: "human", content }] });
const textOf = ({ content }) => (typeof content === "string" ? content : content.map(({ text }) => text ?? "").join(""));
const said = ({ values }) => values?.messages?.[0].content;

// A page without a document: a controller on a thread.
class Page {
  constructor(threadId) {
    this.controller = new StreamController({ client, assistantId: "patient", threadId, queue: "server" });
  }

  static async open(threadId) {
    const page = new Page(threadId);
    await page.controller.hydrate(threadId);
    return page;
  }

  get queue() {
    return this.controller.queueStore.getSnapshot();
  }

  get text() {
    const { messages } = this.controller.rootStore.getSnapshot();
    return messages.map((message) => `${message.type}: ${textOf(message)}`).join("\n");
  }

  // Waits for a change of what the page shows after which a condition holds.
  until(holds) {
    const { queueStore, rootStore } = this.controller;
    return new Promise((resolve, reject) => {
      const asked = new Error(`never so: ${holds}`);
      const timer = setTimeout(() => {
        asked.message += `\n${JSON.stringify(this.queue)}\n${this.text}`;
        reject(asked);
      }, LATE_MS);
      const leave = [];
      const look = () => {
        if (!holds()) return;
        clearTimeout(timer);
        for (const each of leave) each();
        resolve();
      };
      leave.push(queueStore.subscribe(look), rootStore.subscribe(look));
      look();
    });
  }

  enqueue(content) {
    return this.controller.submit(human(content), { multitaskStrategy: "enqueue" });
  }

  close() {
    return this.controller.dispose();
  }
}

const pending = async (threadId) => (await client.runs.list(threadId, { status: "pending", limit: 1000 })).reverse();

// A page with an answer that has stopped in the middle, and three messages that wait for its end.
const queued = async () => {
  const { thread_id: threadId } = await client.threads.create();
  const page = await Page.open(threadId);
  const gate = new Gate();
  const first = page.controller.submit({ ...human("first"), gate: gate.path });
  await page.until(() => page.text.includes("You said"));
  for (const content of ["one", "two", "three"]) await page.enqueue(content);
  await page.until(() => page.queue.length === 3 && page.queue.every(({ runId }) => runId));
  return { threadId, page, gate, first };
};

const merge = async (threadId, body) => {
  const answer = await fetch(`${process.env.URL}/threads/${threadId}/runs/merge`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: answer.status, body: await answer.json() };
};

const reason = async (threadId, runId) => (await client.runs.get(threadId, runId)).cancel_reason;

describe("a queue on the server", { timeout: 90_000 }, () => {
  test("is shown by another page, is cancelled one by one, and empties as its runs begin", async () => {
    const { threadId, page, gate, first } = await queued();
    const other = await Page.open(threadId);
    await other.until(() => other.queue.length === 3);
    assert.deepEqual(other.queue.map(said).toSorted(), ["one", "three", "two"]);
    const { runId } = page.queue.find((entry) => said(entry) === "two");
    assert.equal(await page.controller.cancelQueued(page.queue.find((entry) => said(entry) === "two").id), true);
    assert.equal(await client.runs.join(threadId, runId).then(() => client.runs.get(threadId, runId)).then((run) => run.status), "interrupted");
    assert.deepEqual((await pending(threadId)).map(({ kwargs }) => kwargs.input.messages[0].content), ["one", "three"]);
    gate.open();
    await first;
    await page.until(() => page.queue.length === 0 && page.text.endsWith("You said three"));
    await other.until(() => other.queue.length === 0);
    await Promise.all([page.close(), other.close()]);
  });

  test("is cleared", async () => {
    const { threadId, page, gate, first } = await queued();
    const runIds = page.queue.map(({ runId }) => runId);
    await page.controller.clearQueue();
    assert.deepEqual(await pending(threadId), []);
    for (const runId of runIds) assert.match(await reason(threadId, runId), /^interrupt requested via POST/);
    gate.open();
    await first;
    await page.close();
  });

  test("gives up a run whose input is taken elsewhere", async () => {
    const { threadId, page, gate, first } = await queued();
    const [{ runId }] = page.queue;
    await client.runs.cancel(threadId, runId, true, "interrupt", { reason: "taken" });
    assert.match(await reason(threadId, runId), /^taken: /);
    assert.equal((await pending(threadId)).length, 2);
    gate.open();
    await first;
    await page.close();
  });

  for (const body of [{}, { into: "running" }]) {
    test(`is merged into one run: ${JSON.stringify(body)}`, async () => {
      const { threadId, page, gate, first } = await queued();
      const [oldest, ...others] = (await pending(threadId)).map(({ run_id: runId }) => runId);
      const merged = await merge(threadId, body);
      assert.deepEqual([merged.status, merged.body.run_id, merged.body.merged], [200, oldest, others]);
      for (const runId of others) {
        await client.runs.join(threadId, runId);
        assert.equal(await reason(threadId, runId), `merged:${oldest}`);
      }
      gate.open(); // the answer is the last step: the merged run follows it
      await first;
      await page.until(() => page.queue.length === 0 && page.text.endsWith("You said three"));
      await client.runs.join(threadId, oldest);
      const { values } = await client.threads.getState(threadId);
      assert.deepEqual(values.messages.map(textOf), [
        ...["first", "Hello.", "You said first"],
        ...["one", "two", "three", "Hello.", "You said three"],
      ]);
      assert.equal((await merge(threadId, body)).status, 409);
      await page.close();
    });
  }
});
