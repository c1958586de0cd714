// Progress lines with the seconds since the start in front.

export type Log = (line: string) => void;

export function progress(write: Log = console.error): Log {
  const started = performance.now();
  return (line) => write(`[${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s] ${line}`);
}
