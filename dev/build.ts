// Builds the Worker: src/ and identities.yaml -> build/index.js and build/index_bg.wasm. Does nothing when nothing changed.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { type BuildTools, buildTools, TARGET } from "./build-tools.ts";
import { output, run } from "./command.ts";
import { type Log, progress } from "./progress.ts";

const root = resolve(import.meta.dirname, "..");

/** What rustc's wasm32-unknown-unknown code and wasm-bindgen's catch wrappers use. */
const WASM_FEATURES = [
  "mutable-globals",
  "sign-ext",
  "nontrapping-float-to-int",
  "bulk-memory",
  "multivalue",
  "reference-types",
  "exception-handling",
].map((feature) => `--enable-${feature}`);

export interface BuiltWorker {
  dir: string;
  script: string;
  wasm: string;
}

export interface BuildOptions {
  log?: Log;
  /** Where the Worker is put, if not in build/. */
  dir?: string;
  /** Another map of identities than identities.yaml. */
  identities?: string;
}

export async function buildWorker({
  log = progress(),
  dir = join(root, "build"),
  identities = join(root, "identities.yaml"),
}: BuildOptions = {}): Promise<BuiltWorker> {
  const worker = { dir, script: join(dir, "index.js"), wasm: join(dir, "index_bg.wasm") };
  const stamp = join(dir, ".inputs.sha256");
  const tools = await buildTools(log);
  const inputs = await hashOfInputs(tools.fingerprint, identities);
  const isCurrent = existsSync(stamp) && (await readFile(stamp, "utf8")) === inputs;
  if (isCurrent && existsSync(worker.script) && existsSync(worker.wasm)) {
    log(`the Worker is up to date: ${await sizes(worker)}`);
    return worker;
  }
  log("building the Worker");
  await rm(stamp, { force: true });
  await mkdir(dir, { recursive: true });
  const stage = await mkdtemp(join(dir, ".stage-"));
  try {
    await compile(worker, stage, tools, identities, log);
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
  await writeFile(stamp, inputs);
  log(`the Worker is built: ${await sizes(worker)}`);
  return worker;
}

/** cargo makes the Wasm module, wasm-bindgen its JavaScript, wasm-opt makes the one small and esbuild the other. */
async function compile(worker: BuiltWorker, stage: string, tools: BuildTools, identities: string, log: Log) {
  const env = { ...process.env, KUBE_ACCESS_IDENTITIES: identities };
  await run("cargo", ["build", "--release", "--locked", "--target", TARGET], { cwd: root, log, env });
  const compiled = join(await targetDirectory(), TARGET, "release/kube_access.wasm");
  // The last two flags make a Worker that trapped start anew: see src/edge/entry.js.
  const bindgen = ["--target", "web", "--no-typescript", "--omit-default-module-path", "--out-name", "index"];
  const recovery = ["--experimental-reset-state-function", "--force-enable-abort-handler"];
  await run(tools.wasmBindgen, [compiled, ...bindgen, ...recovery, "--out-dir", stage], { log });
  // wasm-bindgen names a module once for each kind of import; esbuild and wrangler warn of the doubled key.
  const glue = join(stage, "index.js");
  const doubled = /^(\s*"\.\/rim\.js": import\d+,\n)\s*"\.\/rim\.js": import\d+,\n/m;
  await writeFile(glue, (await readFile(glue, "utf8")).replace(doubled, "$1"));
  // Names of functions are a tenth of the upload; a panic's message has file and line without them. What is called from one
  // place stays a function, unless it is small: V8 compiles what is called, and takes longer the larger a function is.
  const small = ["-O", "--one-caller-inline-max-function-size=300", "--strip-debug", "--strip-producers"];
  await run(tools.wasmOpt, [...small, ...WASM_FEATURES, join(stage, "index_bg.wasm"), "-o", worker.wasm], { log });
  for (const name of (await readdir(join(root, "src/edge"))).filter((name) => name.endsWith(".js"))) {
    await copyFile(join(root, "src/edge", name), join(stage, name));
  }
  const bundle = ["--bundle", "--minify", "--format=esm", "--external:./index_bg.wasm", "--external:cloudflare:*"];
  await run(tools.esbuild, [...bundle, join(stage, "entry.js"), `--outfile=${worker.script}`], { log });
}

async function targetDirectory(): Promise<string> {
  const metadata = await output("cargo", ["metadata", "--format-version", "1", "--no-deps"], root);
  return JSON.parse(metadata ?? "{}").target_directory ?? join(root, "target");
}

async function hashOfInputs(fingerprint: string, identities: string): Promise<string> {
  const hash = createHash("sha256").update(fingerprint);
  const sources = (await readdir(join(root, "src"), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const others = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "build.rs", "dev/build.ts"];
  const named = others.map((name) => join(root, name)).filter((path) => existsSync(path));
  for (const path of [...sources, ...named, identities].sort()) {
    const contents = await readFile(path);
    hash.update(`\n${path.slice(root.length)} ${contents.length}\n`).update(contents);
  }
  return hash.digest("hex");
}

/** Bytes of the upload, raw and gzipped: each file by itself, as an upload is compressed. */
export async function sizeOf({ script, wasm }: BuiltWorker): Promise<{ raw: number; gzip: number }> {
  const files = await Promise.all([readFile(script), readFile(wasm)]);
  return {
    raw: files.reduce((sum, file) => sum + file.length, 0),
    gzip: files.reduce((sum, file) => sum + gzipSync(file, { level: 9, memLevel: 9 }).length, 0),
  };
}

async function sizes(worker: BuiltWorker): Promise<string> {
  const { raw, gzip } = await sizeOf(worker);
  return `${(raw / 1024).toFixed(1)} KB, ${(gzip / 1024).toFixed(1)} KB gzip`;
}

if (import.meta.main) {
  await buildWorker().catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
