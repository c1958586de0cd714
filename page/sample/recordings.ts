// Sessions of the sample: two that go on, and enough that have ended for several pages. Their recordings are real ones, with digests
// and a chain as the gateway makes them; some were changed since, in each way that a verdict tells.

import { createHash } from "node:crypto";
import type { Chunk, Listed, Manifest, Summary } from "../../deploy/sessions/answers.ts";
import { HOSTILE, timestamp } from "./people.ts";

const MINUTE_MS = 60_000;
const LAST = 9_999_999_999_999;
const CHUNK_BYTES = 1_500;

/** What became of a recording since it was written. */
export type Fate = "whole" | "edited" | "missing" | "added" | "none";

export interface Session {
  manifest: Manifest;
  /** What lies in the bucket. */
  chunks: Map<string, Buffer>;
}

interface Plan {
  user: string;
  email: string;
  namespace: string;
  pod: string;
  kind?: string;
  command: string[];
  minutesAgo: number;
  lastedSeconds?: number;
  exitCode?: number;
  by?: string;
  reason?: string;
  fate?: Fate;
  record?: "output" | "input" | "nothing";
  isLive?: boolean;
}

const bob = { user: "bob@example.com", email: "bob@example.com" };
const alice = { user: "alice", email: "alice@example.com" };
const carol = { user: "on-call-engineer", email: "carol@elsewhere.test" };

const PLANS: Plan[] = [
  { ...bob, namespace: "default", pod: "shell", command: ["sh"], minutesAgo: 12, isLive: true },
  {
    ...carol,
    namespace: "prod-payments",
    pod: "ledger-0",
    command: ["psql", "-U", "ledger"],
    minutesAgo: 47,
    isLive: true,
  },
  {
    ...alice,
    namespace: "default",
    pod: "web-7d4b9c6f5d-x2x9k",
    command: ["sh", "-c", "ps aux | head -20"],
    minutesAgo: 75,
    lastedSeconds: 14,
    exitCode: 0,
  },
  {
    ...bob,
    namespace: "team-a",
    pod: "worker-0",
    command: ["bash"],
    minutesAgo: 190,
    lastedSeconds: 642,
    by: "policy",
    reason: "the grant that let in has ended",
    fate: "edited",
  },
  {
    ...carol,
    namespace: "prod-web",
    pod: "web-0",
    kind: "portforward",
    command: [],
    minutesAgo: 310,
    lastedSeconds: 3_600,
    by: "client",
    reason: "it went away",
    record: "nothing",
    fate: "none",
  },
  {
    ...alice,
    namespace: "default",
    pod: "shell",
    command: ["cat", "/etc/motd"],
    minutesAgo: 400,
    lastedSeconds: 2,
    exitCode: 0,
    fate: "missing",
  },
  {
    ...bob,
    namespace: "default",
    pod: "shell",
    command: ["sh", "-c", "exit 137"],
    minutesAgo: 1_500,
    lastedSeconds: 1,
    exitCode: 137,
    fate: "added",
  },
  {
    ...carol,
    namespace: "prod-payments",
    pod: "ledger-0",
    command: ["psql", "-U", "ledger"],
    minutesAgo: 1_530,
    lastedSeconds: 512,
    by: "order",
    reason: "alice ended it: INC-7",
    record: "input",
  },
  ...Array.from({ length: 48 }, (_, index): Plan => {
    const who = [alice, bob, carol][index % 3] ?? alice;
    return {
      ...who,
      namespace: "team-a",
      pod: `worker-${index % 5}`,
      command: ["sh"],
      minutesAgo: 1_700 + index * 97,
      lastedSeconds: 20 + index * 7,
      exitCode: 0,
    };
  }),
];

export function sampleSessions(now: number): Session[] {
  return PLANS.map((plan, index) => session(plan, index, now));
}

export function hostileSessions(now: number): Session[] {
  return Object.values(HOSTILE).map((text, index) =>
    session(
      {
        user: text,
        email: text,
        namespace: text,
        pod: text,
        command: [text, "--", text],
        minutesAgo: 5 + index,
        exitCode: 1,
        lastedSeconds: 3,
        by: text,
        reason: text,
        isLive: index === 0,
      },
      index,
      now,
    ),
  );
}

function session(plan: Plan, index: number, now: number): Session {
  const began = now - plan.minutesAgo * MINUTE_MS;
  const {
    user,
    email,
    namespace,
    pod,
    kind = "exec",
    command,
    lastedSeconds = 0,
    record = "output",
    fate = "whole",
    isLive = false,
  } = plan;
  const id = [
    String(LAST - began).padStart(13, "0"),
    createHash("sha256").update(user).digest("hex").slice(0, 16),
    index.toString(16).padStart(16, "0"),
  ].join("-");
  const written = isLive || record === "nothing" ? [] : cut(cast(plan, began));
  const chunks = chained(id, written);
  const ended = timestamp(began + lastedSeconds * 1000);
  const digest = (text: string) => createHash("sha256").update(text).digest("hex");
  const output = written.reduce((sum, { length }) => sum + length, 0);
  const manifest: Manifest = {
    id,
    state: isLive ? "live" : "ended",
    caller: {
      user,
      groups: ["developers"],
      email,
      subject: "6b91b079-0024-48c6-b19b-702f6fd7184f",
      address: "203.0.113.7",
    },
    audit_id: "5a1c7f0e-95ab-4be2-a5a7-2c1f4b7a9d10",
    ray: "9f3c1b2a4d5e6f70",
    guards: ["recorded"],
    target: { kind, namespace, pod, container: "main", command, tty: record !== "nothing", stdin: true },
    protocol: "v5.channel.k8s.io",
    record,
    started: timestamp(began),
    ...(isLive
      ? {}
      : {
          ended,
          by: plan.by ?? "command",
          reason: plan.reason ?? "it ended",
          ...(plan.exitCode === undefined ? {} : { exit_code: plan.exitCode }),
        }),
    bytes: { stdin: 84, stdout: output, stderr: 0 },
    sha256: { stdin: digest("in"), stdout: digest(id), stderr: digest("") },
    chunks,
  };
  return { manifest, chunks: fated(fate, chunks, written) };
}

