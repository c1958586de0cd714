import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { unstable_readConfig } from "wrangler";
import { toBindings } from "../../deploy/outputs.ts";
import { unifiedDiff } from "../../deploy/unified-diff.ts";
import { type Bindings, bind } from "../../deploy/wrangler-toml.ts";

const root = resolve(import.meta.dirname, "../..");

const aud = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2";
const bindings: Bindings = {
  accountId: "0123456789abcdef0123456789abcdef",
  workerName: "kube-access",
  routes: [{ pattern: "kube.example.com", custom_domain: true }],
  teamDomain: "https://acme.cloudflareaccess.com",
  auds: [aud],
  vpcServiceId: "0194b1e8-7b0c-7d4a-9f3e-1f6a3f6f5d10",
  contact: undefined,
  kvNamespaceId: undefined,
  recordingsBucket: undefined,
};
const withSessions: Bindings = { ...bindings, recordingsBucket: "kube-access-recordings" };
const withKv: Bindings = { ...bindings, kvNamespaceId: "0f2ac74b498b48028cb68387c421e279" };
const withBoth: Bindings = { ...withKv, recordingsBucket: withSessions.recordingsBucket };

const sample = `# The Worker.
name = "something-else"   # its name
account_id = "" # the account
main = "build/index.js"
compatibility_date = "2026-07-01"
routes = [{ pattern = "old.example.com", custom_domain = true }] # the names

[vars]
# The team.
ACCESS_TEAM_DOMAIN = "<TEAM_DOMAIN>"
ACCESS_AUD = '<AUD_TAG>' # the audience
LOG_LEVEL = "info"

# Another service comes first: order must not matter.
[[vpc_services]]
binding = "METRICS"
service_id = "11111111-1111-4111-8111-111111111111"

[[vpc_services]]
service_id = "<VPC_SERVICE_ID>"
binding = "KUBE_API"

# Identities that are granted or revoked without a deploy.
# [[kv_namespaces]]
# binding = "IDENTITIES"
# id = "<KV_NAMESPACE_ID>"

# What writes them down.
# [[durable_objects.bindings]]
# name = "GRANTS"
# class_name = "Grants"

# [[migrations]]
# tag = "v1"
# new_sqlite_classes = ["Grants"]

[env.staging.vars]
ACCESS_AUD = "staging"
`;

