// `npm run page`: the page with sample data, for whoever designs it. It is built again when a file of it changes.

import { watch } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { STATES } from "../page/sample/states.ts";
import { buildPage } from "./page-build.ts";
import { startPageServer } from "./page-server.ts";
import { progress } from "./progress.ts";

const states = Object.entries(STATES).map(([name, what]) => `  ${name.padEnd(11)} ${what}`);

const USAGE = `usage: npm run page -- [options]

Builds the page, serves it on the loopback address with sample data and the Worker's headers, and builds it again when a file
of page/ changes: reload it then. What is given or ended changes the sample, until this ends by Ctrl-C.

  --port PORT  where it listens (default: 4180)
  --help       this text

Another state of the sample by ?state=NAME:
${states.join("\n")}`;

const DEFAULT_PORT = 4180;
const SETTLED_MS = 100;

const root = resolve(import.meta.dirname, "..");
const { port } = readOptions();
const log = progress();
let timer: NodeJS.Timeout | undefined;
/** One build after the other, and none that outlives its folder. */
let building: Promise<unknown> = Promise.resolve();
const folder = await mkdtemp(join(tmpdir(), "kube-access-page-"));
const dir = join(folder, "page");
const stopping = Promise.withResolvers<void>();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => stopping.resolve());
}

try {
  await buildPage({ log, dir });
  const server = await startPageServer({ dir, port });
  const watchers = ["page", "deploy/sessions"].map((folder) =>
    watch(join(root, folder), { recursive: true }, rebuildSoon),
  );
  console.log(`\n  ${server.url}\n\n${states.map((line) => line.replace(/^ {2}/, "  ?state=")).join("\n")}\n`);
  await stopping.promise;
  for (const watcher of watchers) {
    watcher.close();
  }
  clearTimeout(timer);
  await Promise.all([server.stop(), building]);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** An editor writes a file in several steps, and several files at once. */
function rebuildSoon(): void {
  clearTimeout(timer);
  timer = setTimeout(() => {
    building = building.then(() => buildPage({ log, dir })).catch((error: Error) => console.error(error.message));
  }, SETTLED_MS);
}

function readOptions(): { port: number } {
  try {
    const { values } = parseArgs({
      options: { port: { type: "string", default: String(DEFAULT_PORT) }, help: { type: "boolean", default: false } },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 0 || port > 65_535) {
      throw new Error(`--port ${values.port}: a port from 0 to 65535 was expected`);
    }
    return { port };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    process.exit(2);
  }
}
