// `npm run deploy:bind`: writes what Terraform made into wrangler.toml.

import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Made, readMade, root } from "./outputs.ts";
import { unifiedDiff } from "./unified-diff.ts";
import { bind } from "./wrangler-toml.ts";

const help = `Writes Terraform's outputs into wrangler.toml: the account, the Worker's name and host names, the Access team and audiences,
the VPC service, the contact (where there is one), the KV namespace (without one IDENTITIES and GRANTS are commented out), and the
bucket of recordings (without one SESSIONS, ROLL and RECORDINGS are). All else stays as it is, further audiences too. Running it
again changes nothing.

  npm run deploy:bind                  write
  npm run deploy:bind -- --dry-run     show the difference, write nothing
  npm run deploy:bind -- --config FILE another file than wrangler.toml
`;

export const wranglerToml = join(root, "wrangler.toml");

export interface Bound {
  before: string;
  after: string;
  /** "" when the file says it all already. */
  diff: string;
}

/** What the file would become. */
export async function boundConfig(file: string, { bindings }: Made): Promise<Bound> {
  const before = await readFile(file, "utf8");
  const after = bind(before, bindings);
  return { before, after, diff: unifiedDiff("wrangler.toml", before, after) };
}

/** Binds the file; says whether it had to be changed. */
export async function bindConfig(file: string, made: Made): Promise<boolean> {
  const { before, after } = await boundConfig(file, made);
  if (after !== before) {
    await replace(file, after);
  }
  return after !== before;
}

/** Whoever reads the file meanwhile sees the old one or the new one, never half of it. */
async function replace(file: string, text: string): Promise<void> {
  const next = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(next, text, { mode: (await stat(file)).mode });
    await rename(next, file);
  } finally {
    await rm(next, { force: true });
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: "string", default: wranglerToml },
      "dry-run": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
  } else if (values["dry-run"]) {
    const { diff } = await boundConfig(values.config, await readMade());
    process.stdout.write(diff || "wrangler.toml is up to date.\n");
  } else {
    const isNew = await bindConfig(values.config, await readMade());
    console.log(isNew ? "wrangler.toml is bound." : "wrangler.toml is up to date.");
  }
}

if (import.meta.main) {
  await main().catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
