// Waits for what must become true, and not a moment longer.

import { setTimeout as sleep } from "node:timers/promises";
import { ownTime } from "../../own-time.ts";

const POLL_MS = 50;

/** The first value of `look` that is neither undefined nor false. Fails, naming what was awaited, after `limitMs`. */
export async function until<T>(what: string, limitMs: number, look: () => T | Promise<T>): Promise<NonNullable<T>> {
  const deadline = ownTime() + limitMs;
  for (;;) {
    const value = await look();
    if (value !== undefined && value !== null && value !== false) {
      return value;
    }
    if (ownTime() > deadline) {
      throw new Error(`not within ${limitMs / 1000} s: ${what}`);
    }
    await sleep(POLL_MS);
  }
}
