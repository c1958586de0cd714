// How much memory a process has had. Linux tells; elsewhere the figure is missing.

import { readFileSync, writeFileSync } from "node:fs";

const KIB = 1024;
const MEGABYTE = 1_000_000;

/** The highest that a process's resident set gets over what it is now. */
export class PeakMemory {
  readonly #pid: number;
  readonly #before: number;

  constructor(pid: number) {
    this.#pid = pid;
    this.#before = status(pid, "VmRSS");
    try {
      // proc_pid_clear_refs(5): the peak is what it is now.
      writeFileSync(`/proc/${pid}/clear_refs`, "5");
    } catch {
      // The peak so far stays, or there is no such file, and no figure.
    }
  }

  megabytes(): number {
    return (peakOf(this.#pid) - this.#before) / MEGABYTE;
  }

  /** What it is now. */
  now(): number {
    return (status(this.#pid, "VmRSS") - this.#before) / MEGABYTE;
  }
}

/** The most that a process has had since it began, in bytes; not a number once it has ended. */
export function peakOf(pid: number): number {
  return status(pid, "VmHWM");
}

/** In bytes. */
function status(pid: number, name: string): number {
  try {
    return (
      Number(readFileSync(`/proc/${pid}/status`, "utf8").match(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m"))?.[1]) * KIB
    );
  } catch {
    return Number.NaN;
  }
}
