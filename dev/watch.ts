// Notices when a part of the running stack is gone.

import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const EVERY_MS = 2_000;
const TOLERATED_MISSES = 3;

export interface Watched {
  name: string;
  host: string;
  port: number;
}

/** Settles when one of the parts has refused connections several times in a row: with its name. Until `signal` fires. */
export async function firstToFail(parts: Watched[], signal: AbortSignal): Promise<string | undefined> {
  const misses = new Map<Watched, number>();
  while (!signal.aborted) {
    for (const part of parts) {
      const count = (await accepts(part)) ? 0 : (misses.get(part) ?? 0) + 1;
      misses.set(part, count);
      if (count > TOLERATED_MISSES) {
        return part.name;
      }
    }
    await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

function accepts({ host, port }: Watched): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: EVERY_MS });
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on("connect", () => settle(true));
    socket.on("error", () => settle(false));
    socket.on("timeout", () => settle(false));
  });
}
