// A long build says what it is doing. The lines are those of Go and cargo.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BuildSteps } from "../../dev/build-steps.ts";
import { run } from "../../dev/command.ts";

function after(program: string, lines: string[]): string {
  const steps = new BuildSteps(program);
  for (const line of lines) {
    steps.hear(line);
  }
  return steps.latest;
}

test("a Go build is downloading while it downloads, and compiling from its first package on", () => {
  const downloads = ["go: downloading k8s.io/api v0.37.2", "go: downloading golang.org/x/net v0.50.0"];
  assert.equal(after("go", []), "running");
  assert.equal(after("go", downloads), "modules downloaded so far: 2, at golang.org/x/net");
  const packages = ["internal/goarch", "k8s.io/api/core/v1"];
  assert.equal(after("go", [...downloads, ...packages]), "packages compiled so far: 2, at k8s.io/api/core/v1");
  const many = Array.from({ length: 1234 }, (_, index) => `example.com/p${index}`);
  assert.equal(after("go", many), "packages compiled so far: 1,234, at example.com/p1233");
  assert.equal(after("go", [...packages, "# k8s.io/api/core/v1"]), "# k8s.io/api/core/v1");
});

test("cargo counts crates", () => {
  const lines = ["    Updating crates.io index", "  Downloaded serde v1.0.0", "   Compiling serde v1.0.0"];
  assert.equal(after("cargo", lines.slice(0, 1)), "Updating crates.io index");
  assert.equal(after("cargo", lines.slice(0, 2)), "crates downloaded so far: 1, at serde");
  assert.equal(after("cargo", lines), "crates compiled so far: 1, at serde");
});

test("of other programs the latest line is told", () => {
  assert.equal(after("wasm-opt", ["first", " second "]), "second");
});

test("a program that fails is quoted with its last lines, whole ones", async () => {
  const script = "process.stdout.write('one '); setTimeout(() => { console.log('line'); process.exitCode = 3 }, 50)";
  await assert.rejects(run(process.execPath, ["-e", script]), /failed with exit status 3:\none line$/);
});
