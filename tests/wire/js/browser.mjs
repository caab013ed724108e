// Pages of chat.jsx in a real browser, one for all of them: `const page = await browser.tab({ graph: "parrot" })`.
// They come from a server of their own, so that to the browser the API is of another origin. Each comes with the SDK that
// @langchain/react brings along, or with `newer` set with the one of this folder under it.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP evil.test 127.0.0.1",
  // Newer Chromium keeps pages of other sites from this machine by itself; other browsers don't.
  "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets,BlockInsecurePrivateNetworkRequests",
];
const LATE_MS = 30_000;

const HERE = import.meta.dirname;
const CONTROLLER = join(HERE, "controller.mjs");
const SDK = /^@langchain\/langgraph-sdk(\/|$)/;

// Has whoever imports the SDK get that of this folder.
const newer = {
  name: "the newer SDK",
  setup: (esbuild) =>
    esbuild.onResolve({ filter: SDK }, ({ path, importer, kind, pluginData }) => {
      if (pluginData === SDK) return undefined;
      if (path.endsWith("/stream") && importer !== CONTROLLER) return { path: CONTROLLER };
      return esbuild.resolve(path, { kind, resolveDir: HERE, pluginData: SDK });
    }),
};

const bundle = async (plugins) => {
  const { outputFiles } = await build({
    plugins,
    entryPoints: [join(HERE, "chat.jsx")],
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"' },
    logLevel: "error",
  });
  return outputFiles[0].text;
};

const page = (script) => `<!doctype html><div id="root"></div><script type="module" src="${script}"></script>`;

export class Browser {
  static async open() {
    const scripts = { "/chat.js": await bundle([]), "/newer.js": await bundle([newer]) };
    const browser = new Browser();
    browser.server = createServer((request, response) => {
      const script = scripts[request.url];
      response.setHeader("content-type", script ? "text/javascript" : "text/html");
      if (request.url === "/blank") response.end("<!doctype html>");
      else response.end(script ?? page(request.url.includes("newer=") ? "/newer.js" : "/chat.js"));
    });
    await new Promise((resolve) => browser.server.listen(0, "127.0.0.1", resolve));
    browser.profile = mkdtempSync(join(tmpdir(), "browser-"));
    browser.context = await chromium.launchPersistentContext(browser.profile, {
      executablePath: process.env.CHROMIUM,
      args: FLAGS,
    });
    return browser;
  }

  async close() {
    await this.context.close();
    this.server.close();
    rmSync(this.profile, { recursive: true, force: true });
  }

  // Opens a page without content at a host, whose scripts the test writes.
  async blank(host) {
    const page = await this.context.newPage();
    await page.goto(`http://${host}:${this.server.address().port}/blank`);
    return page;
  }

  // Opens a page; what it is asked for stands in its address. `host` is where it comes from.
  async tab({ host = "127.0.0.1", ...asked }) {
    const page = await this.context.newPage();
    const query = new URLSearchParams({ url: process.env.URL, ...asked });
    const tab = new Tab(page);
    await page.goto(`http://${host}:${this.server.address().port}/?${query}`);
    // On a thread of its own nothing goes on; on one that is given, a run may, and then the page shows that.
    await (asked.thread === undefined ? tab.idle() : tab.until({}));
    return tab;
  }
}

export class Tab {
  problems = []; // what the page has let through uncaught

  constructor(page) {
    this.page = page;
    page.setDefaultTimeout(LATE_MS);
    page.on("pageerror", (error) => this.problems.push(String(error)));
  }

  // Calls a function in the page with `window.chat` and an argument; what it returns is not waited for.
  chat(call, argument) {
    return this.page.evaluate(`{ (${call})(window.chat, ${JSON.stringify(argument)}); }`);
  }

  submit(input, options) {
    return this.page.evaluate(([input, options]) => void window.chat.stream.submit(input, options), [input, options]);
  }

  say(content, more = {}, options = undefined) {
    return this.submit({ messages: [{ type: "human", content }], ...more }, options);
  }

  // Sends an input by the hook, of which `sent` tells.
  send(input, options) {
    return this.page.evaluate(([input, options]) => window.chat.send(input, options), [input, options]);
  }

  edit(place, content) {
    return this.page.evaluate(([place, content]) => window.chat.edit(place, content), [place, content]);
  }

  // Waits until the hook shows these messages in its queue on the server, in whatever order.
  queued(...said) {
    const isSo = (said) => {
      const { entries } = window.chat.queue;
      const shown = entries.map(({ values }) => values.messages[0].content);
      return shown.sort().join() === said.sort().join() && entries.every(({ runId }) => runId !== undefined);
    };
    return this.page.waitForFunction(isSo, said);
  }

  // Calls what the hook offers for its queue, and returns what comes back.
  queue(call, argument) {
    return this.page.evaluate(`(${call})(window.chat.queue, ${JSON.stringify(argument)})`);
  }

  // The checkpoints before the messages, as far as the hook knows them.
  parents() {
    return this.page.evaluate(() => [...document.querySelectorAll("p")].map(({ dataset }) => dataset.parent ?? null));
  }

  sent() {
    return this.page.evaluate(() => window.sent);
  }

  // Waits until the hook says that what was sent is through.
  through() {
    return this.page.waitForFunction(() => window.sent === "through");
  }

  threadId() {
    return this.page.evaluate(() => window.chat.threadId ?? window.chat.stream.threadId);
  }

  async shown() {
    return this.page.evaluate(() => ({
      text: [...document.querySelectorAll("p")].map((line) => line.textContent).join("\n"),
      question: document.querySelector("q")?.textContent ?? null,
      ...document.querySelector("main")?.dataset,
      values: document.querySelector("output")?.textContent,
    }));
  }

  // Waits until what is shown is as it should be.
  async until(wanted) {
    const isSo = (wanted) => {
      const main = document.querySelector("main");
      if (!main) return false;
      const lines = [...document.querySelectorAll("p")].map((line) => line.textContent).join("\n");
      const question = document.querySelector("q")?.textContent ?? null;
      return (
        (wanted.text === undefined || lines === wanted.text) &&
        (wanted.loading === undefined || main.dataset.loading === String(wanted.loading)) &&
        (wanted.threadLoading === undefined || main.dataset.threadLoading === String(wanted.threadLoading)) &&
        (wanted.question === undefined || question === wanted.question) &&
        (wanted.error === undefined || (main.dataset.error ?? "").includes(wanted.error)) &&
        (wanted.values === undefined || document.querySelector("output").textContent.includes(wanted.values))
      );
    };
    try {
      await this.page.waitForFunction(isSo, wanted);
    } catch (error) {
      const told = JSON.stringify({ wanted, shown: await this.shown(), problems: this.problems }, null, 1);
      assert.fail(`${error.message}\n${told}`);
    }
  }

  idle() {
    return this.until({ loading: false });
  }

  // Waits until it shows this text, and nothing more is to come.
  settled(text) {
    return this.until({ text, loading: false });
  }

  // Waits until it shows the whole answer to what was said, and nothing more is to come. There may be pieces beside it
  // of an answer that was never ended: @langchain/react keeps them, whether the run was stopped or began anew.
  async ends(said) {
    await this.page.waitForFunction(
      (line) => [...document.querySelectorAll("p")].some(({ textContent }) => textContent === line),
      `ai: You said ${said}`,
    );
    await this.idle();
  }

  async reload() {
    await this.page.reload();
  }

  async close() {
    await this.page.close();
    assert.deepEqual(this.problems, []);
  }
}
