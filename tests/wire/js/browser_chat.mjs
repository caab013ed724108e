// `useStream` of @langchain/react (protocol v2) and the older one of the SDK, in a real browser against the server at
// URL. With RESTART it tells only what happens when the server is killed: it says "halfway" when it may be, and wants
// a line on stdin when it is back.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Browser } from "./browser.mjs";
import { Gate } from "./gate.mjs";

const { Client } = await import(process.env.SDK);
const client = new Client({ apiUrl: process.env.URL, apiKey: null });

const TURN = "human: hello\nai: You said hello";
const PARTIAL = "human: hello\nai: Hello.\nai: You said ";
const WHOLE = `${PARTIAL}hello`;
const SHORT = process.env.SHORT !== undefined;

let browser;
before(async () => (browser = await Browser.open()), { timeout: 60_000 });
after(() => browser?.close());

// One after the other: a browser has six connections to a server, and a page needs two of them for its streams.
const story = (name, asked, tell, { short = false, restart = false } = {}) =>
  test(name, { skip: (SHORT && !short) || restart !== (process.env.RESTART !== undefined) }, async () => {
    const opened = [];
    const open = async (more) => opened[opened.push(await browser.tab({ ...asked, ...more })) - 1];
    try {
      await tell(open);
    } finally {
      for (const tab of opened) await tab.close();
    }
  });

// An answer that has stopped in the middle.
const halfway = async (tab, options) => {
  const gate = new Gate();
  await tab.say("hello", { gate: gate.path }, options);
  await tab.until({ text: PARTIAL });
  return gate;
};

const lastRun = async (threadId) => (await client.runs.list(threadId, { limit: 1 }))[0];

const ended = async (threadId) => {
  const { run_id: runId } = await lastRun(threadId);
  await client.runs.join(threadId, runId);
  return (await client.runs.get(threadId, runId)).status;
};

describe("a page", { timeout: 240_000 }, () => {
  story("shows an answer token by token, and the next one", { graph: "patient" }, async (open) => {
    const tab = await open();
    const gate = await halfway(tab);
    gate.open();
    await tab.settled(WHOLE);
    await tab.say("more", { gate: gate.path });
    await tab.settled(`${WHOLE}\nhuman: more\nai: Hello.\nai: You said more`);
    assert.equal((await client.threads.get(await tab.threadId())).status, "idle");
  }, { short: true });

  story("does the same over a WebSocket", { graph: "patient", transport: "websocket" }, async (open) => {
    const tab = await open();
    const gate = await halfway(tab);
    gate.open();
    await tab.settled(WHOLE);
  });

  story("asks a question, also after a reload, and goes on with the answer", { graph: "nested_ask" }, async (open) => {
    const tab = await open();
    await tab.submit({ topic: "tea" });
    await tab.until({ question: '{"about":"tea"}', loading: false });
    await tab.reload();
    await tab.until({ question: '{"about":"tea"}' });
    // Without the question's id it answers the one that the stream has told of, which may come later than the state.
    await tab.page.waitForFunction(() => window.chat.stream.getThread()?.interrupts.length === 1);
    await tab.chat("({ stream }) => stream.respond('green')");
    await tab.until({ values: '"closed":true', question: null, loading: false });
    assert.equal((await client.threads.get(await tab.threadId())).status, "idle");
  });

  story("stops: the run ends, and the next message is answered", { graph: "patient" }, async (open) => {
    const tab = await open();
    const gate = await halfway(tab);
    await tab.chat("({ stream }) => stream.stop()");
    await tab.until({ loading: false });
    const threadId = await tab.threadId();
    assert.equal(await ended(threadId), "interrupted");
    gate.open();
    await tab.say("again", { gate: gate.path });
    await tab.ends("again");
    assert.equal(await ended(threadId), "success");
  });

  story("goes on with a running answer after a reload", { graph: "patient" }, async (open) => {
    const tab = await open();
    const gate = await halfway(tab);
    await tab.reload();
    await tab.until({ text: PARTIAL, loading: true });
    gate.open();
    await tab.settled(WHOLE);
    assert.equal((await client.runs.list(await tab.threadId())).length, 1);
  });

  story("is followed by a second page on the same thread", { graph: "patient" }, async (open) => {
    const tab = await open();
    const gate = await halfway(tab);
    const other = await open({ thread: await tab.threadId() });
    await other.until({ text: PARTIAL });
    gate.open();
    await other.settled(WHOLE);
    await tab.settled(WHOLE);
  });

  story("shows an error with its message, and recovers", { graph: "broken" }, async (open) => {
    const tab = await open();
    await tab.say("hello");
    await tab.until({ error: "the player broke", loading: false });
  });

  story("shows one thread after the other, each with its own messages", { graph: "patient" }, async (open) => {
    const tab = await open();
    const gate = await halfway(tab);
    const first = await tab.threadId();
    await tab.chat("({ go }) => go(null)");
    await tab.settled("");
    gate.open();
    await tab.say("other", { gate: gate.path });
    const other = "human: other\nai: Hello.\nai: You said other";
    await tab.settled(other);
    const second = await tab.threadId();
    assert.notEqual(second, first);
    await ended(first);
    await tab.chat("({ go }, id) => go(id)", first);
    await tab.settled(WHOLE);
    await tab.chat("({ go }, id) => go(id)", second);
    await tab.settled(other);
  });

  story("with the older hook shows an answer, and goes on with it after a reload", { graph: "patient", hook: "older" }, async (open) => {
    const tab = await open();
    const gate = await halfway(tab, { streamResumable: true });
    await tab.reload();
    await tab.until({ text: PARTIAL, loading: true });
    gate.open();
    await tab.settled(WHOLE);
  });

  for (const asked of [{}, { transport: "websocket" }, { hook: "older" }]) {
    const how = Object.values(asked)[0] ?? "sse";
    story(`survives a server that is killed and comes back (${how})`, { graph: "patient", ...asked }, async (open) => {
      const tab = await open();
      const gate = await halfway(tab, asked.hook ? { streamResumable: true } : undefined);
      const back = new Promise((resolve) => process.stdin.once("data", resolve));
      console.log("halfway");
      await back;
      gate.open();
      await tab.ends("hello");
      await tab.say("more", { gate: gate.path });
      await tab.ends("more");
      const { values } = await client.threads.getState(await tab.threadId());
      assert.deepEqual(values.messages.map(({ type }) => type), ["human", "ai", "ai", "human", "ai", "ai"]);
      assert.equal((await client.runs.list(await tab.threadId())).length, 2);
      if (asked.hook) await tab.settled(`${WHOLE}\nhuman: more\nai: Hello.\nai: You said more`);
      const again = await open({ thread: await tab.threadId() });
      await again.settled(`${WHOLE}\nhuman: more\nai: Hello.\nai: You said more`);
    }, { restart: true, short: how === "sse" });
  }
});
