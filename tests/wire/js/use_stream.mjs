// The React hook `useStream` of the package named by SDK, in pages of another origin, against the server at URL.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Gate } from "./gate.mjs";
import { Page, sessionStorage } from "./page.mjs";

const { Client } = await import(process.env.SDK);
const client = new Client({ apiUrl: process.env.URL, apiKey: null });

const NEWER = process.env.SDK === "@langchain/langgraph-sdk"; // 1.15.0 is, by its age and by what it has
const human = (content) => ({ messages: [{ type: "human", content }] });
const TURN = "human: hello\nai: You said hello";
const PARTIAL = "human: hello\nai: Hello.\nai: You said ";
const WHOLE = `${PARTIAL}hello`;

// Runs a story with a way to open pages; they are closed at its end.
const story = (name, { skip = false, ...options }, tell) =>
  test(name, { skip }, async () => {
    const opened = [];
    try {
      await tell((more) => opened[opened.push(new Page({ ...options, ...more })) - 1]);
    } finally {
      for (const page of opened) page.close();
    }
  });

// An answer that has stopped in the middle.
const halfway = async (page, options) => {
  await page.until(() => !page.stream.isThreadLoading);
  const gate = new Gate();
  page.stream.submit({ ...human("hello"), gate: gate.path }, options);
  await page.until(() => page.text === PARTIAL);
  return gate;
};

const lastRun = async (threadId) => (await client.runs.list(threadId, { limit: 1 }))[0];

// Waits for the end of the thread's last run.
const ended = async (threadId) => {
  const { run_id: runId } = await lastRun(threadId);
  await client.runs.join(threadId, runId);
  return (await client.runs.get(threadId, runId)).status;
};

