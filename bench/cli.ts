// `npm run bench:cli`: what `kubectl access` costs. Each figure beside the one without it, by turns, and its goal.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { Agent, createServer, request, type ServerOptions } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { parse } from "yaml";
import { buildWorker } from "../dev/build.ts";
import { serverCertificate } from "../dev/certificates.ts";
import { buildCli } from "../dev/cli.ts";
import { startCluster } from "../dev/cluster.ts";
import { kubeconfig } from "../dev/kubeconfig.ts";
import { listen } from "../dev/listen.ts";
import { progress } from "../dev/progress.ts";
import { startStack } from "../dev/stack.ts";
import { peakOf } from "./memory.ts";
import { markdown } from "./table.ts";
import { spread } from "./work.ts";

const SMALL_REQUESTS = 3000;
const MANY_REQUESTS = 10_000;
const CONNECTIONS = 32;
const COPY_BYTES = 100_000_000;
const COPIES = 5;
const TOKENS = 100;
const EVENTS = 1_000_000;
const MB = 1_000_000;

const log = progress();
const rows: [figure: string, value: string, without: string, goal: string, verdict: string][] = [];
const dir = await mkdtemp(join(tmpdir(), "kube-access-bench-"));
const closing: (() => Promise<unknown> | unknown)[] = [];

try {
  const cli = await buildCli(log, "release");
  const { size } = await stat(cli);
  row("the binary", `${(size / MB).toFixed(1)} MB`, "", "<= 12 MB", size <= 12 * MB);
  await benchForwarder(cli);
  await benchTokens(cli);
  await benchReplay(cli);
  await benchStreams(cli);
} finally {
  for (const close of closing.reverse()) {
    await close();
  }
  await rm(dir, { recursive: true, force: true });
  console.log(markdown(["figure", "kubectl access", "without", "goal", ""], rows));
}

/** A GET through the forwarder and straight to the same server, which answers at once. */
async function benchForwarder(cli: string): Promise<void> {
  log("the forwarder ...");
  const { ca, cert, key } = serverCertificate(["127.0.0.1"]);
  const body = Buffer.alloc(1000, "x");
  const options: ServerOptions = { cert, key, keepAliveTimeout: 60_000 };
  const server = createServer(options, (asked, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(asked.url?.endsWith("healthz") ? "ok" : body);
  });
  const { host, port, stop } = await listen(server);
  closing.push(stop);
  const origin = `https://${host}:${port}`;
  await writeFile(join(dir, "ca.crt"), ca);
  const file = await connect(cli, origin, join(dir, "ca.crt"), {
    CF_ACCESS_CLIENT_ID: "x",
    CF_ACCESS_CLIENT_SECRET: "y",
  });
  const config = parse(await readFile(file, "utf8"));
  const { server: forwarder, "certificate-authority-data": authority } = config.clusters[0].cluster;
  const authorization = `Bearer ${config.users[0].user.token}`;
  const ways = [
    { url: origin, agent: new Agent({ keepAlive: true, maxSockets: 1, ca }), headers: {} },
    {
      url: forwarder as string,
      agent: new Agent({ keepAlive: true, maxSockets: 1, ca: Buffer.from(authority, "base64") }),
      headers: { authorization },
    },
  ] as const;
  const times: [number[], number[]] = [[], []];
  for (let turn = 0; turn < SMALL_REQUESTS; turn += 1) {
    for (const [index, way] of ways.entries()) {
      const started = performance.now();
      await get(way.url, way.agent, way.headers);
      if (turn >= 100) {
        times[index as 0 | 1].push(performance.now() - started);
      }
    }
  }
  const [direct, through] = times.map((all) => spread(all).median) as [number, number];
  const added = through - direct;
  row("GET of 1 KB, p50", `${through.toFixed(2)} ms`, `${direct.toFixed(2)} ms`, "<= 1 ms more", added <= 1);
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS, ca: Buffer.from(authority, "base64") });
  let [left, errors] = [MANY_REQUESTS, 0];
  const started = performance.now();
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (left > 0) {
        left -= 1;
        await get(forwarder, agent, { authorization }).catch(() => {
          errors += 1;
        });
      }
    }),
  );
  const perSecond = MANY_REQUESTS / ((performance.now() - started) / 1000);
  const name = `errors in ${MANY_REQUESTS} requests, ${CONNECTIONS} connections (${perSecond.toFixed(0)} req/s)`;
  row(name, String(errors), "", "0", errors === 0);
  for (const used of [...ways.map((way) => way.agent), agent]) {
    used.destroy();
  }
}

