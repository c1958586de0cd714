// The Workers that are compared, each in a workerd of its own, all with the same upstream, keys and variables.

import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { parse } from "yaml";
import { buildWorker, MODULES } from "../dev/build.ts";
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
  /** The Worker's modules; the first is the main one. */
  modules: string[];
  /** Whether it runs with all that wrangler.toml says of compatibility, or with its date alone. */
  hasFlags?: boolean;
  vars?: Record<string, string>;
}

const peersDir = resolve(import.meta.dirname, "peers");

/** `worker` is the folder of a built kube-access; without it, `build/` is brought up to date. */
export async function buildPeers(worker?: string): Promise<Record<PeerName, Peer>> {
  const { dir } = worker ? { dir: worker } : await buildWorker({ log: () => {} });
  const jose = await bundleJose();
  return {
    bare: { modules: [join(peersDir, "bare.js")] },
    jose: { modules: [jose], vars: { REMEMBER_TOKENS: "false" } },
    "jose-remembers": { modules: [jose], vars: { REMEMBER_TOKENS: "true" } },
    ours: builtIn(dir),
  };
}

export function builtIn(dir: string): Peer {
  return { modules: MODULES.map((name) => join(dir, name)), hasFlags: true };
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
  /** Whether each request leaves an audit event, where the peer has any. */
  isAudited?: boolean;
}

export function startPeer({ vars, ...files }: Peer, { isAudited, ...surroundings }: Surroundings): Promise<Running> {
  return startWorkerd({
    ...files,
    ...surroundings,
    vars: {
      ACCESS_TEAM_DOMAIN: localApplication.teamDomain,
      ACCESS_AUD: localApplication.aud,
      LOG_LEVEL: "info",
      ENABLE_K8S_LOGGING: String(isAudited ?? false),
      ...vars,
    },
  });
}
