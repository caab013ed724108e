// The client of the package named by SDK, against the server at URL. Run it with node: each test is reported by itself.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Gate } from "./gate.mjs";

const { Client } = await import(process.env.SDK);

const NEWER = process.env.SDK === "@langchain/langgraph-sdk"; // 1.15.0 is, by its age and by what it has
const COUNT = { left: 2, seen: [] };
const COUNTED = { left: 0, seen: ["tick 2", "tick 1"] };
const SLOW = { left: 2, pause: 30, seen: [] }; // one step at once, then one that nobody waits for to its end
const newClient = () => new Client({ apiUrl: process.env.URL, apiKey: null });
const human = (content) => ({ messages: [{ type: "human", content }] });

const collect = async (stream) => {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
};

const events = (parts) => parts.map((part) => part.event);

const statusOf = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error.status;
  }
  return "no error";
};

// Streams until a part is as it should be; returns what was read, and the rest of the stream.
const until = async (stream, isIt) => {
  const rest = stream[Symbol.asyncIterator]();
  const parts = [];
  for (;;) {
    const { done, value } = await rest.next();
    assert(!done, `the stream ended after ${JSON.stringify(events(parts))}`);
    parts.push(value);
    if (isIt(value)) return [parts, { [Symbol.asyncIterator]: () => rest }];
  }
};

// A slow run whose first custom event has been seen.
const started = async (client, options = {}) => {
  const { thread_id: threadId } = await client.threads.create();
  let run;
  const [, rest] = await until(
    client.runs.stream(threadId, "slow", {
      input: SLOW,
      streamMode: ["custom"],
      onRunCreated: (created) => (run = created),
      ...options,
    }),
    ({ event }) => event === "custom",
  );
  return { threadId, runId: run.run_id, rest };
};

