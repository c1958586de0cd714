// `npm run deploy` with programs in the place of terraform and wrangler that write down what they are asked.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

const root = resolve(import.meta.dirname, "../..");
const outputs = JSON.stringify({
  account_id: { value: "0123456789abcdef0123456789abcdef" },
  worker_name: { value: "kube-access" },
  hostname: { value: "kube.example.com" },
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

test("--bootstrap applies, and deploys", async () => {
  const { code } = await deploy("--bootstrap");
  assert.equal(code, 0);
  assert.deepEqual(await calls(), [
    "terraform init -input=false",
    "terraform apply",
    "terraform output -json -no-color",
    `wrangler deploy --config ${config}`,
    'ACCESS_AUD = "the-audience"',
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

test("--destroy takes the Worker away before what it binds", async () => {
  const { code } = await deploy("--destroy");
  assert.equal(code, 0);
  assert.deepEqual(await calls(), [
    "terraform output -json -no-color",
    `wrangler delete --config ${config}`,
    'ACCESS_AUD = "the-audience"',
    "terraform destroy",
  ]);
});

test("--destroy goes on without a Worker, and not when the Worker cannot be deleted", async () => {
  for (const [says, code, last] of [
    ["workers.api.error.service_not_found [code: 10090]", 0, "terraform destroy"],
    ["This Worker does not exist on your account. [code: 10007]", 0, "terraform destroy"],
    ["Authentication error [code: 10000]", 1, `wrangler delete --config ${config}`],
  ] as const) {
    await program("wrangler", `echo '${says}' >&2; exit 1`);
    const { code: status, err } = await deploy("--destroy");
    assert.equal(status, code, says);
    assert.ok(err.includes(says), err);
    assert.equal((await calls()).at(-1), last);
  }
});

test("--destroy without outputs deletes the Worker that wrangler.toml names", async () => {
  await program("terraform", `case "$*" in *" output -json "*) echo '{}';; esac`);
  const { code, out } = await deploy("--destroy");
  assert.equal(code, 0);
  assert.match(out, /^Terraform has no outputs left/m);
  assert.equal(await readFile(config, "utf8"), unbound);
  assert.equal((await calls()).at(-1), "terraform destroy");
});

test("one thing at a time", async () => {
  for (const [one, other] of [
    ["--bootstrap", "--dry-run"],
    ["--destroy", "--dry-run"],
    ["--bootstrap", "--destroy"],
  ] as const) {
    assert.match((await deploy(one, other)).err, /exclude each other/);
  }
  assert.deepEqual(await calls().catch(() => []), []);
});

test("the last hop's key goes along in a file that nobody else reads, and in no argument and no output", async () => {
  const key = "the-key-of-the-guarded-last-hop-0123";
  const guarded = JSON.stringify({ ...JSON.parse(outputs), last_hop_key: { value: key, sensitive: true } });
  await program("terraform", `case "$*" in *" output -json "*) printf '%s' '${guarded}';; esac`);
  await program("wrangler", `for file; do :; done; stat -c %a "$file" >> ${dir}/calls; cp "$file" ${dir}/secrets`);
  const { code, out, err } = await deploy();
  assert.equal(code, 0);
  const [, call = "", mode] = await calls();
  const [, file = ""] = /^wrangler deploy --config \S+ --secrets-file (\S+)$/.exec(call) ?? [];
  assert.equal(mode, "600");
  assert.deepEqual(JSON.parse(await readFile(join(dir, "secrets"), "utf8")), { LAST_HOP_KEY: key });
  await assert.rejects(readFile(file), { code: "ENOENT" });
  assert.ok(![out, err, await readFile(config, "utf8")].join().includes(key));
});

test("without anybody to ask it says what nobody is asked about", async () => {
  const { out } = await deploy();
  assert.match(out, /another DNS record of kube\.example\.com, or another Worker's claim to it, is replaced/);
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