describe("useStream", { concurrency: 6, timeout: 90_000 }, () => {
  story("shows an answer token by token, and makes the thread for it", { assistantId: "patient" }, async (open) => {
    const created = [];
    const page = open({ onCreated: (run) => created.push(run) });
    const gate = await halfway(page);
    assert.equal(page.stream.isLoading, true);
    gate.open();
    await page.settled(WHOLE);
    assert.deepEqual(
      page.shown.filter((text) => text.includes("ai:")),
      ["human: hello\nai: Hello.", PARTIAL, WHOLE],
    );
    assert.equal(page.stream.error, undefined);
    assert.deepEqual(created, [{ run_id: (await lastRun(page.threadId)).run_id, thread_id: page.threadId }]);
    assert.equal(page.stream.history.length, 4);
    const again = open({ threadId: page.threadId });
    await again.settled(WHOLE);
  });

  story("shows what the user said before the server does", { assistantId: "parrot" }, async (open) => {
    const page = open();
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit(human("hello"), {
      optimisticValues: (values) => ({ ...values, messages: [...(values.messages ?? []), ...human("hello").messages] }),
      streamMode: ["values"],
      streamSubgraphs: true,
      streamResumable: true,
    });
    await page.settled(TURN);
    assert.deepEqual(page.shown.slice(0, 2), ["", "human: hello"]);
    page.stream.submit(human("more"));
    await page.settled(`${TURN}\nhuman: more\nai: You said more`);
  });

  story("asks a question, and goes on with the answer, also after a reload", { assistantId: "nested_ask" }, async (open) => {
    const page = open();
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit({ topic: "tea" });
    await page.until(() => page.stream.interrupt !== undefined && !page.stream.isLoading);
    assert.deepEqual(page.stream.interrupt.value, { about: "tea" });
    const { threadId } = page;
    page.close();
    const again = open({ threadId });
    await again.until(() => again.stream.interrupt !== undefined);
    assert.deepEqual(again.stream.interrupt.value, { about: "tea" });
    again.stream.submit(undefined, { command: { resume: "green" } });
    await again.until(() => again.stream.values.closed && !again.stream.isLoading);
    assert.deepEqual([again.stream.values.reply, again.stream.interrupt], ["green", undefined]);
    assert.equal((await client.threads.get(threadId)).status, "idle");
  });

  story("asks two questions at once, which are answered by their ids", { assistantId: "both" }, async (open) => {
    const page = open();
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit({ replies: [] });
    await page.until(() => !page.stream.isLoading && Array.isArray(page.stream.interrupt));
    const resume = Object.fromEntries(page.stream.interrupt.map(({ id, value }) => [id, value.who]));
    page.stream.submit({}, { command: { resume } }); // the empty input is agent-chat-ui's
    await page.until(() => page.stream.values.replies?.length === 2 && !page.stream.isLoading);
    assert.deepEqual(page.stream.values.replies.toSorted(), ["first first", "second second"]);
    assert.equal(page.stream.interrupt, undefined);
  });

  story("stops: the run ends, and the next message is answered", { assistantId: "patient" }, async (open) => {
    const page = open();
    const gate = await halfway(page);
    await page.stream.stop();
    await page.until(() => !page.stream.isLoading);
    assert.equal(await ended(page.threadId), "interrupted");
    gate.open();
    page.stream.submit({ ...human("hello"), gate: gate.path });
    await page.until(() => page.text.endsWith("You said hello") && !page.stream.isLoading);
    assert.equal(await ended(page.threadId), "success");
  });

  story("stops a run that it would have rejoined", { assistantId: "patient", reconnectOnMount: true }, async (open) => {
    const page = open();
    await halfway(page);
    await page.stream.stop();
    assert.equal(await ended(page.threadId), "interrupted");
    assert(page.requests.some(({ path }) => path.endsWith("/cancel")));
    assert.equal(sessionStorage.getItem(`lg:stream:${page.threadId}`), null);
  });

  story("goes on with a running answer after a reload", { assistantId: "patient", reconnectOnMount: true }, async (open) => {
    const page = open();
    const gate = await halfway(page);
    const { threadId } = page;
    const { run_id: runId } = await lastRun(threadId);
    page.close();
    assert.equal(sessionStorage.getItem(`lg:stream:${threadId}`), runId);
    const again = open({ threadId });
    await again.until(() => again.text === PARTIAL && again.stream.isLoading);
    assert.equal((await client.runs.get(threadId, runId)).status, "running");
    gate.open();
    await again.settled(WHOLE);
    assert.equal(sessionStorage.getItem(`lg:stream:${threadId}`), null);
    assert.equal((await client.runs.list(threadId)).length, 1);
  });

  story("finds the answer that ended while it was away", { assistantId: "patient", reconnectOnMount: true }, async (open) => {
    const page = open();
    const gate = await halfway(page);
    const { threadId } = page;
    page.close();
    gate.open();
    assert.equal(await ended(threadId), "success");
    const again = open({ threadId });
    await again.until(() => again.requests.some(({ path }) => path.includes("/runs/")));
    await again.settled(WHOLE);
    assert.equal(again.stream.error, undefined);
    assert.equal(sessionStorage.getItem(`lg:stream:${threadId}`), null);
  });

  story("follows a run that somebody else has started", { assistantId: "patient" }, async (open) => {
    const { thread_id: threadId } = await client.threads.create();
    const gate = new Gate();
    const run = await client.runs.create(threadId, "patient", {
      input: { ...human("hello"), gate: gate.path },
      streamMode: ["values", "messages-tuple"],
      streamResumable: true,
    });
    const page = open({ threadId });
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.joinStream(run.run_id);
    await page.until(() => page.text === PARTIAL);
    gate.open();
    await page.settled(WHOLE);
  });

  story("forks the conversation at an edited message, and shows both branches", { assistantId: "parrot" }, async (open) => {
    const page = open();
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit(human("hello"));
    await page.settled(TURN);
    page.stream.submit(human("more"));
    await page.settled(`${TURN}\nhuman: more\nai: You said more`);
    const edited = page.stream.messages[0];
    const { firstSeenState } = page.stream.getMessagesMetadata(edited, 0);
    page.stream.submit(human("goodbye"), { checkpoint: firstSeenState.parent_checkpoint });
    await page.settled("human: goodbye\nai: You said goodbye");
    const { branch, branchOptions } = page.stream.getMessagesMetadata(page.stream.messages[0], 0);
    assert.equal(branchOptions.length, 2);
    page.stream.setBranch(branchOptions.find((other) => other !== branch));
    await page.settled(`${TURN}\nhuman: more\nai: You said more`);

    // Sent from the older branch, it goes on there.
    page.stream.submit(human("then"));
    const longer = `${TURN}\nhuman: more\nai: You said more\nhuman: then\nai: You said then`;
    await page.settled(longer);

    const again = open({ threadId: page.threadId });
    await again.settled(longer);
  });

  story("has an answer made anew", { assistantId: "parrot" }, async (open) => {
    const page = open();
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit(human("hello"));
    await page.settled(TURN);
    const [, answer] = page.stream.messages;
    const { firstSeenState } = page.stream.getMessagesMetadata(answer, 1);
    page.stream.submit(undefined, { checkpoint: firstSeenState.parent_checkpoint });
    await page.until(() => page.text === TURN && !page.stream.isLoading && page.stream.messages[1].id !== answer.id);
    assert.equal(page.stream.getMessagesMetadata(page.stream.messages[1], 1).branchOptions.length, 2);
  });

  story("shows one thread after the other, each with its own messages", { assistantId: "patient" }, async (open) => {
    const page = open();
    const gate = await halfway(page);
    const first = page.threadId;
    page.go(null);
    await page.settled("");
    page.stream.submit({ ...human("other"), gate: gate.path }, { onDisconnect: "continue" });
    gate.open();
    const other = "human: other\nai: Hello.\nai: You said other";
    await page.settled(other);
    const second = page.threadId;
    assert.notEqual(second, first);
    await ended(first);
    page.go(first);
    await page.until(() => page.text.startsWith("human: hello\nai: Hello."));
    assert(!page.text.includes("other"));
    page.go(second);
    await page.settled(other);
  });

  story("shows an error, also after a reload, and recovers", { assistantId: "broken" }, async (open) => {
    const errors = [];
    const page = open({ onError: (error) => errors.push(error.message) });
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit(human("hello"));
    await page.until(() => page.stream.error !== undefined && !page.stream.isLoading);
    assert.match(page.stream.error.message, /the player broke/);
    assert.deepEqual(errors, [page.stream.error.message]);
    const again = open({ threadId: page.threadId });
    await again.until(() => again.stream.error !== undefined);
    assert.match(String(again.stream.error.message ?? again.stream.error), /the player broke/);
    again.stream.submit(human("again"), { streamMode: ["updates"] });
    await again.until(() => again.stream.error !== undefined && again.text.includes("again"));
  });

  story("needs no history: the state will do", { assistantId: "nested_ask", fetchStateHistory: false }, async (open) => {
    const page = open();
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit({ topic: "tea" });
    await page.until(() => page.stream.interrupt !== undefined && !page.stream.isLoading);
    const again = open({ threadId: page.threadId });
    await again.until(() => again.stream.interrupt !== undefined);
    assert.deepEqual(again.stream.interrupt.value, { about: "tea" });
    again.stream.submit(null, { command: { resume: "green" } });
    await again.until(() => again.stream.values.reply === "green" && !again.stream.isLoading);
    assert(!again.requests.some(({ path }) => path.endsWith("/history")));
    if (NEWER) assert.equal(again.stream.interrupt, undefined); // the older one doesn't read the state again
  });

  const second = { assistantId: "patient", skip: !NEWER && "waits for the first answer in this version" };
  story("sends a second message in place of the answer to the first", second, async (open) => {
    const page = open();
    await halfway(page);
    const { run_id: first } = await lastRun(page.threadId);
    const gate = new Gate();
    gate.open();
    page.stream.submit({ ...human("stop"), gate: gate.path }, { multitaskStrategy: "interrupt" });
    await page.until(() => page.text.endsWith("ai: You said stop") && !page.stream.isLoading);
    assert.equal((await client.runs.get(page.threadId, first)).status, "interrupted");
    const again = open({ threadId: page.threadId });
    await again.until(() => again.text === page.text);
  });

  story("tells of tool calls and their results", { assistantId: "reckoner" }, async (open) => {
    const page = open();
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit(human("six times seven"));
    await page.until(() => page.text.endsWith("ai: It makes 42") && !page.stream.isLoading);
    const [{ call, result, state }] = page.stream.toolCalls;
    assert.deepEqual([call.name, call.args, result.content, state], [
      "multiply",
      { left: 6, right: 7 },
      "42",
      "completed",
    ]);
  });

  story("shows how far a tool is", { assistantId: "reckoner", skip: !NEWER && "not in this version" }, async (open) => {
    const told = [];
    const page = open({ onToolEvent: ({ event }) => told.push(event) });
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit(human("six times seven"));
    await page.until(() => page.text.endsWith("ai: It makes 42") && !page.stream.isLoading);
    const [{ toolCallId, name, state, input, result }] = page.stream.toolProgress;
    assert.deepEqual([toolCallId, name, state, input], ["call-1", "multiply", "completed", { left: 6, right: 7 }]);
    assert.equal(result.content, "42");
    assert.deepEqual(told, ["on_tool_start", "on_tool_end"]);
  });

  story("hands on what nodes send, by the names of their subgraphs", { assistantId: "nested" }, async (open) => {
    const seen = { metadata: [], custom: [], updates: [] };
    const page = open({
      onMetadataEvent: ({ run_id: runId }) => seen.metadata.push(runId),
      onCustomEvent: (data, { namespace }) => seen.custom.push([data, namespace[0].split(":")[0]]),
      onUpdateEvent: (data, { namespace }) => seen.updates.push([Object.keys(data), namespace?.length ?? 0]),
    });
    await page.until(() => !page.stream.isThreadLoading);
    page.stream.submit({ left: 2, seen: [] }, { streamSubgraphs: true });
    await page.until(() => page.stream.values.left === 0 && !page.stream.isLoading);
    assert.deepEqual(seen.custom, [[{ left: 2 }, "inner"], [{ left: 1 }, "inner"]]);
    assert.deepEqual(seen.updates, [[["tick"], 1], [["tick"], 1], [["inner"], 0]]);
    assert.deepEqual(seen.metadata, [(await lastRun(page.threadId)).run_id]);
  });
});
