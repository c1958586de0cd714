// What a gateway keeps of its sessions, as it answers it to whoever asks with kubectl.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Variant } from "../../../dev/variant.ts";
import type { Kubectl } from "./kubectl.ts";
import { until } from "./until.ts";

export const SESSIONS = "/.kube-access/sessions";
const LIMIT_MS = 60_000;

/** Developers are recorded; contractors have a moment, and may do in it what RBAC lets them. */
export const recorded: Variant = {
  name: "recorded-groups",
  guards: [
    { name: "recorded", for: { groups: ["developers"] }, record: true, max_session: "4h" },
    { name: "short", for: { groups: ["contractors"] }, record: true, max_session: "10s" },
  ],
  without: ["contractors-read-only"],
};

/** What a list says of a session. */
export interface Summary {
  id: string;
  user: string;
  kind: string;
  pod: string;
  state: "live" | "ended";
  by?: string;
  reason?: string;
  exit_code?: number;
}

export interface Manifest extends Omit<Summary, "kind" | "pod" | "user"> {
  caller: { user: string; groups: string[] };
  guards: string[];
  target: { kind: string; namespace: string; pod: string; container?: string; command: string[]; tty: boolean };
  protocol: string;
  record: string;
  bytes: Record<Channel, number>;
  sha256: Record<Channel, string>;
  chunks: { name: string; size: number; sha256: string; chain: string }[];
}

type Channel = "stdin" | "stdout" | "stderr";

/** A session that has ended. */
export interface Recording {
  manifest: Manifest;
  header: { version: number; width: number; height: number };
  /** What its user saw, as far as it is kept. */
  stdout: string;
  stderr: string;
  /** Sizes of the terminal, as COLUMNSxROWS. */
  sizes: string[];
  marks: string[];
}

/** As a user of the cluster is called, whatever kubectl of theirs is asked with. */
export async function list(kubectl: Kubectl, user: string, more = ""): Promise<Summary[]> {
  const path = `${SESSIONS}?limit=100&user=${encodeURIComponent(user)}${more}`;
  return JSON.parse(await kubectl.ok(["get", "--raw", path])).sessions;
}

/** The session of a user that goes on. */
export async function live(kubectl: Kubectl, user: string): Promise<Summary> {
  return until(`a session of ${user} goes on`, LIMIT_MS, async () => (await list(kubectl, user, "&state=live"))[0]);
}

/** Waits until none of a user's sessions goes on, and all their places are free. */
export async function nothingLive(kubectl: Kubectl, user: string): Promise<void> {
  await until(`no session of ${user} goes on`, LIMIT_MS, async () => {
    return (await list(kubectl, user, "&state=live")).length === 0;
  });
}

/** What was recorded of a session, as soon as it has ended. */
export async function recording(kubectl: Kubectl, id: string): Promise<Recording> {
  const manifest = await until(`the session ${id} has ended`, LIMIT_MS, async () => {
    const manifest: Manifest = JSON.parse(await kubectl.ok(["get", "--raw", `${SESSIONS}/${id}`]));
    return manifest.state === "ended" ? manifest : undefined;
  });
  const cast = await kubectl.ok(["get", "--raw", `${SESSIONS}/${id}/cast`]);
  assertChained(manifest, cast);
  const [header = "", ...lines] = cast.split("\n").filter((line) => line !== "");
  const found: Recording = { manifest, header: JSON.parse(header), stdout: "", stderr: "", sizes: [], marks: [] };
  let isStderr = false;
  for (const line of lines) {
    const [, code, text]: [number, string, string] = JSON.parse(line);
    if (code === "o") {
      found[isStderr ? "stderr" : "stdout"] += text;
    } else if (code === "r" || code === "m") {
      found[code === "r" ? "sizes" : "marks"].push(text);
    }
    isStderr = code === "e";
  }
  return found;
}

/** The sessions of a user that began while something was done, the first one first, once all have ended. */
export async function recordings(kubectl: Kubectl, user: string, act: () => Promise<unknown>): Promise<Recording[]> {
  const before = new Set((await list(kubectl, user)).map(({ id }) => id));
  await act();
  await nothingLive(kubectl, user);
  const fresh = (await list(kubectl, user)).filter(({ id }) => !before.has(id)).reverse();
  return Promise.all(fresh.map(({ id }) => recording(kubectl, id)));
}

/** The same where there must be one. */
export async function theRecording(kubectl: Kubectl, user: string, act: () => Promise<unknown>): Promise<Recording> {
  const [one, ...others] = await recordings(kubectl, user, act);
  assert.ok(one, "a session was recorded");
  assert.equal(others.length, 0, "one session was recorded");
  return one;
}

/** Waits until a process of a pod's is gone: pods are processes of this machine. */
export async function hasEnded(admin: Kubectl, pid: string): Promise<void> {
  await until(`process ${pid} has ended`, LIMIT_MS, async () => {
    return (await admin.run(["exec", "shell", "--", "sh", "-c", `kill -0 ${pid}`])).code !== 0;
  });
}

export function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** The recording is what the manifest says, chunk by chunk. */
function assertChained({ id, chunks }: Manifest, cast: string): void {
  const bytes = Buffer.from(cast);
  let [from, chain] = [0, id];
  for (const [place, { name, size, sha256: hash, chain: link }] of chunks.entries()) {
    assert.equal(name, String(place).padStart(5, "0"));
    assert.equal(hash, sha256(bytes.subarray(from, from + size)));
    chain = sha256(`${chain} ${name} ${size} ${hash}`);
    assert.equal(link, chain);
    from += size;
  }
  assert.equal(from, bytes.length);
}
