// `npm run last-hop`: what each last hop loses, and what it takes, in the same minutes on one cluster. Writes docs/last-hop.md.

import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { request as ask, Pool } from "undici";
import { spread } from "../../bench/work.ts";
import { buildWorker } from "../../dev/build.ts";
import { LAST_HOPS, type LastHop, startCluster } from "../../dev/cluster.ts";
import { kubeconfig } from "../../dev/kubeconfig.ts";
import { progress } from "../../dev/progress.ts";
import { startStack } from "../../dev/stack.ts";
import { residentBytes } from "../e2e/cluster/memory.ts";
import { readOptions, wholeNumber } from "./options.ts";

const USAGE = `usage: npm run last-hop -- [options]

Runs commands that end before their stdin does, and slow readers, with kubectl through each last hop in turn, straight and through the
gateway; then small requests and a large answer. Prints the table, and writes it to docs/last-hop.md when nothing is left out.

  --runs N   how often each command runs through each (default 200)
  --slow N   how many slow readers (default 20)
  --help     this text`;

const file = resolve(import.meta.dirname, "../../docs/last-hop.md");
const MB = 1024 * 1024;
const WORDS = "bye\n";
const CODE = 7;
const SENT_BYTES = 20_000_000;
const SLOW_BYTES = 40_000_000;
const SLOW_BYTES_PER_S = 4_000_000;
const ROUNDS = 9;
const ROUND_MS = 2_000;
const CONNECTIONS = 8;
const identity = { "impersonate-user": "alice", "impersonate-group": "platform-admins" };
const web = "/api/v1/namespaces/default/pods/web";

/** A way from kubectl to the API server. */
interface Way {
  kind: LastHop | "none";
  isGateway: boolean;
  /** kubectl's arguments that take this way. */
  args: string[];
  /** How often each thing went wrong. */
  lost: Record<"head" | "words" | "code" | "cut" | "silent", number>;
}

const values = readOptions(USAGE, { runs: "200", slow: "20" });
const runs = wholeNumber(USAGE, "runs", values.runs, 1);
const slow = wholeNumber(USAGE, "slow", values.slow, 0);
const log = progress();
await buildWorker({ log });
const cluster = await startCluster({ log, auditLog: false, lastHop: "guarded" });
const stops = [() => cluster.stop()];
try {
  const proxy = await cluster.addLastHop("kubectl-proxy");
  const hops = { "kubectl-proxy": proxy, guarded: await cluster.addLastHop("guarded") };
  const ways: Way[] = [way("none", false, ["--kubeconfig", cluster.adminKubeconfig])];
  for (const kind of LAST_HOPS) {
    const { host, port } = hops[kind];
    const as = ["--as", "alice", "--as-group", "platform-admins"];
    ways.push(way(kind, false, ["--server", `http://${host}:${port}`, ...as]));
  }
  for (const kind of LAST_HOPS) {
    const stack = await startStack({
      upstream: kind === "guarded" ? cluster.proxy : proxy,
      vars: { LOG_LEVEL: "error" },
    });
    stops.unshift(() => stack.stop());
    const config = resolve(cluster.dir, `${kind}.kubeconfig`);
    const user = { name: "alice", namespace: "default", token: stack.access.session("alice") };
    await writeFile(config, kubeconfig(stack.access.url, stack.access.ca, [user]), { mode: 0o600 });
    ways.push(way(kind, true, ["--kubeconfig", config]));
  }
  for (let run = 1; run <= runs; run += 1) {
    for (const one of ways) {
      await endsEarly(one);
    }
    if (run % 20 === 0) {
      log(`${run} of ${runs} runs`);
    }
  }
  for (let run = 1; run <= slow; run += 1) {
    await Promise.all(ways.map(slowReader));
    log(`${run} of ${slow} slow readers`);
  }
  const speeds = await speedsOf(hops);
  const text = document(ways, speeds);
  console.log(text);
  if (runs >= 200 && slow >= 20) {
    await writeFile(file, text);
    log("wrote docs/last-hop.md");
  }
  const guarded = ways.filter(({ kind, isGateway }) => kind === "guarded" && !isGateway);
  const isRight = guarded.every(({ lost }) => lost.head + lost.words + lost.code + lost.silent === 0);
  process.exitCode = isRight && speeds.ratio >= 0.9 ? 0 : 1;
} finally {
  for (const stop of stops) {
    await stop();
  }
}

