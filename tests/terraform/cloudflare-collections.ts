// What the stand-in keeps: which fields the API adds to each kind of object, and what it refuses. The codes and words are the API's own,
// as people have reported them; nobody has reported those of a VPC service, of a policy in use and of a policy that is not there.

import { randomBytes, randomUUID } from "node:crypto";

export type Fields = Record<string, unknown>;

export interface Collection {
  /** Below /accounts/ACCOUNT/. */
  path: string;
  idField: string;
  id(): string;
  /** What the API adds to what it was sent. */
  defaults(sent: Fields): Fields;
  /** The field of which the account has each value once, and what the API says to the second one. */
  unique?: { field: string; refusal: Refusal };
  /** Why the API would refuse what it is sent; undefined when it would not. */
  refuses?(sent: Fields): Refusal | undefined;
  /** Why the API would not delete an object. */
  keeps?(fields: Fields): Refusal | undefined | Promise<Refusal | undefined>;
}

/** The API's code, and its words; and the status, where it is not 400. */
export type Refusal = [code: number, message: string, status?: 409];

/** What references are checked against. */
export interface Account {
  id: string;
  has(collection: string, id: string): boolean;
  /** Every object of a collection. */
  all(collection: string): Fields[];
  /** Whether a deployed Worker binds this VPC service. */
  isBound(serviceId: string): boolean;
  /** Whether somebody runs the tunnel. */
  isConnected(tunnelId: string): Promise<boolean>;
  /** Whether a bucket holds objects. */
  isFilled(bucket: string): boolean;
  /** How long a sign-in by WARP counts; undefined where the account has not said so. */
  warpDuration(): string | undefined;
}

export function collectionsOf(account: Account): Collection[] {
  return [
    {
      path: "cfd_tunnel",
      idField: "id",
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
      unique: {
        field: "name",
        refusal: [1013, "You already have a tunnel with this name. Please choose another name.", 409],
      },
      keeps: async ({ id }) =>
        (await account.isConnected(String(id)))
          ? [1022, "Cannot delete tunnel because it has active connections"]
          : undefined,
    },
    {
      path: "connectivity/directory/services",
      idField: "service_id",
      id: randomUUID,
      defaults: () => ({ created_at: now(), updated_at: now() }),
      unique: { field: "name", refusal: [5101, "a service of this name exists already"] },
      refuses: (sent) => {
        const { network, resolver_network } = sent.host as Record<string, { tunnel_id: string } | undefined>;
        const id = (network ?? resolver_network)?.tunnel_id;
        return id !== undefined && account.has("cfd_tunnel", id) ? undefined : [5100, "tunnel not found"];
      },
      keeps: ({ service_id }) =>
        account.isBound(String(service_id))
          ? [5104, "the service is bound by a Worker: delete the binding first"]
          : undefined,
    },
    {
      path: "access/policies",
      idField: "id",
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
      refuses: (sent) => ((sent.include as unknown[]).length > 0 ? undefined : [12130, "include must not be empty"]),
      keeps: ({ id }) => {
        const apps = account.all("access/apps") as { policies: { id: string }[] }[];
        const isUsed = apps.some(({ policies }) => policies.some((policy) => policy.id === id));
        return isUsed ? [12132, "access.api.error.conflict: the policy is in use by an application", 409] : undefined;
      },
    },
    {
      path: "access/apps",
      idField: "id",
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
      unique: { field: "domain", refusal: [11010, "access.api.error.application_already_exists", 409] },
      refuses: (sent) => {
        const policies = sent.policies as { id: string }[];
        if (sent.allow_authenticate_via_warp === true && account.warpDuration() === undefined) {
          return [
            12130,
            "access.api.error.invalid_request: allow_authenticate_via_warp cannot be set if the Warp Auth Session Duration is not set for " +
              "the account",
          ];
        }
        return policies.every(({ id }) => account.has("access/policies", id)) ? undefined : [12130, "policy not found"];
      },
    },
    {
      path: "storage/kv/namespaces",
      idField: "id",
      id: () => randomBytes(16).toString("hex"),
      defaults: () => ({ supports_url_encoding: true }),
      unique: { field: "title", refusal: [10014, "a namespace with this account ID and title already exists"] },
    },
    {
      // What a bucket is known by is its name, which is sent.
      path: "r2/buckets",
      idField: "name",
      id: () => "",
      defaults: ({ locationHint, storageClass }) => ({
        creation_date: now(),
        location: String(locationHint ?? "weur").toUpperCase(),
        storage_class: storageClass ?? "Standard",
        jurisdiction: "default",
      }),
      unique: {
        field: "name",
        refusal: [10004, "The bucket you tried to create already exists, and you own it.", 409],
      },
      keeps: ({ name }) =>
        account.isFilled(String(name)) ? [10008, "The bucket you tried to delete is not empty.", 409] : undefined,
    },
  ];
}

function now(): string {
  return new Date().toISOString();
}
