// `useStream` of @langchain/react in a real browser against the server at URL, with the SDK that it brings along and with a
// newer one under it: what the two do differently with what the server sends.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Browser } from "./browser.mjs";
import { Gate } from "./gate.mjs";

const { Client } = await import(process.env.SDK);
const client = new Client({ apiUrl: process.env.URL, apiKey: null });

// The server tells the places of checkpoints.
const PLACES = process.env.PLACES !== undefined;

const human = (content) => ({ messages: [{ type: "human", content }] });
const turn = (content) => `human: ${content}\nai: You said ${content}`;
const slow = (content, answer = content) => `human: ${content}\nai: Hello.\nai: You said ${answer}`;

let browser;
before(async () => (browser = await Browser.open()), { timeout: 60_000 });
after(() => browser?.close());

// A thread on which there was a conversation.
const talked = async (graph, ...said) => {
  const { thread_id: thread } = await client.threads.create();
  const gate = new Gate();
  gate.open();
  for (const content of said) {
    await client.runs.wait(thread, graph, { input: { ...human(content), gate: gate.path } });
  }
  return thread;
};

for (const newer of PLACES ? ["1"] : ["", "1"]) {
  const story = (name, tell, { always = false } = {}) =>
    test(name, { skip: PLACES && !always }, async () => {
      const opened = [];
      const open = async (asked) => {
        const tab = await browser.tab({ ...asked, ...(newer && { newer }) });
        opened.push(tab);
        return tab;
      };
      try {
        await tell(open);
      } finally {
        for (const tab of opened) await tab.close();
      }
    });

  // The answer to a message stops in the middle: what was sent is not through, and then it is.
  const answered = async (tab, gate, before, content) => {
    await tab.until({ text: `${before}\n${slow(content, "")}`, loading: true });
    assert.equal(await tab.sent(), "on its way");
    gate.open();
    await tab.settled(`${before}\n${slow(content)}`);
    await tab.through();
  };

  describe(`a page with the ${newer ? "newer" : "older"} SDK`, { timeout: 120_000 }, () => {
    story("is busy with its first message after a reload until that is answered", async (open) => {
      const tab = await open({ graph: "patient", thread: await talked("patient", "hello") });
      await tab.settled(slow("hello"));
      const gate = new Gate();
      await tab.send({ ...human("more"), gate: gate.path });
      await answered(tab, gate, slow("hello"), "more");
    });

    story("is busy with a message that it sends when it is opened", async (open) => {
      const gate = new Gate();
      const thread = await talked("patient", "hello");
      const tab = await open({ graph: "patient", thread, first: "more", gate: gate.path });
      await answered(tab, gate, slow("hello"), "more");
    });

    story("has the last message, an earlier one and the first one replaced by an edit", async (open) => {
      const tab = await open({ graph: "parrot" });
      const said = ["one", "two", "three"];
      for (const n of said.keys()) {
        await tab.send(human(said[n]));
        await tab.settled(said.slice(0, n + 1).map(turn).join("\n"));
        await tab.through();
      }
      // Without the ids front ends offer no edit by themselves, and look the place up.
      assert.equal((await tab.parents()).every((parent) => (parent !== null) === PLACES), true);
      for (const place of [2, 1, 0]) {
        await tab.edit(2 * place, `other ${place}`);
        const shown = [...said.slice(0, place), `other ${place}`];
        await tab.settled(shown.map(turn).join("\n"));
        await tab.through();
        const { values } = await client.threads.getState(await tab.threadId());
        assert.equal(values.messages.length, 2 * shown.length);
      }
      await tab.send(human("then"));
      await tab.settled(`${turn("other 0")}\n${turn("then")}`);
      await tab.edit(2, "else");
      await tab.settled(`${turn("other 0")}\n${turn("else")}`);
    }, { always: true });

    story("shows the answer of a run that had not begun when the page was loaded", async (open) => {
      const gate = new Gate();
      gate.open();
      for (const afterSeconds of [2, 8, 30]) {
        const { thread_id: thread } = await client.threads.create();
        const input = { ...human("hello"), gate: gate.path };
        const { run_id: run } = await client.runs.create(thread, "patient", { input, afterSeconds });
        const tab = await open({ graph: "patient", thread });
        await tab.until({ threadLoading: false });
        if ((await client.runs.get(thread, run)).status !== "pending") continue; // the page was too slow
        assert.deepEqual((await client.threads.getState(thread)).next, ["__start__"]);
        await tab.settled(slow("hello"));
        return;
      }
      assert.fail("the page was never loaded before the run began");
    });

    if (!newer) return; // the older one keeps no queue on the server

    // A page with an answer that has stopped in the middle, and messages that wait for its end on the server.
    const waiting = async (open, ...said) => {
      const tab = await open({ graph: "patient", queue: "server" });
      const gate = new Gate();
      await tab.send({ ...human("first"), gate: gate.path });
      await tab.until({ text: slow("first", "") });
      for (const content of said) {
        await tab.submit({ ...human(content), gate: gate.path }, { multitaskStrategy: "enqueue" });
      }
      await tab.queued(...said);
      return { tab, gate, thread: await tab.threadId() };
    };

    const inTurn = (...said) => said.map((content) => slow(content)).join("\n");

    story("shows a queue that is kept on the server, on another page too, and gives up what is cancelled or taken", async (open) => {
      const { tab, gate, thread } = await waiting(open, "one", "two", "three", "four");
      const other = await open({ graph: "patient", thread, queue: "server" });
      await other.queued("one", "two", "three", "four");
      const entries = await tab.queue("({ entries }) => entries");
      const [two, three] = ["two", "three"].map((said) =>
        entries.find(({ values }) => values.messages[0].content === said),
      );
      assert.equal(await tab.queue("({ cancel }, id) => cancel(id)", two.id), true);
      await tab.queued("one", "three", "four");
      await client.runs.cancel(thread, three.runId, true, "interrupt", { reason: "taken" });
      const ends = await Promise.all([two, three].map(({ runId }) => client.runs.get(thread, runId)));
      assert.deepEqual(ends.map(({ status }) => status), ["interrupted", "interrupted"]);
      assert.match(ends[1].cancel_reason, /^taken: /);
      gate.open();
      await tab.settled(inTurn("first", "one", "four"));
      await tab.queued();
      await other.settled(inTurn("first", "one", "four"));
      await other.queued();
    });

    story("clears a queue that is kept on the server", async (open) => {
      const { tab, gate, thread } = await waiting(open, "one", "two");
      await tab.queue("({ clear }) => clear()");
      await tab.queued();
      assert.deepEqual(await client.runs.list(thread, { status: "pending" }), []);
      gate.open();
      await tab.settled(slow("first"));
    });
  });
}
