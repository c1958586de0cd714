// What Terraform made, as `terraform output -json` says it.

import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import type { Bindings } from "./wrangler-toml.ts";

export const root = resolve(import.meta.dirname, "..");
export const terraformDir = join(root, "terraform");

const APPLY = "terraform -chdir=terraform init && terraform -chdir=terraform apply";

/** Asks Terraform. Every error says which command comes next. */
export async function readBindings(): Promise<Bindings> {
  return toBindings(JSON.parse(await terraformOutput()));
}

export function toBindings(outputs: Record<string, { value: unknown } | undefined>): Bindings {
  if (Object.keys(outputs).length === 0) {
    throw new Error(`Terraform has made nothing yet. Run:\n  ${APPLY}`);
  }
  const text = (name: string): string => {
    const value = outputs[name]?.value;
    if (typeof value !== "string" || value === "") {
      throw new Error(`Terraform's output "${name}" is missing: the last apply did not finish. Run:\n  ${APPLY}`);
    }
    return value;
  };
  return {
    workerName: text("worker_name"),
    teamDomain: text("access_team_domain"),
    aud: text("access_aud"),
    vpcServiceId: text("vpc_service_id"),
    // Terraform leaves an output that is null out of the list.
    kvNamespaceId: outputs.identities_kv_id?.value ? text("identities_kv_id") : undefined,
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
