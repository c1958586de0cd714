// One check: what it shows, what must hold before it makes sense, and what came out.

/** What a check may still take to say why it ran out of time. One that cannot be ended, such as DNS, is left behind. */
const LEAVING_MS = 200;

/** What came out. `fix` says what to do about a failure, or how to have checked what was not. */
export interface Outcome {
  result: "ok" | "failed" | "not checked";
  detail: string;
  fix?: string;
}

export interface Check {
  id: string;
  /** What holds when the check is ok, as a sentence. */
  what: string;
  /** IDs of earlier checks without which this one says nothing. */
  needs?: string[];
  /** `signal` ends what still runs when the time limit has passed. */
  run(signal: AbortSignal): Promise<Outcome>;
}

export interface Finding extends Outcome {
  id: string;
  what: string;
}

export const ok = (detail: string): Outcome => ({ result: "ok", detail });
export const failed = (detail: string, fix: string): Outcome => ({ result: "failed", detail, fix });
export const notChecked = (detail: string, fix?: string): Outcome => {
  return { result: "not checked", detail, ...(fix ? { fix } : {}) };
};

/** Runs the checks in their order, each within the time limit, and tells of each as soon as it is done. */
export async function examine(checks: Check[], limitMs: number, tell: (finding: Finding) => void): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { id, what, needs = [], run } of checks) {
    const missing = findings.find((earlier) => needs.includes(earlier.id) && earlier.result !== "ok");
    const outcome = missing ? without(missing) : await withinLimit(run, limitMs);
    // Much of a detail comes from whatever answered: it must not reach the terminal as control sequences.
    const detail = outcome.detail.replace(/[\p{Cc}\p{Cf}]+/gu, " ");
    const finding = { id, what, ...outcome, detail };
    findings.push(finding);
    tell(finding);
  }
  return findings;
}

/** A chain of skipped checks keeps the reason of the first one. */
function without(missing: Finding): Outcome {
  return missing.result === "failed"
    ? notChecked(`the check "${missing.id}" has to be ok first`)
    : notChecked(missing.detail, missing.fix);
}

async function withinLimit(run: Check["run"], limitMs: number): Promise<Outcome> {
  const signal = AbortSignal.timeout(limitMs);
  const limit = Promise.withResolvers<never>();
  const timer = setTimeout(() => limit.reject(signal.reason), limitMs + LEAVING_MS);
  try {
    return await Promise.race([run(signal), limit.promise]);
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    if (signal.aborted) {
      return failed(
        `not done after ${limitMs / 1000} s`,
        "Find out what does not answer, or allow more time with --timeout.",
      );
    }
    return failed(`${code ? `${code}: ` : ""}${message}`, "Check the network between this machine and the deployment.");
  } finally {
    clearTimeout(timer);
  }
}
