// Kubernetes programs of other versions than dev/cluster's, built from the Go modules that upstream publishes: one generated
// module for each version, in the cache.

import { access, constants, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cacheDir } from "../../dev/cache.ts";
import { output, run } from "../../dev/command.ts";
import type { Log } from "../../dev/progress.ts";

export interface Building {
  log: Log;
  /** Ends a build that runs. */
  signal: AbortSignal;
}

/** Where what has been built of a version lies, or will lie. */
export function programPath(program: "kubectl" | "kube-apiserver", version: string): string {
  // A folder for each program: KUBEBUILDER_ASSETS can then name that of kube-apiserver, and offers nothing else.
  return join(moduleDir(version), program, program);
}

/** Builds a program once. Minutes, and a slow crawl on a busy machine: it lets everything else go first. */
export async function buildProgram(
  program: "kubectl" | "kube-apiserver",
  version: string,
  { log, signal }: Building,
): Promise<string> {
  const target = programPath(program, version);
  if (await isExecutable(target)) {
    return target;
  }
  log(`building ${program} ${version} (once; minutes when nothing of it has been compiled before)`);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(join(moduleDir(version), "go.mod"), await goMod(version));
  // Built aside and moved, so that an interrupted build leaves nothing that looks like a program.
  const aside = await mkdtemp(`${target}-`);
  try {
    const built = join(aside, program);
    const stamp = `-s -w -X k8s.io/component-base/version.gitVersion=${version}`;
    const build = ["go", "build", "-v", "-mod=mod", "-ldflags", stamp, "-o", built, `k8s.io/kubernetes/cmd/${program}`];
    await run("nice", ["-n", "19", ...build], {
      cwd: moduleDir(version),
      env: { ...process.env, GOTOOLCHAIN: "local" },
      log,
      signal,
    });
    await rename(built, target);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return target;
}

function moduleDir(version: string): string {
  return join(cacheDir, "versions", `kubernetes-${version}-${process.platform}-${process.arch}`);
}

interface ModuleFile {
  Go: string;
  Replace?: { Old: { Path: string }; New: { Path: string } }[];
}

/**
 * A module that needs Kubernetes and nothing else. Kubernetes keeps its libraries beside it and names them v0.0.0; outside
 * of its own repository each must be replaced by what was published of it: v0.36.3 for v1.36.3.
 */
async function goMod(version: string): Promise<string> {
  const download = await output("go", ["mod", "download", "-json", `k8s.io/kubernetes@${version}`]);
  const file: string | undefined = download && JSON.parse(download).GoMod;
  const text = file && (await output("go", ["mod", "edit", "-json", file]));
  if (!text) {
    throw new Error(`k8s.io/kubernetes@${version} cannot be had: is Go installed, and does its module proxy serve it?`);
  }
  const { Go, Replace = [] } = JSON.parse(text) as ModuleFile;
  const published = version.replace(/^v1\./, "v0.");
  const staged = Replace.filter((replace) => replace.New.Path.startsWith("./staging/")).map(({ Old }) => Old.Path);
  return [
    `// Generated, to build programs of Kubernetes ${version}.`,
    "module kube-access/versions",
    `go ${Go}`,
    `require k8s.io/kubernetes ${version}`,
    "replace (",
    ...staged.map((path) => `\t${path} => ${path} ${published}`),
    ")\n",
  ].join("\n");
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
