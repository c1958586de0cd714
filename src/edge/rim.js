// What is cheaper here than across the Wasm boundary: each call crosses it once, with everything, and decides nothing.
// Whoever waits, waits here. A client that goes away leaves its request's promises unsettled, and a future in Rust that waits
// for one of them would keep its memory for ever: so every wait ends when `request.signal` says that the client is gone.

const encoder = new TextEncoder();

/** Method, URL, arrival (ms), a UUID, `name:value` of each header, in lines: as bytes, since wasm-bindgen hands strings over slowly. */
export function open(request) {
  return head(request, Date.now(), crypto.randomUUID());
}

/** The same of a request that another part of the gateway has opened: see `hand` of `session.js`. */
export function reopen(request) {
  const [received, uuid] = (request.headers.get("kube-access-stamp") ?? "").split(" ");
  return head(request, received, uuid);
}

function head(request, received, uuid) {
  let head = `${request.method}\n${request.url}\n${received}\n${uuid}`;
  request.headers.forEach((value, name) => {
    head += `\n${name}:${value}`;
  });
  return encoder.encode(head);
}

/**
 * What becomes of `promise`; an Error "timeout" after `milliseconds` (0: never), or "gone" when the client of `request` goes away.
 * `done` or `failed` has the last word, once.
 */
export function within(promise, milliseconds, request, done = Promise.resolve, failed = Promise.reject) {
  return new Promise((resolve, reject) => {
    const signal = request ? request.signal : undefined;
    let isOver = false;
    const end = (word, outcome) => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", leave);
      try {
        resolve(word.call(Promise, outcome));
      } catch (error) {
        reject(error);
      }
    };
    const timer = milliseconds > 0 ? setTimeout(() => end(failed, new Error("timeout")), milliseconds) : undefined;
    const leave = () => end(failed, new Error("gone"));
    if (signal?.aborted) leave();
    else signal?.addEventListener("abort", leave);
    promise.then(end.bind(undefined, done), end.bind(undefined, failed));
  });
}

/**
 * Sends a request to the cluster. The lines of `plan`: the bound on the wait for the answer's head in milliseconds (0: none), whether
 * every answer is to be reviewed (1 or 0), the time of arrival, and when an answer that stays open is cut off in milliseconds since the
 * Unix epoch (0: never); path and query; the head's lines, `name:value`, no name twice;
 * an empty one; the names of those; the lines that say who the caller is; an empty one; and what to write of a plain answer, each
 * after its method of the console. The body streams through. Redirects are the client's to follow.
 * A WebSocket that is cut off then is an object's: the runtime forgets the timers of a Worker that has handed one through.
 * Gives what came. With `settle`, that is what the client gets: a plain answer as it is, and what `settle` makes of another, or of
 * the error that came in its place. `signal` cuts the connection, also that of a WebSocket which is open.
 */
export function send(env, request, head, plan, settle, signal) {
  const endOfFirst = plan.indexOf("\n");
  const [milliseconds, isReviewed, received, until] = plan.slice(0, endOfFirst).split(" ");
  const endOfTarget = plan.indexOf("\n", endOfFirst + 1);
  const endOfOwn = plan.indexOf("\n\n", endOfTarget) + 1;
  const endOfHead = plan.indexOf("\n\n", endOfOwn) + 1;
  const records = plan.slice(endOfHead + 1);
  const { method } = request;
  const sent = address(method, plan, endOfTarget + 1, endOfOwn, endOfHead, settle !== undefined);
  // The runtime sends no body with these two, and throws when it is given one, even an empty one.
  const hasBody = method !== "GET" && method !== "HEAD" && request.body !== null && !request.bodyUsed;
  const body = hasBody ? request.body : undefined;
  signal ??= until !== "0" && request.headers.has("upgrade") ? ending(until) : undefined;
  const init = hasBody || signal ? { method, headers: sent.headers, body, redirect: "manual", signal } : sent;
  const fetched = env.KUBE_API.fetch(`http://localhost${plan.slice(endOfFirst + 1, endOfTarget)}`, init);
  const answer = until === "0" ? fetched : fetched.then((response) => cut(response, Number(until)));
  if (settle === undefined) return within(answer, milliseconds, request);
  const pass = (response) => {
    if (isReviewed === "1" || !isPlain(response)) return settle(head, response, request);
    if (records !== "") write(records, response.status, Number(received));
    return response;
  };
  // Where nothing is to be written, nobody has to know that the client is gone.
  return within(answer, milliseconds, records && request, pass, (error) => settle(head, error, request));
}

