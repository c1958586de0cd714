// A policy that is another one and a few guards: what was written stays as it was written.

import assert from "node:assert/strict";
import { test } from "node:test";
import { policyOf } from "../../dev/variant.ts";

const RECORDED = { name: "recorded", for: { groups: ["developers"] }, record: true as const, max_session: "4h" };

const policy = `# Who enters.
identities:
  - email: alice@example.com
    user: "{email}" # the address
    groups:
      - developers

guards:
  - name: one
    deny:
      - resources:
          - secrets
  - name: two
    allow: read-only
`;

test("guards come after the others, and comments stay", () => {
  assert.equal(
    policyOf(policy, { guards: [RECORDED] }),
    `${policy}  - name: recorded
    for:
      groups:
        - developers
    record: true
    max_session: 4h
`,
  );
});

test("guards are left out by name", () => {
  const text = policyOf(policy, { guards: [RECORDED], without: ["one"] });
  assert.doesNotMatch(text, /name: one|secrets/);
  assert.match(text, /name: two[\s\S]*name: recorded/);
});

test("a policy without guards gets them", () => {
  const [identities = ""] = policy.split("\nguards:");
  assert.match(policyOf(identities, { guards: [RECORDED] }), /^# Who enters.[\s\S]*\nguards:\n {2}- name: recorded\n/);
});

test("a guard that is to be left out and is not there is an error: it was renamed", () => {
  assert.throws(() => policyOf(policy, { guards: [], without: ["three"] }), /there is no guard three/);
});
