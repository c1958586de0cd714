// What Terraform made, as `terraform output -json` says it.

import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import type { Bindings, Route } from "./wrangler-toml.ts";

export const root = resolve(import.meta.dirname, "..");
export const terraformDir = join(root, "terraform");

const APPLY = "terraform -chdir=terraform init && terraform -chdir=terraform apply";

type Outputs = Record<string, { value: unknown } | undefined>;

/** What Terraform made for the Worker: what stands in wrangler.toml, and what must not. */
export interface Made {
  bindings: Bindings;
  /** What requests are signed by, with the guarded last hop. */
  lastHopKey: string | undefined;
}

/** There is nothing to read yet, or no more. */
export class NotMade extends Error {}

/** Asks Terraform. Every error says which command comes next. */
export async function readMade(): Promise<Made> {
  const outputs: Outputs = JSON.parse(await terraformOutput());
  const key = outputs.last_hop_key?.value;
  return { bindings: toBindings(outputs), lastHopKey: typeof key === "string" ? key : undefined };
}

export function toBindings(outputs: Outputs): Bindings {
  if (Object.keys(outputs).length === 0) {
    throw new NotMade(`Terraform has made nothing yet. Run:\n  ${APPLY}`);
  }
  const text = (name: string): string => {
    const value = outputs[name]?.value;
    if (typeof value !== "string" || value === "") {
      throw new NotMade(`Terraform's output "${name}" is missing: the last apply did not finish. Run:\n  ${APPLY}`);
    }
    return value;
  };
  // Terraform leaves an output that is null out of the list.
  const optional = (name: string) => (outputs[name]?.value ? text(name) : undefined);
  const isThere = (value: string | undefined) => value !== undefined;
  const zoneId = optional("zone_id");
  const route = (pattern: string): Route => ({ pattern, custom_domain: true, ...(zoneId && { zone_id: zoneId }) });
  return {
    accountId: text("account_id"),
    workerName: text("worker_name"),
    routes: [text("hostname"), optional("machines_hostname")].filter(isThere).map(route),
    teamDomain: text("access_team_domain"),
    auds: [text("access_aud"), optional("access_machines_aud")].filter(isThere),
    vpcServiceId: text("vpc_service_id"),
    contact: optional("contact"),
    kvNamespaceId: optional("identities_kv_id"),
    recordingsBucket: optional("recordings_bucket"),
  };
}

function terraformOutput(): Promise<string> {
  return new Promise((done, fail) => {
    execFile("terraform", [`-chdir=${terraformDir}`, "output", "-json", "-no-color"], (error, stdout, stderr) => {
      if (!error) {
        done(stdout);
      } else if (error.code === "ENOENT") {
        fail(new Error("terraform is not on the PATH: install Terraform 1.11 or newer."));
      } else {
        fail(new Error(`terraform output failed. If this is a new clone, run:\n  ${APPLY}\n${stderr.trim()}`));
      }
    });
  });
}
