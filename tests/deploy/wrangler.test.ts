// `npm run deploy` with wrangler itself, to a stand-in for Cloudflare's API: what is deployed, as what, and where it is reached.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { MODULES } from "../../dev/build.ts";
import { type Cloudflare, startCloudflare } from "../terraform/cloudflare.ts";

const root = resolve(import.meta.dirname, "../..");
const accountId = "0123456789abcdef0123456789abcdef";
const key = "the-key-of-the-guarded-last-hop-0123";
const zone_id = "89abcdef0123456789abcdef01234567";
const outputs = {
  account_id: accountId,
  worker_name: "kube-access",
  hostname: "kube.example.com",
  machines_hostname: "kube-ci.example.com",
  zone_id,
  access_team_domain: "https://acme.cloudflareaccess.com",
  access_aud: "the-audience",
  access_machines_aud: "the-machines-audience",
  vpc_service_id: "0194b1e8-7b0c-7d4a-9f3e-1f6a3f6f5d10",
  last_hop_key: key,
};

let cloudflare: Cloudflare;
let dir: string;
/** Beside the real one, because its paths are relative. */
const config = join(root, `wrangler.${process.pid}.test.toml`);

before(async () => {
  cloudflare = await startCloudflare(accountId);
  dir = await mkdtemp(join(tmpdir(), "kube-access-wrangler-"));
  await copyFile(join(root, "wrangler.toml"), config);
  await made(outputs);
});

after(async () => {
  await rm(config, { force: true });
  await rm(dir, { recursive: true, force: true });
  await cloudflare.stop();
});

test("the Worker is deployed byte for byte, bound to what Terraform made, and given its host names", async () => {
  const { code, text } = await deploy();
  assert.equal(code, 0, text);
  const { modules, bindings, domains } = cloudflare.workers.get("kube-access") ?? assert.fail("nothing is deployed");
  for (const name of MODULES) {
    assert.ok(modules[name]?.equals(await readFile(join(root, "build", name))), name);
  }
  assert.deepEqual(Object.keys(modules).sort(), [...MODULES].sort());
  const bound = Object.fromEntries(bindings.map(({ name, text, service_id }) => [name, text ?? service_id]));
  assert.equal(bound.KUBE_API, outputs.vpc_service_id);
  assert.equal(bound.ACCESS_TEAM_DOMAIN, outputs.access_team_domain);
  assert.deepEqual(String(bound.ACCESS_AUD).split(",").sort(), ["the-audience", "the-machines-audience"]);
  assert.equal(bound.LAST_HOP_KEY, key);
  assert.equal(bindings.find(({ name }) => name === "LAST_HOP_KEY")?.type, "secret_text");
  assert.deepEqual(
    domains.map(({ hostname, zone_id }) => [hostname, zone_id]),
    [
      ["kube.example.com", zone_id],
      ["kube-ci.example.com", zone_id],
    ],
  );
  assert.ok(!text.includes(key), "no output holds the key");
});

test("the page goes along as it was built, and only the Worker serves it", async () => {
  const { assets, bindings } = cloudflare.workers.get("kube-access") ?? {};
  const page = join(root, "build/page");
  const names = await readdir(page);
  assert.ok(names.includes("index.html"), String(names));
  const files = await Promise.all(names.map(async (name) => [`/${name}`, await readFile(join(page, name))]));
  assert.deepEqual(assets?.files, Object.fromEntries(files));
  assert.deepEqual(assets?.config, { html_handling: "none", not_found_handling: "none", run_worker_first: true });
  assert.deepEqual(
    bindings?.filter(({ type }) => type === "assets"),
    [{ name: "ASSETS", type: "assets" }],
  );
});

test("a second deployment changes nothing, and keeps the secret", async () => {
  const before = structuredClone(cloudflare.workers.get("kube-access")?.bindings);
  const { code, text } = await deploy();
  assert.equal(code, 0, text);
  assert.match(text, /wrangler\.toml is up to date/);
  assert.deepEqual(cloudflare.workers.get("kube-access")?.bindings, before);
});

