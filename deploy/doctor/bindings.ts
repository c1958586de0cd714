// What identities.yaml, and the page, need of wrangler.toml, and is not there.

import type { Policy } from "../impersonation.ts";
import { type Check, failed, type Outcome, ok } from "./check.ts";
import type { Project } from "./project.ts";

const APPLY = "`terraform -chdir=terraform apply && npm run deploy`";

/** What needs bindings, which, and what binds them. */
interface Need {
  why: string;
  bindings: string[];
  fix: string;
}

export function bindingChecks(project: Project): Check[] {
  return [
    {
      id: "bindings",
      what: "The Worker is bound to what identities.yaml and the page need",
      run: async () => bindings(project),
    },
  ];
}

function bindings({ bound, isWorkerFirst, policy }: Project): Outcome {
  const gaps = needsOf(policy)
    .map((need) => ({ ...need, bindings: need.bindings.filter((name) => !bound.includes(name)) }))
    .filter((need) => need.bindings.length > 0)
    .map(({ why, bindings, fix }) => [`${why}, and wrangler.toml does not bind ${bindings.join(", ")}`, fix]);
  if (bound.includes("ASSETS") && !isWorkerFirst) {
    gaps.push([
      "[assets] of wrangler.toml lets the page's files be served without the Worker, to people whom no entry names",
      "Say run_worker_first = true there, and run `npm run deploy`.",
    ]);
  }
  return gaps.length === 0
    ? ok("wrangler.toml binds it")
    : failed(gaps.map(([detail]) => detail).join("; "), gaps.map(([, fix]) => fix).join(" "));
}

function needsOf({ guards = [], grants = {} }: Policy): Need[] {
  const records = guards.some(({ record }) => record !== undefined);
  const bounds = records || guards.some(({ max_session }) => max_session !== undefined);
  const { users = [], groups = [] } = grants;
  return [
    {
      why: "a guard of identities.yaml has record or max_session",
      bindings: [...(bounds ? ["SESSIONS", "ROLL"] : []), ...(records ? ["RECORDINGS"] : [])],
      fix: `Set sessions = true in terraform.tfvars: ${APPLY}.`,
    },
    {
      why: "identities.yaml has grants",
      // Users are given by hand alone; groups by people too, which one object writes down.
      bindings: [...(users.length + groups.length > 0 ? ["IDENTITIES"] : []), ...(groups.length > 0 ? ["GRANTS"] : [])],
      fix: `Set identities_kv = true in terraform.tfvars: ${APPLY}.`,
    },
    {
      why: "the page at /.kube-access/ is made of files",
      bindings: ["ASSETS"],
      fix: "Take [assets] over from the wrangler.toml that is shipped, and run `npm run deploy`.",
    },
  ];
}
