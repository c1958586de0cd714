// What the stand-in keeps: which fields the API adds to each kind of object, and what it refuses.

import { randomBytes, randomUUID } from "node:crypto";

export type Fields = Record<string, unknown>;

export interface Collection {
  /** Below /accounts/ACCOUNT/. */
  path: string;
  idField: string;
  /** Cloudflare makes a custom domain by PUT to the collection. */
  createdBy: "POST" | "PUT";
  id(): string;
  /** What the API adds to what it was sent. */
  defaults(sent: Fields): Fields;
  /** Why the API would refuse; undefined when it would not. */
  refuses?(sent: Fields): string | undefined;
}

/** What references are checked against. */
export interface Account {
  id: string;
  has(collection: string, id: string): boolean;
  hasWorker(name: string): boolean;
}

export function collectionsOf(account: Account): Collection[] {
  return [
    {
      path: "cfd_tunnel",
      idField: "id",
      createdBy: "POST",
      id: randomUUID,
      defaults: (sent) => ({
        account_tag: account.id,
        config_src: "local",
        connections: [],
        conns_active_at: null,
        conns_inactive_at: null,
        created_at: now(),
        deleted_at: null,
        metadata: {},
        remote_config: sent.config_src === "cloudflare",
        status: "inactive",
        tun_type: "cfd_tunnel",
      }),
    },
    {
      path: "connectivity/directory/services",
      idField: "service_id",
      createdBy: "POST",
      id: randomUUID,
      defaults: () => ({ created_at: now(), updated_at: now() }),
      refuses: (sent) => {
        const { network } = sent.host as { network?: { tunnel_id: string } };
        return network && account.has("cfd_tunnel", network.tunnel_id) ? undefined : "tunnel not found";
      },
    },
    {
      path: "access/policies",
      idField: "id",
      createdBy: "POST",
      id: randomUUID,
      defaults: () => ({
        app_count: 0,
        created_at: now(),
        exclude: [],
        require: [],
        reusable: true,
        session_duration: "24h",
        updated_at: now(),
      }),
      refuses: (sent) => ((sent.include as unknown[]).length > 0 ? undefined : "include must not be empty"),
    },
    {
      path: "access/apps",
      idField: "id",
      createdBy: "POST",
      id: randomUUID,
      defaults: (sent) => {
        const [first] = sent.destinations as { uri: string }[];
        return {
          allowed_idps: [],
          app_launcher_visible: true,
          aud: randomBytes(32).toString("hex"),
          auto_redirect_to_identity: false,
          created_at: now(),
          domain: first?.uri,
          enable_binding_cookie: false,
          http_only_cookie_attribute: true,
          options_preflight_bypass: false,
          self_hosted_domains: (sent.destinations as { uri: string }[]).map(({ uri }) => uri),
          session_duration: "24h",
          tags: [],
          updated_at: now(),
        };
      },
      refuses: (sent) => {
        const policies = sent.policies as { id: string }[];
        return policies.every(({ id }) => account.has("access/policies", id)) ? undefined : "policy not found";
      },
    },
    {
      path: "workers/domains",
      idField: "id",
      createdBy: "PUT",
      id: () => randomBytes(16).toString("hex"),
      defaults: (sent) => ({
        cert_id: randomUUID(),
        environment: "production",
        zone_id: randomBytes(16).toString("hex"),
        zone_name: String(sent.hostname).split(".").slice(-2).join("."),
      }),
      refuses: (sent) =>
        account.hasWorker(String(sent.service)) ? undefined : "This Worker does not exist on your account.",
    },
    {
      path: "storage/kv/namespaces",
      idField: "id",
      createdBy: "POST",
      id: () => randomBytes(16).toString("hex"),
      defaults: () => ({ supports_url_encoding: true }),
    },
  ];
}

function now(): string {
  return new Date().toISOString();
}
