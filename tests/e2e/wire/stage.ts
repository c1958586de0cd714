// What every test of the wire stands on: the built Worker in workerd, the certs of the Access stand-in before it, and a
// recording upstream behind it. Requests are written to workerd's socket byte by byte, so that they can be odd.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { resolve } from "node:path";
import { type Certs, startCerts } from "../../../dev/access-certs.ts";
import type { AccessKeys } from "../../../dev/access-keys.ts";
import { type Gateway, type Json, startGateway } from "../../../dev/gateway.ts";
import { localApplication, localUsers } from "../../../dev/users.ts";
import { type WrappedWorker, wrapWorker } from "../../../dev/wrapped-worker.ts";
import { ownTime } from "../../own-time.ts";
import { type Recorder, startRecorder } from "./recorder.ts";
import { type Head, pieces, readHead, values, Wire, whole } from "./wire.ts";

export const { aud, teamDomain } = localApplication;

export interface TokenChange {
  /** Laid over the claims of Access; `undefined` leaves a claim out. */
  claims?: Record<string, unknown>;
  header?: Record<string, unknown>;
  /** Other keys than the team's. */
  keys?: AccessKeys;
}

export interface Call {
  method?: string;
  target?: string;
  /** Whole header lines, sent as they are. */
  lines?: string[];
  body?: string | Uint8Array;
  /** The user whose token goes along: alice unless told otherwise, null for none. */
  as?: string | null;
  /** This token instead. */
  token?: string;
}

export class Answer {
  readonly status: number;
  readonly head: Head;
  readonly body: Buffer;

  constructor(head: Head, body: Buffer) {
    this.status = Number(head.start.split(" ")[1]);
    this.head = head;
    this.body = body;
  }

  get text(): string {
    return this.body.toString();
  }

  values(name: string): string[] {
    return values(this.head, name);
  }
}

export interface Stage {
  gateway: Gateway;
  upstream: Recorder;
  certs: Certs;
  token(user: string, change?: TokenChange): Promise<string>;
  /** Sends a request, and returns the whole answer. */
  call(call?: Call): Promise<Answer>;
  /** Sends a request's head (and body, if there is one), and leaves the connection to the test. */
  open(call?: Call): Promise<Wire>;
  /** Puts the Worker's clock forward; needs `hasClock`. */
  advance(seconds: number): Promise<void>;
  /** What the Worker's clock shows, in milliseconds since the Unix epoch. */
  now(): number;
  /** Lets the Worker's timers run so many times as fast; needs `hasClock`. */
  hurry(times: number): Promise<void>;
  /** Lets writes to the bucket of recordings fail, never come to an end, or neither; needs `hasClock`. */
  breakRecordings(how: boolean | "hung"): Promise<void>;
  /** Lets the bucket take each key once, as R2 takes one write a second of each; needs `hasClock`. */
  limitRecordings(): Promise<void>;
  /** Lets the bucket list what it cannot give: keys that end so, or none again; needs `hasClock`. */
  loseRecordings(end: string): Promise<void>;
  /** Lets writes to Workers KV be reported as failed, although they come through, or no longer; needs `hasClock`. */
  breakIdentities(isBroken: boolean): Promise<void>;
  stop(): Promise<void>;
}

export interface StageOptions {
  vars?: Record<string, Json>;
  aud?: string;
  teamDomain?: string;
  certs?: Certs;
  /** What Workers KV holds at first; without it KV is not bound. */
  identities?: Record<string, string>;
  /** Where another Worker is than the one in build/. */
  worker?: string;
  /** Lets the test move the Worker's clock, hurry its timers, and break its stores. */
  hasClock?: boolean;
  /** Binds what recorded and bounded streams need. */
  hasSessions?: boolean;
  /** Binds the object that keeps grants; needs `identities`. */
  hasGrants?: boolean;
  /** Where the page is; without it no assets are bound. */
  page?: string;
}