test("sessions and grants are bound, made once, and unbound again without a word about their classes", async () => {
  const bound = () => {
    const { bindings = [] } = cloudflare.workers.get("kube-access") ?? {};
    const names = [...ofSessions, ...ofGrants].map(([name]) => name);
    return bindings
      .filter(({ name }) => names.includes(name))
      .map(({ name, type, class_name, bucket_name, namespace_id }) => [
        name,
        type,
        class_name ?? bucket_name ?? namespace_id,
      ])
      .sort();
  };
  const kv = "0f2ac74b498b48028cb68387c421e279";
  const ofSessions = [
    ["RECORDINGS", "r2_bucket", "kube-access-recordings"],
    ["ROLL", "durable_object_namespace", "Roll"],
    ["SESSIONS", "durable_object_namespace", "Session"],
  ];
  const ofGrants = [
    ["GRANTS", "durable_object_namespace", "Grants"],
    ["IDENTITIES", "kv_namespace", kv],
  ];
  const on = { ...outputs, recordings_bucket: "kube-access-recordings" };
  const both = { ...on, identities_kv_id: kv };
  // wrangler sees whether it is there.
  await fetch(`${cloudflare.url}/accounts/${accountId}/r2/buckets`, {
    method: "POST",
    headers: { authorization: `Bearer ${cloudflare.apiToken}` },
    body: JSON.stringify({ name: on.recordings_bucket }),
  });
  const older = [["Session", "Roll"], "v1"];
  const newer = [["Session", "Roll", "Grants"], "v2"];
  for (const [values, wanted, there] of [
    [on, ofSessions, older],
    [on, ofSessions, older],
    [outputs, [], older],
    [on, ofSessions, older],
    [both, [...ofGrants, ...ofSessions].sort(), newer],
    [{ ...outputs, identities_kv_id: kv }, ofGrants, newer],
    [outputs, [], newer],
  ] as const) {
    await made(values);
    const { code, text } = await deploy();
    assert.equal(code, 0, text);
    assert.doesNotMatch(text, /WARNING/);
    assert.deepEqual(bound(), wanted);
    const { classes, migrationTag } = cloudflare.workers.get("kube-access") ?? {};
    assert.deepEqual([classes, migrationTag], there);
  }
});

test("under another name the Worker takes the host names over, and one that has a DNS record, saying so before", async () => {
  cloudflare.dnsRecords.add("kube-two.example.com");
  await made({ ...outputs, worker_name: "kube-gate", machines_hostname: "kube-two.example.com" });
  const { code, text } = await deploy();
  assert.equal(code, 0, text);
  const said = text.indexOf(
    "another DNS record of kube.example.com and kube-two.example.com, or another Worker's claim to it, is replaced",
  );
  assert.ok(said >= 0 && said < text.indexOf("Uploaded"), text);
  assert.deepEqual(names("kube-gate"), ["kube.example.com", "kube-two.example.com"]);
  assert.deepEqual(names("kube-access"), ["kube-ci.example.com"]);
  assert.deepEqual([...cloudflare.dnsRecords], []);
});

test("--destroy takes the Worker away, then what it was bound to", async () => {
  const { code, text } = await deploy("--destroy");
  assert.equal(code, 0, text);
  assert.deepEqual([...cloudflare.workers.keys()], ["kube-access"]);
  assert.match(await lastCall(), /destroy$/);
});

test("--destroy goes on where there is no Worker", async () => {
  const { code, text } = await deploy("--destroy");
  assert.equal(code, 0, text);
  assert.match(text, /\[code: 100\d\d\]/);
  assert.match(await lastCall(), /destroy$/);
});

test("--destroy goes on where terraform destroy was begun with: the Worker is the one that was deployed last", async () => {
  await made(outputs);
  assert.equal((await deploy()).code, 0);
  await made({});
  const { code, text } = await deploy("--destroy");
  assert.equal(code, 0, text);
  assert.equal(cloudflare.workers.size, 0);
  assert.match(await lastCall(), /destroy$/);
});

/** What Terraform is to say that it made. */
async function made(values: object): Promise<void> {
  const said = JSON.stringify(Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value }])));
  await writeFile(
    join(dir, "terraform"),
    `#!/bin/sh\necho "$@" >> ${dir}/calls\ncase "$*" in *" output -json "*) printf '%s' '${said}';; esac\n`,
    { mode: 0o755 },
  );
}

async function lastCall(): Promise<string> {
  const calls = (await readFile(join(dir, "calls"), "utf8")).trim().split("\n");
  return calls.at(-1) ?? "";
}

function names(worker: string): string[] | undefined {
  return cloudflare.workers.get(worker)?.domains.map(({ hostname }) => hostname);
}

function deploy(...args: string[]): Promise<{ code: number; text: string }> {
  const env = {
    ...process.env,
    PATH: [dir, join(root, "node_modules/.bin"), process.env.PATH].join(delimiter),
    // Nothing of this machine's own settings, and nobody to talk to but the stand-in.
    HOME: dir,
    XDG_CONFIG_HOME: dir,
    XDG_CACHE_HOME: process.env.XDG_CACHE_HOME || join(process.env.HOME ?? "", ".cache"),
    CARGO_HOME: process.env.CARGO_HOME || join(process.env.HOME ?? "", ".cargo"),
    RUSTUP_HOME: process.env.RUSTUP_HOME || join(process.env.HOME ?? "", ".rustup"),
    CLOUDFLARE_API_BASE_URL: cloudflare.url,
    CLOUDFLARE_API_TOKEN: cloudflare.apiToken,
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_HIDE_BANNER: "true",
    npm_config_registry: "http://127.0.0.1:9/",
  };
  return new Promise((done) => {
    const script = [join(root, "deploy/deploy.ts"), ...args, "--config", config];
    execFile(process.execPath, script, { env, maxBuffer: 1 << 26 }, (error, out, err) =>
      done({ code: Number(error?.code ?? 0), text: out + err }),
    );
  });
}
