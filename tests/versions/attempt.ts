// One command with one kubectl: whether it works by itself, with a variable, or not at all, and what kubectl then says.

import { mkdtemp } from "node:fs/promises";
import { basename, join } from "node:path";
import { Kubectl, type Running } from "../e2e/cluster/kubectl.ts";
import type { Site } from "../e2e/cluster/site.ts";
import type { Command } from "./commands.ts";

const LIMIT_MS = 60_000;

/** The cell of the table. */
export async function outcome(command: Command, kubectl: string, site: Site): Promise<string> {
  const plain = await attempt(command, kubectl, site, {});
  if (plain === undefined) {
    return "yes";
  }
  const { variable } = command;
  if (variable && (await attempt(command, kubectl, site, { [variable]: "true" })) === undefined) {
    return `with ${variable}=true`;
  }
  return `no: ${plain}`;
}

/** What went wrong, or undefined. */
async function attempt(
  command: Command,
  kubectl: string,
  site: Site,
  env: Record<string, string>,
): Promise<string | undefined> {
  // A home of its own for each: kubectl caches what it discovers there, and versions must not live off each other's.
  const attempt = new Attempt(kubectl, site, await mkdtemp(join(site.dir, "attempt-")), env);
  try {
    await command.prove(attempt);
    return undefined;
  } catch (error) {
    return attempt.lastWords() ?? (error as Error).message.split("\n")[0] ?? "";
  } finally {
    await attempt.end();
  }
}

export class Attempt {
  /** A folder of this attempt's own. */
  readonly dir: string;
  /** A name of its own, fit for objects and files. */
  readonly id: string;
  /** kubectl past the gateway, for what must be so before and after. */
  readonly admin: Kubectl;
  readonly #kubectl: Kubectl;
  readonly #env: Record<string, string>;
  readonly #started: Running[] = [];

  constructor(binary: string, site: Site, dir: string, env: Record<string, string>) {
    this.dir = dir;
    this.id = basename(dir).toLowerCase();
    this.admin = site.admin;
    // alice may do everything, so that what fails here fails on the way.
    this.#kubectl = new Kubectl(binary, site.as("alice").environment.KUBECONFIG ?? "", dir);
    this.#env = env;
  }

  start(args: string[], input?: string): Running {
    const running = this.#kubectl.start(args, { env: this.#env, ...(input === undefined ? {} : { input }) });
    this.#started.push(running);
    return running;
  }

  /** Runs to the end, which must have this exit code; gives what kubectl printed. */
  async run(args: string[], input?: string, expected = 0): Promise<string> {
    const running = this.start(args, input);
    const code = await running.end(LIMIT_MS);
    if (code !== expected) {
      throw new Error(`kubectl ${args[0]} ended with exit code ${code} instead of ${expected}`);
    }
    return running.stdout;
  }

  /** The last line that kubectl wrote to stderr: the refusal, when there is one. */
  lastWords(): string | undefined {
    return this.#started
      .at(-1)
      ?.stderr.split("\n")
      .findLast((line) => line.trim() !== "");
  }

  async end(): Promise<void> {
    await Promise.all(this.#started.map((running) => running.stop()));
  }
}
