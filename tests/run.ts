// `npm test`: every test there is, part by part, with the runners' own output, and one line for each part at the end.

import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildWorker } from "../dev/build.ts";
import { buildCli } from "../dev/cli.ts";
import { buildCluster } from "../dev/cluster.ts";
import { buildPage } from "../dev/page-build.ts";
import { signalDescendants } from "../dev/processes.ts";
import { progress } from "../dev/progress.ts";
import { findChromium } from "./browser/chromium.ts";

const root = resolve(import.meta.dirname, "..");
const MINUTE_MS = 60_000;
/** Of one test. Beyond it something hangs that the test itself does not tell, on however busy a machine. */
const TEST_LIMIT_MS = 15 * MINUTE_MS;

interface Part {
  name: string;
  what: string;
  /** Beyond it something hangs, on however busy a machine, and the part has failed. */
  limitMs: number;
  run(): Promise<void>;
}

const parts: Part[] = [
  {
    name: "native",
    what: "the Worker's Rust and that of kubectl access, by cargo test",
    limitMs: 45 * MINUTE_MS,
    run: () => command("cargo", ["test", "--workspace"]),
  },
  {
    name: "unit",
    what: "TypeScript that needs no Worker and no cluster",
    limitMs: 15 * MINUTE_MS,
    run: () => nodeTest("{dev,deploy,bench,tests/unit,tests/versions}/**/*.test.ts"),
  },
  {
    name: "e2e",
    what: "the Worker in workerd, and kubectl through it to a real cluster",
    limitMs: 90 * MINUTE_MS,
    run: async () => {
      await buildStack();
      await nodeTest("tests/{e2e,deploy}/**/*.test.ts");
    },
  },
  {
    name: "guarded",
    what: "kubectl to a real cluster once more, behind the guarded last hop, with rights that older API servers know",
    limitMs: 60 * MINUTE_MS,
    run: async () => {
      await buildStack();
      await nodeTest("tests/e2e/cluster/**/*.test.ts", { LAST_HOP: "guarded", IMPERSONATION: "legacy" });
    },
  },
  {
    name: "browser",
    what: "what pages can make of a visitor's login, in real Chromium, and a dashboard through kubectl proxy",
    limitMs: 20 * MINUTE_MS,
    run: async () => {
      findChromium();
      await buildStack();
      await nodeTest("tests/browser/**/*.test.ts");
    },
  },
  {
    name: "page",
    what: "the page in real Chromium, with sample data: every state, by keyboard, by axe-core, with the Worker's headers",
    limitMs: 20 * MINUTE_MS,
    run: async () => {
      findChromium();
      const log = progress();
      await buildPage({ log });
      // kubectl takes the lines that the page shows.
      await buildCluster(log);
      await nodeTest("tests/page/**/*.test.ts");
    },
  },
  {
    name: "terraform",
    what: "the Terraform modules",
    limitMs: 30 * MINUTE_MS,
    run: () => command(process.execPath, ["dev/terraform.ts"]),
  },
  {
    name: "cases",
    what: "which cases the tests' names cover",
    limitMs: 5 * MINUTE_MS,
    run: () => command(process.execPath, ["tests/cases.ts"]),
  },
];

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    signalDescendants("SIGTERM");
    process.exitCode = 130;
  });
}

const results: { name: string; failure: string | undefined; seconds: number }[] = [];
for (const part of chosenParts()) {
  console.log(`\n--- ${part.name}: ${part.what}\n`);
  const started = performance.now();
  const failure = await failureOf(part);
  results.push({ name: part.name, failure, seconds: (performance.now() - started) / 1000 });
}
console.log("\n--- summary\n");
for (const { name, failure, seconds } of results) {
  console.log(`${name.padEnd(10)} ${failure ? `FAILED: ${failure}` : "passed"} (${seconds.toFixed(1)} s)`);
}
if (results.some(({ failure }) => failure)) {
  process.exitCode ||= 1;
}

async function failureOf({ limitMs, run }: Part): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${limitMs / MINUTE_MS} minutes`)), limitMs);
  });
  try {
    await Promise.race([run(), limit]);
    return undefined;
  } catch (error) {
    signalDescendants("SIGKILL");
    return (error as Error).message;
  } finally {
    clearTimeout(timer);
  }
}

/** What the tests of a Worker in front of a cluster need. */
async function buildStack(): Promise<void> {
  const log = progress();
  await buildWorker({ log });
  await buildPage({ log });
  await buildCluster(log);
  await buildCli(log);
}

function nodeTest(pattern: string, env: Record<string, string> = {}): Promise<void> {
  const files = globSync(pattern, { cwd: root }).sort();
  if (files.length === 0) {
    throw new Error(`no test file matches ${pattern}`);
  }
  // Each file may start a cluster of its own; more of them than processors only makes every one slow.
  const concurrency = `--test-concurrency=${Math.min(2, availableParallelism())}`;
  const limit = `--test-timeout=${TEST_LIMIT_MS}`;
  return command(process.execPath, ["--test", "--test-reporter=spec", concurrency, limit, ...files], env);
}

function command(program: string, args: string[], env: Record<string, string> = {}): Promise<void> {
  return new Promise((done, failed) => {
    const child = spawn(program, args, { cwd: root, env: { ...process.env, ...env }, stdio: "inherit" });
    child.on("error", (error) => failed(new Error(`${program} does not start: ${error.message}`)));
    child.on("exit", (code, signal) => {
      const how = signal ? `was ended by ${signal}` : `ended with exit status ${code}`;
      return code === 0 ? done() : failed(new Error(`${program.split("/").at(-1)} ${how}`));
    });
  });
}

function chosenParts(): Part[] {
  const names = parts.map(({ name }) => name);
  const usage = `usage: npm test -- [--only PART] ...

  --only PART  run this part; may be given several times
  --help       this text

Parts, in the order of running:
${parts.map(({ name, what }) => `  ${name.padEnd(10)} ${what}`).join("\n")}`;
  try {
    const { values } = parseArgs({
      options: { only: { type: "string", multiple: true, default: names }, help: { type: "boolean", default: false } },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const unknown = values.only.find((name) => !names.includes(name));
    if (unknown !== undefined) {
      throw new Error(`--only ${unknown}: there is no such part`);
    }
    return parts.filter(({ name }) => values.only.includes(name));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}
