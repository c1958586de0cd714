// `npm run fuzz`: the property tests with texts that no run had before, for as long as told. `npm test` takes the same ones in
// every run, so that it is red for a change and not by chance.

import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { resolve } from "node:path";
import { signalDescendants } from "../../dev/processes.ts";
import { progress } from "../../dev/progress.ts";
import { readOptions, wholeNumber } from "./options.ts";

const root = resolve(import.meta.dirname, "../..");
const MINUTE_MS = 60_000;
/** Texts for each target of tests/fuzz.rs, and for each property in src/: some seconds' worth. */
const FUZZ_CASES = 20_000;
const PROPERTY_CASES = 5_000;
/** The Worker's own settings make it small, which takes minutes here. */
const QUICK_BUILD = { CARGO_PROFILE_RELEASE_LTO: "off", CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "16" };

const USAGE = `usage: npm run fuzz -- [options]

Runs the property tests of src/ and tests/fuzz.rs again and again, each round with the next seed. Ends with the first round
that fails: what broke a target of tests/fuzz.rs is then in its corpus, where npm test finds it from now on, and the seed
that is printed repeats the round.

  --minutes N  no round begins later than this (default 5)
  --seed S     the first round's seed (default: a random one)
  --help       this text`;

const values = readOptions(USAGE, { minutes: "5", seed: String(randomInt(2 ** 47)) });
const minutes = wholeNumber(USAGE, "minutes", values.minutes, 1);
const first = wholeNumber(USAGE, "seed", values.seed, 0);

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    signalDescendants("SIGKILL");
    process.exit(130);
  });
}

const log = progress();
log("building the property tests");
if (!(await cargo(["--no-run"], {}))) {
  process.exit(1);
}
const deadline = performance.now() + minutes * MINUTE_MS;
let seed = first;
do {
  log(`seed ${seed}`);
  const env = {
    PROPTEST_RNG_SEED: String(seed),
    PROPTEST_CASES: String(PROPERTY_CASES),
    FUZZ_CASES: String(FUZZ_CASES),
    FUZZ_KEEP: "1",
  };
  if (!(await cargo([], env))) {
    console.error(`\nseed ${seed} fails: npm run fuzz -- --seed ${seed} repeats it`);
    process.exit(1);
  }
  seed += 1;
} while (performance.now() < deadline);
console.log(`nothing found with the seeds ${first} to ${seed - 1}`);

/** Whether `cargo test` succeeds. What it prints is shown only when it does not. */
function cargo(args: string[], env: Record<string, string>): Promise<boolean> {
  return new Promise((done) => {
    const child = spawn("cargo", ["test", "--release", "--lib", "--test", "fuzz", ...args], {
      cwd: root,
      env: { ...process.env, ...QUICK_BUILD, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (piece) => {
        text += piece;
      });
    }
    child.on("error", (error) => {
      console.error(`cargo does not start: ${error.message}`);
      done(false);
    });
    child.on("close", (code) => {
      if (code !== 0) {
        console.error(text);
      }
      done(code === 0);
    });
  });
}
