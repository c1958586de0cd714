// What this checkout says about the deployment: wrangler.toml and identities.yaml.

import { readFile } from "node:fs/promises";
import { parse } from "yaml";

export interface Project {
  /** The team's origin, or undefined as long as wrangler.toml holds the placeholder. */
  teamDomain: URL | undefined;
  audiences: string[];
  /** Whether the Worker may also be called at *.workers.dev, and at the address of each version. */
  workersDev: boolean;
  previewUrls: boolean;
  /** Whether KV entries may name callers whom identities.yaml does not. */
  hasKv: boolean;
  identities: Entry[];
}

/** An entry of identities.yaml. */
export interface Entry {
  email?: string;
  email_domain?: string;
  service_token?: string;
  user: string;
  groups?: string[];
}

export interface Caller {
  email?: string | undefined;
  subject?: string | undefined;
}

export async function readProject(wranglerToml: string, identitiesYaml: string): Promise<Project> {
  const [toml, yaml] = await Promise.all([readFile(wranglerToml, "utf8"), readFile(identitiesYaml, "utf8")]);
  const settings = readSettings(toml);
  const identities = (parse(yaml) as { identities?: Entry[] } | null)?.identities;
  if (!Array.isArray(identities)) {
    throw new Error(`${identitiesYaml} has no list "identities"`);
  }
  const teamDomain = settings.get("vars.ACCESS_TEAM_DOMAIN") ?? "";
  const audience = settings.get("vars.ACCESS_AUD") ?? "";
  return {
    teamDomain: URL.canParse(teamDomain) ? new URL(teamDomain) : undefined,
    audiences: isPlaceholder(audience) ? [] : audience.split(",").map((tag) => tag.trim()),
    // What wrangler assumes when a line is missing.
    workersDev: settings.get("workers_dev") !== "false",
    previewUrls: settings.get("preview_urls") === "true",
    hasKv: /^\s*binding\s*=\s*"IDENTITIES"/m.test(toml),
    identities,
  };
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

/** The values of wrangler.toml by name, "table.name" inside a table. Enough for settings of one line; lists are left out. */
function readSettings(toml: string): Map<string, string> {
  const settings = new Map<string, string>();
  let table = "";
  for (const line of toml.split("\n")) {
    const header = line.match(/^\s*\[+([^\]]+)\]+/);
    const setting = line.match(/^\s*([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([\w.]+))\s*(?:#.*)?$/);
    if (header) {
      table = `${header[1]?.trim()}.`;
    } else if (setting) {
      settings.set(`${table}${setting[1]}`, setting[2] ?? setting[3] ?? setting[4] ?? "");
    }
  }
  return settings;
}

function isPlaceholder(value: string): boolean {
  return value === "" || value.startsWith("<");
}
