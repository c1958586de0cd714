// Pods that tests need beside those of the local cluster.

import type { Kubectl } from "./kubectl.ts";

export interface Container {
  command: string[];
  stdin?: boolean;
  ports?: { containerPort: number }[];
}

/** Creates a pod of one container, and waits until it runs. */
export async function createPod(
  admin: Kubectl,
  name: string,
  container: Container,
  namespace = "default",
): Promise<void> {
  const containers = [{ name, image: `local/${name}`, ...container }];
  const spec = { terminationGracePeriodSeconds: 1, restartPolicy: "Never", containers };
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name, namespace }, spec };
  await admin.ok(["create", "-f", "-"], { input: JSON.stringify(pod) });
  await admin.ok(["wait", "-n", namespace, "--for=condition=Ready", `pod/${name}`, "--timeout=60s"]);
}
