// The release workflow's own commands, by a shell as a runner has it, for each target: on what cargo leaves beside a program, and on what
// `ldd` says of it there. What compiles is not run.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { parse } from "yaml";

const root = resolve(import.meta.dirname, "../..");
const { build } = parse(await readFile(join(root, ".github/workflows/release.yml"), "utf8")).jobs;
type Target = Record<"target" | "runner" | "program", string>;
const targets: Target[] = build.strategy.matrix.include;

const STATIC = "echo '\tstatically linked'";
const NOT_RELOCATABLE = "echo '\tnot a dynamic executable' >&2; exit 1";
const DYNAMIC = "echo '\tlinux-vdso.so.1 (0x00007ffd)'; echo '\tlibc.so.6 => /lib/libc.so.6'";

/** A checkout in which the program of a target is built, with a shell in it that has a step of the workflow. */
async function checkout(t: TestContext, target: Target, ldd: string) {
  const dir = await mkdtemp(join(tmpdir(), "kube-access-release-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const folder = join(dir, "target", target.target, "release");
  await mkdir(folder, { recursive: true });
  await mkdir(join(dir, "docs"));
  await mkdir(join(dir, "bin"));
  await copyFile(join(root, "LICENSE"), join(dir, "LICENSE"));
  await copyFile(join(root, "docs/cli.md"), join(dir, "docs/cli.md"));
  const program = `#!/bin/sh\ncase $1 in --version) echo built;; man) mkdir -p "$2" && touch "$2/kubectl-access.1";; completion) echo "$2";; esac\n`;
  const files = { [join(folder, target.program)]: program, [join(dir, "bin/ldd")]: `#!/bin/sh\n${ldd}\n` };
  for (const [file, text] of Object.entries(files)) {
    await writeFile(file, text);
    await chmod(file, 0o755);
  }
  // Make's dependencies, as cargo writes them.
  await writeFile(join(folder, "kubectl-access.d"), "src/main.rs\n");
  const system = target.target.includes("linux") ? "Linux" : target.target.includes("apple") ? "macOS" : "Windows";
  const values = { ...target, "github.ref_name": "v1.0.0" } as Record<string, string>;
  const filled = (text: string) => text.replace(/\$\{\{ (?:matrix\.)?(\S+) \}\}/g, (_, name) => values[name] ?? "");
  const variables = Object.entries(build.env as Record<string, string>).map(([name, text]) => [name, filled(text)]);
  const env = {
    ...Object.fromEntries(variables),
    PATH: `${join(dir, "bin")}:${process.env.PATH}`,
    RUNNER_OS: system,
  };
  return {
    dist: join(dir, "dist"),
    // As GitHub runs `shell: bash`.
    run(step: RegExp) {
      const { run } = build.steps.find(({ name }: { name?: string }) => step.test(name ?? ""));
      const args = ["--noprofile", "--norc", "-e", "-o", "pipefail", "-c", run];
      const { status, stdout, stderr } = spawnSync("bash", args, { cwd: dir, env, encoding: "utf8" });
      return { status, text: stdout + stderr };
    },
  };
}

for (const target of targets) {
  test(`the program for ${target.target} is looked at and packed`, async (t) => {
    const { run, dist } = await checkout(t, target, target.target.startsWith("aarch64") ? NOT_RELOCATABLE : STATIC);
    const looked = run(/one program/);
    assert.equal(looked.status, 0, looked.text);
    assert.match(looked.text, /^built$/m);
    // macOS has `shasum`, which is a program of Perl's.
    if (target.target.includes("apple") && spawnSync("shasum", ["--version"]).status !== 0) {
      return;
    }
    const packed = run(/Pack/);
    assert.equal(packed.status, 0, packed.text);
    const name = `kubectl-access-v1.0.0-${target.target}`;
    const files = ["LICENSE", "cli.md", ...["bash", "fish", "powershell", "zsh"].map((shell) => `completion.${shell}`)];
    assert.deepEqual(await readdir(join(dist, name)), [...files, target.program, "man"].sort());
    assert.ok(existsSync(join(dist, `${name}.tar.gz`)));
    assert.match(await readFile(join(dist, `${name}.tar.gz.sha256`), "utf8"), /^[0-9a-f]{64} /);
  });
}

test("a program that needs libraries of its system is no release", async (t) => {
  const [target] = targets;
  assert.ok(target);
  assert.match(target.target, /linux/);
  const { run } = await checkout(t, target, DYNAMIC);
  assert.equal(run(/one program/).status, 1);
});
