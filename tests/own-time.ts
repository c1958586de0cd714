// Time as this process is given it. On a busy machine it goes by more slowly, as everything does that a test waits for: a limit in
// it is as strict on an idle machine, and as patient on a busy one.

const TICK_MS = 50;

let ticks = 0;
// Ticks that were missed do not come twice.
setInterval(() => {
  ticks += 1;
}, TICK_MS).unref();

/** Milliseconds since the process began, less those in which it had to stand aside. */
export function ownTime(): number {
  return ticks * TICK_MS;
}
