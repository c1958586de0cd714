// The benchmark: `npm run bench`. Every figure is a ratio of kube-access over a peer that ran in turn with it.

import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { progress } from "../dev/progress.ts";
import { clusterWork } from "./cluster.ts";
import { guardWorks } from "./guards.ts";
import { httpWorks } from "./http.ts";
import { identityWork } from "./identities.ts";
import { sessionWorks } from "./sessions.ts";
import { sizeWork } from "./sizes.ts";
import { Stage } from "./stage.ts";
import { startWorks } from "./starts.ts";
import { streamWorks } from "./streams.ts";
import { table } from "./table.ts";
import { type Row, runWork, type Work } from "./work.ts";

const works: Work[] = [
  ...httpWorks,
  ...streamWorks,
  ...startWorks,
  identityWork,
  ...guardWorks,
  sizeWork,
  clusterWork,
  ...sessionWorks,
];

const HELP = `Usage: npm run bench -- [OPTIONS]

Measures kube-access against a bare Worker, two JavaScript Workers and kubectl proxy, and prints one table.

  --only NAME      one piece of work; may be repeated: ${works.map(({ name }) => name).join(", ")}
  --quick          about a minute: fewer and shorter rounds, without ${slow()}
  --rounds N       how often each piece is measured (default 45, with --quick 9)
  --seconds N      how long each measurement takes (default 0.12, with --quick 0.1)
  --worker DIR     the built kube-access (index.js and index_bg.wasm); without it, build/ is brought up to date
  --json           print everything that was measured as JSON
  --help           this text
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true },
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      seconds: { type: "string" },
      worker: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const { quick, worker } = values;
  const chosen = chooseWorks(values.only, quick);
  const rounds = positive("--rounds", values.rounds, quick ? 9 : 45);
  const seconds = positive("--seconds", values.seconds, quick ? 0.1 : 0.12);
  const log = progress();
  log("building the Workers");
  const stage = await Stage.open({ rounds, seconds, worker });
  const rows: Row[] = [];
  try {
    for (const work of chosen) {
      log(`${work.name} ...`);
      // A piece that fails must not take the figures of the others with it.
      await runWork(work, stage).then(
        (measured) => rows.push(...measured),
        (error: Error) => {
          console.error(`${work.name} failed: ${error.message}`);
          process.exitCode = 1;
        },
      );
    }
  } finally {
    await stage.close();
  }
  const machine = { cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length, rounds, seconds };
  console.log(values.json ? JSON.stringify({ machine, rows }, null, 2) : table(rows));
}

function chooseWorks(only: string[] | undefined, quick: boolean): Work[] {
  const unknown = only?.find((name) => !works.some((work) => work.name === name));
  if (unknown) {
    throw new Error(`There is no work named ${unknown}; there are ${works.map(({ name }) => name).join(", ")}.`);
  }
  return works.filter((work) => (only ? only.includes(work.name) : !(quick && work.isSlow)));
}

function positive(option: string, text: string | undefined, otherwise: number): number {
  const value = Number(text ?? otherwise);
  if (!(value > 0)) {
    throw new Error(`${option} takes a positive number, not ${text}.`);
  }
  return value;
}

function slow(): string {
  return works
    .filter(({ isSlow }) => isSlow)
    .map(({ name }) => name)
    .join(", ");
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
