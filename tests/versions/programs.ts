// Which kubectls and which API servers are run, and where their programs come from.

import { dirname } from "node:path";
import { buildCluster } from "../../dev/cluster.ts";
import { output } from "../../dev/command.ts";
import type { Log } from "../../dev/progress.ts";
import { findKubectls } from "../e2e/cluster/kubectls.ts";
import { type Building, buildProgram } from "./go-modules.ts";
import { minorOf } from "./version.ts";

/** From the first kubectl that can speak WebSockets to the newest. What a machine has is used, in whatever patch version. */
const KUBECTLS: Record<string, string> = {
  "1.29": "v1.29.6",
  "1.30": "v1.30.14",
  "1.31": "v1.31.14",
  "1.32": "v1.32.13",
  "1.33": "v1.33.13",
  "1.34": "v1.34.4",
  "1.35": "v1.35.4",
  "1.36": "v1.36.3",
  "1.37": "v1.37.2",
};

/**
 * Beside the local cluster's own, which is the newest. They differ in what matters here: 1.35 has another impersonation filter
 * than 1.34 and asks for another verb on exec, 1.36 tries constrained impersonation first.
 */
const OLDER_SERVERS: Record<string, string> = { "1.34": "v1.34.4", "1.35": "v1.35.4", "1.36": "v1.36.3" };

export const kubectlMinors = Object.keys(KUBECTLS);

export interface Program {
  version: string;
  /** Undefined when it can neither be found nor built; then nothing of it is run. */
  path: string | undefined;
}

export interface Server extends Program {
  /** What KUBEBUILDER_ASSETS must name for the local cluster to run it; undefined for the cluster's own. */
  assets?: string;
}

export async function kubectls(minors: string[], building: Building): Promise<Program[]> {
  const found = await findKubectls((await buildCluster(building.log)).kubectl);
  const programs: Program[] = [];
  for (const minor of minors) {
    const present = found.find((kubectl) => `1.${kubectl.minor}` === minor);
    programs.push(present ?? (await built("kubectl", KUBECTLS[minor] ?? "", building)));
  }
  return programs;
}

/** The local cluster's own API server, and the older ones; oldest first. Builds none: see `ready`. */
export async function knownServers(log: Log): Promise<Server[]> {
  const path = (await buildCluster(log)).kubeApiserver;
  const version = (await output(path, ["--version"]))?.match(/v1\.\d+\.\d+/)?.[0];
  if (!version) {
    throw new Error(`${path} --version prints no version`);
  }
  const older = Object.entries(OLDER_SERVERS).filter(([minor]) => minor !== minorOf(version));
  return [...older.map(([, older]) => ({ version: older, path: undefined })), { version, path }];
}

/** The server with its program, built if it is an older one. */
export async function ready(server: Server, building: Building): Promise<Server> {
  if (server.path) {
    return server;
  }
  const program = await built("kube-apiserver", server.version, building);
  return program.path ? { ...program, assets: dirname(program.path) } : program;
}

async function built(program: "kubectl" | "kube-apiserver", version: string, building: Building): Promise<Program> {
  try {
    return { version, path: await buildProgram(program, version, building) };
  } catch (error) {
    building.signal.throwIfAborted();
    building.log(`${program} ${version} is not run, since it cannot be built: ${(error as Error).message}`);
    return { version, path: undefined };
  }
}
