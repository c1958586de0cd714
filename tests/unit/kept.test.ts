// What an object keeps of a stream: the runtime takes 2 MB under one key, the key counted in, and workerd does not look.

import assert from "node:assert/strict";
import { test } from "node:test";
import { deserialize, serialize } from "node:v8";

const MOST_BYTES = 2_000_000;
const { keep, kept } = await import(new URL("../../src/edge/session.js", import.meta.url).href);

class Storage {
  readonly #values = new Map<string, Buffer>();
  readonly #alarms: number[] = [];

  put(key: string, value: unknown): void {
    const bytes = serialize(structuredClone(value));
    assert.ok(key.length + bytes.length <= MOST_BYTES, `${key} has ${bytes.length} bytes`);
    this.#values.set(key, bytes);
  }

  setAlarm(time: number): void {
    this.#alarms.push(time);
  }

  get(key: string): unknown {
    return this.#values.has(key) ? deserialize(this.#values.get(key) as Buffer) : undefined;
  }
}

const chunk = (bytes: number) => Uint8Array.from({ length: bytes }, (_, place) => place);

test("what is kept of a stream comes back as it was, however much it is, and no value is larger than the runtime takes", async () => {
  const storage = new Storage();
  const manifest = `${"\u4e16".repeat(1_500_000)}${"x".repeat(1_500_000)}`;
  for (const known of [
    ["id", "alice", manifest, "{}"],
    [
      ["recordings/chunks/id/00007", chunk(3_000_000), undefined],
      ["recordings/manifests/id", manifest, "{}"],
      ["recordings/users/alice/id", "", "{}"],
    ],
    [["recordings/users/alice/id", "", "{}"]],
  ]) {
    await keep({ storage }, known, 1_000);
    assert.deepEqual(await kept({ storage }), known);
  }
});

test("nothing was kept, or an older version of the gateway kept it whole", async () => {
  const storage = new Storage();
  assert.equal(await kept({ storage }), undefined);
  const known = [["key", new Uint8Array([1, 2]), undefined]];
  storage.put("known", known);
  assert.deepEqual(await kept({ storage }), known);
});
