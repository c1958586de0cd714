// The Worker with a policy that is identities.yaml and a little more, below target/: for the local stack and for tests.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { isMap, isSeq, parseDocument } from "yaml";
import type { Guard } from "../deploy/impersonation.ts";
import { type BuiltWorker, buildWorker } from "./build.ts";
import type { Log } from "./progress.ts";

const root = resolve(import.meta.dirname, "..");

export interface Variant {
  /** Of its folder below target/. */
  name: string;
  /** Guards that come after those of identities.yaml. */
  guards: Guard[];
  /** The names of guards that are left out. */
  without?: string[];
  /** Groups that are listed for granting. */
  grants?: string[];
}

export interface BuiltVariant extends BuiltWorker {
  /** The policy. */
  identities: string;
}

export async function buildVariant(variant: Variant, log: Log): Promise<BuiltVariant> {
  const dir = join(root, "target", variant.name);
  const identities = join(dir, "identities.yaml");
  await mkdir(dir, { recursive: true });
  await writeFile(identities, policyOf(await readFile(join(root, "identities.yaml"), "utf8"), variant));
  return { ...(await buildWorker({ log, dir: join(dir, "worker"), identities })), identities };
}

/** The text of a policy with other guards. */
export function policyOf(text: string, { guards, without = [], grants = [] }: Omit<Variant, "name">): string {
  const policy = parseDocument(text);
  const own = policy.get("guards");
  const kept = new Map((isSeq(own) ? own.items : []).map((guard) => [isMap(guard) ? guard.get("name") : guard, guard]));
  for (const name of without) {
    if (!kept.delete(name)) {
      throw new Error(`there is no guard ${name} to leave out`);
    }
  }
  policy.set("guards", policy.createNode([...kept.values(), ...guards]));
  if (grants.length > 0) {
    policy.set("grants", policy.createNode({ groups: grants }));
  }
  return policy.toString();
}
