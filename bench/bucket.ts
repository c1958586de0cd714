// A bucket elsewhere. miniflare's own is simulated in the very workerd that is measured, and takes more of its time and memory than the
// streams do; in production a bucket is a call over the network. So here it is one, too: to the upstream, which keeps nothing.

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MODULES } from "../dev/build.ts";

export interface Elsewhere {
  /** The same Worker, with another entry. */
  dir: string;
  remove(): Promise<void>;
}

/** `milliseconds` is how long the bucket takes for each thing that is stored. */
export async function bucketElsewhere(worker: string, milliseconds = 0): Promise<Elsewhere> {
  const dir = await mkdtemp(join(tmpdir(), "kube-access-bench-"));
  for (const name of MODULES) {
    await cp(join(worker, name), join(dir, name));
  }
  const entry = await readFile(join(worker, "entry.js"), "utf8");
  const elsewhere = `
    let isElsewhere = false;
    export default {
      fetch(request, env, context) {
        if (!isElsewhere) {
          isElsewhere = true;
          Object.getPrototypeOf(env.RECORDINGS).put = async (key, body) => {
            const answer = await env.KUBE_API.fetch("http://localhost/bucket?slow=${milliseconds}", { method: "PUT", body });
            await answer.arrayBuffer();
          };
        }
        return here.fetch(request, env, context);
      },
    };`;
  await writeFile(join(dir, "entry.js"), entry.replace("export default", "const here =") + elsewhere);
  return { dir, remove: () => rm(dir, { recursive: true }) };
}
