// The part of Cloudflare's REST API that `wrangler deploy` and `wrangler delete` use of Workers: what was uploaded, with which bindings,
// and which host names lead to it.

import type { IncomingMessage } from "node:http";
import type { AssetStore } from "./cloudflare-assets.ts";
import { ApiError } from "./cloudflare-error.ts";

/** A deployed Worker. */
export interface Deployed {
  /** The modules, byte for byte, by name. */
  modules: Record<string, Buffer>;
  /** Its Static Assets, byte for byte, by path, and how they are served. */
  assets?: { files: Record<string, Buffer>; config: object } | undefined;
  /** As wrangler sends them; of a secret, its text. */
  bindings: { type: string; name: string; [field: string]: unknown }[];
  /** The classes of Durable Objects that there are, and the tag of the migration that came last. */
  classes?: string[];
  migrationTag?: string | undefined;
  /** The host names that lead to it, with their zone where it was said. */
  domains: { hostname: string; zone_id?: string }[];
}

/** Answers what is below /accounts/ACCOUNT/workers/; `undefined` for a route that it does not know. */
export function workersApi(workers: Map<string, Deployed>, dnsRecords: Set<string>, assets: AssetStore) {
  /** Another Worker that a host name leads to. */
  const other = (name: string, hostname: string) =>
    [...workers].find(([one, { domains }]) => one !== name && domains.some((domain) => domain.hostname === hostname));
  /** One host name of a Worker, which is its ID here. */
  const customDomain = (hostname: string, method: string) => {
    const [name, worker] = other("", hostname) ?? [];
    const { domains } = required(worker);
    if (method === "DELETE") {
      domains.splice(
        domains.findIndex((domain) => domain.hostname === hostname),
        1,
      );
    }
    return { id: hostname, hostname, service: name, environment: "production" };
  };
  return async (path: string, request: IncomingMessage): Promise<unknown> => {
    const [, domain] = /^workers\/domains\/(?:records\/)?(.+)$/.exec(path) ?? [];
    if (domain) {
      return customDomain(domain, request.method ?? "");
    }
    if (path === "workers/assets/upload") {
      return assets.receive(request);
    }
    const [, kind = "", name = "", rest = ""] =
      /^workers\/(scripts|services|workers|tails\/by-consumer)\/([^/?]+)\/?(.*)$/.exec(path) ?? [];
    const worker = workers.get(name);
    switch (`${request.method} ${kind}/${rest}`) {
      case "GET services/":
        return {
          default_environment: {
            script: { last_deployed_from: "wrangler", migration_tag: required(worker).migrationTag },
          },
          ...required(worker),
        };
      case "GET workers/":
        required(worker);
        return { id: name, name, subdomain: { enabled: false, previews_enabled: false } };
      case "DELETE services/":
        required(worker);
        workers.delete(name);
        return null;
      case "PUT scripts/":
        workers.set(name, { ...(await upload(request, worker, assets)), domains: worker?.domains ?? [] });
        return {
          id: name,
          startup_time_ms: 5,
          deployment_id: "1",
          etag: "1",
          pipeline_hash: "1",
          mutable_pipeline_id: "1",
        };
      case "POST scripts/versions":
        workers.set(name, { ...(await upload(request, worker, assets)), domains: required(worker).domains });
        return { id: "2", startup_time_ms: 5, resources: { script: { etag: "2" } } };
      case "POST scripts/assets-upload-session":
        return assets.begin((await json(request)) as Parameters<AssetStore["begin"]>[0]);
      case "POST scripts/deployments":
      case "PATCH scripts/script-settings":
        return { id: "2" };
      case "GET scripts/secrets":
        return required(worker).bindings.filter(({ type }) => type === "secret_text");
      case "GET scripts/deployments":
        return { deployments: [] };
      case "GET scripts/references":
        required(worker, 10007);
        return {
          services: { incoming: [], outgoing: [], pages_function: false },
          durable_objects: [],
          dispatch_outbounds: [],
        };
      case "GET tails/by-consumer/":
        return [];
      case "GET scripts/subdomain":
      case "POST scripts/subdomain":
        return { enabled: false, previews_enabled: false };
      case "POST scripts/domains/changeset": {
        const origins = (await json(request)) as Deployed["domains"];
        const taken = origins.filter(({ hostname }) => other(name, hostname));
        return {
          added: origins,
          removed: [],
          updated: taken.map(({ hostname }) => ({ id: hostname, hostname, modified: true })),
          conflicting: origins.filter(({ hostname }) => dnsRecords.has(hostname)),
        };
      }
      case "PUT scripts/domains/records": {
        const { origins, ...may } = (await json(request)) as { origins: Deployed["domains"] } & Record<string, boolean>;
        for (const { hostname } of origins) {
          const [, loser] = other(name, hostname) ?? [];
          if (loser && !may.override_existing_origin) {
            throw new ApiError(409, `Hostname '${hostname}' already in use by another Worker.`, 100116);
          }
          if (dnsRecords.has(hostname) && !may.override_existing_dns_record) {
            throw new ApiError(409, `Hostname '${hostname}' already has externally managed DNS records.`, 100117);
          }
          if (loser) {
            loser.domains = loser.domains.filter((domain) => domain.hostname !== hostname);
          }
          dnsRecords.delete(hostname);
        }
        required(worker).domains = origins;
        return null;
      }
      default:
        return undefined;
    }
  };
}

function required(worker: Deployed | undefined, code: 10007 | 10090 = 10090): Deployed {
  if (!worker) {
    throw new ApiError(
      404,
      code === 10090 ? "workers.api.error.service_not_found" : "This Worker does not exist on your account.",
      code,
    );
  }
  return worker;
}

interface Metadata {
  bindings: Deployed["bindings"];
  assets?: { jwt: string; config: object };
  migrations?: { new_tag: string; steps: { new_sqlite_classes?: string[]; deleted_classes?: string[] }[] };
}

async function upload(
  request: IncomingMessage,
  former: Deployed | undefined,
  store: AssetStore,
): Promise<Omit<Deployed, "domains">> {
  const headers = { "content-type": request.headers["content-type"] ?? "" };
  const form = await new Response(Buffer.concat(await request.toArray()), { headers }).formData();
  const modules: Deployed["modules"] = {};
  let metadata: Metadata = { bindings: [] };
  for (const [name, part] of form) {
    if (name === "metadata") {
      metadata = JSON.parse(typeof part === "string" ? part : await part.text());
    } else if (typeof part !== "string") {
      modules[name] = Buffer.from(await part.arrayBuffer());
    }
  }
  const { bindings, migrations } = metadata;
  const classes = new Set(former?.classes);
  for (const { new_sqlite_classes = [], deleted_classes = [] } of migrations?.steps ?? []) {
    for (const name of new_sqlite_classes) {
      classes.add(name);
    }
    for (const name of deleted_classes) {
      classes.delete(name);
    }
  }
  for (const { class_name } of bindings) {
    if (class_name !== undefined && !classes.has(String(class_name))) {
      throw new ApiError(
        400,
        `Cannot create binding for class ${class_name} that is not exported by the script`,
        10061,
      );
    }
  }
  const assets = metadata.assets && { files: store.filesOf(metadata.assets.jwt), config: metadata.assets.config };
  const migrationTag = migrations?.new_tag ?? former?.migrationTag;
  return { modules, assets, bindings, classes: [...classes], migrationTag };
}

async function json(request: IncomingMessage): Promise<unknown> {
  return JSON.parse(Buffer.concat(await request.toArray()).toString());
}