describe("bind", () => {
  test("changes the values and nothing else", () => {
    const changed = lineChanges(sample, bind(sample, bindings));
    assert.deepEqual(changed, [
      'name = "kube-access"   # its name',
      `account_id = "${bindings.accountId}" # the account`,
      'routes = [{ pattern = "kube.example.com", custom_domain = true }] # the names',
      `ACCESS_TEAM_DOMAIN = "${bindings.teamDomain}"`,
      `ACCESS_AUD = "${aud}" # the audience`,
      `service_id = "${bindings.vpcServiceId}"`,
    ]);
  });

  test("leaves the other service and the other environment alone", () => {
    const bound = bind(sample, bindings);
    assert.match(bound, /binding = "METRICS"\nservice_id = "11111111/);
    assert.match(bound, /\[env\.staging\.vars\]\nACCESS_AUD = "staging"/);
  });

  test("brings the commented KV namespace into force, and takes it out again", () => {
    const bound = bind(sample, withKv);
    const block = `without a deploy.\n[[kv_namespaces]]\nbinding = "IDENTITIES"\nid = "${withKv.kvNamespaceId}"\n\n`;
    assert.ok(bound.includes(block), bound);
    const object =
      '\n# What writes them down.\n[[durable_objects.bindings]]\nname = "GRANTS"\nclass_name = "Grants"\n\n';
    assert.ok(bound.includes(`${object}[[migrations]]\ntag = "v1"\n`), bound);
    assert.equal(bound.split("\n").length, sample.split("\n").length);
    const back = bind(bound, bindings);
    assert.match(back, /\n# \[\[kv_namespaces\]\]\n# binding = "IDENTITIES"\n# id = "0f2a/);
    assert.match(
      back,
      /\n# \[\[durable_objects\.bindings\]\]\n# name = "GRANTS"\n# class_name = "Grants"\n\n\[\[migrations\]\]\n/,
    );
    assert.equal(bind(back, withKv), bound);
  });

  test("brings what grants need into force, and takes it out again but for the class", async () => {
    const own = await readFile(join(root, "wrangler.toml"), "utf8");
    const grants = (tag: string) => ({ tag, new_sqlite_classes: ["Grants"] });
    // The migrations of the file as it is shipped have an order, which stays.
    const both = [{ tag: "v1", new_sqlite_classes: ["Session", "Roll"] }, grants("v2")];
    for (const [toml, migrations] of [
      [own, both],
      [own.replaceAll("\n", "\r\n"), both],
      [sample, [grants("v1")]],
      ["", [grants("v1")]],
    ] as const) {
      const bound = bind(toml, withKv);
      assert.equal(bind(bound, withKv), bound);
      const config = await readAsWranglerDoes(bound);
      assert.deepEqual(config.durable_objects.bindings, [{ name: "GRANTS", class_name: "Grants" }]);
      assert.deepEqual(config.kv_namespaces, [{ binding: "IDENTITIES", id: withKv.kvNamespaceId }]);
      assert.deepEqual(config.migrations, migrations);
      const back = bind(bound, bindings);
      const without = await readAsWranglerDoes(back);
      assert.deepEqual([without.durable_objects.bindings, without.kv_namespaces], [[], []]);
      assert.deepEqual(without.migrations, migrations);
      assert.equal(bind(back, withKv), bound);
    }
  });

  for (const end of ["\n", "\r\n"]) {
    test(`sessions and grants come and go each by itself, with line ends ${JSON.stringify(end)}`, async () => {
      const own = (await readFile(join(root, "wrangler.toml"), "utf8")).replaceAll("\n", end);
      // As it was before there were grants.
      const earlier = ["durable_objects.bindings", "migrations"].reduce((text, array) => {
        const ofGrants = (block: string) => block.startsWith(`# [[${array}]]`) && block.includes('"Grants"');
        return text
          .split(end + end)
          .filter((block) => !ofGrants(block))
          .join(end + end);
      }, own);
      assert.doesNotMatch(earlier, /"Grants"|"v2"/);
      assert.match(earlier, /"Session"/);
      for (const toml of [own, earlier, bind(earlier, withSessions), "", bind("", withSessions)]) {
        const both = bind(toml, withBoth);
        assert.equal(bind(both, withBoth), both);
        const config = await readAsWranglerDoes(both);
        assert.deepEqual(config.durable_objects.bindings.map(({ name }) => name).sort(), [
          "GRANTS",
          "ROLL",
          "SESSIONS",
        ]);
        assert.deepEqual(config.migrations, [
          { tag: "v1", new_sqlite_classes: ["Session", "Roll"] },
          { tag: "v2", new_sqlite_classes: ["Grants"] },
        ]);
        for (const steps of [
          [withSessions, withBoth],
          [withKv, withBoth],
          [withBoth, withKv, bindings, withSessions, withBoth],
          [withBoth, bindings, withKv, withBoth],
        ]) {
          // What Cloudflare was told stays as it was, and what is new comes after it.
          let told: Config["migrations"] = [];
          let text = toml;
          for (const wanted of steps) {
            text = bind(text, wanted);
            const { migrations } = await readAsWranglerDoes(text);
            assert.deepEqual(migrations.slice(0, told.length), told);
            told = migrations;
          }
          assert.equal((await readAsWranglerDoes(text)).durable_objects.bindings.length, 3);
          const classes = told.flatMap(({ new_sqlite_classes }) => new_sqlite_classes);
          assert.deepEqual(classes.sort(), ["Grants", "Roll", "Session"]);
        }
      }
    });
  }

  test("brings what sessions need into force, and takes it out again but for the classes", async () => {
    const own = await readFile(join(root, "wrangler.toml"), "utf8");
    for (const toml of [own, own.replaceAll("\n", "\r\n"), sample, ""]) {
      const bound = bind(toml, withSessions);
      assert.equal(bind(bound, withSessions), bound);
      const config = await readAsWranglerDoes(bound);
      assert.deepEqual(
        config.durable_objects.bindings.map(({ name, class_name }) => [name, class_name]),
        [
          ["SESSIONS", "Session"],
          ["ROLL", "Roll"],
        ],
      );
      assert.deepEqual(
        config.r2_buckets.map(({ binding, bucket_name }) => [binding, bucket_name]),
        [["RECORDINGS", "kube-access-recordings"]],
      );
      assert.deepEqual(config.migrations, [{ tag: "v1", new_sqlite_classes: ["Session", "Roll"] }]);
      const back = bind(bound, bindings);
      const without = await readAsWranglerDoes(back);
      assert.deepEqual([without.durable_objects.bindings, without.r2_buckets], [[], []]);
      assert.deepEqual(without.migrations, config.migrations);
      assert.equal(bind(back, withSessions), bound);
    }
  });

  test("leaves other objects, buckets and migrations alone", () => {
    const others =
      '[[durable_objects.bindings]]\nname = "OTHER"\nclass_name = "Other"\n\n[[r2_buckets]]\nbinding = "OTHER"\nbucket_name = "x"\n\n' +
      '[[migrations]]\ntag = "mine"\nnew_sqlite_classes = ["Session", "Roll", "Other"]\n';
    const bound = bind(others, withSessions);
    assert.ok(bound.includes(others.trimEnd()), bound);
    assert.doesNotMatch(bound, /tag = "v1"/);
    assert.ok(bind(bound, bindings).includes(others.trimEnd()));
  });

  for (const end of ["\n", "\r\n"]) {
    test(`the classes of others stay, and the migration that makes ours comes after theirs, with line ends ${JSON.stringify(end)}`, async () => {
      const own = (await readFile(join(root, "wrangler.toml"), "utf8")).trimEnd();
      const theirs = `[[durable_objects.bindings]]
name = "COUNTER" # theirs
class_name = "Counter"

[[migrations]]
tag = "v1"
new_sqlite_classes = ["Counter"]

[[r2_buckets]]
binding = "BACKUPS"
bucket_name = "backups"`;
      for (const toml of [theirs, own.replace("# Optional: streams", `${theirs}\n\n$&`), `${own}\n\n${theirs}`]) {
        const before = bind(toml.replaceAll("\n", end), bindings);
        const bound = bind(before, withSessions);
        assert.ok(bound.includes(theirs.replaceAll("\n", end)), bound);
        assert.equal(bind(bound, withSessions), bound);
        const config = await readAsWranglerDoes(bound);
        assert.deepEqual(config.migrations, [
          { tag: "v1", new_sqlite_classes: ["Counter"] },
          { tag: "v2", new_sqlite_classes: ["Session", "Roll"] },
        ]);
        const names = config.durable_objects.bindings.map(({ name }) => name);
        assert.deepEqual(names.sort(), ["COUNTER", "ROLL", "SESSIONS"]);
        const buckets = config.r2_buckets.map(({ bucket_name }) => bucket_name);
        assert.deepEqual(buckets.sort(), ["backups", "kube-access-recordings"]);
        const both = bind(bound, withBoth);
        assert.equal(bind(both, withBoth), both);
        const grants = (tag: string) => ({ tag, new_sqlite_classes: ["Grants"] });
        assert.deepEqual((await readAsWranglerDoes(both)).migrations, [...config.migrations, grants("v3")]);
        const alone = await readAsWranglerDoes(bind(before, withKv));
        assert.deepEqual(alone.migrations, [config.migrations[0], grants("v2")]);
        const back = await readAsWranglerDoes(bind(bound, bindings));
        assert.deepEqual(back.durable_objects.bindings, [{ name: "COUNTER", class_name: "Counter" }]);
        assert.deepEqual(back.r2_buckets, [{ binding: "BACKUPS", bucket_name: "backups" }]);
        assert.deepEqual(back.migrations, config.migrations);
      }
    });
  }

  for (const [what, migrations, last] of [
    [
      "one that was deleted is made again",
      [
        { tag: "v1", new_sqlite_classes: ["Session", "Roll"] },
        { tag: "v2", deleted_classes: ["Session"] },
      ],
      { tag: "v3", new_sqlite_classes: ["Session"] },
    ],
    [
      "one that took another's place is there",
      [
        { tag: "v1", new_sqlite_classes: ["Session", "Old"] },
        { tag: "v2", renamed_classes: [{ from: "Old", to: "Roll" }] },
      ],
      { tag: "v2", renamed_classes: [{ from: "Old", to: "Roll" }] },
    ],
    [
      "one that only a comment and a string speak of is not",
      [{ tag: 'new_sqlite_classes = ["Session", "Roll"]', new_classes: ["Other"] }],
      { tag: "v1", new_sqlite_classes: ["Session", "Roll"] },
    ],
  ] as const) {
    test(`of the classes, ${what}`, async () => {
      const value = (of: unknown): string =>
        Array.isArray(of)
          ? `[${of.map(value).join(", ")}]`
          : typeof of === "object" && of
            ? `{ ${settings(of).join(", ")} }`
            : `'${of}'`;
      const settings = (of: object) => Object.entries(of).map(([key, one]) => `${key} = ${value(one)}`);
      const toml = migrations.map((one) => ["[[migrations]]", ...settings(one), ""].join("\n")).join("\n");
      const bound = bind(toml, withSessions);
      assert.deepEqual((await readAsWranglerDoes(bound)).migrations.at(-1), last);
      assert.equal(bind(bound, withSessions), bound);
    });
  }

  for (const [what, toml] of [
    ["the sample", sample],
    ["an empty file", ""],
    ["a file with Windows line ends", sample.replaceAll("\n", "\r\n")],
    ["a table without its keys", '[vars]\n# nothing yet\n\n[[vpc_services]]\nbinding = "KUBE_API"\n'],
  ] as const) {
    for (const wanted of [bindings, withKv]) {
      const kv = wanted.kvNamespaceId ? "with" : "without";
      test(`of ${what}, ${kv} KV, is what wrangler then reads, and does not change again`, async () => {
        const bound = bind(toml, wanted);
        assert.equal(bind(bound, wanted), bound);
        const config = await readAsWranglerDoes(bound);
        assert.equal(config.name, wanted.workerName);
        assert.equal(config.vars.ACCESS_TEAM_DOMAIN, wanted.teamDomain);
        assert.equal(config.vars.ACCESS_AUD, aud);
        const service = config.vpc_services.find(({ binding }) => binding === "KUBE_API");
        assert.equal(service?.service_id, wanted.vpcServiceId);
        assert.deepEqual(
          config.kv_namespaces.map(({ binding, id }) => ({ binding, id })),
          wanted.kvNamespaceId ? [{ binding: "IDENTITIES", id: wanted.kvNamespaceId }] : [],
        );
      });
    }
  }

  test("binds the project's own wrangler.toml, comments kept", async () => {
    const own = await readFile(join(root, "wrangler.toml"), "utf8");
    const bound = bind(own, bindings);
    // Not a block that is out of force, which a KV namespace may bring back.
    const comments = (text: string) => text.split("\n").filter((line) => /^#(?! (\[\[|\w+ = ))/.test(line));
    assert.deepEqual(comments(bound), comments(own));
    assert.doesNotMatch(bound, /^[^#]*"<[A-Z_]+>"/m);
    assert.equal(bound.split("\n").length, own.split("\n").length);
  });

  for (const [written, bound] of [
    ["'<AUD_TAG>'", `"${aud}"`],
    ['""', `"${aud}"`],
    ['"an-older-one"', `"${aud}"`],
    [`"${aud}"`, `"${aud}"`],
    ['"another,third"', `"${aud},another,third"`],
    ['"<AUD_TAG>,another"', `"${aud},another"`],
    [`"another, ${aud}"`, `"another, ${aud}"`],
    [`'''another,${aud}'''`, `'''another,${aud}'''`],
    ["[]", `"${aud}"`],
    ['["an-older-one"]', `["${aud}"]`],
    ['["another", "<AUD_TAG>"]', `["another", "${aud}"]`],
    ['[ # ours\n  "another", # staging\n  "third",\n]', `[ # ours\n  "${aud}", "another", # staging\n  "third",\n]`],
    [`["another", '${aud}']`, `["another", '${aud}']`],
  ] as const) {
    test(`case 177: ACCESS_AUD = ${written} loses no audience`, async () => {
      const toml = bind("", bindings).replace(`"${aud}"`, () => `${written} # the audience`);
      const after = toml.replace(written, () => bound);
      assert.equal(bind(toml, bindings), after);
      assert.equal(bind(after, bindings), after);
      const read = [(await readAsWranglerDoes(after)).vars.ACCESS_AUD].flat().join();
      assert.ok(read.includes(aud), read);
    });
  }

  test("two audiences of Terraform's stand beside each other, once", async () => {
    const both = { ...bindings, auds: [aud, "machines"] };
    for (const written of ['"<AUD_TAG>"', '"an-older-one"', '["an-older-one"]', `"${aud}"`, `["machines", "${aud}"]`]) {
      const bound = bind(bind("", bindings).replace(`"${aud}"`, written), both);
      const read = [(await readAsWranglerDoes(bound)).vars.ACCESS_AUD].flat().join().split(",").sort();
      assert.deepEqual(read, [aud, "machines"], written);
      assert.equal(bind(bound, both), bound);
    }
  });

  for (const written of ['""', "''", '"somebody else"', "'''them'''"]) {
    test(`CONTACT = ${written} becomes whom Terraform says, and stays where it says nobody`, async () => {
      const toml = `# The Worker.\n[vars] # all of them\nCONTACT = ${written} # whom to ask\n`;
      for (const contact of ["the platform team, #platform", 'Ops <ops@example.com>, "24/7" \\o/', "équipe 平台"]) {
        const bound = bind(toml, { ...bindings, contact });
        assert.ok(bound.includes(`\nCONTACT = ${JSON.stringify(contact)} # whom to ask\n`), bound);
        assert.equal((await readAsWranglerDoes(bound)).vars.CONTACT, contact);
        assert.equal(bind(bound, { ...bindings, contact }), bound);
        assert.equal(bind(bound, bindings), bound);
      }
      assert.ok(bind(toml, bindings).includes(`CONTACT = ${written} # whom to ask`));
    });
  }

  test("without CONTACT in the file, and without one in Terraform, there is none", async () => {
    assert.doesNotMatch(bind("", bindings), /CONTACT/);
    const { vars } = await readAsWranglerDoes(bind("", { ...bindings, contact: "#platform" }));
    assert.equal(vars.CONTACT, "#platform");
  });

  test("routes that are Terraform's already stay as they are written, and others are refused", () => {
    const written = 'routes = [\n  # ours\n  { custom_domain = true, pattern = "kube.example.com" },\n]\n';
    assert.ok(bind(written, bindings).startsWith(written));
    for (const others of ['route = "kube.example.com/*"\n', '[[routes]]\npattern = "kube.example.com"\n']) {
      assert.throws(() => bind(others, bindings), /has route or \[\[routes\]\]: take it out/);
    }
  });

  test("case 177: foreign tables, long strings, comments and Windows line ends stay byte for byte", () => {
    const foreign = `# no table: [vars]
"quoted key" = 'ACCESS_AUD = "x"'
limits = { cpu_ms = 50 } # inline

[vars] # ours
ACCESS_TEAM_DOMAIN   =   "<TEAM_DOMAIN>"\t# aligned
ACCESS_AUD = "<AUD_TAG>"
NUMBER = 0x1F
WHEN = 2027-01-31T18:00:00Z
TEXT = """
[vars]
ACCESS_AUD = "not this one"
# [[kv_namespaces]]
# binding = "IDENTITIES"
"""

[[rules]]
globs = [ "**/*.wasm", # a
  "x" ]

[env.staging]
vars = { ACCESS_AUD = "staging" }
vpc_services = [{ binding = "KUBE_API", service_id = "theirs" }]

[[vpc_services]]
binding = 'KUBE_API'
service_id = "<VPC_SERVICE_ID>" # ours
remote = true
`;
    const top = [
      `name = "${bindings.workerName}"`,
      `account_id = "${bindings.accountId}"`,
      'routes = [{ pattern = "kube.example.com", custom_domain = true }]',
    ];
    for (const toml of [foreign, foreign.replaceAll("\n", "\r\n"), foreign.trimEnd()]) {
      const end = toml.includes("\r") ? "\r\n" : "\n";
      const wanted = toml
        .replace("<TEAM_DOMAIN>", bindings.teamDomain)
        .replace("<AUD_TAG>", aud)
        .replace("<VPC_SERVICE_ID>", bindings.vpcServiceId)
        .replace("# inline", ["# inline", ...top].join(end));
      assert.equal(bind(toml, bindings), wanted);
      const brought = [
        ["[[durable_objects.bindings]]", 'name = "GRANTS"', 'class_name = "Grants"'],
        ["[[migrations]]", 'tag = "v1"', 'new_sqlite_classes = ["Grants"]'],
        ["[[kv_namespaces]]", 'binding = "IDENTITIES"', `id = "${withKv.kvNamespaceId}"`],
      ].flatMap((lines) => [...lines, ""]);
      assert.equal(bind(toml, withKv), [wanted.trimEnd(), "", ...brought].join(end));
    }
  });

  test("values are found in whatever notation", async () => {
    const toml = `name = "x"
vars = { ACCESS_TEAM_DOMAIN = "t", "ACCESS_AUD" = 'a', LOG_LEVEL = "info" }
vpc_services = [{ binding = "KUBE_API", service_id = "s" }]
`;
    const config = await readAsWranglerDoes(bind(toml, bindings));
    assert.equal(config.vars.ACCESS_AUD, aud);
    assert.equal(config.vars.LOG_LEVEL, "info");
    assert.equal(config.vpc_services[0]?.service_id, bindings.vpcServiceId);
  });

  test("adds an entry beside those of other services", async () => {
    const toml = '[vars.more]\nA = "b"\n\n[[vpc_services]]\nbinding = "METRICS"\nservice_id = "1" # first\n';
    const bound = bind(toml, bindings);
    assert.ok(bound.includes(toml), bound);
    const { vars, vpc_services: services } = await readAsWranglerDoes(bound);
    assert.deepEqual(
      services.map(({ binding }) => binding),
      ["METRICS", "KUBE_API"],
    );
    assert.equal(vars.ACCESS_AUD, aud);
  });

  test("refuses what it would have to guess", () => {
    assert.throws(() => bind('vars = { ACCESS_AUD = "a" }\n', bindings), /sets vars in one line: write it as a table/);
    const inline = bind('kv_namespaces = [{ binding = "IDENTITIES", id = "x" }]\n', withKv);
    assert.throws(() => bind(inline, bindings), /sets kv_namespaces in one line/);
    for (const entry of ['{ name = "COUNTER", class_name = "Counter" }', '{ name = "SESSIONS" }']) {
      const toml = `[durable_objects]\nbindings = [${entry}]\n`;
      assert.throws(() => bind(toml, withSessions), /sets durable_objects\.bindings in one line/);
    }
    for (const wanted of [withSessions, withKv]) {
      const toml = 'migrations = [{ tag = "a" }]\n';
      assert.throws(() => bind(toml, wanted), /sets migrations in one line/);
      const own = '# [[migrations]]\n# tag = "v1"\n# new_sqlite_classes = ["Session", "Grants"]\n';
      assert.throws(() => bind(toml + own, wanted), /sets migrations in one line/);
    }
    assert.throws(() => bind('name = "a"\nmain = b\n', bindings), /^Error: wrangler\.toml, line 2: /);
  });
});

describe("outputs", () => {
  const outputs = {
    account_id: { value: bindings.accountId },
    hostname: { value: "kube.example.com" },
    worker_name: { value: bindings.workerName },
    access_team_domain: { value: bindings.teamDomain },
    access_aud: { value: aud },
    vpc_service_id: { value: bindings.vpcServiceId },
  };

  test("become bindings; a KV namespace that is absent or null is none", () => {
    assert.deepEqual(toBindings(outputs), bindings);
    assert.deepEqual(toBindings({ ...outputs, identities_kv_id: { value: null } }), bindings);
    assert.deepEqual(toBindings({ ...outputs, identities_kv_id: { value: withKv.kvNamespaceId } }), withKv);
  });

  test("a contact that is empty is none", () => {
    const contact = "the platform team, #platform";
    assert.deepEqual(toBindings({ ...outputs, contact: { value: contact } }), { ...bindings, contact });
    assert.deepEqual(toBindings({ ...outputs, contact: { value: "" } }), bindings);
  });

  test("the machines' host name and audience come after the people's, and a zone with both", () => {
    const zone_id = "89abcdef0123456789abcdef01234567";
    const { routes, auds } = toBindings({
      ...outputs,
      machines_hostname: { value: "kube-ci.example.com" },
      access_machines_aud: { value: "machines" },
      zone_id: { value: zone_id },
    });
    assert.deepEqual(routes, [
      { pattern: "kube.example.com", custom_domain: true, zone_id },
      { pattern: "kube-ci.example.com", custom_domain: true, zone_id },
    ]);
    assert.deepEqual(auds, [aud, "machines"]);
  });

  test("that are missing are named, with the command that makes them", () => {
    assert.throws(() => toBindings({}), /made nothing yet\. Run:\n {2}terraform -chdir=terraform init &&/);
    assert.throws(() => toBindings({ ...outputs, access_aud: undefined }), /"access_aud" is missing.*\n.*apply/);
  });
});

describe("unifiedDiff", () => {
  test("is empty for equal texts", () => assert.equal(unifiedDiff("a", "x\n", "x\n"), ""));

  test("shows changes with three lines around, in hunks with positions", () => {
    const lines = Array.from({ length: 20 }, (_, index) => `line ${index + 1}`);
    const after = lines.with(1, "second").toSpliced(18, 0, "new");
    assert.equal(
      unifiedDiff("file", lines.join("\n"), after.join("\n")),
      "--- file\n+++ file\n@@ -1,5 +1,5 @@\n line 1\n-line 2\n+second\n line 3\n line 4\n line 5\n" +
        "@@ -16,5 +16,6 @@\n line 16\n line 17\n line 18\n+new\n line 19\n line 20\n",
    );
  });
});

describe("npm run deploy:bind", () => {
  let dir: string;
  let config: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "kube-access-bind-"));
    config = join(dir, "wrangler.toml");
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const made = JSON.stringify({
    account_id: { value: bindings.accountId },
    hostname: { value: "kube.example.com" },
    worker_name: { value: bindings.workerName },
    access_team_domain: { value: bindings.teamDomain },
    access_aud: { value: aud },
    vpc_service_id: { value: bindings.vpcServiceId },
  });

  test("--dry-run shows the difference and writes nothing", async () => {
    await prepare(`printf '%s' '${made}'`);
    const { code, out } = await cli("--dry-run");
    assert.equal(code, 0, out);
    assert.match(out, /^--- wrangler\.toml\n\+\+\+ wrangler\.toml\n@@/);
    assert.ok(out.includes("\n-ACCESS_AUD = '<AUD_TAG>' # the audience\n"), out);
    assert.ok(out.includes(`\n+ACCESS_AUD = "${aud}" # the audience\n`), out);
    assert.equal(await readFile(config, "utf8"), sample);
  });

  test("writes once, keeps the file's mode, and leaves no other file", async () => {
    await prepare(`printf '%s' '${made}'`);
    await chmod(config, 0o640);
    assert.deepEqual(await cli(), { code: 0, out: "wrangler.toml is bound.\n", err: "" });
    assert.equal(await readFile(config, "utf8"), bind(sample, bindings));
    assert.equal((await stat(config)).mode & 0o777, 0o640);
    assert.deepEqual(await cli(), { code: 0, out: "wrangler.toml is up to date.\n", err: "" });
    assert.deepEqual((await readdir(dir)).sort(), ["terraform", "wrangler.toml"]);
  });

  test("says what to do when Terraform was not applied, fails, or is missing", async () => {
    await prepare("printf '{}'");
    assert.match((await cli()).err, /^Terraform has made nothing yet\. Run:\n {2}terraform -chdir=terraform init/);
    await prepare("echo 'Error: backend is not initialised' >&2; exit 1");
    const failed = await cli();
    assert.equal(failed.code, 1);
    assert.match(failed.err, /terraform output failed.*init.*Error: backend is not initialised/s);
    await rm(join(dir, "terraform"));
    assert.match((await cli()).err, /^terraform is not on the PATH: install Terraform/);
    assert.equal(await readFile(config, "utf8"), sample);
  });

  test("--help says what it does", async () => {
    assert.match((await cli("--help")).out, /npm run deploy:bind -- --dry-run/);
  });

  /** A fresh wrangler.toml, and a terraform that does what the shell line says. */
  async function prepare(line: string): Promise<void> {
    await writeFile(config, sample);
    await writeFile(join(dir, "terraform"), `#!/bin/sh\n${line}\n`, { mode: 0o755 });
  }

  function cli(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    // Only this terraform, and the shell that runs it.
    const env = { ...process.env, PATH: [dir, "/bin"].join(delimiter) };
    return new Promise((done) => {
      const script = [join(root, "deploy/bind.ts"), "--config", config, ...args];
      execFile(process.execPath, script, { env }, (error, out, err) =>
        done({ code: Number(error?.code ?? 0), out, err }),
      );
    });
  }
});

/** The lines of the second text that the first does not have in the same place. */
function lineChanges(before: string, after: string): string[] {
  const [old, lines] = [before.split("\n"), after.split("\n")];
  assert.equal(lines.length, old.length);
  return lines.filter((line, index) => line !== old[index]);
}

interface Config {
  name: string;
  vars: Record<string, string | string[]>;
  vpc_services: { binding: string; service_id: string }[];
  durable_objects: { bindings: { name: string; class_name: string }[] };
  r2_buckets: { binding: string; bucket_name: string }[];
  migrations: { tag: string; [what: string]: unknown }[];
  kv_namespaces: { binding: string; id: string }[];
}

async function readAsWranglerDoes(toml: string): Promise<Config> {
  const dir = await mkdtemp(join(tmpdir(), "kube-access-config-"));
  try {
    const config = join(dir, "wrangler.toml");
    await writeFile(config, toml);
    // Plain objects; wrangler's have no prototype.
    return JSON.parse(JSON.stringify(unstable_readConfig({ config }, { hideWarnings: true })));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
