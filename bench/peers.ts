// The Workers that are compared, each in a workerd of its own, all with the same upstream, keys and variables.

import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import type { Certs } from "../dev/access-certs.ts";
import { buildWorker } from "../dev/build.ts";
import { cacheDir } from "../dev/cache.ts";
import { localApplication } from "../dev/users.ts";
import { type Address, type Running, startWorkerd } from "./workerd.ts";

export type PeerName = "bare" | "jose" | "jose-remembers" | "ours";

export const peerTitles: Record<PeerName, string> = {
  bare: "bare workerd",
  jose: "JavaScript, verifies each request",
  "jose-remembers": "JavaScript, remembers tokens",
  ours: "kube-access",
};

export interface Peer {
  script: string;
  wasm?: string;
  vars?: Record<string, string>;
}

const peersDir = resolve(import.meta.dirname, "peers");

export async function buildPeers(): Promise<Record<PeerName, Peer>> {
  const { script, wasm } = await buildWorker(() => {});
  const jose = await bundleJose();
  return {
    bare: { script: join(peersDir, "bare.js") },
    jose: { script: jose, vars: { REMEMBER_TOKENS: "false" } },
    "jose-remembers": { script: jose, vars: { REMEMBER_TOKENS: "true" } },
    ours: { script, wasm },
  };
}

/** As wrangler bundles it: one minified module. */
async function bundleJose(): Promise<string> {
  const outfile = join(cacheDir, "bench/jose.js");
  await mkdir(join(cacheDir, "bench"), { recursive: true });
  await build({
    entryPoints: [join(peersDir, "jose/worker.ts")],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    outfile,
    logLevel: "error",
  });
  return outfile;
}

export function startPeer(peer: Peer, upstream: Address, certs: Certs, inspectorPort?: number): Promise<Running> {
  const { script, wasm, vars } = peer;
  return startWorkerd({
    script,
    ...(wasm ? { wasm } : {}),
    vars: {
      ACCESS_TEAM_DOMAIN: localApplication.teamDomain,
      ACCESS_AUD: localApplication.aud,
      LOG_LEVEL: "info",
      ENABLE_K8S_LOGGING: "false",
      ...vars,
    },
    upstream,
    certs,
    ...(inspectorPort ? { inspectorPort } : {}),
  });
}