describe("the client", { concurrency: 6, timeout: 60_000 }, () => {
  test("streams several modes, and the same again to whoever joins", async () => {
    const client = newClient();
    const { thread_id: threadId } = await client.threads.create();
    const created = [];
    const seen = await collect(
      client.runs.stream(threadId, "countdown", {
        input: COUNT,
        streamMode: ["values", "updates", "custom"],
        streamResumable: true,
        onRunCreated: (run) => created.push(run),
      }),
    );
    const steps = ["custom", "updates", "values"];
    assert.deepEqual(events(seen), ["metadata", "values", ...steps, ...steps]);
    const { run_id: runId } = seen[0].data;
    assert.deepEqual(created, [{ run_id: runId, thread_id: threadId }]);
    assert.deepEqual(seen.at(-1).data, COUNTED);
    const join = (options) => collect(client.runs.joinStream(threadId, runId, options));
    assert.deepEqual(await join({ lastEventId: "-1" }), seen);
    assert.deepEqual(await join({ lastEventId: seen[4].id }), seen.slice(5));
    assert.deepEqual(
      (await join({ lastEventId: "-1", streamMode: ["values"] })).filter(({ event }) => event !== "metadata"),
      seen.filter(({ event }) => event === "values"),
    );
  });

  test("joins a running stream behind the last event it has seen, and misses nothing", async () => {
    const client = newClient();
    const gate = new Gate();
    const { thread_id: threadId } = await client.threads.create();
    const [before, rest] = await until(
      client.runs.stream(threadId, "patient", {
        input: { ...human("hello"), gate: gate.path },
        streamMode: ["messages-tuple", "updates"],
        streamResumable: true,
      }),
      ({ event, data }) => event === "messages" && data[0].content === "You said ",
    );
    const joined = client.runs.joinStream(threadId, before[0].data.run_id, { lastEventId: before[1].id });
    const again = [];
    for await (const part of joined) {
      if (again.push(part) === before.length - 2) gate.open();
    }
    const after = await collect(rest);
    assert.deepEqual(again, [...before.slice(2), ...after]);
    const answer = [...before, ...after]
      .filter(({ event, data }) => event === "messages" && data[1].langgraph_node === "answer")
      .map(({ data }) => data[0].content);
    assert.equal(answer.join(""), "You said hello");
    assert.deepEqual(events(after).slice(-1), ["updates"]);
  });

  test("streams what subgraphs do under their names", async () => {
    const client = newClient();
    const parts = await collect(
      client.runs.stream(null, "nested", { input: COUNT, streamMode: "updates", streamSubgraphs: true }),
    );
    assert.deepEqual(
      events(parts).map((event) => event.split(":")[0]),
      ["metadata", "updates|inner", "updates|inner", "updates"],
    );
  });

  test("waits for values, with and without a thread, and throws what went wrong", async () => {
    const client = newClient();
    const { thread_id: threadId } = await client.threads.create();
    assert.deepEqual(await client.runs.wait(threadId, "countdown", { input: COUNT }), COUNTED);
    assert.deepEqual(await client.runs.wait(null, "countdown", { input: COUNT }), COUNTED);
    const failing = { input: { how: "value", left: 0 } };
    await assert.rejects(client.runs.wait(null, "failing", failing), { message: "ValueError: bad value" });
    const failed = await client.runs.wait(null, "failing", { ...failing, raiseError: false });
    assert.deepEqual(failed, { __error__: { error: "ValueError", message: "bad value" } });
    const parts = await collect(client.runs.stream(null, "failing", failing));
    assert.deepEqual(parts.at(-1).data, { error: "ValueError", message: "bad value" });
  });

  test("creates a run in the background, joins, lists and deletes it", async () => {
    const client = newClient();
    const { thread_id: threadId } = await client.threads.create();
    const created = [];
    const run = await client.runs.create(threadId, "countdown", {
      input: COUNT,
      metadata: { of: "run" },
      onRunCreated: (about) => created.push(about),
    });
    assert.deepEqual(created, [{ run_id: run.run_id, thread_id: threadId }]);
    assert.deepEqual(await client.runs.join(threadId, run.run_id), COUNTED);
    const found = await client.runs.get(threadId, run.run_id);
    assert.deepEqual([found.status, found.metadata.of], ["success", "run"]);
    assert.deepEqual(await client.runs.list(threadId, { status: "success" }), [found]);
    await client.runs.delete(threadId, run.run_id);
    assert.deepEqual(await client.runs.list(threadId), []);
    assert.equal(await statusOf(client.runs.get(threadId, run.run_id)), 404);
  });

  test("answers a question, and two at once by their ids", async () => {
    const client = newClient();
    const { thread_id: threadId } = await client.threads.create();
    const asked = await client.runs.wait(threadId, "ask", { input: { topic: "tea" } });
    assert.deepEqual(asked.__interrupt__.map(({ value }) => value), [{ about: "tea" }]);
    const [{ interrupts }] = await client.threads.search({ ids: [threadId], status: "interrupted" });
    assert.deepEqual(Object.values(interrupts).flat().map(({ id }) => id), [asked.__interrupt__[0].id]);
    const parts = await collect(
      client.runs.stream(threadId, "ask", { command: { resume: "green" }, streamMode: ["values", "updates"] }),
    );
    assert.deepEqual(parts.at(-1).data, { topic: "tea", reply: "green", closed: true });

    const { thread_id: twice } = await client.threads.create();
    const both = await collect(
      client.runs.stream(twice, "both", { input: { replies: [] }, streamMode: ["values"] }),
    );
    const questions = both.flatMap(({ data }) => data.__interrupt__ ?? []);
    assert.equal((await client.threads.get(twice)).status, "interrupted");
    const resume = Object.fromEntries(questions.map(({ id, value }) => [id, value.who.toUpperCase()]));
    const { replies } = await client.runs.wait(twice, "both", { command: { resume } });
    assert.deepEqual(replies.sort(), ["first FIRST", "second SECOND"]);
  });

  test("stops at a breakpoint, goes on, and jumps with a command", async () => {
    const client = newClient();
    const { thread_id: threadId } = await client.threads.create();
    const options = { input: COUNT, interruptBefore: ["tick"] };
    assert.deepEqual(await client.runs.wait(threadId, "countdown", options), COUNT);
    assert.deepEqual((await client.threads.getState(threadId)).next, ["tick"]);
    assert.deepEqual(await client.runs.wait(threadId, "countdown", { input: null }), COUNTED);
    const { thread_id: other } = await client.threads.create();
    await client.runs.wait(other, "jumper", { input: { left: 0, seen: [] } });
    const { seen } = await client.runs.wait(other, "jumper", { input: {}, command: { goto: "land" } });
    assert.deepEqual(seen, ["jumped", "landed", "landed"]);
  });

  test("cancels a run that streams, which ends the stream without a word", async () => {
    const client = newClient();
    const { threadId, runId, rest } = await started(client);
    await client.runs.cancel(threadId, runId, true);
    assert.deepEqual(await collect(rest), []);
    assert.equal((await client.runs.get(threadId, runId)).status, "interrupted");
    assert.equal((await client.threads.get(threadId)).status, "interrupted");
    assert.equal(await statusOf(client.runs.cancel(threadId, runId)), 404);
    assert.deepEqual((await client.threads.getState(threadId)).values.seen, ["waited 2"]);
  });

  test("rolls a run back, so that it never was", async () => {
    const client = newClient();
    const { threadId, runId, rest } = await started(client);
    await client.runs.cancel(threadId, runId, true, "rollback");
    assert.deepEqual(await collect(rest), []);
    assert.equal(await statusOf(client.runs.get(threadId, runId)), 404);
    assert.deepEqual(await client.threads.getHistory(threadId), []);
  });

  test("sends a second run: rejected, queued, or in place of the first", async () => {
    const client = newClient();
    const { threadId, runId, rest } = await started(client);
    const second = (multitaskStrategy) =>
      client.runs.create(threadId, "slow", { input: { left: 1, pause: 0 }, multitaskStrategy });
    assert.equal(await statusOf(second("reject")), 409);
    const queued = await second("enqueue");
    assert.equal((await client.runs.get(threadId, queued.run_id)).status, "pending");
    await client.runs.cancel(threadId, queued.run_id, true);
    const instead = await second("interrupt");
    assert.deepEqual(await collect(rest), []);
    assert.equal((await client.runs.get(threadId, runId)).status, "interrupted");
    assert.deepEqual((await client.runs.join(threadId, instead.run_id)).seen, ["waited 2", "waited 1"]);
  });

  test("leaves a stream, which ends the run if that was asked for", async () => {
    const client = newClient();
    const controller = new AbortController();
    const { threadId, runId } = await started(client, { onDisconnect: "cancel", signal: controller.signal });
    controller.abort();
    assert.deepEqual((await client.runs.join(threadId, runId)).seen, ["waited 2"]);
    assert.equal((await client.runs.get(threadId, runId)).status, "interrupted");
  });

  test("cancels many runs at once", { skip: !NEWER && "not in this version" }, async () => {
    const client = newClient();
    const [one, two] = await Promise.all([started(client), started(client)]);
    await client.runs.cancelMany({ threadId: one.threadId, runIds: [one.runId] });
    assert.deepEqual(await collect(one.rest), []);
    assert.equal((await client.runs.get(one.threadId, one.runId)).status, "interrupted");
    assert.equal((await client.runs.get(two.threadId, two.runId)).status, "running");
    await client.runs.cancel(two.threadId, two.runId, true);
  });

  test("creates, changes, finds, sorts and deletes threads", async () => {
    const client = newClient();
    const marker = crypto.randomUUID();
    const ids = [];
    for (const n of [1, 2, 3]) {
      ids.push((await client.threads.create({ metadata: { marker, n }, graphId: "parrot" })).thread_id);
    }
    const found = async (query) =>
      (await client.threads.search({ metadata: { marker }, ...query })).map((row) => row.thread_id);
    assert.deepEqual(await found({}), ids.toReversed()); // the newest first
    assert.deepEqual(await found({ sortBy: "created_at", sortOrder: "asc" }), ids);
    assert.deepEqual(await found({ limit: 1, offset: 1 }), [ids[1]]);
    assert.deepEqual(await found({ metadata: { marker, graph_id: "parrot", n: 2 } }), [ids[1]]);
    assert.deepEqual(await found({ status: "busy" }), []);
    await client.threads.update(ids[0], { metadata: { n: 9 } });
    assert.deepEqual((await client.threads.get(ids[0])).metadata, { marker, n: 9, graph_id: "parrot" });
    await client.runs.wait(ids[0], "parrot", { input: human("hi") });
    assert.deepEqual((await found({ sortBy: "updated_at", sortOrder: "desc" }))[0], ids[0]);
    const same = await client.threads.create({ threadId: ids[1], ifExists: "do_nothing" });
    assert.equal(same.thread_id, ids[1]);
    assert.equal(await statusOf(client.threads.create({ threadId: ids[1], ifExists: "raise" })), 409);
    assert.deepEqual(await found({ values: { messages: [{ content: "never said" }] } }), []);
    if (NEWER) {
      const [row] = await client.threads.search({
        ids: [ids[0]],
        select: ["status"],
        extract: { said: "values.messages[0].content", n: "metadata.n" },
      });
      assert.deepEqual(row, { status: "idle", extracted: { said: "hi", n: 9 } });
      assert.equal(await client.threads.count({ metadata: { marker } }), 3);
      assert.equal(await client.threads.count({ metadata: { marker, n: 9 }, status: "idle" }), 1);
    }
    await client.threads.delete(ids[2]);
    assert.equal(await statusOf(client.threads.get(ids[2])), 404);
    assert.equal((await found({})).length, 2);
  });

  test("reads states and histories, and goes on from an older state", async () => {
    const client = newClient();
    const { thread_id: threadId } = await client.threads.create();
    assert.deepEqual(await client.threads.getHistory(threadId), []);
    await client.runs.wait(threadId, "countdown", { input: COUNT });
    const history = await client.threads.getHistory(threadId);
    assert.deepEqual(history.map(({ metadata }) => metadata.step), [2, 1, 0, -1]);
    const older = { limit: 1, before: history[0].checkpoint };
    const states = await client.threads.getHistory(threadId, older);
    assert.deepEqual(states.map(({ metadata }) => metadata.step), [1]);
    const early = history[2].checkpoint;
    assert.deepEqual((await client.threads.getState(threadId, early)).values, COUNT);
    assert.deepEqual((await client.threads.getState(threadId, early.checkpoint_id)).next, ["tick"]);
    await client.runs.wait(threadId, "countdown", {
      input: { left: 1, seen: ["again"] },
      checkpointId: early.checkpoint_id,
    });
    const head = await client.threads.getState(threadId);
    assert.deepEqual(head.values.seen, ["again", "tick 1"]);
    const all = await client.threads.getHistory(threadId, { limit: 100 });
    const forked = all.filter(({ parent_checkpoint: parent }) => parent?.checkpoint_id === early.checkpoint_id);
    assert.equal(forked.length, 2);
  });

  test("finds assistants, and is told what is wrong with a request", async () => {
    const client = newClient();
    const [found, ...more] = await client.assistants.search({ graphId: "countdown" });
    assert.deepEqual([found.graph_id, more], ["countdown", []]);
    assert.deepEqual(await client.assistants.get(found.assistant_id), found);
    const unknown = crypto.randomUUID();
    assert.equal(await statusOf(client.threads.get(unknown)), 404);
    assert.equal(await statusOf(client.threads.get("zz")), 422);
    assert.equal(await statusOf(client.runs.create(unknown, "countdown", { input: COUNT })), 404);
    const { thread_id: threadId } = await client.threads.create();
    assert.equal(await statusOf(client.runs.create(threadId, "nope", { input: {} })), 422);
    await assert.rejects(collect(client.runs.stream(threadId, "nope", { input: {} })), { status: 422 });
    await assert.rejects(collect(client.runs.stream(threadId, "ask", { streamMode: "colour" })), { status: 422 });
  });

  test("keeps items in the store, and finds them by content and by meaning", async () => {
    const { store } = newClient();
    const space = ["js", crypto.randomUUID()];
    await store.putItem(space, "near", { text: "abba", n: 1 });
    await store.putItem(space, "far", { text: "zzzy", n: 2 }, { ttl: 5 });
    await store.putItem(space, "unseen", { text: "abba" }, { index: false, ttl: null });
    const item = await store.getItem(space, "near", { refreshTtl: true });
    assert.deepEqual([item.namespace, item.value], [space, { text: "abba", n: 1 }]);
    assert(item.createdAt <= item.updatedAt);
    const { items } = await store.searchItems(space, { query: "ab", limit: 5 });
    assert.deepEqual(items.map(({ key }) => key), ["near", "far", "unseen"]);
    const some = await store.searchItems(space, { filter: { n: { $gte: 2 } } });
    assert.deepEqual(some.items.map(({ key }) => key), ["far"]);
    assert.deepEqual((await store.listNamespaces({ prefix: space })).namespaces, [space]);
    for (const key of ["near", "far", "unseen"]) await store.deleteItem(space, key);
    assert.equal(await store.getItem(space, "near"), null);
    assert.equal(await statusOf(store.putItem([], "k", {})), 400);
  });
});