export function summaryOf({
  id,
  state,
  caller,
  target,
  record,
  started,
  ended,
  by,
  reason,
  exit_code,
}: Manifest): Summary {
  const end = {
    ...(ended && { ended }),
    ...(by && { by }),
    ...(reason && { reason }),
    ...(exit_code !== undefined && { exit_code }),
  };
  const { kind, namespace, pod, container, command = [], tty = false } = target;
  return {
    ...{ id, state, user: caller.user, namespace, pod, kind, command, tty, recorded: record !== "nothing", started },
    ...(caller.email === undefined ? {} : { email: caller.email }),
    ...(container === undefined ? {} : { container }),
    ...end,
  };
}

export function listedOf({ chunks }: Session): Listed[] {
  return [...chunks]
    .map(([name, bytes]) => ({ name, size: bytes.length }))
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** A cast that one can look at: a prompt, what is typed, and what it prints. */
function cast({ pod, command }: Plan, began: number): Buffer {
  const header = {
    version: 2,
    width: 92,
    height: 24,
    timestamp: Math.floor(began / 1000),
    title: "exec",
    command: command.join(" "),
  };
  const lines: [number, string][] = [];
  let time = 0.4;
  const show = (text: string, seconds: number) => {
    lines.push([Number(time.toFixed(3)), text]);
    time += seconds;
  };
  const type = (text: string) => {
    for (const letter of text) {
      show(letter, 0.06);
    }
    show("\r\n", 0.3);
  };
  const prompt = `\u001b[1;34m${pod.slice(0, 40)}\u001b[0m:\u001b[36m/app\u001b[0m$ `;
  const screens: [string, string[]][] = [
    [
      "ps aux | head -6",
      [
        "PID   USER     TIME   COMMAND",
        "    1 app      2:41   node server.js",
        "   18 app      0:03   node worker.js --queue mail",
        "   27 app      0:00   sh",
        "   34 app      0:00   ps aux",
        "   35 app      0:00   head -6",
      ],
    ],
    [
      "tail -4 log/current",
      [
        "\u001b[32mINFO\u001b[0m  GET /healthz 200 in 3 ms",
        "\u001b[32mINFO\u001b[0m  GET /cart 200 in 41 ms",
        "\u001b[33mWARN\u001b[0m  the mail queue has 812 messages",
        "\u001b[31mERROR\u001b[0m SMTP: connection refused",
      ],
    ],
    ["curl -s localhost:8080/healthz", ['{"status":"degraded","queue":812,"since":"2026-11-26T11:58:20Z"}']],
  ];
  for (const [typed, printed] of screens) {
    show(prompt, 0.7);
    type(typed);
    for (const line of printed) {
      show(`${line}\r\n`, 0.08);
    }
    time += 0.9;
  }
  show(prompt, 0.5);
  const text = [JSON.stringify(header), ...lines.map(([at, data]) => JSON.stringify([at, "o", data]))].join("\n");
  return Buffer.from(`${text}\n`);
}

/** Pieces that end with a line. */
function cut(bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf("\n", Math.min(start + CHUNK_BYTES, bytes.length - 1)) + 1 || bytes.length;
    pieces.push(bytes.subarray(start, end));
    start = end;
  }
  return pieces;
}

function chained(id: string, written: Buffer[]): Chunk[] {
  let before = id;
  return written.map((bytes, place) => {
    const [name, size] = [String(place).padStart(5, "0"), bytes.length];
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    before = createHash("sha256").update(`${before} ${name} ${size} ${sha256}`).digest("hex");
    return { name, size, sha256, chain: before };
  });
}

function fated(fate: Fate, chunks: Chunk[], written: Buffer[]): Map<string, Buffer> {
  const stored = new Map(chunks.map(({ name }, place) => [name, written[place] as Buffer]));
  const [first] = written;
  if (fate === "edited" && first) {
    stored.set("00000", Buffer.from(first.toString("latin1").replace("ps aux", "ls    "), "latin1"));
  }
  if (fate === "missing") {
    stored.delete("00001");
  }
  if (fate === "added" && first) {
    stored.set(String(chunks.length).padStart(5, "0"), Buffer.from('[99,"o","nothing to see here\\r\\n"]\n'));
  }
  return stored;
}
