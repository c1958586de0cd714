// Builds the programs of the local cluster from dev/cluster, once for each state of its sources.

import { createHash } from "node:crypto";
import { access, constants, mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { cacheDir } from "./cache.ts";
import { output, run } from "./command.ts";
import type { Log } from "./progress.ts";

export interface ClusterBinaries {
  kubeApiserver: string;
  etcd: string;
  kubectl: string;
  node: string;
}

const moduleDir = join(import.meta.dirname, "cluster");

/** Gives the paths of the binaries. Those of KUBEBUILDER_ASSETS, where that is set, save minutes of building. */
export async function buildCluster(log: Log): Promise<ClusterBinaries> {
  const goMod = await readFile(join(moduleDir, "go.mod"), "utf8");
  await requireGo(find(goMod, /^go (\d+\.\d+)/m));
  const { kubernetes, modules, tools } = await places(goMod);
  const nodeDir = join(moduleDir, "node");
  const files = (await readdir(nodeDir)).filter((file) => !file.endsWith("_test.go"));
  const sources = files.sort().map((file) => join(nodeDir, file));
  const node = join(cacheDir, "cluster", `node-${await digest([...modules, ...sources])}`, "node");

  const build = (target: string, source: string) => buildOnce({ target, source, kubernetes, log });
  const tool = async (name: string, source: string) => (await provided(name)) ?? build(join(tools, name), source);
  // One after the other: each build already uses every core.
  return {
    etcd: await tool("etcd", "go.etcd.io/etcd/server/v3"),
    kubeApiserver: await tool("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubectl: await tool("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    node: await build(node, "./node"),
  };
}

/** The local cluster's kubectl, if it has been built. */
export async function builtKubectl(): Promise<string | undefined> {
  const { tools } = await places(await readFile(join(moduleDir, "go.mod"), "utf8"));
  const path = join(tools, "kubectl");
  return (await isExecutable(path)) ? path : undefined;
}

async function places(goMod: string): Promise<{ kubernetes: string; modules: string[]; tools: string }> {
  const kubernetes = find(goMod, /k8s\.io\/kubernetes (v[\d.]+)/);
  const modules = [join(moduleDir, "go.mod"), join(moduleDir, "go.sum")];
  return {
    kubernetes,
    modules,
    tools: join(cacheDir, "cluster", `kubernetes-${kubernetes}-${await digest(modules)}`),
  };
}

async function requireGo(wanted: string): Promise<void> {
  const found = (await output("go", ["env", "GOVERSION"]))?.match(/go(\d+)\.(\d+)/);
  const [major = 0, minor = 0] = wanted.split(".").map(Number);
  if (!found) {
    throw new Error(`Go is missing: install Go ${wanted} or newer from https://go.dev/dl/`);
  }
  if (Number(found[1]) < major || (Number(found[1]) === major && Number(found[2]) < minor)) {
    throw new Error(`Go ${found[1]}.${found[2]} is too old: install Go ${wanted} or newer from https://go.dev/dl/`);
  }
}

/** A binary that the person already has, as setup-envtest lays it out. */
async function provided(name: string): Promise<string | undefined> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (!assets) {
    return undefined;
  }
  const path = join(assets, name);
  return (await isExecutable(path)) ? path : undefined;
}

interface Build {
  target: string;
  source: string;
  kubernetes: string;
  log: Log;
}

async function buildOnce({ target, source, kubernetes, log }: Build): Promise<string> {
  if (await isExecutable(target)) {
    return target;
  }
  const options = { cwd: moduleDir, env: { ...process.env, GOFLAGS: "-mod=readonly", GOTOOLCHAIN: "local" }, log };
  const name = basename(target);
  log(`downloading what ${name} is made of, where it is not here yet`);
  // Downloads the modules that the program needs, and no others, as `go mod download` would.
  await run("go", ["list", "-deps", "-f", "", source], options);
  log(`compiling ${name} (once; minutes when nothing of it has been compiled before)`);
  await mkdir(dirname(target), { recursive: true });
  // Built aside and moved, so that neither an interrupted build nor a second one beside it leaves half a binary.
  const aside = await mkdtemp(`${target}-`);
  try {
    const version = `-s -w -X k8s.io/component-base/version.gitVersion=${kubernetes}`;
    const built = join(aside, "binary");
    await run("go", ["build", "-v", "-ldflags", version, "-o", built, source], options);
    await rename(built, target);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return target;
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function digest(files: string[]): Promise<string> {
  const hash = createHash("sha256").update(`${process.platform}-${process.arch}`);
  for (const file of files) {
    hash.update(await readFile(file));
  }
  return hash.digest("hex").slice(0, 16);
}

function find(text: string, pattern: RegExp): string {
  const found = text.match(pattern)?.[1];
  if (!found) {
    throw new Error(`dev/cluster/go.mod has no line like ${pattern}`);
  }
  return found;
}
