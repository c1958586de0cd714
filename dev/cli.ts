// `kubectl access`, built from cli/.

import { join, resolve } from "node:path";
import { run } from "./command.ts";
import { type Log, progress } from "./progress.ts";

const root = resolve(import.meta.dirname, "..");

/** The program; cargo does nothing when nothing changed. */
export async function buildCli(log: Log = progress(), profile: "debug" | "release" = "debug"): Promise<string> {
  const flags = profile === "release" ? ["--release"] : [];
  await run("cargo", ["build", "--locked", "-p", "kube-access-cli", ...flags], { cwd: root, log });
  return join(root, "target", profile, process.platform === "win32" ? "kubectl-access.exe" : "kubectl-access");
}
