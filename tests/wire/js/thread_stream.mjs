// `threads.stream` of the newer client (protocol v2), over SSE and over a WebSocket, against the server at URL.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";

import { Gate } from "./gate.mjs";

// Node has a WebSocket of its own from version 22 on.
globalThis.WebSocket ??= (await import("ws")).WebSocket;

const { Client } = await import(process.env.SDK);
const client = new Client({ apiUrl: process.env.URL, apiKey: null });

const COUNT = { left: 2, seen: [] };
const COUNTED = { left: 0, seen: ["tick 2", "tick 1"] };
const human = (content) => ({ messages: [{ type: "human", content }] });
const textOf = ({ content }) => (typeof content === "string" ? content : content.map(({ text }) => text ?? "").join(""));

const collect = async (items) => {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
};

// A subscription that is read piece by piece; it goes on with the next run.
class Reader {
  #events;
  #items;

  constructor(events) {
    this.#events = events;
    this.#items = events[Symbol.asyncIterator]();
  }

  // Reads until an event is as it should be.
  async until(holds) {
    const seen = [];
    for (;;) {
      const { done, value } = await this.#items.next();
      if (done) {
        assert(this.#events.isPaused, `the stream has ended: ${JSON.stringify(seen)}`); // else a run has
        await this.#events.waitForResume();
        this.#items = this.#events[Symbol.asyncIterator]();
      } else if (holds(seen[seen.push(value) - 1])) return seen;
    }
  }
}

const subscribed = async (thread, channels) => new Reader(await thread.subscribe(channels));

const piece = ({ method, params: { data } }) =>
  method === "messages" && data.event === "content-block-delta" ? data.delta.text : undefined;
const phase = ({ method, params: { data, namespace } }) =>
  method === "lifecycle" && namespace.length === 0 ? data.event : undefined;
const isEnd = (event) => ["completed", "failed", "interrupted"].includes(phase(event));

const CHANNELS = ["values", "messages", "lifecycle", "input"];

for (const transport of ["sse", "websocket"]) {
  const story = (name, assistantId, tell) =>
    test(name, async () => {
      const opened = [];
      const open = (threadId = randomUUID()) => {
        const thread = client.threads.stream(threadId, { assistantId, transport });
        opened.push(thread);
        return thread;
      };
      try {
        await tell(open(), open);
      } finally {
        await Promise.all(opened.map((thread) => thread.close()));
      }
    });

  // An answer that has stopped in the middle.
  const halfway = async (thread) => {
    const gate = new Gate();
    const { run_id: runId } = await thread.submitRun({ input: { ...human("hello"), gate: gate.path } });
    const events = await subscribed(thread, CHANNELS);
    const seen = await events.until((event) => piece(event) === "You said ");
    return { gate, runId, events, seen };
  };

  describe(`a thread's stream over ${transport}`, { concurrency: 6, timeout: 60_000 }, () => {
    story("has the answer in pieces, and the values in the end", "parrot", async (thread) => {
      const messages = collect(thread.messages); // before the run, which may be over sooner than a later reader comes
      const { run_id: runId } = await thread.run.start({ input: human("hello") });
      const [message] = await messages;
      assert.deepEqual(await collect(message.text), ["You said ", "hello"]);
      const output = await thread.output;
      assert.deepEqual(output.messages.map(textOf), ["hello", "You said hello"]);
      assert.equal((await client.runs.get(thread.threadId, runId)).status, "success");
    });

    story("has the values step by step", "countdown", async (thread) => {
      const values = collect(thread.values);
      await thread.run.start({ input: COUNT });
      assert.deepEqual(await values, [COUNT, { left: 1, seen: ["tick 2"] }, COUNTED]);
      assert.deepEqual(await thread.values, COUNTED);
    });

    story("shows tools with what they get and give", "calculator", async (thread) => {
      const calls = collect(thread.toolCalls);
      await thread.run.start({ input: human("six") });
      const [call] = await calls;
      assert.deepEqual([call.name, call.input], ["multiply", { left: 6, right: 7 }]);
      assert.equal(await call.output, "42");
      assert.equal(textOf((await thread.output).messages.at(-1)), "It makes 42");
    });

    story("tells what a graph says of itself by its name", "crier", async (thread) => {
      const progress = collect(thread.extensions.progress);
      await thread.run.start({ input: COUNT });
      assert.deepEqual(await progress, [{ share: 0.5 }, { share: 1 }]);
    });

    story("shows subgraphs", "nested", async (thread) => {
      const graphs = collect(thread.subgraphs);
      await thread.run.start({ input: COUNT });
      assert.deepEqual((await graphs).map(({ name, namespace }) => [name, namespace.length]), [["inner", 1]]);
      assert.deepEqual(await thread.output, COUNTED);
    });

    story("ends as failed when the run does", "failing", async (thread) => {
      await thread.run.start({ input: { how: "value", left: 0 } });
      const seen = await (await subscribed(thread, ["lifecycle"])).until(isEnd);
      assert.equal(phase(seen.at(-1)), "failed");
    });

    story("asks a question, and goes on with the answer", "nested_ask", async (thread) => {
      await thread.run.start({ input: { topic: "tea" } });
      await collect(thread.values);
      assert.equal(thread.interrupted, true);
      const [{ interruptId, payload, namespace }] = thread.interrupts;
      assert.deepEqual([payload, namespace[0].split(":")[0]], [{ about: "tea" }, "inner"]);
      await assert.rejects(thread.input.respond({ namespace, interrupt_id: "0".repeat(32), response: "x" }));
      await thread.input.respond({ namespace, interrupt_id: interruptId, response: "green" });
      const events = await subscribed(thread, ["lifecycle"]);
      await events.until((event) => phase(event) === "completed");
      const { values } = await client.threads.getState(thread.threadId);
      assert.deepEqual(values, { topic: "tea", reply: "green", closed: true });
    });

    story("has two questions answered at once", "both", async (thread) => {
      await thread.submitRun({ input: { replies: [] } });
      const events = await subscribed(thread, ["lifecycle", "input"]);
      const questions = [];
      await events.until(({ method, params: { data, namespace } }) => {
        if (method === "input.requested") questions.push({ namespace, interrupt_id: data.interrupt_id, response: data.payload.who });
        return questions.length === 2;
      });
      while ((await client.threads.get(thread.threadId)).status === "busy");
      await thread.respondInput({ responses: questions });
      await events.until((event) => phase(event) === "completed");
      const { values } = await client.threads.getState(thread.threadId);
      assert.deepEqual(values.replies.toSorted(), ["first first", "second second"]);
    });

    story("ends with a run that is cancelled, and goes on with the next", "patient", async (thread) => {
      const { runId, events, gate } = await halfway(thread);
      await client.runs.cancel(thread.threadId, runId, true);
      const seen = await events.until(isEnd);
      assert.equal(phase(seen.at(-1)), "interrupted");
      gate.open();
      await thread.submitRun({ input: { ...human("hello"), gate: gate.path } });
      await events.until((event) => phase(event) === "completed");
      const { values } = await client.threads.getState(thread.threadId);
      assert.equal(textOf(values.messages.at(-1)), "You said hello");
    });

    story("is the same for two clients, and for one that comes late", "patient", async (thread, open) => {
      const { events, gate, seen } = await halfway(thread);
      const other = open(thread.threadId);
      const otherEvents = await subscribed(other, CHANNELS);
      await otherEvents.until((event) => piece(event) === "You said ").then((early) =>
        assert.deepEqual(early.map((event) => event.event_id), seen.map((event) => event.event_id)),
      );
      gate.open();
      const rests = await Promise.all([events.until(isEnd), otherEvents.until(isEnd)]);
      const [mine, others] = rests.map((rest) => rest.map((event) => event.event_id));
      assert.deepEqual(mine, others);
      const late = await subscribed(open(thread.threadId), CHANNELS);
      const all = (await late.until(isEnd)).map((event) => event.event_id);
      assert.deepEqual(all, [...seen.map((event) => event.event_id), ...mine]);
    });

    story("starts from an older checkpoint", "parrot", async (thread) => {
      await thread.run.start({ input: human("hello") });
      await thread.output;
      const [state] = (await client.threads.getHistory(thread.threadId, { limit: 10 })).toReversed();
      const events = await subscribed(thread, ["lifecycle"]);
      const { run_id: runId } = await thread.submitRun({
        input: human("goodbye"),
        forkFrom: state.checkpoint.checkpoint_id,
      });
      await events.until((event) => phase(event) === "completed" && event.event_id.includes(runId));
      const { values } = await client.threads.getState(thread.threadId);
      assert.equal(textOf(values.messages.at(-1)), "You said goodbye");
      assert.deepEqual(values.messages.map(textOf).includes("hello"), false);
    });
  });
}
