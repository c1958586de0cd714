// Builds the Worker: src/ and identities.yaml -> build/, by worker-build, with entry.js before it. Does nothing when nothing changed.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { buildTools } from "./build-tools.ts";
import { run } from "./command.ts";
import { buildPage } from "./page-build.ts";
import { type Log, progress } from "./progress.ts";

const root = resolve(import.meta.dirname, "..");

/** The modules that are uploaded, and no others: `rules` of wrangler.toml. The first is the main one. */
export const MODULES = ["entry.js", "index.js", "index_bg.wasm"] as const;

/** The largest upload that passes, gzipped. */
export const LIMIT_GZIP_BYTES = 290_000;

export interface BuiltWorker {
  /** Where the modules are. */
  dir: string;
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
  const worker = { dir };
  const stamp = join(dir, ".inputs.sha256");
  const tools = await buildTools(log);
  const inputs = await hashOfInputs(tools.fingerprint, identities);
  const isCurrent = existsSync(stamp) && (await readFile(stamp, "utf8")) === inputs;
  if (isCurrent && MODULES.every((name) => existsSync(join(dir, name)))) {
    log(`the Worker is up to date: ${await sizes(worker)}`);
    return worker;
  }
  log("building the Worker");
  await rm(stamp, { force: true });
  const env = { ...process.env, ...tools.env, KUBE_ACCESS_IDENTITIES: identities };
  await run(tools.workerBuild, ["--release", "--out-dir", dir, "--locked"], { cwd: root, log, env });
  await copyFile(join(root, "src/edge/entry.js"), join(dir, "entry.js"));
  await writeFile(stamp, inputs);
  log(`the Worker is built: ${await sizes(worker)}`);
  return worker;
}

async function hashOfInputs(fingerprint: string, identities: string): Promise<string> {
  const hash = createHash("sha256").update(fingerprint);
  const folders = ["src", "policy"].map((name) => readdir(join(root, name), { recursive: true, withFileTypes: true }));
  const sources = (await Promise.all(folders))
    .flat()
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const others = [
    ".cargo/config.toml",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "build.rs",
    "dev/build.ts",
    "page/refused.html",
    "terraform/modules/k8s/api-resources.json",
  ];
  const named = others.map((name) => join(root, name)).filter((path) => existsSync(path));
  for (const path of [...sources, ...named, identities].sort()) {
    const contents = await readFile(path);
    hash.update(`\n${path.slice(root.length)} ${contents.length}\n`).update(contents);
  }
  return hash.digest("hex");
}

/** Bytes of the upload, raw and gzipped: each file by itself, as an upload is compressed. */
export async function sizeOf({ dir }: BuiltWorker): Promise<{ raw: number; gzip: number }> {
  const files = await Promise.all(MODULES.map((name) => readFile(join(dir, name))));
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
  await Promise.all([buildWorker(), buildPage()]).catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
