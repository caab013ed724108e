// fetch as a browser does it for a page of another origin: it asks before, and hides what the server doesn't expose.

const ORIGIN = "http://localhost:3000";
const SAFE_METHODS = new Set(["GET", "HEAD", "POST"]);
const SAFE_HEADERS = new Set(["accept", "accept-language", "content-language"]);
const READABLE = ["cache-control", "content-language", "content-length", "content-type", "expires", "last-modified"];

const words = (header) => (header ?? "").toLowerCase().split(",").map((word) => word.trim());

const allows = (response) => ["*", ORIGIN].includes(response.headers.get("access-control-allow-origin"));

// What needs permission. A body of JSON does: its content-type is none that a form can send.
const unsafe = (headers) => [...headers.keys()].filter((name) => !SAFE_HEADERS.has(name));

const permitted = async (url, method, names, signal) => {
  const answer = await fetch(url, {
    method: "OPTIONS",
    signal,
    headers: {
      origin: ORIGIN,
      "access-control-request-method": method,
      "access-control-request-headers": names.join(","),
    },
  });
  const methods = words(answer.headers.get("access-control-allow-methods"));
  const headers = words(answer.headers.get("access-control-allow-headers"));
  return (
    answer.ok &&
    allows(answer) &&
    (SAFE_METHODS.has(method) || methods.includes(method.toLowerCase()) || methods.includes("*")) &&
    names.every((name) => headers.includes(name) || headers.includes("*"))
  );
};

// Makes the fetch of one page. When it is closed its connections end, and its code is told nothing more: it is no longer
// there to make another attempt. `seen` is told method, path and body of each request.
export const crossOriginFetch = (closed, seen) => async (input, init) => {
  try {
    closed.throwIfAborted();
    return await request(closed, seen, input, init);
  } catch (error) {
    return closed.aborted ? new Promise(() => {}) : Promise.reject(error);
  }
};

const request = async (closed, seen, input, init = {}) => {
  const url = new URL(input);
  const method = (init.method ?? "GET").toUpperCase();
  const headers = new Headers(init.headers);
  const signal = init.signal ? AbortSignal.any([init.signal, closed]) : closed;
  seen({ method, path: url.pathname, body: init.body ? JSON.parse(init.body) : undefined });
  const names = unsafe(headers);
  if ((names.length || !SAFE_METHODS.has(method)) && !(await permitted(url, method, names, signal))) {
    throw new TypeError("Failed to fetch");
  }
  headers.set("origin", ORIGIN);
  const response = await fetch(url, { ...init, headers, signal });
  if (!allows(response)) throw new TypeError("Failed to fetch");
  const exposed = [...READABLE, ...words(response.headers.get("access-control-expose-headers"))];
  const readable = [...response.headers].filter(([name]) => exposed.includes(name));
  const { status, statusText, body } = response;
  return new Response([204, 304].includes(status) ? null : body, { status, statusText, headers: readable });
};
