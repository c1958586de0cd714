// Builds the Worker: src/ and identities.yaml -> build/index.js and build/index_bg.wasm. Does nothing when nothing changed.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { type BuildTools, buildTools } from "./build-tools.ts";
import { run } from "./command.ts";
import { type Log, progress } from "./progress.ts";

const root = resolve(import.meta.dirname, "..");
const dir = join(root, "build");
const stamp = join(dir, ".inputs.sha256");

/** What rustc's wasm32-unknown-unknown code and wasm-bindgen's catch wrappers use; worker-build names the same. */
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

export async function buildWorker(log: Log = progress()): Promise<BuiltWorker> {
  const worker = { dir, script: join(dir, "index.js"), wasm: join(dir, "index_bg.wasm") };
  const tools = await buildTools(log);
  const inputs = await hashOfInputs(tools.fingerprint);
  if ((await isBuiltFrom(inputs)) && existsSync(worker.script) && existsSync(worker.wasm)) {
    log(`the Worker is up to date: ${await sizes(worker)}`);
    return worker;
  }
  log("building the Worker (worker-build --release)");
  await rm(stamp, { force: true });
  await run(tools.workerBuild, ["--release"], { cwd: root, log, env: environment(tools) });
  // worker-build keeps the functions' names, a tenth of the upload. A panic's message has file and line without them.
  await run(tools.wasmOpt, [...WASM_FEATURES, "--strip-debug", "--strip-producers", worker.wasm, "-o", worker.wasm], { log });
  await writeFile(stamp, inputs);
  log(`the Worker is built: ${await sizes(worker)}`);
  return worker;
}

/** worker-build looks here for its tools first; what it finds here it does not download. */
function environment(tools: BuildTools): NodeJS.ProcessEnv {
  return {
    ...process.env,
    ESBUILD_BIN: tools.esbuild,
    WASM_BINDGEN_BIN: tools.wasmBindgen,
    WASM_OPT_BIN: tools.wasmOpt,
  };
}

async function hashOfInputs(fingerprint: string): Promise<string> {
  const hash = createHash("sha256").update(fingerprint);
  const sources = (await readdir(join(root, "src"), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const others = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "build.rs", "identities.yaml", "wrangler.toml"]
    .map((name) => join(root, name))
    .filter((path) => existsSync(path));
  for (const path of [...sources, ...others].sort()) {
    const contents = await readFile(path);
    hash.update(`\n${path.slice(root.length)} ${contents.length}\n`).update(contents);
  }
  return hash.digest("hex");
}

async function isBuiltFrom(inputs: string): Promise<boolean> {
  return existsSync(stamp) && (await readFile(stamp, "utf8")) === inputs;
}

async function sizes({ script, wasm }: BuiltWorker): Promise<string> {
  const files = await Promise.all([readFile(script), readFile(wasm)]);
  const raw = files.reduce((sum, file) => sum + file.length, 0);
  // Each file by itself, as an upload is compressed.
  const gzip = files.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0);
  return `${(raw / 1024).toFixed(1)} KB, ${(gzip / 1024).toFixed(1)} KB gzip`;
}

if (import.meta.main) {
  await buildWorker().catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
