// The gateway as it runs in production: the built Worker in workerd, with KUBE_API bound to an address of this machine.
//
// miniflare starts workerd and nothing more: requests go straight to the Worker's own socket, not through miniflare's entry
// Worker, and both of the Worker's ways out (KUBE_API and fetch) are workerd's own HTTP client. So header lines, streams and
// WebSockets are what production's runtime makes of them.

import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { LogLevel, Miniflare, Log as MiniflareLog } from "miniflare";
import { MODULES } from "./build.ts";
import { workerds } from "./processes.ts";

const root = resolve(import.meta.dirname, "..");
const NAME = "kube-access";
const OUTSIDE = "outside";
const PASS_ON = "export default { fetch: (request, env) => env.CERTS.fetch(request) };";

/** What a variable may be: wrangler hands on what TOML has. */
export type Json = string | number | boolean | Json[];

export interface GatewayOptions {
  /** Answers the Worker's own fetches, whatever their host: the stand-in for Access's certs. */
  certs: { host: string; port: number };
  /** What KUBE_API points at. */
  upstream: { host: string; port: number };
  aud: string;
  teamDomain: string;
  /** More variables of wrangler.toml's [vars], such as LOG_LEVEL. */
  vars?: Record<string, Json>;
  /** What Workers KV holds at first, by key. Without it the binding IDENTITIES is missing, as it may be in production. */
  identities?: Record<string, string>;
  /** Binds what recorded and bounded streams need: the Durable Objects and the bucket of recordings. */
  hasSessions?: boolean;
  /** Binds the Durable Object that keeps grants. It needs `identities`. */
  hasGrants?: boolean;
  /** Where the built page is. Without it the binding ASSETS is missing. */
  page?: string;
  port?: number;
  /** Where the built Worker is. */
  worker?: string;
  /** Where every console line of the Worker goes besides `logs()`. */
  logFile?: string;
}

export interface Gateway {
  host: string;
  port: number;
  url: string;
  /** Every console line of the Worker, and what workerd itself had to say. */
  logs(): string[];
  /** Writes an entry of Workers KV, or removes it. */
  setIdentity(key: string, entry: string | undefined): Promise<void>;
  /** The bucket of recordings, where sessions are bound. */
  recordings(): Promise<Bucket>;
  /** The process ID that workerd started with. (Should it crash, miniflare starts it again on the same port.) */
  pid(): number;
  stop(): Promise<void>;
}

/** What the tests need of a KV namespace; miniflare's own type depends on a library of Worker types. */
interface Store {
  put(key: string, value: string): Promise<void>;
  delete(key: string): Promise<void>;
}

