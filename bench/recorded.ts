// A gateway that records what one of two users does: the streams of the other go straight through, so that one workerd shows both.
// It is started by miniflare, which has the Durable Objects and the bucket; what the bucket costs is in the same process.

import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { buildWorker } from "../dev/build.ts";
import { startGateway } from "../dev/gateway.ts";
import { localApplication } from "../dev/users.ts";
import { mint, upgradeRequest } from "./requests.ts";
import type { Stage } from "./stage.ts";
import type { Address } from "./workerd.ts";

export const subjects = { native: "kube-access, not recorded", recorded: "kube-access, recorded" };
export type Subject = keyof typeof subjects;

/** How much a stream may carry each way unless a guard says otherwise, in MB. */
export const MAX_MEGABYTES = 67.1;

/** The map of the local cluster knows the developers. */
export const MAP = `identities:
  - { email: alice@example.com, user: alice, groups: [developers] }
  - { email: bob@example.com, user: bob, groups: [developers, watched] }
guards:
  - { name: recorded, for: { groups: [watched] }, record: true }
`;

const emails = { native: "alice@example.com", recorded: "bob@example.com" };
const SETTLED_MS = 60_000;
const LOOK_MS = 10;

export interface Recording extends Address {
  pid: number;
  /** The lines of the log so far. */
  logs(): string[];
  /** The upgrade with which a stream is asked for. */
  upgrade(subject: Subject, path: string): string;
  /** What the gateway itself answers whom it records. */
  own(path: string): Promise<string>;
  /** Waits until each recording is stored. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

/** Builds the Worker once for each state of the sources. It stays in this work tree: another's would be of other sources. */
export async function buildRecording(): Promise<string> {
  const dir = resolve(import.meta.dirname, "../target/bench-recorded");
  const identities = join(dir, "identities.yaml");
  await mkdir(dir, { recursive: true });
  await writeFile(identities, MAP);
  await buildWorker({ log: () => {}, dir, identities });
  return dir;
}

/** Starts one. */
export async function startRecording(stage: Stage, worker: string, upstream = stage.upstream): Promise<Recording> {
  const { certs } = stage;
  const vars = { MAX_STREAMS: "1000", LOG_LEVEL: "info" };
  const gateway = await startGateway({ ...localApplication, certs, upstream, worker, vars, hasSessions: true });
  const tokens = { native: await mint(certs.keys, emails.native), recorded: await mint(certs.keys, emails.recorded) };
  // No `fetch`: what it adds makes a browser of it, which the gateway refuses.
  const own = async (path: string) => {
    const headers = { "Cf-Access-Jwt-Assertion": tokens.recorded };
    const request = get(`${gateway.url}/.kube-access/sessions${path}`, { headers });
    const [answer] = (await once(request, "response")) as [IncomingMessage];
    const body = await text(answer);
    if (answer.statusCode !== 200) {
      throw new Error(`the gateway answered ${path} with ${answer.statusCode}: ${body}`);
    }
    return body;
  };
  return {
    host: gateway.host,
    port: gateway.port,
    pid: gateway.pid(),
    logs: gateway.logs,
    upgrade: (subject, path) => upgradeRequest(path, tokens[subject], "v5.channel.k8s.io"),
    own,
    settle: async () => {
      const deadline = performance.now() + SETTLED_MS;
      while (JSON.parse(await own("?user=bob&state=live&limit=1")).sessions.length > 0) {
        if (performance.now() > deadline) {
          throw new Error(`a recording is not stored after ${SETTLED_MS / 1000} s`);
        }
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
    },
    stop: gateway.stop,
  };
}
