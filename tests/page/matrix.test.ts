// Rights as the contract has them, as cells and notes.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Rights, Row } from "../../page/src/api.ts";
import { cellOf, hasAny, notesOf, othersOf, rightsInWords, wildcardInWords } from "../../page/src/matrix.ts";

const pods: Row = {
  group: "",
  resource: "pods",
  isUsual: true,
  verbs: {
    get: { is: "yes" },
    list: { is: "taken", by: "no-lists" },
    delete: { is: "some", names: ["web"] },
    patch: { is: "yes", except: "no-web" },
  },
};
const exec: Row = {
  group: "",
  resource: "pods/exec",
  isUsual: true,
  verbs: { create: { is: "yes", recorded: "output" } },
};

test("each cell says what RBAC and the guards make of its verb", () => {
  const cells = (["get", "list", "watch", "patch", "delete"] as const).map((verb) => cellOf(pods, verb));
  assert.deepEqual(
    cells.map(({ is, text }) => [is, text]),
    [
      ["yes", "yes"],
      ["taken", "no: RBAC grants it, the guard no-lists takes it away"],
      ["no", "no"],
      ["some", "yes, but not what the guard no-web takes away"],
      ["some", "only web"],
    ],
  );
  assert.deepEqual(cellOf(exec, "create"), { is: "yes", text: "yes, recorded", recorded: "recorded" });
});

test("a verb that a resource does not have is neither granted nor refused", () => {
  assert.equal(cellOf(exec, "list").is, "none");
  assert.equal(cellOf({ ...exec, resource: "pods/log", verbs: {} }, "get").is, "no");
  assert.equal(cellOf({ ...exec, group: "example.com" }, "list").is, "no", "a resource of somebody else's API group");
  assert.equal(cellOf({ ...exec, verbs: { list: { is: "yes" } } }, "list").is, "yes", "what is granted is told");
});

test("beside a row stands what no cell can say, with the guard's name, once for all its verbs", () => {
  assert.deepEqual(notesOf(pods), [
    { kind: "taken", text: "", guard: "no-lists" },
    { kind: "some", text: "patch: less what is taken away by", guard: "no-web" },
    { kind: "some", text: "delete: only web" },
  ]);
  assert.deepEqual(notesOf(exec), [{ kind: "recorded", text: "recorded" }]);
  const input: Row = { ...exec, verbs: { create: { is: "yes", recorded: "input" } } };
  assert.deepEqual(notesOf(input), [{ kind: "recorded", text: "recorded, what you type as well" }]);
  const two: Row = { ...pods, verbs: { get: { is: "taken", by: "a" }, list: { is: "taken", by: "b" } } };
  assert.deepEqual(
    notesOf(two).map(({ text, guard }) => [text, guard]),
    [
      ["get:", "a"],
      ["list:", "b"],
    ],
  );
  const same: Row = {
    ...pods,
    verbs: { update: { is: "some", names: ["a", "b"] }, delete: { is: "some", names: ["a", "b"] } },
  };
  assert.deepEqual(notesOf(same), [{ kind: "some", text: "only a and b" }]);
});

test("what is recorded for some names only is told as such", () => {
  const some: Row = { ...exec, verbs: { create: { is: "yes", someRecorded: "input" } } };
  assert.deepEqual(cellOf(some, "create"), {
    is: "yes",
    text: "yes, some of it is recorded",
    recorded: "partly-recorded",
  });
  assert.deepEqual(notesOf(some), [{ kind: "partly-recorded", text: "some of it is recorded, what you type as well" }]);
  const both: Row = { ...exec, verbs: { create: { is: "yes", recorded: "output", someRecorded: "input" } } };
  assert.equal(cellOf(both, "create").text, "yes, recorded");
  assert.deepEqual(
    notesOf(both).map(({ text }) => text),
    ["recorded", "some of it is recorded, what you type as well"],
  );
});

test("verbs that have no cell are named beside the row, with what guards and RBAC leave of them", () => {
  const roles: Row = {
    group: "rbac.authorization.k8s.io",
    resource: "clusterroles",
    isUsual: false,
    verbs: {
      get: { is: "taken", by: "g" },
      impersonate: { is: "yes" },
      bind: { is: "yes" },
      escalate: { is: "taken", by: "no-escalation" },
      use: { is: "some", names: ["view", "edit"] },
      approve: { is: "yes", except: "no-signers" },
    },
  };
  assert.deepEqual(othersOf(roles), [
    { kind: "also", text: "also: impersonate, bind" },
    { kind: "taken", text: "escalate: taken away by", guard: "no-escalation" },
    { kind: "some", text: "also use: only view and edit" },
    { kind: "some", text: "also approve: less what is taken away by", guard: "no-signers" },
  ]);
  assert.deepEqual(notesOf(roles), [{ kind: "taken", text: "", guard: "g" }], "their cells say the rest");
  assert.ok(hasAny(roles));
  assert.deepEqual(othersOf(pods), []);
});

test("many names are counted", () => {
  const names = Array.from({ length: 8 }, (_, index) => `web-${index}`);
  const row: Row = { ...pods, verbs: { get: { is: "some", names } } };
  assert.equal(cellOf(row, "get").text, "only web-0, web-1, web-2, web-3, web-4 and 3 more");
});

test("a row of which guards take everything is one of which nothing is left", () => {
  assert.ok(hasAny(pods));
  assert.ok(!hasAny({ ...pods, verbs: { get: { is: "taken", by: "g" } } }));
  assert.ok(!hasAny({ ...pods, verbs: {} }));
});

test("the whole is told in a sentence", () => {
  const rights: Rights = {
    namespace: "default",
    isComplete: true,
    rows: [pods, { ...pods, resource: "secrets", verbs: { get: { is: "taken", by: "no-secrets" } } }, exec],
    wildcards: [],
    urls: [],
  };
  assert.equal(
    rightsInWords(rights),
    "In default you may read 1 and change 1 of the 2 usual resources, not counting subresources, and may enter pods (recorded).",
  );
  const nothing = { ...rights, rows: rights.rows.map((row) => ({ ...row, verbs: {} })) };
  assert.equal(
    rightsInWords(nothing),
    "In default you may read none and change none of the 2 usual resources, not counting subresources, and may not enter pods.",
  );
});

test("a rule with a star is said as such", () => {
  assert.equal(
    wildcardInWords({ verbs: ["*"], groups: ["*"], resources: ["*"] }),
    "Every verb on every resource of every API group",
  );
  assert.equal(
    wildcardInWords({ verbs: ["get", "list"], groups: ["", "apps"], resources: ["*"], names: ["web"] }),
    "get and list on every resource of the API group core and apps, named web",
  );
});
