// The local cluster has no controllers. When something is deleted, their part is to say that nothing of it is left: here for the
// two kinds of object that wait for that word.

import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "../../dev/cluster.ts";

const POLL_MS = 200;

/** kubectl as the cluster's administrator. */
export function kubectl(cluster: Cluster, args: string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      cluster.kubectl,
      ["--kubeconfig", cluster.adminKubeconfig, ...args],
      (error, stdout, stderr) =>
        error ? reject(new Error(`kubectl ${args.join(" ")}: ${stderr}`, { cause: error })) : resolve(stdout),
    );
    child.stdin?.end(input);
  });
}

/** The local cluster brings the gateway's account along; where Terraform must make it, it has to go. */
export async function removeReadyMadeAccount(cluster: Cluster, namespace: string): Promise<void> {
  await kubectl(cluster, ["delete", "serviceaccount", "kube-access", "--namespace", namespace]);
  const roles = ["kube-access-impersonator", "kube-access-actions"];
  await kubectl(cluster, ["delete", "clusterrolebinding,clusterrole", ...roles]);
  await withControllers(cluster, namespace, kubectl(cluster, ["delete", "namespace", namespace]));
}

/** Plays the garbage collector and the namespace controller for one namespace until the work is done. */
export async function withControllers<T>(cluster: Cluster, namespace: string, work: Promise<T>): Promise<T> {
  let working = true;
  const finished = work.finally(() => {
    working = false;
  });
  while (working) {
    await finishDeletions(cluster, namespace);
    await Promise.race([sleep(POLL_MS), finished.catch(() => {})]);
  }
  return finished;
}

async function finishDeletions(cluster: Cluster, namespace: string): Promise<void> {
  for (const deployment of await items(cluster, ["deployments", "--namespace", namespace])) {
    if (deployment.metadata.deletionTimestamp) {
      const patch = JSON.stringify({ metadata: { finalizers: null } });
      const target = ["deployment", deployment.metadata.name, "--namespace", namespace];
      await kubectl(cluster, ["patch", ...target, "--type=merge", "--patch", patch]);
    }
  }
  for (const found of await items(cluster, ["namespaces"])) {
    if (found.metadata.name === namespace && found.metadata.deletionTimestamp) {
      const path = `/api/v1/namespaces/${namespace}/finalize`;
      await kubectl(
        cluster,
        ["replace", "--raw", path, "-f", "-"],
        JSON.stringify({ ...found, spec: { finalizers: [] } }),
      );
    }
  }
}

interface KubernetesObject {
  metadata: { name: string; deletionTimestamp?: string };
}

async function items(cluster: Cluster, query: string[]): Promise<KubernetesObject[]> {
  return JSON.parse(await kubectl(cluster, ["get", ...query, "-o", "json"])).items as KubernetesObject[];
}
