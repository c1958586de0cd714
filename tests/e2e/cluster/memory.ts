// How much memory a process takes while something happens to it.

import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const SAMPLE_MS = 100;

export interface MemoryReport {
  baseline: number;
  peak: number;
  /** How far the peak lies over the baseline, in bytes. */
  growth: number;
}

/** The memory that the process occupies now, in bytes (its resident set). */
export async function residentBytes(pid: number): Promise<number> {
  const { stdout } = await promisify(execFile)("ps", ["-o", "rss=", "-p", String(pid)]);
  return Number(stdout) * 1024;
}

/** Watches a process from now on, until `stop` gives the report. */
export function memoryOf(pid: number): { stop(): Promise<MemoryReport> } {
  let isOver = false;
  const watching = (async () => {
    const baseline = await residentBytes(pid);
    let peak = baseline;
    while (!isOver) {
      await sleep(SAMPLE_MS);
      peak = Math.max(peak, await residentBytes(pid));
    }
    return { baseline, peak, growth: peak - baseline };
  })();
  watching.catch(() => {}); // told by stop()
  return {
    stop: () => {
      isOver = true;
      return watching;
    },
  };
}
