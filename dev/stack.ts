// Everything in front of the cluster, wired together: Access's certs, the gateway in workerd, and the edge with Access on it.

import { type Access, type AccessUser, startAccess } from "./access.ts";
import { startCerts } from "./access-certs.ts";
import { type Gateway, type Json, startGateway } from "./gateway.ts";
import { localApplication, localUsers } from "./users.ts";

export interface Upstream {
  host: string;
  port: number;
  /** What requests must be signed by. */
  key?: string;
}

export interface StackOptions {
  /** What KUBE_API points at: the cluster's last hop, or an upstream that records what it is sent. */
  upstream: Upstream;
  /** The port of the edge; a free one if left out. */
  port?: number;
  users?: AccessUser[];
  vars?: Record<string, Json>;
  worker?: string;
  hasSessions?: boolean;
  /** Access with managed OAuth. */
  hasOAuth?: boolean;
  hasGrants?: boolean;
  identities?: Record<string, string>;
  page?: string;
  logFile?: string;
}

export interface Stack {
  access: Access;
  gateway: Gateway;
  stop(): Promise<void>;
}

/** Needs the Worker built (buildWorker). Whatever had started is stopped again when a later part does not start. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { port, users = localUsers, hasOAuth = false, ...gatewayOptions } = options;
  const { key } = options.upstream;
  const vars = { ...(key && { LAST_HOP_KEY: key }), ...options.vars };
  const started: { stop(): Promise<void> }[] = [];
  const stop = async () => {
    for (const part of started.splice(0).reverse()) {
      await part.stop();
    }
  };
  try {
    const certs = await startCerts();
    started.push(certs);
    const gateway = await startGateway({ ...localApplication, ...gatewayOptions, vars, certs });
    started.push(gateway);
    const access = await startAccess({
      ...localApplication,
      certs,
      gateway,
      users,
      hasOAuth,
      ...(port ? { port } : {}),
    });
    started.push(access);
    return { access, gateway, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
