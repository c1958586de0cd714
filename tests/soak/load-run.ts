// Many streams at a time through one gateway, while Access changes its keys: nothing may be lost, mixed up or left hanging.

import { setTimeout as sleep } from "node:timers/promises";
import { residentBytes } from "../e2e/cluster/memory.ts";
import { exchange, nextChunk } from "../e2e/cluster/raw-http.ts";
import type { Site } from "../e2e/cluster/site.ts";
import { ERROR, EXEC, type Opened, openWebSocket, STDIN, STDOUT } from "../e2e/cluster/websocket.ts";

export interface Load {
  watches: number;
  execs: number;
  slowReaders: number;
  /** How many times a label is changed, for every watch to see. */
  changes: number;
}

export interface LoadReport {
  /** Of each kind of stream: how many there were, how many were right, and what was wrong with the first that was not. */
  rows: { what: string; count: number; right: number; wrong: string | undefined }[];
  rotations: number;
  baseline: number;
  /** Resident bytes of workerd with every stream open. */
  open: number;
  peak: number;
}

const AT_A_TIME = 50;
const LIMIT_MS = 120_000;
const SLOW_BYTES = 20_000_000;
const SLOW_READ_MS = 20;
const SLOW_LINGER_S = 30;
const MAX_ROTATIONS = 20;
/** A key that the gateway has not seen is asked for at most every 30 s. Until then its tokens are refused, as they must be. */
const COOL_DOWN_MS = 120_000;

export async function runLoad(site: Site, load: Load, log: (line: string) => void): Promise<LoadReport> {
  const pid = site.stack.gateway.pid();
  const baseline = await residentBytes(pid);
  let peak = baseline;
  let isOver = false;
  let rotations = 0;
  const sampling = (async () => {
    for (; !isOver; await sleep(250)) {
      peak = Math.max(peak, await residentBytes(pid));
    }
  })();
  const rotating = (async () => {
    // Every key stays published; more of them would not fit into the largest document that the gateway reads.
    for (; !isOver && rotations < MAX_ROTATIONS; await sleep(1_000)) {
      await site.stack.access.rotate();
      rotations += 1;
    }
  })();
  try {
    await site.admin.ok(["create", "configmap", "loaded"]);
    log(`opening ${load.watches} watches`);
    const watches = await inParallel(load.watches, () => Watch.open(site));
    const open = await residentBytes(pid);
    log(`${load.execs} execs and ${load.slowReaders} slow readers at a time`);
    const slow = inParallel(load.slowReaders, (index) => slowReader(site, index), load.slowReaders);
    const execs = inParallel(load.execs, (index) => echo(site, index), load.execs);
    for (let change = 1; change <= load.changes; change += 1) {
      await site.admin.ok(["label", "--overwrite", "configmap", "loaded", `change=${change}`]);
    }
    const results = {
      watches: await Promise.all(watches.map((watch) => settled(watch.then((opened) => opened.sees(load.changes))))),
      execs: await Promise.all((await execs).map(settled)),
      "slow readers": await Promise.all((await slow).map(settled)),
    };
    for (const watch of watches) {
      (await watch.catch(() => undefined))?.close();
    }
    const rows = Object.entries(results).map(([what, errors]) => {
      const wrong = errors.filter((error) => error !== undefined);
      return { what, count: errors.length, right: errors.length - wrong.length, wrong: wrong[0] };
    });
    return { rows, rotations, baseline, open, peak };
  } finally {
    isOver = true;
    await Promise.all([sampling, rotating]);
  }
}

/** Starts `count` of them, some at a time, and gives their promises, settled or not. */
async function inParallel<T>(
  count: number,
  start: (index: number) => Promise<T>,
  atATime = AT_A_TIME,
): Promise<Promise<T>[]> {
  const started: Promise<T>[] = [];
  for (let index = 0; index < count; index += atATime) {
    const some = Array.from({ length: Math.min(atATime, count - index) }, (_, offset) => start(index + offset));
    started.push(...some);
    await Promise.allSettled(some);
  }
  return started;
}

/** What a stream failed with; undefined when all was right. */
async function settled(stream: Promise<unknown>): Promise<string | undefined> {
  const overdue = sleep(LIMIT_MS, `nothing after ${LIMIT_MS / 1000} s`, { ref: false });
  return Promise.race([
    overdue,
    stream.then(
      () => undefined,
      (error: Error) => error.message,
    ),
  ]);
}

/** Tries with one token until the gateway knows the key that signed it. */
async function admitted<T extends { status: number }>(site: Site, attempt: (token: string) => Promise<T>): Promise<T> {
  const token = await site.stack.access.mint("bob");
  const deadline = Date.now() + COOL_DOWN_MS;
  for (;;) {
    const answer = await attempt(token);
    if (answer.status !== 401 || Date.now() > deadline) {
      return answer;
    }
    await sleep(1_000);
  }
}

