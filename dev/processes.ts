// The processes that this one has started, directly or not.

import { execFileSync } from "node:child_process";

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
