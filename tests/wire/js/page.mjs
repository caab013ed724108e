// A page of a chat front end in jsdom: one React component around the `useStream` of the package named by SDK.
//
//     const page = new Page({ assistantId: "parrot" });
//     page.stream.submit({ messages: [{ type: "human", content: "hi" }] });
//     await page.until(() => page.text === "human: hi\nai: You said hi");
//     page.close();                                  // as a tab that is closed: its connections end
//
// What it shows is read from the DOM. Every wait is for a render.

import { JSDOM } from "jsdom";

import { crossOriginFetch } from "./cross_origin.mjs";

const dom = new JSDOM("", { url: "http://localhost:3000/" });
for (const name of ["window", "document", "navigator"]) {
  Object.defineProperty(globalThis, name, { value: name === "window" ? dom.window : dom.window[name] });
}
export const { sessionStorage } = dom.window;

// After the window, which they look at when they are imported.
const { createElement, useEffect, useState } = await import("react");
const { createRoot } = await import("react-dom/client");
const { useStream } = await import(`${process.env.SDK}/react`);

const LATE_MS = 30_000;

const Chat = ({ page, options }) => {
  const [threadId, setThreadId] = useState(options.threadId ?? null);
  const stream = useStream({
    apiUrl: process.env.URL,
    fetchStateHistory: true,
    messagesKey: "messages",
    ...options,
    threadId,
    onThreadId: setThreadId,
    callerOptions: page.callerOptions,
  });
  Object.assign(page, { stream, threadId, go: setThreadId });
  useEffect(() => page.rendered());
  return stream.messages.map(({ id, type, content }, n) =>
    createElement("p", { key: id ?? n }, `${type}: ${typeof content === "string" ? content : JSON.stringify(content)}`),
  );
};

export class Page {
  stream; // what the hook returned last
  threadId;
  go; // shows another thread, or none (null)
  shown = []; // the texts that it has shown, each once in a row
  requests = [];
  #closed = new AbortController();
  #watchers = new Set();

  constructor(options) {
    this.callerOptions = {
      fetch: crossOriginFetch(this.#closed.signal, (request) => this.requests.push(request)),
    };
    this.element = document.body.appendChild(document.createElement("div"));
    this.root = createRoot(this.element);
    this.root.render(createElement(Chat, { page: this, options }));
  }

  get text() {
    return [...this.element.querySelectorAll("p")].map((line) => line.textContent).join("\n");
  }

  rendered() {
    if (this.shown.at(-1) !== this.text) this.shown.push(this.text);
    for (const look of this.#watchers) look();
  }

  // Waits until a render after which a condition holds.
  until(holds) {
    return new Promise((resolve, reject) => {
      const asked = new Error(`never so: ${holds}`);
      const timer = setTimeout(() => {
        const { isLoading, error, interrupt } = this.stream ?? {};
        asked.message += `\n${JSON.stringify({ isLoading, error: String(error), interrupt, shown: this.shown, requests: this.requests.slice(-6) }, null, 1)}`;
        reject(asked);
      }, LATE_MS);
      const look = () => {
        if (this.stream === undefined || !holds()) return;
        clearTimeout(timer);
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
  }

  // Waits until it shows this text, and nothing more is to come.
  settled(text) {
    return this.until(() => this.text === text && !this.stream.isLoading);
  }

  close() {
    this.#closed.abort();
    this.root.unmount();
    this.element.remove();
  }
}
