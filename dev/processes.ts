// The processes that this one has started, directly or not.

import { execFileSync } from "node:child_process";
import { output } from "./command.ts";

/** Sends a signal to every descendant. For the moment when asking each part to stop is no longer an option. */
export function signalDescendants(signal: NodeJS.Signals): void {
  for (const pid of descendants(process.pid)) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended by itself meanwhile.
    }
  }
}

function descendants(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const line of execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n")) {
    const [pid = 0, parent = 0] = line.trim().split(/\s+/).map(Number);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found: number[] = [];
  for (let pids = children.get(root) ?? []; pids.length > 0; pids = pids.flatMap((pid) => children.get(pid) ?? [])) {
    found.push(...pids);
  }
  return found;
}

/** The workerd processes that this one has started; miniflare does not tell which is its. */
export async function workerds(): Promise<number[]> {
  const list = (await output("ps", ["-A", "-o", "pid=,ppid=,comm="])) ?? "";
  return list
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, name]) => Number(parent) === process.pid && name?.endsWith("workerd"))
    .map(([pid]) => Number(pid));
}
