// kubectl as a person runs it: as a process, with a kubeconfig, and with nothing of this machine's own settings.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { until } from "./until.ts";

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
  seconds: number;
}

export interface RunOptions {
  input?: string | Buffer | Readable;
  env?: Record<string, string>;
  /** Beyond it kubectl is killed and the test fails: a hang is never an answer. */
  limitMs?: number;
}

const LIMIT_MS = 60_000;

export class Kubectl {
  readonly binary: string;
  readonly environment: Record<string, string>;

  constructor(binary: string, kubeconfigFile: string, home: string) {
    this.binary = binary;
    this.environment = { PATH: process.env.PATH ?? "", HOME: home, KUBECONFIG: kubeconfigFile };
  }

  /** Runs to the end, however it ends. */
  async run(args: string[], options: RunOptions = {}): Promise<Outcome> {
    const running = this.start(args, options);
    const code = await running.end(options.limitMs ?? LIMIT_MS);
    return { code, stdout: running.stdout, stderr: running.stderr, seconds: running.seconds };
  }

  /** Runs to the end, which must be a good one; gives what it printed. */
  async ok(args: string[], options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, options);
    assert.equal(code, 0, `kubectl ${args.join(" ")} ended with ${code}:\n${stderr}${stdout}`);
    return stdout;
  }

  start(args: string[], { input, env = {} }: RunOptions = {}): Running {
    const child = spawn(this.binary, args, {
      env: { ...this.environment, ...env },
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    if (typeof input === "string" || Buffer.isBuffer(input)) {
      child.stdin?.end(input);
    } else if (input) {
      input.pipe(child.stdin as NodeJS.WritableStream);
    }
    return new Running(child, `kubectl ${args.join(" ")}`);
  }
}

/** A kubectl that runs, or any program beside it. */
export class Running {
  readonly child: ChildProcess;
  readonly #name: string;
  readonly #started = performance.now();
  readonly #closed: Promise<unknown>;
  #ended = 0;
  stdout = "";
  stderr = "";

  constructor(child: ChildProcess, name: string) {
    this.child = child;
    this.#name = name;
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      this.stdout += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text) => {
      this.stderr += text;
    });
    child.stdin?.on("error", () => {}); // the program ended before it had read everything
    this.#closed = once(child, "close").finally(() => {
      this.#ended = performance.now();
    });
    this.#closed.catch(() => {}); // told by end()
  }

  get seconds(): number {
    return ((this.#ended || performance.now()) - this.#started) / 1000;
  }

  /** What a pattern finds on stdout or stderr, as soon as it is there. */
  async prints(pattern: RegExp, limitMs = LIMIT_MS): Promise<RegExpMatchArray> {
    const found = () => this.stdout.match(pattern) ?? this.stderr.match(pattern) ?? undefined;
    return until(`${this.#name} prints ${pattern}`, limitMs, () => {
      const match = found();
      assert.ok(
        match || !this.#ended,
        `${this.#name} ended without printing ${pattern}:\n${this.stderr}${this.stdout}`,
      );
      return match;
    });
  }

  /** The exit status; null when a signal ended it. Kills it, and fails, when it takes too long. */
  async end(limitMs = LIMIT_MS): Promise<number | null> {
    let isOverdue = false;
    const timer = setTimeout(() => {
      isOverdue = true;
      this.child.kill("SIGKILL");
    }, limitMs);
    await this.#closed;
    clearTimeout(timer);
    assert.ok(
      !isOverdue,
      `${this.#name} was still running after ${limitMs / 1000} s:\n${this.stderr}${this.stdout.slice(-2000)}`,
    );
    return this.child.exitCode;
  }

  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.child.kill(signal);
    await this.#closed;
  }
}
