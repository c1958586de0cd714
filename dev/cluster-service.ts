// One long-running program of the local cluster: started, watched, stopped, and never left behind.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 100;
const STOP_MS = 5_000;
const SHOWN_LINES = 20;

export interface Program {
  name: string;
  binary: string;
  args: string[];
  logFile: string;
  /** What asks it to end; SIGKILL for those with nothing to tidy up. */
  endsOn: "SIGTERM" | "SIGKILL";
}

export class Service {
  readonly #program: Program;
  #child: ChildProcess | undefined;

  constructor(program: Program) {
    this.#program = program;
  }

  start(): void {
    const { binary, args, logFile } = this.#program;
    const log = openSync(logFile, "a");
    // A process group of its own: a Ctrl-C in the terminal reaches us alone, and we end everything in order.
    this.#child = spawn(binary, args, { detached: true, stdio: ["ignore", log, log] });
    this.#child.on("error", () => {}); // seen by isRunning; the log of a program that does not start is empty
    closeSync(log);
  }

  /** Waits until the check holds. Fails with the program's last words when it ends, or when the time is over. */
  async ready(check: () => Promise<boolean>, seconds: number): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!(await check())) {
      if (!this.isRunning) {
        throw new Error(`${this.#program.name} ended before it was ready:\n${this.#lastLines()}`);
      }
      if (Date.now() > deadline) {
        throw new Error(`${this.#program.name} is not ready after ${seconds} s:\n${this.#lastLines()}`);
      }
      await sleep(POLL_MS);
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child && this.isRunning) {
      const ended = once(child, "exit");
      this.#signal(this.#program.endsOn);
      const overdue = setTimeout(() => this.#signal("SIGKILL"), STOP_MS);
      await ended;
      clearTimeout(overdue);
    }
    this.#child = undefined;
  }

  /** Ends the program without waiting for it: all that is possible when this process exits. */
  abandon(): void {
    if (this.isRunning) {
      this.#signal(this.#program.endsOn);
    }
  }

  /** The process ID; 0 while it does not run. */
  get pid(): number {
    return this.isRunning ? (this.#child?.pid ?? 0) : 0;
  }

  get isRunning(): boolean {
    return this.#child?.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  #signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  #lastLines(): string {
    return readFileSync(this.#program.logFile, "utf8").trimEnd().split("\n").slice(-SHOWN_LINES).join("\n");
  }
}

/** Sees that nothing outlives this process, however it ends. Returns what to call after an orderly stop. */
export function cleanUpOnExit(services: Service[], dir: string): () => void {
  const abandon = () => {
    for (const service of services) {
      service.abandon();
    }
    rmSync(dir, { recursive: true, force: true });
  };
  const onSignal = (signal: NodeJS.Signals) => {
    if (process.listenerCount(signal) === 1) {
      process.off(signal, onSignal); // nobody else wants to stop us in order
      abandon();
      process.kill(process.pid, signal);
    }
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  process.on("exit", abandon);
  for (const signal of signals) {
    process.on(signal, onSignal);
  }
  return () => {
    process.off("exit", abandon);
    for (const signal of signals) {
      process.off(signal, onSignal);
    }
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
  };
}

/** Below those that systems hand out by themselves, so that none is taken before its program listens, or while it is stopped. */
const PORTS = { first: 12_000, ofAProcess: 40, processes: 500 };
let tried = (process.pid % PORTS.processes) * PORTS.ofAProcess;

/** Free ports, all different, of a range in which other processes of this project begin elsewhere. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  const all = PORTS.processes * PORTS.ofAProcess;
  for (let attempt = 0; ports.length < count; attempt += 1) {
    if (attempt === all) {
      throw new Error(`no port from ${PORTS.first} to ${PORTS.first + all - 1} is free`);
    }
    const port = PORTS.first + (tried++ % all);
    if (await isFree(port)) {
      ports.push(port);
    }
  }
  return ports;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch {
    return false;
  }
  await once(server.close(), "close");
  return true;
}
