// Starts workerd itself, with nothing between it and the measurement: no miniflare, no log pipe.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { compatibilityOf } from "../dev/gateway.ts";

const root = resolve(import.meta.dirname, "..");

/** The very workerd that miniflare runs in tests and `wrangler dev` on a desk. */
const program: string = createRequire(createRequire(import.meta.url).resolve("miniflare"))("workerd").default;

export interface Address {
  host: string;
  port: number;
}

export interface WorkerdOptions {
  /** The Worker's modules; the first is the main one. */
  modules: string[];
  hasFlags?: boolean;
  vars: Record<string, string>;
  /** What KUBE_API points at. */
  upstream: Address;
  /** Answers every `fetch` of the Worker's own. */
  certs: Address;
  /** A class of Durable Objects that store nothing, and what it is bound as. */
  object?: { className: string; binding: string };
  /** Opens workerd's inspector on this port, for a profiler. */
  inspectorPort?: number;
  /** Flags of V8, and where the lines go that they make it print. */
  trace?: { flags: string[]; onLine: (line: string) => void };
}

export interface Running extends Address {
  pid: number;
  /** Milliseconds from the start of the process until it listens, with the Worker's global scope run. */
  listening: number;
  /** When the process was started, on the clock of `performance.now()`. */
  started: number;
  stop(): Promise<void>;
}

// Whoever cuts a run short ends it by `exit`, whose listeners end what was started.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => process.exit(130));
}

export async function startWorkerd(options: WorkerdOptions): Promise<Running> {
  const dir = await mkdtemp(join(tmpdir(), "kube-access-bench-"));
  const file = join(dir, "config.capnp");
  // A configuration embeds files that lie beside it.
  for (const path of options.modules) {
    await copyFile(path, join(dir, basename(path)));
  }
  await writeFile(file, await configuration(options));
  const inspector = options.inspectorPort ? [`--inspector-addr=127.0.0.1:${options.inspectorPort}`] : [];
  const started = performance.now();
  const child = spawn(program, ["serve", "--control-fd=3", ...inspector, file, "config"], {
    stdio: ["ignore", options.trace ? "pipe" : "ignore", "pipe", "pipe"],
  });
  if (options.trace && child.stdout) {
    createInterface(child.stdout).on("line", options.trace.onLine);
  }
  // Should the benchmark fail half-way or be cut short, workerd must not outlive it.
  const end = () => {
    child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  };
  process.once("exit", end);
  child.once("exit", () => process.off("exit", end));
  const errors: Buffer[] = [];
  child.stderr?.on("data", (chunk) => errors.push(chunk));
  const port = await listeningPort(child).catch(async (error: Error) => {
    await rm(dir, { recursive: true });
    throw new Error(`workerd did not start with ${options.modules[0]}: ${error.message}\n${Buffer.concat(errors)}`);
  });
  const listening = performance.now() - started;
  return {
    host: "127.0.0.1",
    port,
    pid: child.pid ?? 0,
    listening,
    started,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, "exit");
        child.kill("SIGKILL");
        await exited;
      }
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** workerd reports on its control channel, one JSON object a line, when a socket listens. */
async function listeningPort(child: ChildProcess): Promise<number> {
  const exited = once(child, "exit").then(([code, signal]) => {
    throw new Error(`it ended with ${code ?? signal}`);
  });
  const reported = (async () => {
    let text = "";
    for await (const chunk of child.stdio[3] as Readable) {
      text += chunk;
      const line = text.split("\n").find((candidate) => candidate.includes('"listen"') && candidate.endsWith("}"));
      if (line) {
        return Number(JSON.parse(line).port);
      }
    }
    throw new Error("it closed its control channel");
  })();
  exited.catch(() => {});
  return Promise.race([reported, exited]);
}

async function configuration(options: WorkerdOptions): Promise<string> {
  const { vars, upstream, certs, object, trace } = options;
  const { compatibilityDate, compatibilityFlags } = await compatibilityOf(join(root, "wrangler.toml"));
  const modules = options.modules.map((path) => {
    const name = basename(path);
    return `(name = ${text(name)}, ${name.endsWith(".wasm") ? "wasm" : "esModule"} = embed ${text(name)})`;
  });
  const bindings = Object.entries(vars).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`);
  bindings.push('(name = "KUBE_API", service = "kube")');
  if (object) {
    bindings.push(`(name = ${text(object.binding)}, durableObjectNamespace = ${text(object.className)})`);
  }
  const objects = object ? [`(className = ${text(object.className)}, uniqueKey = ${text(object.className)})`] : [];
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [${modules.join(", ")}],
      compatibilityDate = ${text(compatibilityDate)},
      compatibilityFlags = [${(options.hasFlags ? compatibilityFlags : []).map(text).join(", ")}],
      bindings = [${bindings.join(", ")}],
      durableObjectNamespaces = [${objects.join(", ")}],
      durableObjectStorage = (inMemory = void),
      globalOutbound = "certs",
    )),
    (name = "kube", external = (address = ${text(`${upstream.host}:${upstream.port}`)}, http = ())),
    (name = "certs", external = (address = ${text(`${certs.host}:${certs.port}`)}, http = ())),
  ],
  v8Flags = [${(trace?.flags ?? []).map(text).join(", ")}],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`;
}

function text(value: string): string {
  return JSON.stringify(value);
}
