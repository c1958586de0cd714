// What `wrangler deploy` uploads is what was built and tested, byte for byte.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { MODULES } from "../../dev/build.ts";

const root = resolve(import.meta.dirname, "../..");

test("the modules that are uploaded are those of the build, and no others", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "kube-access-deployed-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
  const env = { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_LOG_PATH: dir, CI: "true" };
  const deploy = ["deploy", "--dry-run", "--outdir", join(dir, "out")];
  await promisify(execFile)(process.execPath, [wrangler, ...deploy], { cwd: root, env });
  const uploaded = await readdir(join(dir, "out"), { recursive: true });
  assert.deepEqual(uploaded.filter((name) => !/^README\.md$/.test(name)).toSorted(), [...MODULES].toSorted());
  for (const name of MODULES) {
    const [built, sent] = await Promise.all([readFile(join(root, "build", name)), readFile(join(dir, "out", name))]);
    assert.ok(built.equals(sent), name);
  }
});
