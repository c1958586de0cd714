// Every validation of every variable, provoked once: terraform must refuse the value, with that validation's own message.
// Variables are validated without providers, so these tests run wherever terraform is.

import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { terraform } from "../../dev/terraform-workspace.ts";
import { type Module, modules } from "./refusals.ts";

const terraformDir = resolve(import.meta.dirname, "../../terraform");

for (const module of modules) {
  describe(module.path || "the root module", async () => {
    const dir = await variablesAlone(module);
    after(() => rm(dir, { recursive: true, force: true }));

    test("accepts values that are right", async () => {
      assert.deepEqual(await complaints(dir, module.valid), []);
    });

    for (const values of module.alsoValid ?? []) {
      test(`accepts ${JSON.stringify(values)}`, async () => {
        assert.deepEqual(await complaints(dir, { ...module.valid, ...values }), []);
      });
    }

    for (const refusal of module.refusals) {
      test(`${refusal.says}: ${JSON.stringify(refusal.values)}`, async () => {
        const found = await complaints(dir, { ...module.valid, ...refusal.values });
        assert.equal(found.length, 1, `expected one complaint:\n${found.join("\n")}`);
        assert.ok(found[0]?.includes(refusal.says), found[0]);
      });
    }

    test("has no validation that these tests leave out", async () => {
      const source = await readFile(join(terraformDir, module.path, "variables.tf"), "utf8");
      const messages = [...source.matchAll(/error_message = (".*")$/gm)].map(
        ([, text = ""]) => JSON.parse(text) as string,
      );
      const untested = messages.filter((message) => !module.refusals.some(({ says }) => message.includes(says)));
      assert.deepEqual(untested, []);
    });
  });
}

test("terraform.tfvars.example is accepted with the map as it is shipped", async () => {
  const parent = await mkdtemp(join(tmpdir(), "kube-access-example-"));
  after(() => rm(parent, { recursive: true, force: true }));
  const dir = join(parent, "terraform");
  await cp(join(terraformDir, "variables.tf"), join(dir, "variables.tf"));
  await cp(join(terraformDir, "../identities.yaml"), join(parent, "identities.yaml"));
  await terraform(dir, ["plan", "-input=false", `-var-file=${join(terraformDir, "terraform.tfvars.example")}`]);
});

/** A folder with the module's variables and nothing else. */
async function variablesAlone(module: Module): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "kube-access-variables-"));
  await cp(join(terraformDir, module.path, "variables.tf"), join(dir, "variables.tf"));
  for (const [name, text] of Object.entries(module.files ?? {})) {
    await writeFile(join(dir, name), text);
  }
  return dir;
}

/** What terraform says against a set of values. */
async function complaints(dir: string, values: object): Promise<string[]> {
  const file = join(await mkdtemp(join(dir, "values-")), "values.tfvars.json");
  await writeFile(file, JSON.stringify(values));
  const failure = await terraform(dir, ["plan", "-json", "-input=false", `-var-file=${file}`]).then(
    () => undefined,
    (error: Error) => error.message,
  );
  if (failure === undefined) {
    return [];
  }
  const diagnostics = failure
    .split("\n")
    .filter((line) => line.startsWith('{"@level":"error"'))
    .map((line) => (JSON.parse(line) as { diagnostic: { summary: string; detail: string } }).diagnostic)
    .map(({ summary, detail }) => `${summary}: ${detail}`);
  assert.ok(diagnostics.length > 0, failure);
  return diagnostics;
}
