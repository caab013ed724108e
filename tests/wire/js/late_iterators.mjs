// Iterators of `threads.stream` that are opened after their run, which is over in a millisecond: ROUNDS times, AT_ONCE at
// the same time, over TRANSPORT, against the server at URL.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";

globalThis.WebSocket ??= (await import("ws")).WebSocket;

const { Client } = await import(process.env.SDK);
const client = new Client({ apiUrl: process.env.URL, apiKey: null });
const [rounds, atOnce] = [Number(process.env.ROUNDS), Number(process.env.AT_ONCE)];

const ONE = { left: 1, seen: [] };
const human = (content) => ({ messages: [{ type: "human", content }] });
const collect = async (items) => {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
};

const ITERATORS = {
  values: ["countdown", ONE, (thread) => collect(thread.values), (found) => found.at(-1)?.left === 0],
  output: ["countdown", ONE, (thread) => thread.output, (found) => found?.left === 0],
  messages: ["parrot", human("hello"), (thread) => collect(thread.messages), (found) => found.length === 1],
  // The SDK shows a call when it begins and once more when it ends.
  toolCalls: ["calculator", human("six"), (thread) => collect(thread.toolCalls), (found) => found.length > 0],
  subgraphs: ["nested", ONE, (thread) => collect(thread.subgraphs), (found) => found.length === 1],
  extensions: ["crier", ONE, (thread) => collect(thread.extensions.progress), (found) => found.length === 2],
};

describe("an iterator", { timeout: 240_000 }, () => {
  for (const [name, [assistantId, input, read, isWhole]] of Object.entries(ITERATORS)) {
    test(name, async () => {
      const round = async () => {
        const thread = client.threads.stream(randomUUID(), { assistantId, transport: process.env.TRANSPORT });
        try {
          await thread.run.start({ input });
          return isWhole(await read(thread));
        } finally {
          await thread.close();
        }
      };
      for (let n = 0; n < rounds; n += atOnce) {
        const found = await Promise.all(Array.from({ length: atOnce }, round));
        assert(found.every(Boolean), `${found}`);
      }
    });
  }
});