/** The longest that a timer takes, in milliseconds. */
const LONGEST_MS = 2 ** 31 - 1;

const ending = (until) => AbortSignal.timeout(Math.max(0, Math.min(until - Date.now(), LONGEST_MS)));

/** An answer whose body ends at a time, if it has no end of its own: the runtime carries it from pipe to pipe. */
function cut(response, until) {
  const { body, headers } = response;
  if (!body || headers.has("content-length") || headers.has("content-encoding")) return response;
  const { readable, writable } = new IdentityTransformStream();
  const signal = ending(until);
  const end = () => signal.aborted && writable.close();
  body
    .pipeTo(writable, { signal, preventAbort: true })
    .catch((error) => end() || writable.abort(error))
    .catch(() => {});
  return new Response(readable, response);
}

/** Heads by what they have in common: at most MOST_KEPT, of LONGEST_KEPT characters each, in some five times as many bytes. */
const kept = new Map();
const [MOST_KEPT, LONGEST_KEPT] = [512, 8192];

/**
 * A head without a body. To write each line of each request costs a tenth of it; so on the short way (`mayKeep`) a head is sent again,
 * with the values that are new, and `fetch` copies it at once. An object's `fetch` reads its head later, when the next call may have
 * written over it: every other way has a head of its own. Without `kept`, every head would be made anew.
 */
function address(method, plan, start, endOfOwn, end, mayKeep) {
  const alike = plan.slice(endOfOwn + 1, end);
  const isKept = mayKeep && end - start <= LONGEST_KEPT;
  let head = isKept ? kept.get(method + alike) : undefined;
  if (head === undefined) {
    const request = new Request("http://localhost", { method, redirect: "manual" });
    head = { request, headers: request.headers, values: [] };
    eachLine(alike, alike.indexOf("\n") + 1, alike.length, (name, value) => head.headers.append(name, value));
    if (kept.size === MOST_KEPT) kept.clear();
    if (isKept) kept.set(method + alike, head);
  }
  let index = 0;
  eachLine(plan, start, endOfOwn, (name, value) => {
    if (head.values[index] !== value) head.headers.set(name, value);
    head.values[index++] = value;
  });
  return head.request;
}

/** Calls back with each line `name:value` between two places of a text. */
function eachLine(text, start, end, visit) {
  for (let from = start; from < end; ) {
    const colon = text.indexOf(":", from);
    const to = text.indexOf("\n", colon);
    visit(text.slice(from, colon), text.slice(colon + 1, to));
    from = to + 1;
  }
}

/** Writes records whose holes the answer fills: as `fill` of audit.rs. */
function write(records, status, received) {
  const now = Date.now();
  const time = new Date(now).toISOString().slice(0, -1);
  eachLine(records, 0, records.length, (method, template) => {
    const [start, beforeTime, afterTime, end] = template.split("\u0001");
    console[method](start + status + beforeTime + time + afterTime + (end === undefined ? "" : now - received + end));
  });
}

/** Whether an answer is passed through as it is: no failure, no WebSocket, nothing to strip. */
function isPlain({ status, headers }) {
  return status >= 200 && status < 500 && !SIGNS.some((name) => headers.has(name));
}

/** What the cluster answered: the status in the low 16 bits, and a flag for each thing that needs a second look. */
export function outline({ status, headers, webSocket }) {
  const type = (status >= 500 && headers.get("content-type")) || "";
  const isStripped = SIGNS.some((name) => headers.has(name));
  const flags = [webSocket, isStripped, type.startsWith("text/html"), type.startsWith("text/plain")];
  return flags.reduce((outline, flag, index) => outline | (flag ? 1 << (16 + index) : 0), Math.min(status, 0xffff));
}

