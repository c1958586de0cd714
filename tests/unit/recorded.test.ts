import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { withRecording } from "../../dev/recorded.ts";

const guard = { name: "recorded", for: { users: ["bob@example.com"] }, record: true, max_session: "4h" };

test("the policy of --record is the shipped one, and one guard more", async () => {
  const shipped = await readFile(join(import.meta.dirname, "../../identities.yaml"), "utf8");
  const { guards, ...rest } = parse(withRecording(shipped));
  const { guards: before, ...unchanged } = parse(shipped);
  assert.deepEqual(rest, unchanged);
  assert.deepEqual(guards, [...before, guard]);
});

test("a policy without guards gets its first", () => {
  assert.deepEqual(parse(withRecording("identities: []\n")), { identities: [], guards: [guard] });
});
