// `npm run deploy` with programs in the place of terraform and wrangler that write down what they are asked.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

const root = resolve(import.meta.dirname, "../..");
const outputs = JSON.stringify({
  worker_name: { value: "kube-access" },
  access_team_domain: { value: "https://acme.cloudflareaccess.com" },
  access_aud: { value: "the-audience" },
  vpc_service_id: { value: "the-service" },
});
const unbound = '[vars]\nACCESS_AUD = "<AUD_TAG>"\n';

let dir: string;
let config: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "kube-access-deploy-"));
  config = join(dir, "wrangler.toml");
  await writeFile(config, unbound);
  await program("terraform", `case "$*" in *" output -json "*) printf '%s' '${outputs}';; esac`);
  // What it would deploy: the audience in the configuration that it is given.
  await program("wrangler", `for file; do :; done; grep ACCESS_AUD "$file" >> ${dir}/calls`);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test("binds, then deploys what is bound", async () => {
  const { code } = await deploy();
  assert.equal(code, 0);
  assert.deepEqual(await calls(), [
    "terraform output -json -no-color",
    `wrangler deploy --config ${config}`,
    'ACCESS_AUD = "the-audience"',
  ]);
});

test("--bootstrap applies before and after", async () => {
  const { code } = await deploy("--bootstrap");
  assert.equal(code, 0);
  assert.deepEqual(await calls(), [
    "terraform init -input=false",
    "terraform apply",
    "terraform output -json -no-color",
    `wrangler deploy --config ${config}`,
    'ACCESS_AUD = "the-audience"',
    "terraform apply",
    "terraform output -raw next_steps",
  ]);
});

test("--dry-run shows the difference, rehearses with it, and leaves the file as it was", async () => {
  const { code, out } = await deploy("--dry-run");
  assert.equal(code, 0);
  assert.match(out, /^-ACCESS_AUD = "<AUD_TAG>"\n\+ACCESS_AUD = "the-audience"$/m);
  assert.deepEqual(await calls(), [
    "terraform output -json -no-color",
    `wrangler deploy --dry-run --config ${join(dir, "wrangler.dry-run.toml")}`,
    'ACCESS_AUD = "the-audience"',
  ]);
  assert.equal(await readFile(config, "utf8"), unbound);
  assert.deepEqual((await readdir(dir)).sort(), ["calls", "terraform", "wrangler", "wrangler.toml"]);
});

test("an apply that fails ends it before anything is deployed", async () => {
  await program("terraform", 'case "$*" in *" apply") exit 1;; esac');
  const { code, err } = await deploy("--bootstrap");
  assert.equal(code, 1);
  assert.match(err, /^terraform -chdir=.* apply failed; its messages are above\.$/m);
  assert.deepEqual(await calls(), ["terraform init -input=false", "terraform apply"]);
});

test("--bootstrap cannot be rehearsed", async () => {
  assert.match((await deploy("--bootstrap", "--dry-run")).err, /--bootstrap has no dry run/);
});

/** A shell script that first writes down its arguments. */
async function program(name: string, lines: string): Promise<void> {
  await writeFile(join(dir, name), `#!/bin/sh\necho ${name} "$@" >> ${dir}/calls\n${lines}\n`, { mode: 0o755 });
}

async function calls(): Promise<string[]> {
  const text = await readFile(join(dir, "calls"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => line.replace(/ -chdir=\S+/, ""));
}

function deploy(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const env = { ...process.env, PATH: [dir, "/usr/bin", "/bin"].join(delimiter) };
  return new Promise((done) => {
    const script = [join(root, "deploy/deploy.ts"), ...args, "--config", config];
    execFile(process.execPath, script, { env }, (error, out, err) =>
      done({ code: Number(error?.code ?? 0), out, err }),
    );
  });
}
