// `npm run versions`: what each kubectl can do through the gateway with each API server. Writes docs/versions.md.

import { readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { IMPERSONATIONS, type Impersonation } from "../../deploy/impersonation.ts";
import { buildWorker } from "../../dev/build.ts";
import { type Log, progress } from "../../dev/progress.ts";
import { createPod } from "../e2e/cluster/pods.ts";
import { type Site, startSite } from "../e2e/cluster/site.ts";
import { outcome } from "./attempt.ts";
import { commands, ECHO_POD } from "./commands.ts";
import { knownServers, kubectlMinors, kubectls, type Program, ready, type Server } from "./programs.ts";
import { differences, document, NOT_RUN, type Row, type Section, sectionText } from "./table.ts";
import { minorOf } from "./version.ts";

const file = resolve(import.meta.dirname, "../../docs/versions.md");

const usage = `usage: npm run versions -- [OPTIONS]

Runs ${commands.map(({ name }) => name).join(", ")}
with every kubectl through the gateway to every API server, and writes docs/versions.md. What the machine does not have is built from Go
modules first, and kept.

  --kubectl LIST  only these, as in 1.30,1.37; of ${kubectlMinors.join(", ")}
  --server LIST   only with these API servers, as in 1.37
  --check         write nothing, and fail where the file says something else
  --help          this text

A run of a part prints its tables and leaves the file as it is.`;

let site: Site | undefined;
/** Looked at before each piece of work, so that what has begun ends in order. */
const interruption = new AbortController();

async function main(): Promise<void> {
  const options = readOptions();
  const log = progress();
  const servers = choose("--server", options.server, await knownServers(log), ({ version }) => minorOf(version));
  const minors = choose("--kubectl", options.kubectl, kubectlMinors, (minor) => minor);
  await buildWorker({ log });
  const building = { log, signal: interruption.signal };
  const programs = await kubectls(minors, building);
  const sections: Section[] = [];
  for (const server of servers) {
    const program = await ready(server, building);
    for (const impersonation of impersonationsOf(server)) {
      sections.push(await runSection(program, impersonation, programs, log));
    }
  }
  if (options.check) {
    await check(sections);
  } else if (options.kubectl || options.server) {
    console.log(sections.map((section) => sectionText(section, commands)).join(""));
  } else {
    await writeFile(file, document(sections, commands));
    log("wrote docs/versions.md");
  }
}

/** Constrained impersonation is on from 1.36. */
function impersonationsOf({ version }: Server): readonly Impersonation[] {
  return Number(minorOf(version).split(".")[1]) >= 36 ? IMPERSONATIONS : ["legacy"];
}

async function runSection(
  server: Server,
  impersonation: Impersonation,
  programs: Program[],
  log: Log,
): Promise<Section> {
  const section: Section = { server: server.version, impersonation, proxy: NOT_RUN, rows: [] };
  if (!server.path) {
    return { ...section, rows: programs.map((program) => notRun(program)) };
  }
  interruption.signal.throwIfAborted();
  log(`starting kube-apiserver ${server.version}, ${impersonation} impersonation, and the gateway`);
  site = await withAssets(server.assets, () => startSite({}, impersonation));
  try {
    const versions = JSON.parse(await site.admin.ok(["version", "-o", "json"]));
    section.server = versions.serverVersion.gitVersion;
    section.proxy = versions.clientVersion.gitVersion;
    await createPod(site.admin, ECHO_POD, { command: ["cat"], stdin: true });
    for (const program of programs) {
      const row = await runRow(program, site);
      section.rows.push(row);
      log(`kube-apiserver ${section.server}: ${summary(row)}`);
    }
    return section;
  } finally {
    await site.stop();
    site = undefined;
  }
}

async function runRow(program: Program, at: Site): Promise<Row> {
  if (!program.path) {
    return notRun(program);
  }
  const cells: string[] = [];
  for (const command of commands) {
    interruption.signal.throwIfAborted();
    cells.push(await outcome(command, program.path, at));
  }
  return { kubectl: program.version, cells };
}

function notRun({ version }: Program): Row {
  return { kubectl: version, cells: commands.map(() => NOT_RUN) };
}

function summary({ kubectl, cells }: Row): string {
  if (cells.includes(NOT_RUN)) {
    return `kubectl ${kubectl} is ${NOT_RUN}`;
  }
  const rest = cells.flatMap((cell, column) => (cell === "yes" ? [] : [`${commands[column]?.name}: ${cell}`]));
  return [`kubectl ${kubectl} does ${cells.length - rest.length} of ${cells.length} by itself`, ...rest].join("; ");
}

/** The local cluster takes from this folder what is in it, and its own programs for the rest. */
async function withAssets<T>(assets: string | undefined, start: () => Promise<T>): Promise<T> {
  const own = process.env.KUBEBUILDER_ASSETS;
  try {
    if (assets) {
      process.env.KUBEBUILDER_ASSETS = assets;
    }
    return await start();
  } finally {
    if (own === undefined) {
      delete process.env.KUBEBUILDER_ASSETS;
    } else {
      process.env.KUBEBUILDER_ASSETS = own;
    }
  }
}

async function check(sections: Section[]): Promise<void> {
  const found = differences(sections, await readFile(file, "utf8"), commands);
  for (const difference of found) {
    console.log(difference);
  }
  const cells = sections.length * (sections[0]?.rows.length ?? 0) * commands.length;
  console.log(`${cells - found.length} of ${cells} results are as docs/versions.md says`);
  if (found.length > 0) {
    console.log("npm run versions writes it again.");
    process.exitCode = 1;
  }
}

interface Options {
  kubectl: string[] | undefined;
  server: string[] | undefined;
  check: boolean;
}

function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: {
        kubectl: { type: "string" },
        server: { type: "string" },
        check: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    return { kubectl: values.kubectl?.split(","), server: values.server?.split(","), check: values.check };
  } catch (error) {
    return misused((error as Error).message);
  }
}

/** Those that the option names, or all of them. */
function choose<T>(option: string, names: string[] | undefined, all: T[], nameOf: (one: T) => string): T[] {
  const unknown = names?.find((name) => !all.some((one) => nameOf(one) === name));
  if (unknown !== undefined) {
    misused(`${option} ${unknown}: there is ${all.map(nameOf).join(", ")}`);
  }
  return all.filter((one) => names === undefined || names.includes(nameOf(one)));
}

function misused(message: string): never {
  console.error(`${message}\n\n${usage}`);
  process.exit(2);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    interruption.abort(new Error("interrupted"));
  });
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = interruption.signal.aborted ? 130 : 1;
});
