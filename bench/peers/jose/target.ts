// Which verb and resource a request names, as kube-apiserver reads it; ambiguous paths are refused.

import { Refusal } from "./refusal.ts";

export interface Target {
  verb: string;
  isLongRunning: boolean;
  /** The answer comes from a workload or a node. */
  isProxy: boolean;
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);
const VERBS: Record<string, string> = { POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" };
const STREAMS = new Set(["attach", "exec", "proxy", "log", "portforward"]);
const SOUND_SEGMENT = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+$/;
const ENCODED_SEPARATOR = /%(?:2f|5c|25|[01][0-9a-f]|7f)/i;

export function isResourcePath(path: string): boolean {
  return /^\/(?:api|apis\/[^/]+)\/[^/]+\/[^/?]/.test(path);
}

export function parseTarget(method: string, target: string): Target {
  if (!METHODS.has(method)) {
    throw new Refusal(405, "MethodNotAllowed", "the Kubernetes API has no such method");
  }
  const question = target.indexOf("?");
  const segments = decode(question < 0 ? target : target.slice(0, question));
  const parts = segments[0] === "api" ? segments.slice(2) : segments[0] === "apis" ? segments.slice(3) : [];
  if (parts.length === 0) {
    return { verb: method.toLowerCase(), isLongRunning: false, isProxy: false };
  }
  if (parts[0] === "proxy" || parts[0] === "watch") {
    return { verb: parts[0], isLongRunning: true, isProxy: parts[0] === "proxy" };
  }
  const isStatusOfNamespace = parts[2] === "status" || parts[2] === "finalize";
  const rest = parts[0] === "namespaces" && parts.length > 2 && !isStatusOfNamespace ? parts.slice(2) : parts;
  const [, name, subresource = ""] = rest;
  let verb = VERBS[method] ?? "get";
  if (!name && verb === "get") {
    const watch = question < 0 ? null : new URLSearchParams(target.slice(question)).get("watch");
    verb = watch === null || watch === "0" || watch.toLowerCase() === "false" ? "list" : "watch";
  }
  return { verb, isLongRunning: verb === "watch" || STREAMS.has(subresource), isProxy: subresource === "proxy" };
}

function decode(path: string): string[] {
  const trimmed = path.endsWith("/") ? path.slice(1, -1) : path.slice(1);
  if (trimmed === "") {
    return [];
  }
  return trimmed.split("/").map((segment, index, all) => {
    const belongsToWorkload = all[0] === "api" && all.slice(0, index).includes("proxy");
    const isSound = SOUND_SEGMENT.test(segment) && (belongsToWorkload || !ENCODED_SEPARATOR.test(segment));
    const decoded = isSound ? decodeSegment(segment) : undefined;
    if (decoded === undefined || decoded === "." || decoded === "..") {
      throw new Refusal(400, "BadRequest", "the path is ambiguous");
    }
    return decoded;
  });
}

function decodeSegment(segment: string): string | undefined {
  try {
    return segment.includes("%") ? decodeURIComponent(segment) : segment;
  } catch {
    return undefined;
  }
}
