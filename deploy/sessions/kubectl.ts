// The gateway's own paths, asked for by kubectl. Whatever lets kubectl in, a token, a certificate, a program that the kubeconfig
// names or a proxy on this machine, lets this in too: no credential is read, kept or passed on here.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { PassThrough, pipeline } from "node:stream";
import { Failure } from "./failure.ts";
import { visibleLines } from "./text.ts";

/** How far kubectl may be ahead of a slow reader, so that one who plays a cast does not keep the gateway waiting. */
const READ_AHEAD_BYTES = 32 << 20;
/** How much is kept of what kubectl complains of. */
const COMPLAINT_CHARACTERS = 16_384;

export interface KubectlOptions {
  program: string;
  kubeconfig?: string | undefined;
  context?: string | undefined;
  /** Ends what still runs. */
  signal: AbortSignal;
}

/** kubectl did not do what it was asked for. What it said has been told, or is the message. */
export class Refused extends Failure {
  /** The API's word for it, such as NotFound, where there was an answer. */
  readonly reason: string | undefined;

  constructor(message: string, reason: string | undefined) {
    super(message);
    this.reason = reason;
  }
}

export class Kubectl {
  readonly #program: string;
  readonly #options: string[];
  readonly #signal: AbortSignal;

  constructor({ program, kubeconfig, context, signal }: KubectlOptions) {
    this.#program = program;
    this.#signal = signal;
    this.#options = [
      ...(kubeconfig === undefined ? [] : ["--kubeconfig", kubeconfig]),
      ...(context === undefined ? [] : ["--context", context]),
    ];
  }

  /** The answer to a GET, as it comes. Throws at its end if that was no good one. */
  get(path: string): AsyncGenerator<Uint8Array> {
    return this.#run(["get", "--raw", path]);
  }

  async getJson(path: string): Promise<unknown> {
    return parse(await text(this.get(path)));
  }

  async deleteJson(path: string): Promise<unknown> {
    return parse(await text(this.#run(["delete", "--raw", path])));
  }

  async *#run(args: string[]): AsyncGenerator<Uint8Array> {
    // A program that signs in may ask on the terminal: kubectl has the keyboard, and what it says is told at once.
    const child = spawn(this.#program, [...this.#options, ...args], {
      stdio: ["inherit", "pipe", "pipe"],
      signal: this.#signal,
    });
    const complaint = new Complaint(child);
    const closed = once(child, "close");
    closed.catch(() => {}); // what it rejects with is thrown where it is awaited
    try {
      await once(child, "spawn");
      const output = pipeline(child.stdout, new PassThrough({ highWaterMark: READ_AHEAD_BYTES }), () => {});
      for await (const bytes of output) {
        complaint.hold();
        yield bytes;
      }
      const [code, killedBy] = await closed;
      if (code !== 0) {
        throw complaint.refusal(killedBy ? `was ended by ${killedBy}` : `failed with exit status ${code}`);
      }
    } catch (error) {
      throw this.#doesNotRun(error as NodeJS.ErrnoException) ?? error;
    } finally {
      child.kill();
    }
  }

  #doesNotRun({ code, syscall, message }: NodeJS.ErrnoException): Failure | undefined {
    if (!syscall?.startsWith("spawn")) {
      return undefined;
    }
    const remedy = "install it (https://kubernetes.io/docs/tasks/tools/), or say where it is: --kubectl PATH";
    const what = code === "ENOENT" ? "is missing" : `does not run (${message})`;
    return new Failure(`${this.#program} ${what}: ${remedy}`);
  }
}

/** What kubectl writes on stderr: told as it comes until the answer begins, kept from then on. */
class Complaint {
  #heard = "";
  #kept = "";
  #isHeld = false;

  constructor({ stderr }: ChildProcess) {
    stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#heard = (this.#heard + text).slice(-COMPLAINT_CHARACTERS);
      if (this.#isHeld) {
        this.#kept = (this.#kept + text).slice(-COMPLAINT_CHARACTERS);
      } else {
        process.stderr.write(visibleLines(text));
      }
    });
  }

  /** The terminal may be somebody else's from now on. */
  hold(): void {
    this.#isHeld = true;
  }

  refusal(how: string): Refused {
    const [, reason] = this.#heard.match(/^Error from server \((\w+)\): /m) ?? [];
    const kept = this.#kept.trim();
    const said = kept === "" && this.#heard === "" ? `kubectl ${how}` : kept;
    const lines = [said, adviceOn(this.#heard) ?? ""].filter((line) => line !== "");
    return new Refused(lines.join("\n"), reason);
  }
}

/** These are an API server's own words: no gateway stands before it, or one that knows of no sessions. */
function adviceOn(heard: string): string | undefined {
  const isElsewhere =
    /cannot \w+ path "\/\.kube-access/.test(heard) ||
    heard.includes("the server could not find the requested resource");
  return isElsewhere
    ? "This kubeconfig may lead past the gateway: name another with --kubeconfig FILE or --context NAME."
    : undefined;
}

async function text(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of bytes) {
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new Failure("What answered does not speak JSON: see that the kubeconfig leads to the gateway.");
  }
}
