// `npm run test:terraform`: the Terraform modules, as far as this machine can test them. `--write` renews the READMEs' tables.
//
// Format, READMEs, every refusal and the reading of identities.yaml need terraform alone. Validation, plans and the apply to a real API server need the
// providers, which `terraform init` fetches: where it cannot, one line says so, and TERRAFORM_TESTS=required fails.

import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildCluster } from "./cluster.ts";
import { progress } from "./progress.ts";
import { outdatedReadmes } from "./terraform-docs.ts";
import { openWorkspace, ProvidersOutOfReach, showTerraform, terraformIsInstalled } from "./terraform-workspace.ts";

const root = resolve(import.meta.dirname, "..");
const modules = ["", "modules/digitalocean", "modules/k8s", "modules/worker"].map((path) =>
  resolve(root, "terraform", path),
);

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
  if (!terraformIsInstalled()) {
    return leaveOut("terraform is not installed, so nothing of terraform/ is tested");
  }
  check("fmt", showTerraform(resolve(root, "terraform"), ["fmt", "-check", "-diff", "-recursive"]));
  await checkReadmes(values.write);
  check("refusals", nodeTest("tests/terraform/refusals.test.ts"));
  check("identities", succeeds("cargo", ["test", "--quiet", "--test", "identities", "--", "--ignored"]));
  await checkWithProviders();
}

async function checkReadmes(write: boolean): Promise<void> {
  const outdated = await outdatedReadmes(modules, write);
  for (const file of outdated) {
    console.log(write ? `wrote ${file}` : `${file} is out of date: npm run test:terraform -- --write`);
  }
  check("README tables", write || outdated.length === 0);
}

async function checkWithProviders(): Promise<void> {
  let workspace: Awaited<ReturnType<typeof openWorkspace>>;
  try {
    workspace = await openWorkspace();
  } catch (error) {
    if (error instanceof ProvidersOutOfReach) {
      return leaveOut(
        `the providers cannot be had (${error.message}), so only fmt, READMEs, refusals and identities.yaml are tested`,
      );
    }
    throw error;
  }
  try {
    check("validate", showTerraform(workspace.dir, ["validate"]));
    check("test", showTerraform(workspace.dir, ["test"]));
  } finally {
    await workspace.remove();
  }
  await buildCluster(progress());
  check("apply", nodeTest("tests/terraform/apply.test.ts"));
}

function nodeTest(file: string): boolean {
  return succeeds(process.execPath, ["--test", "--test-reporter=spec", file]);
}

function succeeds(program: string, args: string[]): boolean {
  return spawnSync(program, args, { cwd: root, stdio: "inherit" }).status === 0;
}

function check(name: string, passed: boolean): void {
  console.log(`terraform ${name}: ${passed ? "passed" : "FAILED"}`);
  if (!passed) {
    process.exitCode = 1;
  }
}

/** Says in one line what is not tested here, and fails if it had to be. */
function leaveOut(sentence: string): void {
  console.log(`terraform: ${sentence}.`);
  if (process.env.TERRAFORM_TESTS === "required") {
    console.log("terraform: TERRAFORM_TESTS=required, so this is a failure.");
    process.exitCode = 1;
  }
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