export async function startStage(options: StageOptions = {}): Promise<Stage> {
  const certs = options.certs ?? (await startCerts());
  const upstream = await startRecorder();
  const clock = options.hasClock ? await clockedWorker(options.worker) : undefined;
  const stopAround = async () => {
    await upstream.stop();
    if (!options.certs) {
      await certs.stop();
    }
    await clock?.remove();
  };
  const gateway = await startGateway({
    certs,
    upstream,
    aud: options.aud ?? aud,
    teamDomain: options.teamDomain ?? teamDomain,
    vars: options.vars ?? {},
    ...(options.identities && { identities: options.identities }),
    ...(options.hasSessions && { hasSessions: true }),
    ...(options.hasGrants && { hasGrants: true }),
    ...(options.page && { page: options.page }),
    ...(options.worker && { worker: options.worker }),
    ...(clock && { worker: clock.dir }),
  }).catch(async (error) => {
    // What still listens would keep the test from ending.
    await stopAround();
    throw error;
  });
  const token = (user: string, { keys = certs.keys, ...change }: TokenChange = {}) => {
    const named = localUsers.find(({ name }) => name === user);
    assert.ok(named, `there is no user ${user}`);
    return keys.token(named, { aud, teamDomain, ...change });
  };
  const open = async (call: Call = {}) => {
    const { method = "GET", target = "/api/v1/pods", lines = [], body, as = "alice" } = call;
    const jwt = call.token ?? (as === null ? undefined : await token(as));
    const head = [`${method} ${target} HTTP/1.1`];
    if (!lines.some((line) => /^host:/i.test(line))) {
      head.push("Host: kube.example.com");
    }
    if (jwt !== undefined) {
      head.push(`Cf-Access-Jwt-Assertion: ${jwt}`);
    }
    head.push(...lines);
    if (body !== undefined) {
      head.push(`Content-Length: ${Buffer.from(body).length}`);
    }
    const wire = await dial(gateway);
    wire.write(`${head.join("\r\n")}\r\n\r\n`);
    if (body !== undefined) {
      wire.write(Buffer.from(body));
    }
    return wire;
  };
  let forward = 0;
  const tellClock = async (line: string) => {
    assert.ok(clock, "the stage has a clock");
    const wire = await open({ target: "/.kube-access/healthz", lines: [`X-Clock-${line}`], as: null });
    assert.equal((await readAnswer(wire)).status, 200);
    wire.socket.destroy();
  };
  return {
    gateway,
    upstream,
    certs,
    token,
    open,
    call: async (call = {}) => {
      const wire = await open(call);
      try {
        return await readAnswer(wire, call.method === "HEAD");
      } finally {
        wire.socket.destroy();
      }
    },
    advance: (seconds) => {
      forward += seconds;
      return tellClock(`Forward: ${seconds}`);
    },
    now: () => Date.now() + forward * 1000,
    hurry: (times) => tellClock(`Pace: ${times}`),
    breakRecordings: (how) => tellClock(`Recordings: ${how === "hung" ? how : how ? "broken" : "whole"}`),
    limitRecordings: () => tellClock("Recordings: limited"),
    loseRecordings: (end) => tellClock(`Lost: ${end}`),
    breakIdentities: (isBroken) => tellClock(`Identities: ${isBroken ? "broken" : "whole"}`),
    stop: async () => {
      await gateway.stop();
      await stopAround();
    },
  };
}

/** Reads an answer's head and body; HEAD and the statuses that have no body are known. */
export async function readAnswer(wire: Wire, isHead = false): Promise<Answer> {
  const head = await readHead(wire);
  assert.ok(head, "the gateway ended the connection without an answer");
  const hasNoBody = isHead || / (1\d\d|204|304) /.test(head.start);
  return new Answer(head, hasNoBody ? Buffer.alloc(0) : await whole(pieces(wire, head, true)));
}