/** The beginning of a text answer, which stays whole for the client. */
export function peek(response, bytes, request) {
  return within(read(response.clone().body, bytes), 0, request, (text) => text.slice(0, bytes));
}

/** The answer, changed as `Changes` of answer.rs says. */
export function dress(response, strips, sandboxes, warning) {
  const { status, statusText, headers, webSocket } = response;
  const copy = new Response(response.body, { status, statusText, headers, webSocket });
  const removed = strips ? STRIPPED : [];
  for (const name of sandboxes ? [...removed, "content-security-policy-report-only"] : removed)
    copy.headers.delete(name);
  if (sandboxes) copy.headers.set("content-security-policy", "sandbox");
  if (sandboxes) copy.headers.set("x-content-type-options", "nosniff");
  if (warning) copy.headers.append("warning", warning);
  return copy;
}

/** What a workload must not set for the gateway's origin. */
const STRIPPED = `access-control-allow-credentials access-control-allow-headers access-control-allow-methods
  access-control-allow-origin access-control-expose-headers alt-svc authorization clear-site-data nel report-to
  reporting-endpoints server service-worker-allowed set-cookie strict-transport-security www-authenticate`.split(/\s+/);

/** The others say nothing without one of these: CORS begins with the origin, and NEL reports to a group. */
const SIGNS = STRIPPED.filter((name) => name !== "nel" && !/^access-control-(?!allow-origin)/.test(name));

/**
 * What Access answers, or undefined; with `request`, what it answers the caller of that. A text of more than `bytes` comes cut, with
 * at least one byte too many.
 */
export async function access(url, bytes, milliseconds, request) {
  // As a browser of theirs would ask: Access takes the token of the application as this cookie.
  const headers = request ? { cookie: `CF_Authorization=${request.headers.get("cf-access-jwt-assertion")}` } : {};
  const response = await fetch(url, { headers, redirect: "manual", signal: AbortSignal.timeout(milliseconds) });
  return response.status === 200 ? read(response.body, bytes) : response.body?.cancel();
}

/** The text that the API server answers a request of the gateway's own with, or undefined unless it comes with 200 or 201. */
export function review(env, method, target, lines, body, bytes, milliseconds, request) {
  const headers = new Headers();
  eachLine(lines, 0, lines.length, (name, value) => headers.append(name, value));
  const init = { method, headers, body: method === "GET" ? undefined : body, redirect: "manual" };
  const text = env.KUBE_API.fetch(`http://localhost${target}`, init).then((response) =>
    response.status === 200 || response.status === 201 ? read(response.body, bytes) : response.body?.cancel(),
  );
  return within(text, milliseconds, request).catch((error) => {
    if (error.message === "gone") throw error;
  });
}

/** The text of a body, which comes cut, with at least one byte too many, where it has more than so many. */
export async function read(body, bytes) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > bytes) break;
  }
  return text;
}

/**
 * The text under each of some keys of Workers KV, null where there is none, as it was at most half a minute ago: the shortest `cacheTtl`
 * that KV takes.
 */
export function look(env, keys, milliseconds, request) {
  const texts = keys.map((key) => env.IDENTITIES.get(key, { type: "text", cacheTtl: 30 }));
  return within(Promise.all(texts), milliseconds, request);
}

/** What an object answers to a command: its status and text, in one. */
export function tell(object, path, body, milliseconds, request) {
  const answer = object.fetch(`http://object/.kube-access/${path}`, { method: "POST", body });
  const text = answer.then(async (response) => `${response.status}${await response.text()}`);
  return within(text, milliseconds, request);
}

/** RSASSA-PKCS1-v1_5 with SHA-256 (RS256). */
export function verify(jwk, signature, input, request) {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const verdict = crypto.subtle
    .importKey("jwk", JSON.parse(jwk), algorithm, false, ["verify"])
    .then((key) => crypto.subtle.verify(algorithm.name, key, signature, encoder.encode(input)));
  return within(verdict, 0, request);
}
