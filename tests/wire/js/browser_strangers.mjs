// Pages of strangers that try to drive the server at URL, and front ends of this machine that may, in a real browser.

import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { after, before, describe, test } from "node:test";

import { Browser } from "./browser.mjs";

const { Client } = await import(process.env.SDK);
const client = new Client({ apiUrl: process.env.URL, apiKey: null });
const API = new URL(process.env.URL);

// Passes connections on to the server and notes what goes by, since browsers hide answers that pages may not see.
class Tap {
  heads = []; // of requests, without their bodies
  statuses = [];
  #watchers = new Set();

  static async open() {
    const tap = new Tap();
    tap.server = createServer((client) => {
      const server = connect(API.port, "127.0.0.1");
      client.on("data", (data) => tap.#note(tap.heads, data, /^[A-Z]+ \//, (text) => text.split("\r\n\r\n")[0]));
      server.on("data", (data) => tap.#note(tap.statuses, data, /^HTTP\/1\.1 /, (text) => Number(text.slice(9, 12))));
      for (const [from, to] of [[client, server], [server, client]]) {
        from.pipe(to);
        from.on("error", () => to.destroy());
      }
    });
    await new Promise((resolve) => tap.server.listen(0, "127.0.0.1", resolve));
    tap.origin = `http://127.0.0.1:${tap.server.address().port}`;
    return tap;
  }

  #note(list, data, begins, read) {
    const text = data.toString("latin1");
    if (begins.test(text)) list.push(read(text));
    for (const look of this.#watchers) look();
  }

  // Waits for the answer to what `act` has the browser ask; returns its status and the request's head.
  answered(act) {
    const already = this.statuses.length;
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this.statuses.length === already) return;
        this.#watchers.delete(look);
        resolve({ status: this.statuses[already], head: this.heads[already].toLowerCase() });
      };
      this.#watchers.add(look);
      act().catch(reject);
    });
  }

  close() {
    this.server.close();
  }
}

let browser, tap;
before(async () => ([browser, tap] = [await Browser.open(), await Tap.open()]), { timeout: 60_000 });
after(() => Promise.all([browser?.close(), tap?.close()]));

const madeBy = async (by) => (await client.threads.search({ metadata: { by } })).length;

const postText = (page, url, by) =>
  page.evaluate(
    ([url, by]) => void fetch(url, { method: "POST", mode: "no-cors", body: JSON.stringify({ metadata: { by } }) }),
    [`${url}/threads`, by],
  );

const postJson = (page, url, by) =>
  page.evaluate(
    ([url, by]) =>
      fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ metadata: { by } }),
      }).then(({ status }) => status, () => "failed"),
    [`${url}/threads`, by],
  );

const openSocket = (page, origin, threadId) =>
  page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve("open");
        socket.onerror = () => resolve("refused");
      }),
    `${origin.replace("http", "ws")}/threads/${threadId}/stream/events`,
  );

describe("a page of a stranger", { timeout: 120_000 }, () => {
  test("can't post what needs no permission: as text, by a form, from a frame without an origin", async () => {
    const page = await browser.blank("evil.test");
    const text = await tap.answered(() => postText(page, tap.origin, "text"));
    assert.equal(text.status, 403);
    assert.match(text.head, /^post \/threads [^]*content-type: text\/plain/);

    const form = await tap.answered(() =>
      page.evaluate((url) => {
        document.body.innerHTML = `<iframe name="into"></iframe><form method="post" enctype="text/plain" target="into"
          action="${url}/threads"><input name='{"metadata":{"by":"form","x":"' value='"}}'></form>`;
        document.forms[0].submit();
      }, tap.origin));
    assert.equal(form.status, 403);
    assert.match(form.head, /^post \/threads [^]*origin: http:\/\/evil\.test/);

    const frame = await tap.answered(() =>
      page.evaluate((url) => {
        const frame = document.createElement("iframe");
        frame.sandbox = "allow-scripts";
        frame.srcdoc = `<script>fetch("${url}/threads", { method: "POST", mode: "no-cors", body: '{"metadata":{"by":"frame"}}' })</script>`;
        document.body.append(frame);
      }, tap.origin));
    assert.equal(frame.status, 403);
    assert.match(frame.head, /^post \/threads [^]*origin: null/);

    const preflight = await tap.answered(async () =>
      assert.equal(await postJson(page, tap.origin, "json"), "failed"));
    assert.equal(preflight.status, 400);
    assert.match(preflight.head, /^options \/threads /);
    for (const by of ["text", "form", "frame", "json"]) assert.equal(await madeBy(by), 0);
    await page.close();
  });

  test("can't open a WebSocket, nor cancel a run by an image", async () => {
    const page = await browser.blank("evil.test");
    const { thread_id: threadId } = await client.threads.create();
    const socket = await tap.answered(async () =>
      assert.equal(await openSocket(page, tap.origin, threadId), "refused"));
    assert.equal(socket.status, 403);

    const image = await tap.answered(() =>
      page.evaluate((url) => void (new Image().src = url), `${tap.origin}/runs/${threadId}/join?cancel_on_disconnect=1`));
    assert.equal(image.status, 403);
    assert.match(image.head, /^get \/runs\/[^]*sec-fetch-site: cross-site/);
    assert.doesNotMatch(image.head, /\norigin:/);
    await page.close();
  });

  test("can't call the server under its own name, pointed at this machine after it was loaded", async () => {
    const page = await browser.context.newPage();
    const origin = `http://evil.test:${API.port}`;
    await page.route(`${origin}/page`, (route) =>
      route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
    await page.goto(`${origin}/page`); // from here on the name is the server's address, and the origin is the same
    assert.equal(await postJson(page, origin, "rebound"), 403);
    assert.equal(await page.evaluate(() => fetch("/ok").then(({ status }) => status)), 403);
    const { thread_id: threadId } = await client.threads.create();
    assert.equal(await openSocket(page, origin, threadId), "refused");
    assert.equal(await madeBy("rebound"), 0);
    await page.close();
  });
});

describe("a front end on this machine", { timeout: 120_000 }, () => {
  for (const [host, api] of [["localhost", "127.0.0.1"], ["127.0.0.1", "localhost"]]) {
    const url = `http://${api}:${API.port}`;
    const name = `${host} calling ${api}`;

    test(`may call, and must send JSON: ${name}`, async () => {
      const page = await browser.blank(host);
      const { thread_id: threadId } = await client.threads.create();
      assert.equal(await postJson(page, url, name), 200);
      assert.equal(await madeBy(name), 1);
      assert.equal(await openSocket(page, url, threadId), "open");
      const text = await tap.answered(() => postText(page, tap.origin, `${name} as text`));
      assert.equal(text.status, 415);
      assert.equal(await madeBy(`${name} as text`), 0);
      await page.close();
    });

    for (const transport of ["sse", "websocket"]) {
      test(`chats by ${transport}: ${name}`, async () => {
        const tab = await browser.tab({ host, url, graph: "parrot", transport });
        await tab.say("hello");
        await tab.settled("human: hello\nai: You said hello");
        await tab.close();
      });
    }
  }
});