function way(kind: Way["kind"], isGateway: boolean, args: string[]): Way {
  return { kind, isGateway, args, lost: { head: 0, words: 0, code: 0, cut: 0, silent: 0 } };
}

/** A command that reads one line of an endless stdin, and one that reads nothing of 20 MB and ends with a code of its own. */
async function endsEarly({ args, lost }: Way): Promise<void> {
  const head = await kubectl(args, ["exec", "-i", "shell", "--", "head", "-1"], "yes");
  lost.head += head.stdout === "y\n" && head.code === 0 ? 0 : 1;
  const script = `printf '${WORDS.trim()}\\n'; exit ${CODE}`;
  const words = await kubectl(
    args,
    ["exec", "-i", "shell", "--", "sh", "-c", script],
    `head -c ${SENT_BYTES} /dev/zero`,
  );
  lost.words += words.stdout === WORDS ? 0 : 1;
  lost.code += words.code === CODE ? 0 : 1;
}

/** Reads at 4 MB/s what a command prints at once before it ends. What is cut short must not end with exit code 0. */
async function slowReader({ args, lost }: Way): Promise<void> {
  const script = `head -c ${SLOW_BYTES} /dev/zero; exit ${CODE}`;
  const child = spawn(cluster.kubectl, [...args, "exec", "shell", "--", "sh", "-c", script], environment());
  let bytes = 0;
  const ended = new Promise<number | null>((done) => child.on("close", done));
  for await (const chunk of child.stdout ?? []) {
    bytes += chunk.length;
    await sleep((chunk.length / SLOW_BYTES_PER_S) * 1000);
  }
  const code = await ended;
  const isCut = bytes < SLOW_BYTES;
  lost.cut += isCut ? 1 : 0;
  lost.silent += isCut && code === 0 ? 1 : 0;
}

async function kubectl(args: string[], command: string[], input: string): Promise<{ code: number; stdout: string }> {
  // The shell's pipe, so that kubectl's stdin is a real one that never waits for this process.
  const quoted = [cluster.kubectl, ...args, ...command].map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`).join(" ");
  const child = spawn("bash", ["-c", `${input} | ${quoted}; exit "\${PIPESTATUS[1]}"`], environment());
  let stdout = "";
  child.stdout?.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr?.resume();
  const code = await new Promise<number | null>((done) => child.on("close", done));
  return { code: code ?? -1, stdout };
}

function environment() {
  const env = { PATH: process.env.PATH ?? "", HOME: cluster.dir };
  return { env, stdio: ["ignore", "pipe", "pipe"] as ["ignore", "pipe", "pipe"] };
}

interface Speeds {
  /** Of each last hop, by round. */
  perSecond: Record<LastHop, number[]>;
  milliseconds: Record<LastHop, number>;
  megabytesPerSecond: Record<LastHop, number>;
  residentMegabytes: Record<LastHop, number>;
  /** The guarded one's small requests over those of `kubectl proxy`: the median of the rounds. */
  ratio: number;
}

type Hops = Record<LastHop, { host: string; port: number; pid(): number }>;

/** Small requests by turns, so that the machine's moods fall on both. */
async function speedsOf(hops: Hops): Promise<Speeds> {
  const perSecond: Speeds["perSecond"] = { "kubectl-proxy": [], guarded: [] };
  const times: Record<LastHop, number[]> = { "kubectl-proxy": [], guarded: [] };
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const kind of round % 2 === 0 ? LAST_HOPS : LAST_HOPS.toReversed()) {
      const count = await requests(hops[kind], CONNECTIONS);
      const alone = await requests(hops[kind], 1);
      // The first round warms up.
      if (round > 0) {
        perSecond[kind].push((count * 1000) / ROUND_MS);
        times[kind].push(ROUND_MS / alone);
      }
    }
  }
  const ofEach = async (measure: (kind: LastHop) => number | Promise<number>) => ({
    "kubectl-proxy": await measure("kubectl-proxy"),
    guarded: await measure("guarded"),
  });
  const ratios = perSecond.guarded.map((value, round) => value / (perSecond["kubectl-proxy"][round] ?? 1));
  return {
    perSecond,
    ratio: spread(ratios).median,
    milliseconds: await ofEach((kind) => spread(times[kind]).median),
    megabytesPerSecond: await ofEach((kind) => throughput(hops[kind])),
    residentMegabytes: await ofEach(async (kind) => (await residentBytes(hops[kind].pid())) / MB),
  };
}

async function requests({ host, port }: { host: string; port: number }, connections: number): Promise<number> {
  const pool = new Pool(`http://${host}:${port}`, { connections });
  const end = performance.now() + ROUND_MS;
  let count = 0;
  const one = async () => {
    while (performance.now() < end) {
      const { statusCode, body } = await pool.request({
        path: web,
        method: "GET",
        headers: { host: "localhost", ...identity },
      });
      await body.dump();
      count += statusCode === 200 ? 1 : Number.NaN;
    }
  };
  await Promise.all(Array.from({ length: connections }, one));
  await pool.close();
  return count;
}

