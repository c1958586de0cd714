// A whole site for tests: a real cluster, the gateway in workerd in front of it, and kubectl for each of its users.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { IMPERSONATIONS, type Impersonation } from "../../../deploy/impersonation.ts";
import { type Cluster, LAST_HOPS, type LastHop, startCluster } from "../../../dev/cluster.ts";
import { kubeconfig } from "../../../dev/kubeconfig.ts";
import { type Stack, startStack } from "../../../dev/stack.ts";
import { localUsers } from "../../../dev/users.ts";
import { buildVariant, type Variant } from "../../../dev/variant.ts";
import { AuditLog } from "./audit-log.ts";
import { Kubectl } from "./kubectl.ts";

export interface Site {
  cluster: Cluster;
  stack: Stack;
  /** A folder that goes away with the site. */
  dir: string;
  /** kubectl through the gateway as one of the local users; `binary` for another kubectl than the stack's own. */
  as(user: string, binary?: string): Kubectl;
  /** kubectl past the gateway, as somebody who may do everything. */
  admin: Kubectl;
  audit: AuditLog;
  /** `kubectl proxy` as the gateway's account, whichever the gateway's own last hop is. */
  kubectlProxy: { host: string; port: number };
  /** The service account's own credential, which nobody may ever see. */
  gatewayToken: string;
  stop(): Promise<void>;
}

/** `npm test` runs the tests of a whole site with each. */
export const lastHop: LastHop = LAST_HOPS.find((kind) => kind === process.env.LAST_HOP) ?? LAST_HOPS[0];

/** And with each way to impersonate. */
export const impersonation: Impersonation =
  IMPERSONATIONS.find((mode) => mode === process.env.IMPERSONATION) ?? IMPERSONATIONS[0];

export interface SiteOptions {
  /** A policy of its own, whose guards may record and bound streams, and which may list groups for granting. */
  variant?: Variant;
  /** Access with managed OAuth. */
  hasOAuth?: boolean;
}

/** The Worker must be built, as `npm test` and `npm run build` do; that of a variant is built here. */
export async function startSite(
  vars: Record<string, string> = {},
  mode = impersonation,
  { variant, hasOAuth = false }: SiteOptions = {},
): Promise<Site> {
  const dir = await mkdtemp(join(tmpdir(), "kube-access-site-"));
  const log = () => {};
  const built = variant && (await buildVariant(variant, log));
  const policy = built && { identities: built.identities };
  const cluster = await startCluster({ log, lastHop, impersonation: mode, ...policy });
  const stopListening = stopOnSignals(async () => {
    await cluster.stop();
    await rm(dir, { recursive: true, force: true });
  });
  try {
    const stack = await startStack({
      upstream: cluster.proxy,
      hasOAuth,
      vars: { LOG_LEVEL: "debug", ENABLE_K8S_LOGGING: "true", ...vars },
      ...(built && { worker: built.dir, hasSessions: true }),
      ...(variant?.grants && { hasGrants: true, identities: {} }),
    });
    const { access } = stack;
    const kubectlProxy = lastHop === "guarded" ? await cluster.addLastHop("kubectl-proxy") : cluster.proxy;
    for (const { name, namespace } of localUsers) {
      const user = { name, namespace, token: access.session(name) };
      await writeFile(join(dir, `${name}.kubeconfig`), kubeconfig(access.url, access.ca, [user]), { mode: 0o600 });
    }
    return {
      cluster,
      stack,
      dir,
      as: (user, binary = cluster.kubectl) => new Kubectl(binary, join(dir, `${user}.kubeconfig`), dir),
      admin: new Kubectl(cluster.kubectl, cluster.adminKubeconfig, dir),
      audit: new AuditLog(cluster.auditLog),
      kubectlProxy,
      gatewayToken: parse(await readFile(join(cluster.dir, "gateway.kubeconfig"), "utf8")).users[0].user.token,
      stop: async () => {
        stopListening();
        await stack.stop();
        await cluster.stop();
        await rm(dir, { recursive: true, force: true });
      },
    };
  } catch (error) {
    stopListening();
    await cluster.stop();
    throw error;
  }
}

/** workerd ends with this process; the cluster's programs have to be ended, also when a long run is cut short. */
function stopOnSignals(stop: () => Promise<void>): () => void {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const end = () => void stop().finally(() => process.exit(130));
  for (const signal of signals) {
    process.once(signal, end);
  }
  return () => {
    for (const signal of signals) {
      process.removeListener(signal, end);
    }
  };
}
