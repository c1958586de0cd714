// What this checkout says about the deployment: wrangler.toml and identities.yaml.

import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import type { Entry, Policy } from "../impersonation.ts";
import { tomlValue } from "../toml.ts";

export interface Project {
  /** The team's origin, or undefined as long as wrangler.toml holds the placeholder. */
  teamDomain: URL | undefined;
  audiences: string[];
  /** Whether the Worker may also be called at *.workers.dev, and at the address of each version. */
  workersDev: boolean;
  previewUrls: boolean;
  /** Whether the arguments of exec, which are in the URL's query, get into Cloudflare's logs and traces. */
  logsQueries: boolean;
  hasTraces: boolean;
  /** Whether KV entries may name callers whom identities.yaml does not. */
  hasKv: boolean;
  /** Namespaces of KV, buckets, Durable Objects and assets, by the names of their bindings. */
  bound: string[];
  /** Whether the Worker sees each request before assets are looked for. */
  isWorkerFirst: boolean;
  policy: Policy;
}

/** What is looked at of wrangler.toml. */
interface Config {
  vars?: Record<string, unknown>;
  workers_dev?: boolean;
  preview_urls?: boolean;
  kv_namespaces?: { binding?: string }[];
  r2_buckets?: { binding?: string }[];
  assets?: { binding?: string; run_worker_first?: unknown };
  durable_objects?: { bindings?: { name?: string }[] };
  observability?: { redact_query_string?: boolean; traces?: { enabled?: boolean } };
}

export interface Caller {
  email?: string | undefined;
  subject?: string | undefined;
}

export async function readProject(wranglerToml: string, identitiesYaml: string): Promise<Project> {
  const [toml, yaml] = await Promise.all([readFile(wranglerToml, "utf8"), readFile(identitiesYaml, "utf8")]);
  const config = tomlValue(toml) as Config;
  const policy = parse(yaml) as Policy | null;
  if (!policy || !Array.isArray(policy.identities)) {
    throw new Error(`${identitiesYaml} has no list "identities"`);
  }
  const { vars = {}, kv_namespaces = [], observability = {} } = config;
  const { r2_buckets = [], durable_objects = {}, assets = {} } = config;
  const objects = (durable_objects.bindings ?? []).map(({ name }) => name);
  const bound = [...[...kv_namespaces, ...r2_buckets, assets].map(({ binding }) => binding), ...objects];
  const teamDomain = String(vars.ACCESS_TEAM_DOMAIN ?? "");
  return {
    teamDomain: URL.canParse(teamDomain) ? new URL(teamDomain) : undefined,
    audiences: audiencesIn(vars.ACCESS_AUD),
    // What wrangler assumes when a line is missing.
    workersDev: config.workers_dev !== false,
    previewUrls: config.preview_urls === true,
    logsQueries: observability.redact_query_string !== true,
    // A later compatibility date switches them on by itself.
    hasTraces: observability.traces?.enabled !== false,
    hasKv: bound.includes("IDENTITIES"),
    bound: bound.filter((name) => name !== undefined),
    isWorkerFirst: assets.run_worker_first === true,
    policy,
  };
}

/** The entries that hold: one that has ended is as good as none. `now` is in milliseconds since the Unix epoch. */
export function entriesAt(now: number, { identities }: Policy): Entry[] {
  return identities.filter(({ expires }) => expires === undefined || Date.parse(expires) > now);
}

/** The entry for a caller, chosen as the Worker does: an exact address wins over its domain. */
export function entryFor(identities: Entry[], { email, subject }: Caller): Entry | undefined {
  if (email === undefined) {
    return identities.find((entry) => entry.service_token !== undefined && entry.service_token === subject);
  }
  const domain = email.slice(email.lastIndexOf("@") + 1);
  return (
    identities.find((entry) => entry.email?.toLowerCase() === email) ??
    identities.find((entry) => entry.email_domain?.toLowerCase() === domain)
  );
}

/** The audiences of ACCESS_AUD, one string or a list. */
function audiencesIn(setting: unknown): string[] {
  const tags = Array.isArray(setting) ? setting.map(String) : String(setting ?? "").split(",");
  return tags.map((tag) => tag.trim()).filter((tag) => !isPlaceholder(tag));
}

function isPlaceholder(value: string): boolean {
  return value === "" || value.startsWith("<");
}
