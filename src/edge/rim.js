// The few operations that are cheaper here than across the Wasm boundary: each crosses it once, with everything.
// Nothing is decided here.

import { within } from "./patience.js";

/** Method, URL, arrival (ms since the Unix epoch), a fresh UUID, then `name:value` for each header: one line each. */
export function open(request) {
  let head = `${request.method}\n${request.url}\n${Date.now()}\n${crypto.randomUUID()}`;
  request.headers.forEach((value, name) => {
    head += `\n${name}:${value}`;
  });
  return head;
}

/**
 * Sends a request to the cluster. The lines of `plan`: the bound on the wait for the answer's head in milliseconds, 0 for
 * none; path and query; the head's lines of this request, `name:value`, no name twice; an empty one; the names of
 * those; and the lines of the head that say who the caller is. The body streams through. Redirects are the client's to
 * follow: they lead wherever a workload says. Gives what `finish` makes of the answer, or of the error that came in its
 * place.
 */
export function send(binding, request, plan, finish = (outcome) => outcome) {
  const bound = plan.indexOf("\n");
  const target = plan.indexOf("\n", bound + 1);
  const { method } = request;
  const head = address(method, plan, target + 1);
  // The runtime sends no body with these two, and throws when it is given one, even an empty one.
  const body = method === "GET" || method === "HEAD" ? null : request.body;
  const init = body === null ? head : { method, headers: head.headers, body, redirect: "manual" };
  const url = `http://localhost${plan.slice(bound + 1, target)}`;
  const milliseconds = Number(plan.slice(0, bound));
  const answer = binding.fetch(url, init);
  return milliseconds === 0 ? answer.then(finish, finish) : within(milliseconds, answer, finish);
}

/**
 * Heads that were sent, by what they have in common with the next: the method, who the caller is, and the names of the
 * other lines. Writing all lines anew would cost more than all that is decided, so a head is sent again, with the values
 * that are new; `fetch` copies it.
 */
const sent = new Map();
const MOST_SENT = 1024;

/**
 * The head that `plan` describes from `start` on, a `Request` without a body. Whoever takes it uses it at once: the next
 * call may change it.
 */
function address(method, plan, start) {
  const end = plan.indexOf("\n\n", start) + 1;
  const alike = plan.slice(end + 1);
  const key = method + alike;
  let head = sent.get(key);
  if (head === undefined) {
    const request = new Request("http://localhost", { method, redirect: "manual" });
    const { headers } = request;
    eachLine(alike, alike.indexOf("\n") + 1, alike.length, (name, value) => headers.append(name, value));
    head = { request, headers, values: [] };
    if (sent.size === MOST_SENT) sent.clear();
    sent.set(key, head);
  }
  const { request, headers, values } = head;
  let index = 0;
  eachLine(plan, start, end, (name, value) => {
    if (values[index] !== value) {
      headers.set(name, value);
      values[index] = value;
    }
    index += 1;
  });
  return request;
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

/** Whether an outcome is an answer of the API server that is passed through as it is: no failure, no WebSocket, nothing to strip. */
export function isPlain(outcome) {
  const { status, headers } = outcome;
  return status < 500 && status !== 101 && !SIGNS.some((name) => headers.has(name));
}

/** What the cluster answered: the status in the low 16 bits, and a flag for each thing that needs a second look. */
export function outline(response) {
  let outline = response.status;
  if (response.webSocket) outline |= 1 << 16;
  if (SIGNS.some((name) => response.headers.has(name))) outline |= 1 << 17;
  if (response.status >= 500) {
    const type = response.headers.get("content-type") ?? "";
    if (type.startsWith("text/html")) outline |= 1 << 18;
    if (type.startsWith("text/plain")) outline |= 1 << 19;
  }
  return outline;
}

/** The beginning of a text answer, which stays whole for the client. */
export async function peek(response, bytes) {
  return read(response.clone().body, bytes, true);
}

/** The answer without the headers that a workload could set for the gateway's own origin. */
export function strip(response) {
  const { webSocket } = response;
  const copy = new Response(response.body, {
    status: response.status,
    statusText: response.statusText,
    headers: response.headers,
    webSocket,
  });
  for (const name of STRIPPED) copy.headers.delete(name);
  return copy;
}

const STRIPPED = [
  "access-control-allow-credentials",
  "access-control-allow-headers",
  "access-control-allow-methods",
  "access-control-allow-origin",
  "access-control-expose-headers",
  "alt-svc",
  "authorization",
  "clear-site-data",
  "nel",
  "report-to",
  "reporting-endpoints",
  "server",
  "service-worker-allowed",
  "set-cookie",
  "strict-transport-security",
  "www-authenticate",
];

/** Without one of these, none of the others says anything: CORS begins with the origin, and NEL reports to a group. */
const SIGNS = STRIPPED.filter((name) => name !== "nel" && !/^access-control-(?!allow-origin)/.test(name));

/** An answer of the gateway's own. */
export function answer(status, contentType, retryAfter, body) {
  const headers = { "content-type": contentType, "cache-control": "no-store" };
  if (retryAfter !== undefined) headers["retry-after"] = String(retryAfter);
  return new Response(body, { status, headers });
}

/** The text of a JWKS endpoint, or undefined. An answer of more than `bytes` comes cut, with at least one byte too many. */
export async function certs(url, bytes, milliseconds) {
  try {
    const response = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(milliseconds) });
    if (response.status === 200 && response.body) return await read(response.body, bytes, false);
    await response.body?.cancel();
  } catch {
    // Unreachable, slow or broken: all the same to the caller.
  }
  return undefined;
}

async function read(body, bytes, isPeek) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > bytes) break;
  }
  return isPeek ? text.slice(0, bytes) : text;
}

/** The text under a key of Workers KV, undefined when there is none. Rejects when the store fails. */
export async function look(namespace, key) {
  return (await namespace.get(key, { type: "text", cacheTtl: 60 })) ?? undefined;
}

/** Settles as `promise` does, or with undefined after `milliseconds`. */
export function wait(promise, milliseconds) {
  return Promise.race([promise, new Promise((resolve) => setTimeout(resolve, milliseconds))]);
}

const imported = new Map();

/** RSASSA-PKCS1-v1_5 with SHA-256 (RS256). An imported key is kept under its own JWK; there are a handful at a time. */
export async function verify(jwk, signature, input) {
  let key = imported.get(jwk);
  if (key === undefined) {
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
    key = await crypto.subtle.importKey("jwk", JSON.parse(jwk), algorithm, false, ["verify"]);
    if (imported.size >= 32) imported.clear();
    imported.set(jwk, key);
  }
  return crypto.subtle.verify("RSASSA-PKCS1-v1_5", key, signature, new TextEncoder().encode(input));
}

/** One line of the log. */
export function log(level, line) {
  console[level](line);
}
