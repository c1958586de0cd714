// `npm run test:terraform`: the Terraform modules, as far as this machine can test them. What needs the providers, which
// `terraform init` fetches, is left out where they cannot be had, and one line says so.

import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildCluster } from "./cluster.ts";
import { progress } from "./progress.ts";
import { outdatedReadmes } from "./terraform-docs.ts";
import { openWorkspace, ProvidersOutOfReach, showTerraform, terraformIsInstalled } from "./terraform-workspace.ts";

const USAGE = `usage: npm run test:terraform -- [options]

Tests the Terraform modules: their format, their READMEs' tables, every refusal of a value, how they read identities.yaml; and, where
the providers can be had, validate, the tests in terraform/tests, and an apply and a destroy of the whole to a local API server and a
stand-in for Cloudflare's API.

  --write  renews the tables in the READMEs
  --help   this text

Environment:
  TERRAFORM_TESTS=required  fails where terraform or a provider cannot be had, instead of saying so`;

const root = resolve(import.meta.dirname, "..");
const modules = ["", "modules/digitalocean", "modules/k8s", "modules/worker"].map((path) =>
  resolve(root, "terraform", path),
);

async function main(): Promise<void> {
  const { write } = readOptions();
  if (!terraformIsInstalled()) {
    return leaveOut("terraform is not installed, so nothing of terraform/ is tested");
  }
  check("fmt", showTerraform(resolve(root, "terraform"), ["fmt", "-check", "-diff", "-recursive"]));
  await checkReadmes(write);
  check("refusals", nodeTest("tests/terraform/refusals.test.ts"));
  check("readers", nodeTest("tests/terraform/readers.test.ts"));
  check("identities", succeeds("cargo", ["test", "--quiet", "--test", "identities", "--", "--ignored"]));
  await checkWithProviders();
}

function readOptions(): { write: boolean } {
  try {
    const options = { write: { type: "boolean", default: false }, help: { type: "boolean", default: false } } as const;
    const { write, help } = parseArgs({ options }).values;
    if (help) {
      console.log(USAGE);
      process.exit(0);
    }
    return { write };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    process.exit(2);
  }
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
        `the providers cannot be had (${error.message}), so only fmt, READMEs, refusals and how identities.yaml is read are tested`,
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
  check("impersonation", nodeTest("tests/terraform/impersonation.test.ts"));
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
