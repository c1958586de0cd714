// `npm run deny`: licences, sources and bans of every crate in the Worker and in `kubectl access`, by cargo-deny as deny.toml and
// cli/deny.toml say. The database of advisories is fetched when it can be; without it that check is left out, and the output says so.

import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { cargoInstalled } from "./build-tools.ts";
import { progress } from "./progress.ts";

const VERSION = "0.20.2";
const FETCH_LIMIT_MS = 60_000;
const root = resolve(import.meta.dirname, "..");

const program = await cargoInstalled("cargo-deny", VERSION, progress());
const deny = (...args: string[]) => spawnSync(program, args, { cwd: root, stdio: "inherit", timeout: FETCH_LIMIT_MS });
const checks = ["licenses", "bans", "sources"];
if (deny("fetch", "db").status === 0) {
  checks.push("advisories");
} else {
  console.log("The database of advisories cannot be fetched here: advisories are not checked.");
}
for (const folder of [".", "cli"]) {
  const [manifest, config] = ["Cargo.toml", "deny.toml"].map((name) => resolve(root, folder, name));
  const check = ["check", "--hide-inclusion-graph", ...checks];
  const { status } = deny("--offline", "--manifest-path", `${manifest}`, "--config", `${config}`, ...check);
  process.exitCode ||= status ?? 1;
}
