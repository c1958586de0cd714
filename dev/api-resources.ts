// `node dev/run.mjs dev/api-resources.ts`: writes down which resources and subresources the local cluster's API server has, for the
// roles that have to list them one by one: see terraform/modules/k8s/actions.tf.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Cluster, startCluster } from "./cluster.ts";
import { output } from "./command.ts";

/** API group to its resources, `pods` and `pods/exec`, both in order. The core group has no name. */
export type ApiResources = Record<string, string[]>;

export const apiResourcesFile = join(import.meta.dirname, "../terraform/modules/k8s/api-resources.json");

/** Kubernetes' own too, but served by the metrics-server, which the local cluster lacks: `kubectl top`. */
const METRICS: ApiResources = { "metrics.k8s.io": ["nodes", "pods"] };

/** What an API server serves, in whatever version, and metrics. */
export async function apiResources({ kubectl, adminKubeconfig }: Cluster): Promise<ApiResources> {
  const get = async (path: string) => {
    const text = await output(kubectl, ["--kubeconfig", adminKubeconfig, "get", "--raw", path]);
    if (!text) {
      throw new Error(`The cluster does not answer ${path}`);
    }
    return JSON.parse(text);
  };
  const versions: string[] = (await get("/api")).versions.map((version: string) => `/api/${version}`);
  for (const { versions: ofGroup } of (await get("/apis")).groups) {
    versions.push(...ofGroup.map(({ groupVersion }: { groupVersion: string }) => `/apis/${groupVersion}`));
  }
  const found = new Map<string, Set<string>>();
  for (const version of versions.sort()) {
    const [, root, group = ""] = version.split("/");
    const names = found.get(root === "api" ? "" : group) ?? new Set();
    found.set(root === "api" ? "" : group, names);
    for (const { name } of (await get(version)).resources) {
      names.add(name);
    }
  }
  const resources = Object.entries(METRICS).concat([...found].map(([group, names]) => [group, [...names].sort()]));
  return Object.fromEntries(resources.sort(([one], [other]) => (one < other ? -1 : 1)));
}

if (import.meta.main) {
  const cluster = await startCluster({ auditLog: false });
  try {
    await writeFile(apiResourcesFile, `${JSON.stringify(await apiResources(cluster), undefined, 2)}\n`);
  } finally {
    await cluster.stop();
  }
}
