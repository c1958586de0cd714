// A copy of the built Worker with code of a test's before it. All else is as built.

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MODULES } from "./build.ts";

export interface WrappedWorker {
  /** Where the modules are. */
  dir: string;
  remove(): Promise<void>;
}

/** `code` has a default export of its own, and finds the Worker's as `wrapped`. */
export async function wrapWorker(worker: string, code: string): Promise<WrappedWorker> {
  const dir = await mkdtemp(join(tmpdir(), "kube-access-worker-"));
  for (const name of MODULES) {
    await cp(join(worker, name), join(dir, name));
  }
  const entry = await readFile(join(worker, "entry.js"), "utf8");
  if (!/^export default \{$/m.test(entry)) {
    throw new Error(`${worker}/entry.js has no default export where one was expected`);
  }
  await writeFile(join(dir, "entry.js"), entry.replace("export default", "const wrapped =") + code);
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
}
