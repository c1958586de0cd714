// `npm run early-end`: exec whose command ends while its stdin is coming, recorded through the gateway and at kubectl proxy alone, by
// turns on one cluster: how often its last words and its exit code come through.

import { progress } from "../../dev/progress.ts";
import { recording } from "../../dev/recorded.ts";
import { Kubectl } from "../e2e/cluster/kubectl.ts";
import { startSite } from "../e2e/cluster/site.ts";
import { readOptions, wholeNumber } from "./options.ts";

const USAGE = `usage: npm run early-end -- [options]

Runs a command that ends early, with 20 MB of stdin, recorded through the gateway and through kubectl proxy alone, by turns. Ends with 1 if
the gateway keeps less.

  --runs N   how often each (default 200)
  --help     this text`;

const args = ["exec", "-i", "shell", "--", "sh", "-c", "head -c 100000 >/dev/null; echo reason >&2; exit 3"];
const input = Buffer.alloc(20_000_000);

const values = readOptions(USAGE, { runs: "200" });
const runs = wholeNumber(USAGE, "runs", values.runs, 1);
const log = progress();
log("starting a cluster and a gateway that records");
const site = await startSite({}, undefined, { variant: recording });
try {
  const { host, port } = site.kubectlProxy;
  const direct = ["--server", `http://${host}:${port}`, "--as", "bob@example.com", "--as-group", "developers"];
  const ways = [
    { name: "recorded, through the gateway", kubectl: site.as("bob"), more: [] as string[], words: 0, code: 0 },
    {
      name: "kubectl proxy alone",
      kubectl: new Kubectl(site.cluster.kubectl, "/dev/null", site.dir),
      more: direct,
      words: 0,
      code: 0,
    },
  ];
  for (let run = 1; run <= runs; run++) {
    for (const way of ways) {
      const { code, stderr } = await way.kubectl.run([...way.more, ...args], { input });
      way.words += Number(/^reason$/m.test(stderr));
      way.code += Number(code === 3);
    }
    if (run % 20 === 0) {
      log(`${run} of ${runs} runs`);
    }
  }
  for (const { name, words, code } of ways) {
    console.log(`${name.padEnd(30)} last words ${words}, exit code ${code}, of ${runs}`);
  }
  const [through, alone] = ways;
  if (through && alone && (through.words < alone.words || through.code < alone.code)) {
    process.exitCode = 1;
  }
} finally {
  await site.stop();
}
