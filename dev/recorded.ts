// The Worker of `npm start -- --record`: identities.yaml, and one guard more, by which bob is recorded.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { isSeq, parseDocument } from "yaml";
import { type BuiltWorker, buildWorker } from "./build.ts";
import type { Log } from "./progress.ts";
import { localUsers } from "./users.ts";

const root = resolve(import.meta.dirname, "..");

/** Whom it records. */
export const RECORDED = "bob";

/** The policy's text with that guard. */
export function withRecording(policy: string): string {
  const document = parseDocument(policy);
  const user = localUsers.find(({ name }) => name === RECORDED);
  const guard = document.createNode({
    name: "recorded",
    for: { users: [user && "email" in user ? user.email : RECORDED] },
    record: true,
    max_session: "4h",
  });
  if (isSeq(document.get("guards"))) {
    document.addIn(["guards"], guard);
  } else {
    document.set("guards", document.createNode([guard]));
  }
  return document.toString();
}

export async function buildRecordingWorker(log: Log): Promise<BuiltWorker> {
  const dir = join(root, "target", "recorded");
  await mkdir(dir, { recursive: true });
  const identities = join(dir, "identities.yaml");
  await writeFile(identities, withRecording(await readFile(join(root, "identities.yaml"), "utf8")));
  return buildWorker({ log, dir: join(dir, "worker"), identities });
}
