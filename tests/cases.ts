// `npm run cases`: which cases of docs/cases.md a test proves, which docs/security.md explains, and which are open. A test
// names its cases: "case 47, 48: …" in TypeScript, `case_47_48_…` in Rust and in Terraform. And whether each test that
// SECURITY.md names exists.

import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const root = resolve(import.meta.dirname, "..");

const usage = `usage: npm run cases -- [--json]

Prints how many cases of docs/cases.md a test proves, how many docs/security.md explains, and which are open.
Exit status 1 when a case is open, when a test or docs/security.md names a case that there is not, or when SECURITY.md
names a test that there is not.

  --json  everything, as JSON: for each case what comes in, the tests that prove it, and the explanation
  --help  this text`;

/** How each kind of source names a test. The first group holds the numbers. */
const testNames = [
  { sources: "{src,policy,tests,cli}/**/*.rs", pattern: /\bfn case_(\d+(?:_\d+)*)_[a-z]\w*/g },
  { sources: "{tests,dev,deploy,bench}/**/*.test.ts", pattern: /\btest\(\s*(?:"|`)case (\d+(?:, \d+)*): [^"`\n]*/g },
  { sources: "terraform/tests/*.tftest.hcl", pattern: /\brun "case_(\d+(?:_\d+)*)_[a-z]\w*/g },
];

interface Case {
  number: number;
  group: string;
  input: string;
  tests: string[];
  explanation?: string;
}

interface Coverage {
  cases: Case[];
  /** Where a case or a test is named that there is not. */
  unknown: string[];
}

const { json } = readOptions();
const { cases, unknown } = coverage();
const open = cases.filter(({ tests, explanation }) => tests.length === 0 && explanation === undefined);
if (json) {
  console.log(JSON.stringify({ cases, open: open.map(({ number }) => number), unknown }, null, 2));
} else {
  report();
}
if (open.length > 0 || unknown.length > 0) {
  process.exitCode = 1;
}

function coverage(): Coverage {
  const cases = readCases();
  const unknown: string[] = [];
  const name = (number: number, where: string, add: (found: Case) => void) => {
    const found = cases.find((candidate) => candidate.number === number);
    if (found) {
      add(found);
    } else {
      unknown.push(`${where} names case ${number}`);
    }
  };
  let allTests = "";
  for (const { sources, pattern } of testNames) {
    for (const file of globSync(sources, { cwd: root }).sort()) {
      const source = readFileSync(join(root, file), "utf8");
      allTests += source;
      for (const match of source.matchAll(pattern)) {
        const test = `${file}: ${match[0].replace(/^(fn |test\(\s*["`]|run ")/, "")}`;
        for (const number of numbers(match[1])) {
          name(number, test, ({ tests }) => tests.push(test));
        }
      }
    }
  }
  for (const [, list = "", why = ""] of rows("docs/security.md", 2)) {
    for (const number of numbers(list)) {
      name(number, "docs/security.md", (found) => {
        found.explanation = why;
      });
    }
  }
  for (const proof of proofs()) {
    const isTest = [`fn ${proof}(`, `"${proof}"`, `\`${proof}\``].some((name) => allTests.includes(name));
    if (!isTest) {
      unknown.push(`SECURITY.md names the test "${proof}"`);
    }
  }
  return { cases, unknown };
}

/** The tests in the last column of SECURITY.md's tables. */
function proofs(): string[] {
  const lines = readFileSync(join(root, "SECURITY.md"), "utf8").split("\n");
  const cells = lines.filter((line) => line.startsWith("| ")).map((line) => line.split(" | ").at(-1) ?? "");
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, proof = ""]) => proof));
}

function readCases(): Case[] {
  let group = "";
  const cases: Case[] = [];
  for (const line of readFileSync(join(root, "docs/cases.md"), "utf8").split("\n")) {
    group = line.match(/^## (.*)$/)?.[1] ?? group;
    const [, number, input, must] = line.match(row(3)) ?? [];
    if (number !== undefined) {
      cases.push({ number: Number(number), group, input: `${input}: ${must}`, tests: [] });
    }
  }
  const gap = cases.findIndex(({ number }, index) => number !== index + 1);
  if (cases.length === 0 || gap >= 0) {
    throw new Error(`docs/cases.md: cases are numbered 1, 2, 3, …, but case ${gap + 1} is not where it should be.`);
  }
  return cases;
}

/** The rows of a Markdown table whose first cell holds numbers. */
function rows(file: string, columns: number): RegExpMatchArray[] {
  const lines = readFileSync(join(root, file), "utf8").split("\n");
  return lines.map((line) => line.match(row(columns))).filter((match) => match !== null);
}

function row(columns: number): RegExp {
  return new RegExp(`^\\| (\\d+(?:, \\d+)*)${" \\| (.+?)".repeat(columns - 1)} \\|$`);
}

function numbers(list = ""): number[] {
  return list.split(/, |_/).map(Number);
}

function report(): void {
  for (const group of new Set(cases.map((found) => found.group))) {
    const inGroup = cases.filter((found) => found.group === group);
    const covered = inGroup.filter(({ tests }) => tests.length > 0).length;
    const explained = inGroup.filter(({ tests, explanation }) => tests.length === 0 && explanation).length;
    const left = inGroup.length - covered - explained;
    const counts = `${covered} covered, ${explained} explained, ${left} open`;
    console.log(`${group.padEnd(24)} ${String(inGroup.length).padStart(3)} cases: ${counts}`);
  }
  for (const { number, group, input } of open) {
    console.log(`open: case ${number} (${group}): ${input}`);
  }
  for (const where of unknown) {
    console.log(`unknown: ${where}`);
  }
  const covered = cases.filter(({ tests }) => tests.length > 0).length;
  const explained = cases.length - covered - open.length;
  console.log(`${cases.length} cases: ${covered} covered, ${explained} explained, ${open.length} open`);
}

function readOptions(): { json: boolean } {
  try {
    const { values } = parseArgs({
      options: { json: { type: "boolean", default: false }, help: { type: "boolean", default: false } },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    return values;
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}
