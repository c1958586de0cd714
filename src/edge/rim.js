// The few operations that are cheaper here than across the Wasm boundary: each crosses it once, with everything. Nothing is
// decided here.
//
// Whoever waits, waits here. A client that goes away leaves its request's promises unsettled, and a future in Rust that waits
// for one of them would keep its memory for ever: so every wait ends when `request.signal` says that the client is gone.

/** Method, URL, arrival (ms since the Unix epoch), a fresh UUID, then `name:value` for each header: one line each. */
export function open(request) {
  let head = `${request.method}\n${request.url}\n${Date.now()}\n${crypto.randomUUID()}`;
  request.headers.forEach((value, name) => {
    head += `\n${name}:${value}`;
  });
  return head;
}

/** What becomes of `promise`; an Error "timeout" after `milliseconds` (0: never), or "gone" when the client goes away. */
function within(promise, milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = milliseconds > 0 ? setTimeout(() => reject(new Error("timeout")), milliseconds) : undefined;
    const end = (settle) => (outcome) => {
      clearTimeout(timer);
      settle(outcome);
    };
    const leave = end(() => reject(new Error("gone")));
    if (signal?.aborted) leave();
    else signal?.addEventListener("abort", leave);
    promise.then(end(resolve), end(reject));
  });
}

/**
 * Sends a request to the cluster. The lines of `plan`: the bound on the wait for the answer's head in milliseconds (0 for none),
 * whether every answer is to be reviewed (1 or 0), and the time of arrival, with a blank between them; path and query; the
 * head's lines of this request, `name:value`, no name twice; an empty one; the names of those; the lines of the head that say
 * who the caller is; an empty one; and what to write of a plain answer, each line's method of the console before it. The body
 * streams through. Redirects are the client's to follow: they lead wherever a workload says.
 *
 * Gives what came. With `settle`, that is the answer for the client: a plain one as it is, and what `settle` makes of another,
 * or of the error that came in its place.
 */
export function send(env, request, head, plan, settle) {
  const endOfFirst = plan.indexOf("\n");
  const [milliseconds, isReviewed, received] = plan.slice(0, endOfFirst).split(" ");
  const endOfTarget = plan.indexOf("\n", endOfFirst + 1);
  const endOfOwn = plan.indexOf("\n\n", endOfTarget) + 1;
  const endOfHead = plan.indexOf("\n\n", endOfOwn) + 1;
  const { method } = request;
  const headers = new Headers();
  eachLine(plan, endOfTarget + 1, endOfOwn, (name, value) => headers.append(name, value));
  eachLine(plan, plan.indexOf("\n", endOfOwn + 1) + 1, endOfHead, (name, value) => headers.append(name, value));
  // The runtime sends no body with these two, and throws when it is given one, even an empty one.
  const body = method === "GET" || method === "HEAD" ? undefined : request.body;
  const hasRecords = plan.length > endOfHead + 1;
  const signal = hasRecords || settle === undefined ? request.signal : undefined;
  const url = `http://localhost${plan.slice(endOfFirst + 1, endOfTarget)}`;
  const answer = env.KUBE_API.fetch(url, { method, headers, body, redirect: "manual" });
  const outcome = within(answer, Number(milliseconds), signal);
  if (settle === undefined) return outcome;
  return outcome.then(
    (response) => {
      if (isReviewed === "1" || !isPlain(response)) return settle(head, response, request);
      if (hasRecords) write(plan.slice(endOfHead + 1), response.status, Number(received));
      return response;
    },
    (error) => settle(head, error, request),
  );
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
    const record = template.replace("\u0001", status).replace("\u0002", time).replace("\u0003", now - received);
    log(method, record);
  });
}

/** Whether an answer is one of the API server that is passed through as it is: no failure, no WebSocket, nothing to strip. */
function isPlain({ status, headers }) {
  return status >= 200 && status < 500 && !SIGNS.some((name) => headers.has(name));
}

/** What the cluster answered: the status in the low 16 bits, and a flag for each thing that needs a second look. */
export function outline(response) {
  let outline = Math.min(response.status, 0xffff);
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
export function peek(response, bytes, request) {
  return within(read(response.clone().body, bytes), 0, request.signal).then((text) => text.slice(0, bytes));
}

/** The answer, changed as `Changes` of answer.rs says. */
export function dress(response, strips, sandboxes, warns) {
  const { status, statusText, headers, webSocket } = response;
  const copy = new Response(response.body, { status, statusText, headers, webSocket });
  if (strips) for (const name of STRIPPED) copy.headers.delete(name);
  if (sandboxes) {
    copy.headers.set("content-security-policy", "sandbox");
    copy.headers.delete("content-security-policy-report-only");
    copy.headers.set("x-content-type-options", "nosniff");
  }
  if (warns) copy.headers.append("warning", WARNING);
  return copy;
}

const WARNING =
  '299 - "kube-access did not use the bearer token of this request: you act as the user that your Access login maps to"';

/** What a workload must not set for the gateway's origin. */
const STRIPPED = `access-control-allow-credentials access-control-allow-headers access-control-allow-methods
  access-control-allow-origin access-control-expose-headers alt-svc authorization clear-site-data nel report-to
  reporting-endpoints server service-worker-allowed set-cookie strict-transport-security www-authenticate`.split(/\s+/);

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
    if (response.status === 200 && response.body) return await read(response.body, bytes);
    await response.body?.cancel();
  } catch {
    // Unreachable, slow or broken: all the same to the caller.
  }
  return undefined;
}

async function read(body, bytes) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > bytes) break;
  }
  return text;
}

/** Waits for what another request may have begun. */
export function wait(promise, milliseconds, request) {
  return within(promise, milliseconds, request.signal);
}

/** The text under a key of Workers KV, undefined when there is none. Rejects when the store fails. */
export function look(env, key, milliseconds, request) {
  const found = env.IDENTITIES.get(key, { type: "text", cacheTtl: 60 });
  return within(found, milliseconds, request.signal).then((text) => text ?? undefined);
}

/** Imported keys by their own JWK, of at most 2 KB each: there are a handful at a time. */
const imported = new Map();

/** RSASSA-PKCS1-v1_5 with SHA-256 (RS256). */
export function verify(jwk, signature, input, request) {
  const verdict = importKey(jwk).then((key) =>
    crypto.subtle.verify(ALGORITHM.name, key, signature, new TextEncoder().encode(input)),
  );
  return within(verdict, 0, request.signal);
}

const ALGORITHM = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

async function importKey(jwk) {
  let key = imported.get(jwk);
  if (key === undefined) {
    key = await crypto.subtle.importKey("jwk", JSON.parse(jwk), ALGORITHM, false, ["verify"]);
    if (imported.size >= 32) imported.clear();
    imported.set(jwk, key);
  }
  return key;
}

/** One line of the log. */
export function log(method, line) {
  console[method](line);
}