/** The answer is a refusal in the form that makes kubectl print its sentence. */
export function assertRefused(answer: Answer, code: number, message?: RegExp): void {
  assert.equal(answer.status, code, answer.text);
  assert.deepEqual(answer.values("content-type"), ["application/json"], answer.text);
  const status = JSON.parse(answer.text);
  assert.deepEqual([status.kind, status.apiVersion, status.status, status.code], ["Status", "v1", "Failure", code]);
  assert.ok(status.reason, "a Status has a reason");
  assert.match(status.message, message ?? /./);
}

/** The answer is a refusal with this text, and nothing went upstream (U0). */
export function assertStopped(stage: Stage, answer: Answer, code: number, message?: RegExp): void {
  assertRefused(answer, code, message);
  assert.deepEqual(
    stage.upstream.received.map(({ head }) => head.start),
    [],
    "nothing may go upstream",
  );
}

/** The one request that reached the upstream. */
export function theOnly<Item>(items: Item[]): Item {
  assert.equal(items.length, 1);
  return items[0] as Item;
}

/** Waits until something is true. */
export async function eventually(what: string, isTrue: () => boolean, limitMs = 60_000): Promise<void> {
  const deadline = ownTime() + limitMs;
  while (!isTrue()) {
    assert.ok(ownTime() < deadline, `not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function dial({ host, port }: Gateway): Promise<Wire> {
  const socket = connect({ host, port });
  await once(socket, "connect");
  return new Wire(socket);
}

/** A copy of the built Worker whose clock a request can put forward, and whose timers it can hurry. All else is as built. */
function clockedWorker(build = resolve(import.meta.dirname, "../../../build")): Promise<WrappedWorker> {
  const clock = `
    let forward = 0;
    let pace = 1;
    const puts = {};
    let gets;
    const fail = () => Promise.reject(new Error("put: internal error (10001)"));
    const breaking = {
      RECORDINGS: fail,
      IDENTITIES(...given) {
        return puts.IDENTITIES.apply(this, given).then(fail);
      },
    };
    const once = () => {
      const taken = new Set();
      return function (key, ...given) {
        if (taken.has(key)) return Promise.reject(new Error("put: Reduce your concurrent request rate for the same object. (10058)"));
        taken.add(key);
        return puts.RECORDINGS.call(this, key, ...given);
      };
    };
    const now = Date.now;
    Date.now = () => now() + forward * 1000;
    globalThis.Date = class extends Date {
      constructor(...given) {
        super(...(given.length > 0 ? given : [Date.now()]));
      }
    };
    const later = setTimeout;
    globalThis.setTimeout = (then, milliseconds) => later(then, milliseconds / pace);
    export default {
      fetch(request, env, context) {
        forward += Number(request.headers.get("x-clock-forward"));
        pace = Number(request.headers.get("x-clock-pace")) || pace;
        for (const [name, broken] of Object.entries(breaking)) {
          const told = request.headers.get("x-clock-" + name);
          if (told) {
            const store = Object.getPrototypeOf(env[name]);
            puts[name] ??= store.put;
            const hung = () => new Promise(() => {});
            const changed = { whole: puts[name], hung, limited: once() };
            store.put = changed[told] ?? broken;
          }
        }
        const lost = request.headers.get("x-clock-lost");
        if (lost !== null) {
          const store = Object.getPrototypeOf(env.RECORDINGS);
          gets ??= store.get;
          store.get = function (key, ...given) {
            return lost !== "" && key.endsWith(lost) ? Promise.resolve(null) : gets.call(this, key, ...given);
          };
        }
        // As if the Worker had taken whose stream it is for somebody else.
        const object = request.headers.get("x-clock-object");
        if (object) {
          const headers = new Headers(request.headers);
          headers.set("kube-access-stamp", [Date.now(), crypto.randomUUID(), object].join(" "));
          return env.SESSIONS.get(env.SESSIONS.idFromName(object)).fetch(new Request(request, { headers }));
        }
        return wrapped.fetch(request, env, context);
      },
    };`;
  return wrapWorker(build, clock);
}

/** Whole numbers below a limit, the same in each run. */
export function randomly(): (limit: number) => number {
  let seed = 20_260_101;
  return (limit) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 8) % limit;
  };
}