/** The largest document that the API server has at hand, three times. */
async function throughput({ host, port }: { host: string; port: number }): Promise<number> {
  const rates: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const started = performance.now();
    const { body } = await ask(`http://${host}:${port}/openapi/v2`, { headers: { host: "localhost", ...identity } });
    const { byteLength } = await body.bytes();
    rates.push(byteLength / MB / ((performance.now() - started) / 1000));
  }
  return spread(rates).median;
}

function document(
  ways: Way[],
  { perSecond, ratio, milliseconds, megabytesPerSecond, residentMegabytes }: Speeds,
): string {
  const name = ({ kind, isGateway }: Way) => {
    const hop = { none: "none: straight to the API server", "kubectl-proxy": "`kubectl proxy`", guarded: "guarded" }[
      kind
    ];
    return isGateway ? `${hop}, behind the gateway` : hop;
  };
  const losses = ways.map((one) => {
    const { head, words, code, cut, silent } = one.lost;
    return `| ${name(one)} | ${head} | ${words} / ${code} | ${cut} (${silent}) |`;
  });
  const numbers = (of: Record<LastHop, number>, digits: number) =>
    LAST_HOPS.map((kind) => of[kind].toFixed(digits)).join(" | ");
  const rate = {
    "kubectl-proxy": spread(perSecond["kubectl-proxy"]).median,
    guarded: spread(perSecond.guarded).median,
  };
  return `# What the last hop loses, and what it takes

Written by \`npm run last-hop\`: kubectl and kube-apiserver of one version, every way in turn, on one machine in the same minutes. Do not
edit it; run it again.

A command may end before its stdin does, and a reader may be slower than what it reads. \`kubectl proxy\` closes both halves of such a
stream when the first ends, with what the other has not taken yet. The guarded last hop (\`last_hop = "guarded"\` in Terraform) reads each
side to its end, swallows what the other no longer takes, and hands an error on as an error.

- head: \`yes | kubectl exec -i shell -- head -1\`: wrong output or exit code, of ${runs}
- words / code: 20 MB into \`sh -c 'echo bye; exit 7'\`: output lost / another exit code, of ${runs}
- cut (silently): 40 MB to a reader of 4 MB/s, then \`exit 7\`: cut short, and of these with exit code 0, of ${slow}

| last hop | head | words / code | cut (silently) |
|---|---|---|---|
${losses.join("\n")}

Kubernetes itself cuts a slow reader short when the command has ended and its output still waits at the API server: mostly with an error, at
times with a status of success. The guarded last hop reads up to 64 MiB ahead of a stream's reader, 192 MiB in all, so that little waits there.

| straight at the last hop | \`kubectl proxy\` | guarded |
|---|---|---|
| small GETs each second, ${CONNECTIONS} connections | ${numbers(rate, 0)} |
| ms for a small GET, 1 connection | ${numbers(milliseconds, 2)} |
| MB/s of a large answer | ${numbers(megabytesPerSecond, 1)} |
| resident memory afterwards, MB | ${numbers(residentMegabytes, 0)} |

Small GETs, guarded over \`kubectl proxy\`, median of ${ROUNDS} rounds: ${ratio.toFixed(2)}.
`;
}
