// Runs other programs: quietly while they succeed, with their last words when they fail.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { BuildSteps } from "./build-steps.ts";
import type { Log } from "./progress.ts";

const REPORT_EVERY_MS = 10_000;
const KEPT_LINES = 60;

export interface CommandOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Hears now and then what the program is at, so that a long build shows that it is alive. */
  log?: Log;
  signal?: AbortSignal | undefined;
}

/** Runs a program to its end. Rejects with its last lines when it fails, and with a hint when it is missing. */
export function run(program: string, args: string[], options: CommandOptions = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    const { cwd, env = process.env, log, signal } = options;
    const child = spawn(program, args, { cwd, env, signal, stdio: ["ignore", "pipe", "pipe"] });
    const name = program.split("/").at(-1) ?? program;
    const steps = new BuildSteps(name);
    const lines: string[] = [];
    for (const input of [child.stdout, child.stderr]) {
      createInterface({ input }).on("line", (line) => {
        if (line.trim() !== "") {
          steps.hear(line);
          lines.push(line);
          lines.splice(0, lines.length - KEPT_LINES);
        }
      });
    }
    const started = Date.now();
    const reporter = setInterval(() => {
      const seconds = Math.round((Date.now() - started) / 1000);
      log?.(`  ${name}: ${steps.latest} (${seconds} s)`);
    }, REPORT_EVERY_MS);
    child.on("error", (error) => {
      clearInterval(reporter);
      reject(new Error(`${program} does not start: ${error.message}`, { cause: error }));
    });
    child.on("close", (code, killedBy) => {
      clearInterval(reporter);
      if (code === 0) {
        resolve();
      } else {
        const how = killedBy ? `was ended by ${killedBy}` : `failed with exit status ${code}`;
        reject(new Error(`${name} ${args.join(" ")} ${how}:\n${lines.join("\n")}`));
      }
    });
  });
}

/** What a program prints on stdout, or undefined when it is missing or fails. */
export function output(program: string, args: string[], cwd?: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "ignore"] });
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
    });
    child.on("error", () => resolve(undefined));
    child.on("close", (code) => resolve(code === 0 ? text.trim() : undefined));
  });
}