/** `token` as kubectl runs it, with a token that is still good. */
async function benchTokens(cli: string): Promise<void> {
  log("tokens ...");
  const state = join(dir, "state");
  const folder = join(state, "kube-access/logins");
  const host = "https://kube.example.com";
  const kept = {
    ...{ client_id: "c", token_endpoint: "https://t.example.com", revocation_endpoint: null, resource: host },
    ...{ access_token: "oauth:x".padEnd(200, "x"), expires: Math.floor(Date.now() / 1000) + 600 },
  };
  await run("mkdir", ["-p", folder]);
  await writeFile(join(folder, "kube.example.com.json"), JSON.stringify(kept), { mode: 0o600 });
  // By a shell, which starts programs faster than Node.
  const loop = `i=0; while [ $i -lt ${TOKENS} ]; do "$@" > /dev/null; i=$((i + 1)); done`;
  const each = async (...command: string[]) => {
    return (await run("sh", ["-c", loop, "sh", ...command], { XDG_STATE_HOME: state })) / TOKENS;
  };
  const [nothing, token] = [await each("/bin/true"), await each(cli, "token", host)];
  row(
    `token from cache, of ${TOKENS}`,
    `${token.toFixed(1)} ms`,
    `${nothing.toFixed(1)} ms (true)`,
    "<= 15 ms",
    token <= 15,
  );
}

async function benchReplay(cli: string): Promise<void> {
  log(`${EVENTS} events ...`);
  const file = join(dir, "audit.jsonl");
  const output = createWriteStream(file);
  for (let number = 0; number < EVENTS; number += 1) {
    if (!output.write(event(number))) {
      await once(output, "drain");
    }
  }
  await finished(output.end());
  const against = join(dir, "new.yaml");
  const policy = await readFile(join(import.meta.dirname, "../identities.yaml"), "utf8");
  await writeFile(against, policy.replace("groups: [ci]", "groups: [pipelines]"));
  const args = ["explain", "--replay", file, "--against", against, "--policy", "identities.yaml"];
  const child = spawn(cli, args, { stdio: "ignore", cwd: join(import.meta.dirname, "..") });
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, peakOf(child.pid ?? 0) || 0);
  }, 100);
  const started = performance.now();
  const [code] = await once(child, "close");
  clearInterval(timer);
  if (code !== 0) {
    throw new Error(`explain --replay ended with ${code}: no event of the log differs by these policies`);
  }
  const seconds = (performance.now() - started) / 1000;
  row(`explain --replay of ${EVENTS} events`, `${seconds.toFixed(1)} s`, "", "< 60 s", seconds < 60);
  row("its memory at most", `${(most / MB).toFixed(1)} MB`, "", "<= 50 MB", most <= 50 * MB);
}

/** exec and cp by real kubectl to a real cluster. */
async function benchStreams(cli: string): Promise<void> {
  log("a cluster ...");
  await buildWorker({ log });
  const cluster = await startCluster({ log: () => {}, auditLog: false });
  closing.push(() => cluster.stop());
  const stack = await startStack({ upstream: cluster.proxy });
  closing.push(() => stack.stop());
  const { access } = stack;
  const direct = join(dir, "direct.kubeconfig");
  const user = { name: "alice", token: access.session("alice") };
  await writeFile(direct, kubeconfig(access.url, access.ca, [user]), { mode: 0o600 });
  const cloudflared = join(dir, "cloudflared");
  await writeFile(cloudflared, `#!/bin/sh\nprintf %s ${await access.mint("alice")}\n`, { mode: 0o755 });
  const through = await connect(cli, access.url, access.caFile, {}, ["--cloudflared", cloudflared]);
  const bytes = join(dir, "bytes");
  await writeFile(bytes, Buffer.alloc(COPY_BYTES, "x"));
  const works: [string, string[]][] = [
    ["exec, 100 MB of output", ["exec", "shell", "--", "head", "-c", String(COPY_BYTES), "/dev/zero"]],
    ["cp of 100 MB to a pod", ["cp", bytes, "shell:bench"]],
    ["cp of 100 MB from a pod", ["cp", "shell:bench", join(dir, "back")]],
  ];
  for (const [name, args] of works) {
    log(`${name} ...`);
    const times: [number[], number[]] = [[], []];
    for (let turn = 0; turn < COPIES; turn += 1) {
      times[0].push(await run(cluster.kubectl, ["--kubeconfig", direct, ...args]));
      times[1].push(await run(cluster.kubectl, ["--kubeconfig", through, ...args]));
    }
    const [without, withIt] = times.map((all) => COPY_BYTES / MB / (spread(all).median / 1000)) as [number, number];
    const ratio = withIt / without;
    const speeds = [`${withIt.toFixed(0)} MB/s (${ratio.toFixed(2)})`, `${without.toFixed(0)} MB/s`] as const;
    row(name, speeds[0], speeds[1], ">= 0.8 of without", ratio >= 0.8);
  }
}

