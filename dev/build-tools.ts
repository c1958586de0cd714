// worker-build and the tools that it calls, each in the version that a lock file names, none downloaded behind our back: cargo
// installs worker-build and wasm-bindgen, esbuild and wasm-opt come with npm.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { cacheDir } from "./cache.ts";
import { output, run } from "./command.ts";
import type { Log } from "./progress.ts";

export const TARGET = "wasm32-unknown-unknown";
const root = resolve(import.meta.dirname, "..");

export interface BuildTools {
  workerBuild: string;
  /** Where worker-build finds the tools that it would download otherwise. */
  env: Record<string, string>;
  /** Changes when any of the tools does. */
  fingerprint: string;
}

export async function buildTools(log: Log): Promise<BuildTools> {
  const rustVersion = await requireRust(log);
  // worker-build goes with the crate `worker`, and the program wasm-bindgen with the crate of that name.
  const workerVersion = await lockedVersion("worker");
  const workerBuild = await cargoInstalled("worker-build", workerVersion, log);
  const wasmBindgenVersion = await lockedVersion("wasm-bindgen");
  const wasmBindgen = await cargoInstalled("wasm-bindgen-cli", wasmBindgenVersion, log, "wasm-bindgen");
  const npm = JSON.parse(await readFile(join(root, "package.json"), "utf8")).devDependencies;
  return {
    workerBuild,
    env: {
      WASM_BINDGEN_BIN: wasmBindgen,
      WASM_OPT_BIN: join(root, "node_modules/.bin/wasm-opt"),
      ESBUILD_BIN: join(root, "node_modules/.bin/esbuild"),
    },
    fingerprint: [rustVersion, workerVersion, wasmBindgenVersion, npm.esbuild, npm.binaryen].join(" "),
  };
}

async function requireRust(log: Log): Promise<string> {
  const version = await output("rustc", ["--version"], root);
  if (!version || !(await output("cargo", ["--version"], root))) {
    throw new Error(`Rust is missing: install it from https://rustup.rs, then run \`rustup target add ${TARGET}\`.`);
  }
  const libraries = await output("rustc", ["--print", "target-libdir", "--target", TARGET], root);
  if (!libraries || !existsSync(libraries)) {
    if (!(await output("rustup", ["--version"], root))) {
      throw new Error(
        `The Rust target ${TARGET} is missing: install it (with rustup: \`rustup target add ${TARGET}\`).`,
      );
    }
    log(`adding the Rust target ${TARGET}`);
    await run("rustup", ["target", "add", TARGET], { cwd: root, log });
  }
  return version;
}

async function lockedVersion(crate: string): Promise<string> {
  const lock = await readFile(join(root, "Cargo.lock"), "utf8");
  const version = lock.match(new RegExp(`^name = "${crate}"\nversion = "([^"]+)"`, "m"))?.[1];
  if (!version) {
    throw new Error(`Cargo.lock names no version of ${crate}; run \`cargo generate-lockfile\`.`);
  }
  return version;
}

/** The path of a program that cargo installs, once for each version. */
export async function cargoInstalled(crate: string, version: string, log: Log, binary = crate): Promise<string> {
  const directory = join(cacheDir, "cargo-tools", `${crate}-${version}`);
  const path = join(directory, "bin", binary);
  if (existsSync(path)) {
    return path;
  }
  log(`installing ${crate} ${version} (once; takes a minute or two)`);
  // Without default features wasm-bindgen-cli leaves out the TLS stack, which only its test runner uses.
  const features = crate === "wasm-bindgen-cli" ? ["--no-default-features"] : [];
  const install = ["install", ...features, "--root", directory, "--version", version, crate];
  // The tools run for a second or two: compiling them quickly matters more than their speed.
  const env = { ...process.env, CARGO_PROFILE_RELEASE_OPT_LEVEL: "1", CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "16" };
  try {
    await run("cargo", [...install, "--locked"], { log, env });
  } catch (error) {
    if (!(error as Error).message.includes("failed to select a version")) {
      throw error;
    }
    // A mirror of the registry may lag behind, and lack a patch release that the crate's own lock file names.
    log(`${crate} ${version} locks a dependency that this registry lacks: installing it with what there is`);
    await run("cargo", install, { log, env });
  }
  return path;
}
