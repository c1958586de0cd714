// `npm run deploy`: binds wrangler.toml to what Terraform made, then lets wrangler build and upload the Worker.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { bindConfig, boundConfig, wranglerToml } from "./bind.ts";
import { type Made, NotMade, readMade, root, terraformDir } from "./outputs.ts";

const help = `Builds and deploys the Worker, bound to what Terraform made, and gives it its host names.

  npm run deploy                  bind wrangler.toml, build, upload
  npm run deploy -- --dry-run     show what binding would change, build, upload nothing
  npm run deploy -- --bootstrap   from nothing: terraform init and apply, then the above. Terraform asks before it applies.
  npm run deploy -- --destroy     all of it away: wrangler delete, then terraform destroy. Both ask.
  --config FILE                   another file than wrangler.toml

A host name that has a DNS record of its own, or leads to another Worker, is asked about; without a terminal it is taken over.
`;

// The API's own words for a Worker, and for a script, that is not there.
const NO_SUCH_WORKER = /\[code: (10007|10090)\]/;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: "string", default: wranglerToml },
      bootstrap: { type: "boolean", default: false },
      destroy: { type: "boolean", default: false },
      "dry-run": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const { config } = values;
  const [one, other] = (["dry-run", "bootstrap", "destroy"] as const).filter((name) => values[name]);
  if (values.help) {
    process.stdout.write(help);
  } else if (other) {
    throw new Error(
      `--${one} and --${other} exclude each other: terraform -chdir=terraform plan shows what the latter would begin with.`,
    );
  } else if (values["dry-run"]) {
    await rehearse(config, await readMade());
  } else if (values.destroy) {
    await destroy(config);
  } else if (values.bootstrap) {
    terraform("init", "-input=false");
    terraform("apply");
    await deploy(config);
    terraform("output", "-raw", "next_steps");
  } else {
    await deploy(config);
  }
}

async function deploy(config: string): Promise<void> {
  const made = await readMade();
  await bound(config, made);
  // As wrangler sees it.
  const isAsked = process.stdin.isTTY && process.stdout.isTTY && !process.env.CI;
  if (!isAsked) {
    const names = made.bindings.routes.map(({ pattern }) => pattern).join(" and ");
    console.log(
      `Nobody can be asked here: another DNS record of ${names}, or another Worker's claim to it, is replaced.`,
    );
  }
  // With the code, so that there is no moment in which one is without the other.
  withSecrets(made, (secrets) => wrangler("deploy", "--config", config, ...secrets));
}

/** Cloudflare keeps a VPC service that a Worker binds: so the Worker goes first, and takes its host names with it. */
async function destroy(config: string): Promise<void> {
  try {
    await bound(config, await readMade());
  } catch (error) {
    if (!(error instanceof NotMade)) {
      throw error;
    }
    console.log("Terraform has no outputs left: the Worker is the one that wrangler.toml names.");
  }
  const { status, stderr } = start("wrangler", ["delete", "--config", config], "pipe");
  process.stderr.write(stderr);
  if (status !== 0 && !NO_SUCH_WORKER.test(stderr)) {
    throw new Error("wrangler delete failed; its messages are above.");
  }
  terraform("destroy");
}

async function bound(config: string, made: Made): Promise<void> {
  console.log((await bindConfig(config, made)) ? "wrangler.toml is bound." : "wrangler.toml is up to date.");
}

/** Hands wrangler the Worker's secrets in a file that only this user can read, and that is gone afterwards. */
function withSecrets({ lastHopKey }: Made, work: (args: string[]) => void): void {
  if (lastHopKey === undefined) {
    work([]);
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), "kube-access-deploy-"));
  try {
    const file = join(dir, "secrets.json");
    writeFileSync(file, JSON.stringify({ LAST_HOP_KEY: lastHopKey }), { mode: 0o600 });
    work(["--secrets-file", file]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The bound configuration as a file of its own, beside wrangler.toml because its paths are relative. */
async function rehearse(config: string, made: Made): Promise<void> {
  const { after, diff } = await boundConfig(config, made);
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
  if (start(program, args, "inherit").status !== 0) {
    throw new Error(`${program} ${args.join(" ")} failed; its messages are above.`);
  }
}

function start(program: string, args: string[], stderr: "inherit" | "pipe") {
  const result = spawnSync(program, args, { cwd: root, stdio: ["inherit", "inherit", stderr], encoding: "utf8" });
  if (result.error) {
    throw new Error(`${program} does not start: ${result.error.message}`);
  }
  return result;
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
