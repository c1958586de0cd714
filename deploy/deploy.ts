// `npm run deploy`: binds wrangler.toml to what Terraform made, then lets wrangler build and upload the Worker.

import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { bindConfig, boundConfig, wranglerToml } from "./bind.ts";
import { root, terraformDir } from "./outputs.ts";

const help = `Builds and deploys the Worker, bound to what Terraform made.

  npm run deploy                  bind wrangler.toml, build, upload
  npm run deploy -- --dry-run     show what binding would change, build, upload nothing
  npm run deploy -- --bootstrap   from nothing: terraform apply, deploy, and terraform apply again, which gives the Worker that
                                  now exists its host name. Terraform asks before each apply.
  --config FILE                   another file than wrangler.toml
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: "string", default: wranglerToml },
      bootstrap: { type: "boolean", default: false },
      "dry-run": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
  } else if (values["dry-run"] && values.bootstrap) {
    throw new Error("--bootstrap has no dry run: `terraform -chdir=terraform plan` shows its first step.");
  } else if (values["dry-run"]) {
    await rehearse(values.config);
  } else if (values.bootstrap) {
    terraform("init", "-input=false");
    terraform("apply");
    await deploy(values.config);
    terraform("apply");
    terraform("output", "-raw", "next_steps");
  } else {
    await deploy(values.config);
  }
}

async function deploy(config: string): Promise<void> {
  console.log((await bindConfig(config)) ? "wrangler.toml is bound." : "wrangler.toml is up to date.");
  wrangler("deploy", "--config", config);
}

/** The bound configuration as a file of its own, beside wrangler.toml because its paths are relative. */
async function rehearse(config: string): Promise<void> {
  const { after, diff } = await boundConfig(config);
  process.stdout.write(diff || "wrangler.toml is up to date.\n");
  const file = join(dirname(config), "wrangler.dry-run.toml");
  writeFileSync(file, after);
  try {
    wrangler("deploy", "--dry-run", "--config", file);
  } finally {
    rmSync(file, { force: true });
  }
}

/** wrangler builds first: [build] in wrangler.toml. */
function wrangler(...args: string[]): void {
  run("wrangler", args);
}

function terraform(...args: string[]): void {
  run("terraform", [`-chdir=${terraformDir}`, ...args]);
}

function run(program: string, args: string[]): void {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: "inherit" });
  if (error) {
    throw new Error(`${program} does not start: ${error.message}`);
  }
  if (status !== 0) {
    throw new Error(`${program} ${args.join(" ")} failed; its messages are above.`);
  }
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