/** One watch on one configmap, read as it comes. */
class Watch {
  readonly #socket: Awaited<ReturnType<typeof exchange>>["socket"];
  #text: string;

  private constructor(socket: Watch["socket"], text: string) {
    this.#socket = socket;
    this.#text = text;
  }

  get socket() {
    return this.#socket;
  }

  static async open(site: Site): Promise<Watch> {
    const path = "/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name%3Dloaded";
    const { socket, status, rest } = await admitted(site, async (token) => {
      const head = `Host: kube.example.com\r\nCf-Access-Jwt-Assertion: ${token}\r\n`;
      const answer = await exchange(site.stack.gateway, `GET ${path} HTTP/1.1\r\n${head}\r\n`, LIMIT_MS);
      if (answer.status !== 200) {
        answer.socket.destroy();
      }
      return answer;
    });
    if (status !== 200) {
      throw new Error(`a watch was answered with ${status}: ${rest}`);
    }
    return new Watch(socket, rest.toString("latin1"));
  }

  /** Every change, in order, each once. */
  async sees(changes: number): Promise<void> {
    const seen = () => [...this.#text.matchAll(/"labels":\{"change":"(\d+)"\}/g)].map(([, change]) => Number(change));
    while (seen().at(-1) !== changes) {
      this.#text += (await nextChunk(this.#socket)).toString("latin1");
    }
    const expected = Array.from({ length: changes }, (_, index) => index + 1);
    if (seen().join() !== expected.join()) {
      throw new Error(`a watch saw the changes ${seen().join()}`);
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

function openExec(site: Site, path: string): Promise<Opened> {
  return admitted(site, (token) =>
    openWebSocket(site, "bob", path, EXEC, { "Cf-Access-Jwt-Assertion": token }, LIMIT_MS),
  );
}

/** An exec that gives back what it is told, and nobody else's. */
async function echo(site: Site, index: number): Promise<void> {
  const path = "/api/v1/namespaces/default/pods/shell/exec?command=cat&stdin=true&stdout=true";
  const { status, body, socket } = await openExec(site, path);
  if (status !== 101) {
    throw new Error(`an exec was answered with ${status}: ${body}`);
  }
  const text = `exec number ${index}\n`.repeat(1_000);
  socket.send(STDIN, text);
  socket.endOf(STDIN);
  const { channels, close } = await socket.drain();
  if (channels.get(STDOUT)?.toString() !== text) {
    throw new Error(`an exec gave back ${channels.get(STDOUT)?.length ?? 0} of ${text.length} bytes`);
  }
  if (JSON.parse(String(channels.get(ERROR))).status !== "Success" || close !== 1000) {
    throw new Error(`an exec ended with ${channels.get(ERROR)} and ${close}`);
  }
}

/**
 * A client that takes a pause after each piece of a long answer. The command lives on until all of it is read: when a
 * command ends while its output still waits in the cluster, the cluster itself may lose the rest, without any gateway (10
 * of 30 such readers at `kubectl proxy`, 5 of 30 at the gateway, with Kubernetes 1.37 and the local node).
 */
async function slowReader(site: Site, index: number): Promise<void> {
  const script = encodeURIComponent(`yes ${index} | head -c ${SLOW_BYTES}; sleep ${SLOW_LINGER_S}`);
  const path = `/api/v1/namespaces/default/pods/shell/exec?command=sh&command=-c&command=${script}&stdout=true`;
  const { status, socket } = await openExec(site, path);
  if (status !== 101) {
    throw new Error(`a slow reader was answered with ${status}`);
  }
  const pattern = `${index}\n`;
  let bytes = 0;
  let ending = "no Close frame";
  while (bytes < SLOW_BYTES) {
    const message = await socket.next();
    if (!message || "close" in message) {
      ending = message ? `Close ${message.close}` : ending;
      break;
    }
    if ("channel" in message && message.channel === ERROR) {
      ending = message.data.toString();
    }
    if ("channel" in message && message.channel === STDOUT) {
      const expected = pattern.repeat(message.data.length / pattern.length + 2);
      if (!expected.slice(bytes % pattern.length).startsWith(message.data.toString())) {
        throw new Error("a slow reader was sent somebody else's bytes");
      }
      bytes += message.data.length;
      await sleep(SLOW_READ_MS);
    }
  }
  socket.socket.destroy();
  if (bytes !== SLOW_BYTES) {
    throw new Error(`a slow reader was sent ${bytes} of ${SLOW_BYTES} bytes, and then ${ending}`);
  }
}
