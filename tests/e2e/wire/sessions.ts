// What the tests of recorded and bounded streams stand on: the Worker of sessions.yaml with all that it is bound to, and its own answers.

import assert from "node:assert/strict";
import { join } from "node:path";
import { buildWorker } from "../../../dev/build.ts";
import { until } from "../cluster/until.ts";
import { type Answer, type Stage, startStage } from "./stage.ts";

/** An alarm comes 40 seconds after the last word of an object, and what could not be stored is tried again after 30. */
export const LIMIT_MS = 120_000;

/** A manifest, or what a list says of it. */
export interface Session {
  id: string;
  state: string;
  user: string;
  by?: string;
  reason?: string;
  exit_code?: number;
  bytes: Record<string, number>;
  sha256: Record<string, string>;
  chunks: { name: string; size: number; sha256: string; chain: string }[];
  target: Record<string, unknown>;
  [member: string]: unknown;
}

export async function startSessionsStage(vars: Record<string, string>): Promise<Stage> {
  const { dir: worker } = await buildWorker({
    log: () => {},
    dir: join(import.meta.dirname, "../../../target/worker-of-sessions"),
    identities: join(import.meta.dirname, "sessions.yaml"),
  });
  return startStage({ worker, hasClock: true, hasSessions: true, identities: {}, vars });
}

/** Asks for what lies below `/.kube-access/sessions`. */
export function ask(stage: Stage, as: string, path: string): Promise<Answer> {
  return stage.call({ as, target: `/.kube-access/sessions${path}` });
}

/** Somebody's own sessions: the people of sessions.yaml have their names as users. */
export async function list(stage: Stage, as: string, more = ""): Promise<Session[]> {
  const answer = await ask(stage, as, `?user=${as}&limit=100${more}`);
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.text).sessions;
}

/** The manifest of a session, once it has ended. */
export function manifestOf(stage: Stage, as: string, id: string): Promise<Session> {
  return until(`${id} has ended, and has a manifest`, LIMIT_MS, async () => {
    const answer = await ask(stage, as, `/${id}`);
    const found: Session | undefined = answer.status === 200 ? JSON.parse(answer.text) : undefined;
    return found?.state === "ended" ? found : undefined;
  });
}
