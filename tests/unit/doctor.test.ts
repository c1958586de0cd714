// The doctor's checks that need neither Worker nor cluster.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Check, Outcome } from "../../deploy/doctor/check.ts";
import type { Door } from "../../deploy/doctor/door.ts";
import { entranceChecks } from "../../deploy/doctor/entrance.ts";
import { type Project, readProject } from "../../deploy/doctor/project.ts";

const root = resolve(import.meta.dirname, "../..");
const noDoor = {} as Door;

describe("wrangler.toml", () => {
  let dir: string;
  let shipped: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "kube-access-doctor-"));
    shipped = await readFile(join(root, "wrangler.toml"), "utf8");
  });
  after(() => rm(dir, { recursive: true, force: true }));

  test("as it is shipped keeps the arguments of exec out of Cloudflare's logs and traces", async () => {
    assert.equal((await logs(shipped)).result, "ok");
  });

  for (const [what, pattern, missing] of [
    ["query strings that are not redacted", /^redact_query_string.*\n/m, /redact_query_string = true/],
    ["redaction that is switched off", /(?<=^redact_query_string = )true/m, /redact_query_string = true/],
    ["traces that nothing is said of", /^\[observability\.traces\]\n.*\n/m, /\[observability\.traces\] enabled = false/],
  ] as const) {
    test(`${what} are found`, async () => {
      assert.match(shipped, pattern);
      const { result, fix } = await logs(shipped.replace(pattern, (text) => (text === "true" ? "false" : "")));
      assert.equal(result, "failed");
      assert.match(fix ?? "", missing);
      assert.match(fix ?? "", /npm run deploy/);
    });
  }

  test("is read as TOML: audiences in one string or in a list, tables in whatever notation", async () => {
    for (const [toml, audiences] of [
      ['[vars]\nACCESS_AUD = "a, b"', ["a", "b"]],
      ["vars = { ACCESS_AUD = 'a' }", ["a"]],
      ['vars.ACCESS_AUD = [ "a", # one\n "b" ]', ["a", "b"]],
      ['[vars]\nACCESS_AUD = "<AUD_TAG>"', []],
      ['[vars]\nACCESS_AUD = """\na"""\n[env.x.vars]\nACCESS_AUD = "b"', ["a"]],
      ["", []],
    ] as const) {
      assert.deepEqual((await project(toml)).audiences, audiences, toml);
    }
    assert.equal((await project("kv_namespaces = [{ binding = 'IDENTITIES', id = '0f' }]")).hasKv, true);
    assert.equal((await project('# binding = "IDENTITIES"')).hasKv, false);
    await assert.rejects(project('name = "a'), /^Error: wrangler\.toml, line 1: /);
  });

  async function project(toml: string): Promise<Project> {
    await writeFile(join(dir, "wrangler.toml"), toml);
    return readProject(join(dir, "wrangler.toml"), join(root, "identities.yaml"));
  }

  async function logs(toml: string): Promise<Outcome> {
    return outcome(entranceChecks(noDoor, await project(toml)), "logs");
  }
});

function outcome(checks: Check[], wanted: string): Promise<Outcome> {
  const check = checks.find(({ id }) => id === wanted) ?? assert.fail(`no check ${wanted}`);
  return check.run(AbortSignal.timeout(5000));
}
