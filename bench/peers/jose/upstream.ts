// The head to send: an allow-list of the caller's headers, the caller's identity, and what joins the audit logs.

import type { Caller } from "./identity.ts";
import { Refusal } from "./refusal.ts";

const FORWARDED = new Set([
  "accept",
  "accept-encoding",
  "accept-language",
  "cache-control",
  "content-encoding",
  "content-type",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "kubectl-command",
  "kubectl-session",
  "last-event-id",
  "range",
  "user-agent",
]);
const PLAIN = /^[\t -~]*$/;
const ADDRESS = /^[0-9a-fA-F.:]{2,45}$/;

export function upstreamHeaders(request: Request, caller: Caller, auditId: string): Headers {
  const incoming = request.headers;
  const nominated = (incoming.get("connection") ?? "").toLowerCase().split(/\s*,\s*/);
  const headers = new Headers();
  for (const [name, value] of incoming) {
    if (name.startsWith("impersonate")) {
      throw new Refusal(403, "Forbidden", "this gateway does not take impersonation from its callers");
    }
    const isCrossSite =
      name === "origin" || name.startsWith("sec-fetch-") || name.startsWith("access-control-request-");
    if (isCrossSite) {
      throw new Refusal(403, "Forbidden", "this gateway serves command line tools, not web pages");
    }
    if (FORWARDED.has(name) && PLAIN.test(value) && !nominated.includes(name)) {
      headers.set(name, value);
    }
  }
  const upgrade = incoming.get("upgrade");
  if (upgrade) {
    addUpgrade(headers, request, upgrade.toLowerCase());
  }
  for (const [name, value] of caller.lines) {
    headers.append(name, value);
  }
  headers.set("Audit-ID", auditId);
  const address = incoming.get("cf-connecting-ip");
  if (address && ADDRESS.test(address)) {
    headers.set("X-Forwarded-For", address);
  }
  return headers;
}

function addUpgrade(headers: Headers, request: Request, upgrade: string): void {
  if (upgrade.startsWith("spdy/")) {
    throw new Refusal(400, "BadRequest", "this gateway carries WebSockets, not SPDY: use kubectl 1.31 or newer");
  }
  if (upgrade !== "websocket" || request.method !== "GET") {
    throw new Refusal(400, "BadRequest", "the only upgrade that this gateway knows is a WebSocket, by GET");
  }
  headers.set("Upgrade", "websocket");
  const extensions = request.headers.get("sec-websocket-extensions");
  if (extensions) {
    headers.set("Sec-WebSocket-Extensions", extensions);
  }
  const offer = request.headers.get("sec-websocket-protocol");
  if (offer !== null) {
    const kept = offer
      .split(",")
      .map((protocol) => protocol.trim())
      .filter((protocol) => !protocol.toLowerCase().startsWith("base64url.bearer.authorization.k8s.io"));
    if (kept.length === 0 || !kept.every((protocol) => /^[!-~]+$/.test(protocol))) {
      throw new Refusal(400, "BadRequest", "the WebSocket offers no usable subprotocol");
    }
    headers.set("Sec-WebSocket-Protocol", kept.join(", "));
  }
}
