// docs/versions.md is read as it was written.

import assert from "node:assert/strict";
import { test } from "node:test";
import { commands } from "./commands.ts";
import { differences, document, NOT_RUN, type Section } from "./table.ts";

const [first, second] = commands.map(({ name }) => name);

function section(server: string, ...rows: [kubectl: string, cells: Record<string, string>][]): Section {
  const cells = (given: Record<string, string>) => commands.map(({ name }) => given[name] ?? "yes");
  const impersonation = server === "v1.35.4" || server === "v1.35.9" ? "legacy" : "constrained";
  return {
    server,
    impersonation,
    proxy: "v1.37.2",
    rows: rows.map(([kubectl, given]) => ({ kubectl, cells: cells(given) })),
  };
}

const odd = { [`${first}`]: "no: error: a | b <html>", [`${second}`]: "with KUBECTL_X=true" };
const sections = [section("v1.35.4", ["v1.29.14", odd], ["v1.37.2", {}]), section("v1.37.2", ["v1.29.14", {}])];
const text = document(sections, commands);

test("a run agrees with the file that it wrote, whatever kubectl said", () => {
  assert.deepEqual(differences(sections, text, commands), []);
  assert.match(text, /\| 1\.29\.14 \| no: error: a \\\| b &lt;html> \| with `KUBECTL_X=true` \| yes /);
});

test("a run of a part, or with another patch version, agrees too", () => {
  assert.deepEqual(differences([section("v1.35.9", ["v1.37.0", {}])], text, commands), []);
});

test("the two kinds of impersonation are told apart", () => {
  const other = { ...section("v1.37.2", ["v1.29.14", {}]), impersonation: "legacy" } as const;
  assert.equal(differences([other], text, commands).length, commands.length);
  assert.deepEqual(differences([...sections, other], document([...sections, other], commands), commands), []);
});

test("another outcome, and what the file does not hold, are told", () => {
  const changed = [section("v1.37.2", ["v1.29.14", { [`${second}`]: NOT_RUN }])];
  assert.deepEqual(differences(changed, text, commands), [
    `kubectl 1.29.14 ${second} with kube-apiserver 1.37.2, constrained: ran "not run", the file says "yes"`,
  ]);
  const found = differences([section("v1.36.3", ["v1.29.14", {}])], text, commands);
  assert.equal(found.length, commands.length);
  assert.match(found[0] ?? "", /ran "yes", the file says "nothing"$/);
});
