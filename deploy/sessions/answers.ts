// What the gateway answers below /.kube-access/sessions, and where it is asked for. An answer is checked once, here.

import { Failure } from "./failure.ts";
import { visible } from "./text.ts";

const SESSIONS = "/.kube-access/sessions";

export interface Summary {
  id: string;
  state: "live" | "ended";
  user: string;
  email?: string;
  namespace: string;
  pod: string;
  container?: string;
  kind: string;
  command?: string[];
  tty: boolean;
  recorded: boolean;
  started: string;
  ended?: string;
  by?: string;
  reason?: string;
  exit_code?: number;
}

export interface Page {
  scope: "all" | "own";
  sessions: Summary[];
  cursor?: string;
}

/** Bytes or digests of each of a session's streams. */
interface Streams<Value> {
  stdin: Value;
  stdout: Value;
  stderr: Value;
}

/** A chunk as it lies in the bucket. */
export interface Listed {
  name: string;
  size: number;
}

/** A chunk as the manifest has it. */
export interface Chunk extends Listed {
  sha256: string;
  chain: string;
}

/** What is known of a session. Of a live one, less: it has no chunks yet, and no digests. */
export interface Manifest {
  id: string;
  state: "live" | "ended";
  caller: {
    user: string;
    groups?: string[];
    email?: string;
    subject?: string;
    grants?: string[];
    acts_as?: { user: string; groups?: string[] };
    address?: string;
  };
  audit_id?: string;
  ray?: string;
  guards?: string[];
  target: {
    kind: string;
    namespace: string;
    pod: string;
    container?: string;
    command?: string[];
    tty?: boolean;
    stdin?: boolean;
  };
  protocol?: string;
  record?: string;
  started: string;
  ended?: string;
  by?: string;
  reason?: string;
  exit_code?: number;
  bytes?: Streams<number>;
  /** Not of what the recording holds whole: its chunks have digests. */
  sha256?: Partial<Streams<string>>;
  chunks: Chunk[];
}

/** What a list is narrowed to; the names are those of the query. */
export interface Filters {
  user?: string | undefined;
  namespace?: string | undefined;
  pod?: string | undefined;
  day?: string | undefined;
  state?: string | undefined;
}

export function listPath(query: Filters & { limit: number; cursor?: string | undefined }): string {
  const given = Object.entries(query).flatMap(([name, value]) => {
    return value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`];
  });
  return `${SESSIONS}?${given.join("&")}`;
}

export const sessionPath = (id: string) => `${SESSIONS}/${id}`;
export const chunksPath = (id: string) => `${SESSIONS}/${id}/chunks`;
export const castPath = (id: string) => `${SESSIONS}/${id}/cast`;
export const endPath = (id: string, reason: string | undefined) => {
  return `${SESSIONS}/${id}${reason === undefined ? "" : `?reason=${encodeURIComponent(reason)}`}`;
};

export function isId(text: string): boolean {
  return /^[0-9a-z-]{10,64}$/.test(text);
}

const kinds = {
  text: (value: unknown) => typeof value === "string",
  texts: (value: unknown) => Array.isArray(value) && value.every((one) => typeof one === "string"),
  flag: (value: unknown) => typeof value === "boolean",
  whole: (value: unknown) => Number.isSafeInteger(value),
  size: (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0,
  digest: (value: unknown) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value),
  id: (value: unknown) => typeof value === "string" && isId(value),
  state: (value: unknown) => value === "live" || value === "ended",
  scope: (value: unknown) => value === "all" || value === "own",
  fields: (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value),
  list: (value: unknown) => Array.isArray(value),
};

/** The fields of an object, and what each holds; one that may be missing ends in "?". */
type Shape = Record<string, keyof typeof kinds>;

const PAGE: Shape = { scope: "scope", sessions: "list", "cursor?": "text" };
const END: Shape = { started: "text", "ended?": "text", "by?": "text", "reason?": "text", "exit_code?": "whole" };
const PLACE: Shape = { kind: "text", namespace: "text", pod: "text", "container?": "text", "command?": "texts" };
const SUMMARY: Shape = {
  ...{ id: "id", state: "state", user: "text", "email?": "text", tty: "flag", recorded: "flag" },
  ...PLACE,
  ...END,
};
const MANIFEST: Shape = {
  ...{ id: "id", state: "state", caller: "fields", "audit_id?": "text", "ray?": "text", "guards?": "texts" },
  ...{ target: "fields", "protocol?": "text", "record?": "text", "bytes?": "fields", "sha256?": "fields" },
  ...{ "chunks?": "list" },
  ...END,
};
const CALLER: Shape = {
  ...{ user: "text", "groups?": "texts", "email?": "text", "subject?": "text", "grants?": "texts" },
  ...{ "acts_as?": "fields", "address?": "text" },
};
const ACTS_AS: Shape = { user: "text", "groups?": "texts" };
const TARGET: Shape = { ...PLACE, "tty?": "flag", "stdin?": "flag" };
const LISTED: Shape = { name: "text", size: "size" };
const CHUNK: Shape = { ...LISTED, sha256: "digest", chain: "digest" };

export function pageOf(answer: unknown): Page {
  check(answer, "the gateway's list", PAGE);
  const page = answer as Page;
  for (const session of page.sessions) {
    check(session, "a session in the gateway's list", SUMMARY);
  }
  return page;
}

/** A manifest, from wherever it came; `origin` names it where it is none. */
export function manifestOf(answer: unknown, origin: string): Manifest {
  check(answer, origin, MANIFEST);
  const manifest = { chunks: [], ...(answer as object) } as unknown as Manifest;
  check(manifest.caller, `caller of ${origin}`, CALLER);
  if (manifest.caller.acts_as) {
    check(manifest.caller.acts_as, `acts_as of ${origin}`, ACTS_AS);
  }
  check(manifest.target, `target of ${origin}`, TARGET);
  const streams = `the streams of ${origin}`;
  if (manifest.bytes) {
    check(manifest.bytes, streams, { stdin: "size", stdout: "size", stderr: "size" });
  }
  if (manifest.sha256) {
    check(manifest.sha256, streams, { "stdin?": "text", "stdout?": "text", "stderr?": "text" });
  }
  for (const chunk of manifest.chunks) {
    check(chunk, `a chunk of ${origin}`, CHUNK);
  }
  return manifest;
}

export function chunksOf(answer: unknown): Listed[] {
  check(answer, "the gateway's list of chunks", { chunks: "list" });
  const { chunks } = answer as { chunks: Listed[] };
  for (const chunk of chunks) {
    check(chunk, "a chunk in the gateway's list", LISTED);
  }
  return chunks;
}

/** What became of a request to end a session, as a metav1.Status tells it. */
export function statusOf(answer: unknown): { isSuccess: boolean; message: string } {
  check(answer, "the gateway's answer", { "status?": "text", "message?": "text" });
  const { status = "", message = "" } = answer as { status?: string; message?: string };
  return { isSuccess: status !== "Failure", message };
}

function check(value: unknown, name: string, shape: Shape): void {
  if (!kinds.fields(value)) {
    throw new Failure(`${name} is not as expected: no object`);
  }
  for (const [field, kind] of Object.entries(shape)) {
    const key = field.replace(/\?$/, "");
    const held = (value as Record<string, unknown>)[key];
    const isLeftOut = held === undefined && field.endsWith("?");
    if (!isLeftOut && !kinds[kind](held)) {
      const found = held === undefined ? "is missing" : `is ${visible(JSON.stringify(held)).slice(0, 100)}`;
      throw new Failure(`${name} is not as expected: "${key}" ${found}`);
    }
  }
}
