// Terraform runs on a copy of terraform/, so that neither its lock file nor its state ever lands in the work tree.

import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { cacheDir } from "./cache.ts";

const root = resolve(import.meta.dirname, "..");

// What `terraform init` says when providers are out of reach, as opposed to named wrongly.
const OUT_OF_REACH =
  /could not connect to [^:]+|Failed to install provider|was not found in any of the search locations/;

export interface Workspace {
  /** The copy of terraform/, initialised. identities.yaml lies beside it, as in the work tree. */
  dir: string;
  remove(): Promise<void>;
}

export class ProvidersOutOfReach extends Error {}

/** Copies the modules and fetches their providers. Throws ProvidersOutOfReach where these cannot be had. */
export async function openWorkspace(): Promise<Workspace> {
  const parent = await mkdtemp(join(tmpdir(), "kube-access-terraform-"));
  const dir = join(parent, "terraform");
  const remove = () => rm(parent, { recursive: true, force: true });
  try {
    await cp(join(root, "terraform"), dir, { recursive: true, filter: isSource });
    await cp(join(root, "identities.yaml"), join(parent, "identities.yaml"));
    await terraform(dir, ["init", "-backend=false", "-input=false"], await pluginCache());
  } catch (error) {
    await remove();
    // Terraform breaks its messages into lines of its own.
    const [reason] = OUT_OF_REACH.exec((error as Error).message.replaceAll(/\s+/g, " ")) ?? [];
    throw reason === undefined ? error : new ProvidersOutOfReach(reason, { cause: error });
  }
  return { dir, remove };
}

/** Runs terraform and returns what it prints. Rejects with its messages when it fails. */
export function terraform(dir: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const options = { cwd: dir, env: { ...terraformEnv(), ...env }, maxBuffer: 64 * 1024 * 1024 };
  return new Promise((done, fail) => {
    execFile("terraform", [...args, ...noColor(args)], options, (error, stdout, stderr) => {
      if (error) {
        fail(new Error(`terraform ${args.join(" ")} failed:\n${stdout}\n${stderr}`, { cause: error }));
      } else {
        done(stdout);
      }
    });
  });
}

/** Runs terraform with its output on this terminal; true when it succeeds. */
export function showTerraform(dir: string, args: string[]): boolean {
  const plain = process.stdout.isTTY ? [] : noColor(args);
  return spawnSync("terraform", [...args, ...plain], { cwd: dir, env: terraformEnv(), stdio: "inherit" }).status === 0;
}

export function terraformIsInstalled(): boolean {
  return spawnSync("terraform", ["version"], { env: terraformEnv(), stdio: "ignore" }).status === 0;
}

/** Providers are large: fetched once for all copies, unless the person's own settings name a place. */
async function pluginCache(): Promise<NodeJS.ProcessEnv> {
  const dir = process.env.TF_PLUGIN_CACHE_DIR || join(cacheDir, "terraform-plugins");
  await mkdir(dir, { recursive: true });
  // There is no lock file in the copy that the cache could disagree with.
  return { TF_PLUGIN_CACHE_DIR: dir, TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE: "1" };
}

function terraformEnv(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, TF_IN_AUTOMATION: "1", CHECKPOINT_DISABLE: "1" };
  // Terraform warns on every command about a settings file that is named but missing.
  if (env.TF_CLI_CONFIG_FILE && !existsSync(env.TF_CLI_CONFIG_FILE)) {
    delete env.TF_CLI_CONFIG_FILE;
  }
  return env;
}

function noColor(args: string[]): string[] {
  return args[0] === "fmt" ? [] : ["-no-color"];
}

/** Leaves out what a person's own use of the folder has left there. */
function isSource(path: string): boolean {
  return !/(^|\/)(\.terraform|\.terraform\.lock\.hcl|[^/]*\.tfstate[^/]*|[^/]*\.tfvars)$/.test(path);
}
