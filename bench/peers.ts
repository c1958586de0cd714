// The Workers that are compared, each in a workerd of its own, all with the same upstream, keys and variables.

import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { parse } from "yaml";
import { buildWorker } from "../dev/build.ts";
import { cacheDir } from "../dev/cache.ts";
import { localApplication } from "../dev/users.ts";
import { type Address, type Running, startWorkerd, type WorkerdOptions } from "./workerd.ts";

export type PeerName = "bare" | "jose" | "jose-remembers" | "ours";

/** How the table calls them. kube-access comes last. */
export const peerTitles: Record<PeerName, string> = {
  bare: "bare workerd",
  jose: "JavaScript",
  "jose-remembers": "JavaScript that remembers tokens",
  ours: "kube-access",
};

export interface Peer {
  script: string;
  wasm?: string;
  vars?: Record<string, string>;
}

const peersDir = resolve(import.meta.dirname, "peers");

/** `worker` is the folder of a built kube-access; without it, `build/` is brought up to date. */
export async function buildPeers(worker?: string): Promise<Record<PeerName, Peer>> {
  const { script, wasm } = worker ? builtIn(worker) : await buildWorker({ log: () => {} });
  const jose = await bundleJose();
  return {
    bare: { script: join(peersDir, "bare.js") },
    jose: { script: jose, vars: { REMEMBER_TOKENS: "false" } },
    "jose-remembers": { script: jose, vars: { REMEMBER_TOKENS: "true" } },
    ours: { script, wasm },
  };
}

export function builtIn(dir: string): Peer & { wasm: string } {
  return { script: join(dir, "index.js"), wasm: join(dir, "index_bg.wasm") };
}

/** As wrangler bundles it: one minified module. */
async function bundleJose(): Promise<string> {
  const outfile = join(cacheDir, "bench/jose.js");
  await mkdir(join(cacheDir, "bench"), { recursive: true });
  const { identities } = parse(await readFile(resolve(import.meta.dirname, "../identities.yaml"), "utf8"));
  await build({
    entryPoints: [join(peersDir, "jose/worker.ts")],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    define: { IDENTITIES: JSON.stringify(identities) },
    outfile,
    logLevel: "error",
  });
  return outfile;
}

export interface Surroundings {
  upstream: Address;
  certs: Address;
  inspectorPort?: number;
  trace?: NonNullable<WorkerdOptions["trace"]>;
}

export function startPeer({ vars, ...files }: Peer, surroundings: Surroundings): Promise<Running> {
  return startWorkerd({
    ...files,
    ...surroundings,
    vars: {
      ACCESS_TEAM_DOMAIN: localApplication.teamDomain,
      ACCESS_AUD: localApplication.aud,
      LOG_LEVEL: "info",
      ENABLE_K8S_LOGGING: "false",
      ...vars,
    },
  });
}