/** What the tests need of an R2 bucket. */
export interface Bucket {
  list(options?: { prefix: string }): Promise<{ objects: { key: string; size: number }[] }>;
  get(key: string): Promise<{ arrayBuffer(): Promise<ArrayBuffer> } | null>;
  put(key: string, value: string | Uint8Array): Promise<unknown>;
  delete(key: string): Promise<void>;
}

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { certs, upstream, aud, teamDomain, port = 0 } = options;
  const worker = options.worker ?? join(root, "build");
  const lines: string[] = [];
  const file = options.logFile ? createWriteStream(options.logFile, { flags: "a", mode: 0o600 }) : undefined;
  const [modules, compatibility] = await Promise.all([
    Promise.all(MODULES.map((name) => moduleOf(worker, name))),
    compatibilityOf(join(root, "wrangler.toml")),
  ]);
  const before = await workerds();
  const leaveSignalsAlone = keepSignalListeners();
  const vars = { ACCESS_TEAM_DOMAIN: teamDomain, ACCESS_AUD: aud, LOG_LEVEL: "info", ENABLE_K8S_LOGGING: "false" };
  const env = Object.entries({ ...vars, ...options.vars }).map(([name, value]) => [name, variable(value)] as const);
  const classes = [...(options.hasSessions ? ["Session", "Roll"] : []), ...(options.hasGrants ? ["Grants"] : [])];
  const miniflare = new Miniflare({
    workers: [
      {
        config: {
          name: NAME,
          ...compatibility,
          manifest: { mainModule: MODULES[0], modulesRoot: worker, modules: Object.fromEntries(modules) },
          env: {
            ...Object.fromEntries(env),
            ...(options.identities && { IDENTITIES: { type: "kv", id: "identities" } }),
            ...(options.hasSessions && {
              SESSIONS: { type: "durable-object", worker: NAME, exportName: "Session" },
              ROLL: { type: "durable-object", worker: NAME, exportName: "Roll" },
              RECORDINGS: { type: "r2", name: "recordings" },
            }),
            ...(options.hasGrants && { GRANTS: { type: "durable-object", worker: NAME, exportName: "Grants" } }),
            ...(options.page && { ASSETS: { type: "assets" } }),
            KUBE_API: external(upstream),
          },
          exports: Object.fromEntries(classes.map((name) => [name, { type: "durable-object", storage: "sqlite" }])),
          // As wrangler.toml has it under [assets].
          ...(options.page && {
            assets: {
              directory: options.page,
              hasUserWorker: true,
              runWorkerFirst: true,
              htmlHandling: "none",
              notFoundHandling: "none",
            },
          }),
        },
        dev: {
          rootPath: root,
          outboundService: { type: "worker", worker: OUTSIDE },
          unsafeDirectSockets: [{ host: "127.0.0.1", port }],
          stripCfConnectingIp: false,
        },
      },
      // What the Worker fetches by itself: passed on as it is, whatever its host.
      {
        config: {
          name: OUTSIDE,
          ...compatibility,
          manifest: {
            mainModule: "index.js",
            modulesRoot: root,
            modules: { "index.js": { type: "esm", contents: PASS_ON } },
          },
          env: { CERTS: external(certs) },
          exports: {},
        },
        dev: { rootPath: root },
      },
    ],
    log: new MiniflareLog(LogLevel.NONE),
    telemetry: { enabled: false },
    handleStructuredLogs: ({ message }: { message: string }) => {
      lines.push(message);
      file?.write(`${message}\n`);
    },
  });
  await miniflare.ready;
  leaveSignalsAlone();
  const setIdentity = async (key: string, entry: string | undefined) => {
    const store = (await miniflare.getKVNamespace("IDENTITIES", NAME)) as unknown as Store;
    await (entry === undefined ? store.delete(key) : store.put(key, entry));
  };
  for (const [key, entry] of Object.entries(options.identities ?? {})) {
    await setIdentity(key, entry);
  }
  const url = await miniflare.unsafeGetDirectURL();
  const pid = (await workerds()).find((candidate) => !before.includes(candidate)) ?? 0;
  return {
    host: url.hostname,
    port: Number(url.port),
    url: url.origin,
    logs: () => lines,
    setIdentity,
    recordings: async () => (await miniflare.getR2Bucket("RECORDINGS", NAME)) as unknown as Bucket,
    pid: () => pid,
    stop: async () => {
      await miniflare.dispose();
      file?.end();
    },
  };
}

async function moduleOf(dir: string, name: string) {
  const contents = await readFile(join(dir, name));
  const module = name.endsWith(".wasm")
    ? { type: "wasm" as const, contents }
    : { type: "esm" as const, contents: contents.toString() };
  return [name, module] as const;
}

/** A variable, as wrangler uploads it. */
function variable(value: Json) {
  return typeof value === "string" ? { type: "text" as const, value } : { type: "json" as const, value };
}

/** workerd's own HTTP client, to one address. */
function external({ host, port }: { host: string; port: number }) {
  return { type: "external" as const, address: `${host}:${port}`, http: {} };
}

/** The two settings of wrangler.toml that change what workerd does. */
export async function compatibilityOf(
  wranglerToml: string,
): Promise<{ compatibilityDate: string; compatibilityFlags: string[] }> {
  const text = await readFile(wranglerToml, "utf8");
  const date = text.match(/^compatibility_date\s*=\s*"([^"]+)"/m)?.[1];
  if (!date) {
    throw new Error(`${wranglerToml} names no compatibility_date.`);
  }
  const flags = text.match(/^compatibility_flags\s*=\s*\[([^\]]*)\]/m)?.[1] ?? "";
  return {
    compatibilityDate: date,
    compatibilityFlags: [...flags.matchAll(/"([^"]+)"/g)].map(([, flag]) => flag ?? ""),
  };
}

/**
 * miniflare ends the process by itself on SIGINT and SIGTERM. Where the program already listens for them, because it has
 * more to stop than workerd, the function returned removes what was added since.
 */
function keepSignalListeners(): () => void {
  const signals = ["SIGINT", "SIGTERM"] as const;
  const before = signals.map((signal) => process.listeners(signal));
  return () => {
    signals.forEach((signal, index) => {
      const ours = before[index] ?? [];
      for (const listener of ours.length > 0 ? process.listeners(signal) : []) {
        if (!ours.includes(listener)) {
          process.removeListener(signal, listener);
        }
      }
    });
  };
}