/** Starts `connect`, and gives its kubeconfig. */
async function connect(cli: string, host: string, ca: string, env: Record<string, string>, more: string[] = []) {
  const child = spawn(cli, ["connect", host, "--certificate-authority", ca, ...more], {
    env: { PATH: process.env.PATH ?? "", HOME: dir, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  closing.push(async () => {
    child.kill();
    await once(child, "close");
  });
  let text = "";
  for await (const piece of child.stdout.setEncoding("utf8")) {
    text += piece;
    const [, file] = text.match(/export KUBECONFIG=(\S+)\n/) ?? [];
    if (file) {
      return file;
    }
  }
  throw new Error(`connect ended: ${text}`);
}

function get(url: string, agent: Agent, headers: Record<string, string>): Promise<void> {
  return new Promise((resolve, reject) => {
    const asked = request(`${url}/api/v1/namespaces/default/pods/web`, { agent, headers }, (response) => {
      response.on("end", resolve).on("error", reject).resume();
      if (response.statusCode !== 200) {
        reject(new Error(`status ${response.statusCode}`));
      }
    });
    asked.on("error", reject).end();
  });
}

/** The milliseconds that a program takes, whose output nobody reads. */
async function run(program: string, args: string[], env: Record<string, string> = {}): Promise<number> {
  const started = performance.now();
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: "ignore" });
  const [code] = await once(child, "close");
  if (code !== 0) {
    throw new Error(`${program} ${args.join(" ")} ended with ${code}`);
  }
  return performance.now() - started;
}

/** An event of the gateway's log, by one of 500 people. */
function event(number: number): string {
  const person = number % 500;
  const isDeveloper = person < 50;
  const email = isDeveloper ? "bob@example.com" : `p${person}@contractors.example`;
  const user = isDeveloper
    ? { username: email, groups: ["developers"] }
    : { username: "contractor", groups: ["contractors"] };
  // What the guard lets through of contractors too.
  const resource = ["pods", "events", "configmaps", "services"][number % 4];
  const namespace = `team-${number % 20}`;
  const time = new Date(Date.UTC(2026, 9, 1) + number * 2500).toISOString();
  return `${JSON.stringify({
    ...{ kind: "Event", apiVersion: "audit.k8s.io/v1", level: "Metadata", auditID: crypto.randomUUID() },
    ...{ stage: "ResponseComplete", requestURI: `/api/v1/namespaces/${namespace}/${resource}?limit=500`, verb: "list" },
    user: { ...user, extra: { "kube-access.dev/email": [email], "kube-access.dev/subject": [`id-${person}`] } },
    ...{ sourceIPs: ["198.51.100.1"], userAgent: "kubectl/v1.37.2 (linux/amd64) kubernetes/8adc0f0" },
    objectRef: { resource, namespace, apiVersion: "v1" },
    ...{ requestReceivedTimestamp: time, responseStatus: { metadata: {}, code: 200 }, stageTimestamp: time },
    annotations: { "kube-access.dev/decision": "forward", "kube-access.dev/rule": "email" },
  })}\n`;
}

function row(figure: string, value: string, without: string, goal: string, isReached: boolean): void {
  rows.push([figure, value, without, goal, isReached ? "reached" : "NOT REACHED"]);
  if (!isReached) {
    process.exitCode = 1;
  }
}
