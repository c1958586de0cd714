// Plays a recording, an asciicast v2, in this terminal. What was recorded reaches it as it was: colours, a full screen, the
// cursor. Therefore the terminal is put right when it ends, whoever ends it, and what it answers is not typed into a shell.
// https://docs.asciinema.org/manual/asciicast/v2/

import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as wait } from "node:timers/promises";
import { Failure } from "./failure.ts";

const MAX_LINE_CHARACTERS = 16 << 20;
/** A terminal that stood still for longer, or a slow one, does not get all that is late at once. */
const CATCH_UP_MS = 500;
const MAX_WAIT_MS = 2 ** 31 - 1;
/** How long a terminal may take to answer what it was asked last. */
const ANSWERS_MS = 100;
const INTERRUPT = "\x03";

/** Leaves the terminal as a shell expects it. */
export const RESET = [
  // Leaving the alternate screen restores a cursor, also where it was never entered; and so does the next line.
  "\x1b7\x1b[?1049l",
  "\x1b7\x1b[r\x1b8", // the whole screen scrolls
  "\x1b[?1l\x1b>", // cursor keys and keypad as in a shell
  "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l", // the mouse and the focus are not told
  "\x1b[?2004l\x1b[?2026l", // pasted text comes as it is, and what is written is shown
  "\x1b(B\x0f", // letters, no line drawing
  "\x1b[?7h", // long lines wrap
  "\x1b[?25h", // the cursor is seen
  "\x1b[0m", // no colours
].join("");

export interface Pace {
  speed: number;
  /** No wait is longer, in seconds of the recording. */
  idle: number;
}

interface Header {
  width: number;
  height: number;
}

/** Plays to the end, or until the signal, which is no failure. */
export async function play(cast: AsyncIterable<Uint8Array>, pace: Pace, stop: AbortController): Promise<void> {
  const screen = process.stdout;
  const { signal } = stop;
  const keyboard = new Keyboard(() => stop.abort());
  let isShown = false;
  let due = performance.now();
  let last = 0;
  try {
    for await (const event of events(cast, warnOfSize)) {
      if (!isShown) {
        keyboard.take();
        isShown = true;
        due = performance.now();
      }
      const gap = Math.min(Math.max(0, event.time - last), pace.idle);
      last = event.time;
      due = Math.max(due + (gap * 1000) / pace.speed, performance.now() - CATCH_UP_MS);
      const early = due - performance.now();
      if (early > 0) {
        await wait(Math.min(early, MAX_WAIT_MS), undefined, { signal });
      }
      signal.throwIfAborted();
      await write(screen, event.text, signal);
    }
  } catch (error) {
    if (!signal.aborted) {
      throw error;
    }
  } finally {
    if (isShown) {
      screen.write(RESET);
      await keyboard.giveBack();
    }
  }
}

/** Saves the cast as it comes, for asciinema and other players. Leaves no half of one. */
export async function save(cast: AsyncIterable<Uint8Array>, file: string, signal: AbortSignal): Promise<number> {
  // What was on the screen may be a secret: nobody else may read the file.
  const output = createWriteStream(file, { flags: "wx", mode: 0o600 });
  let isOpen = false;
  output.once("open", () => {
    isOpen = true;
  });
  try {
    await once(output, "open");
    await pipeline(Readable.from(cast), output, { signal });
    return output.bytesWritten;
  } catch (error) {
    if (isOpen) {
      await rm(file, { force: true });
    }
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") {
      throw new Failure(`${file} is there already: name another file, or remove it`);
    }
    throw syscall === "open" || syscall === "write" ? new Failure(message) : error;
  }
}

interface Output {
  time: number;
  text: string;
}

/** The cast's output: "o". A resize, "e" (which characters were of stderr), input and markers show nothing. */
async function* events(cast: AsyncIterable<Uint8Array>, onHeader: (header: Header) => void): AsyncGenerator<Output> {
  let number = 0;
  for await (const { text, isWhole } of lines(cast)) {
    number += 1;
    const value = parsed(text);
    if (number === 1) {
      onHeader(headerOf(value));
    } else if (value === undefined && !isWhole) {
      // A session that was cut off, or is still live.
      return;
    } else if (text.trim() !== "") {
      const [time, kind, data] = Array.isArray(value) ? value : [];
      if (typeof time !== "number" || typeof kind !== "string") {
        throw new Failure(
          `line ${number} of the recording is no event: npm run sessions -- verify tells whether it was edited`,
        );
      }
      if (kind === "o" && typeof data === "string") {
        yield { time, text: data };
      }
    }
  }
  if (number === 0) {
    throw new Failure("the recording is empty");
  }
}

function headerOf(value: unknown): Header {
  const { version, width, height } = (value ?? {}) as { version?: unknown; width?: unknown; height?: unknown };
  if (version !== 2) {
    throw new Failure("what came is no recording: an asciicast v2 was expected");
  }
  return { width: Number(width), height: Number(height) };
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

async function* lines(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<{ text: string; isWhole: boolean }> {
  const decoder = new TextDecoder();
  let parts: string[] = [];
  let length = 0;
  for await (const chunk of bytes) {
    const [first = "", ...others] = decoder.decode(chunk, { stream: true }).split("\n");
    parts.push(first);
    length += first.length;
    for (const next of others) {
      yield { text: parts.join(""), isWhole: true };
      parts = [next];
      length = next.length;
    }
    if (length > MAX_LINE_CHARACTERS) {
      throw new Failure(`a line of the recording has more than ${MAX_LINE_CHARACTERS} characters`);
    }
  }
  const text = parts.join("") + decoder.decode();
  if (text !== "") {
    yield { text, isWhole: false };
  }
}

function warnOfSize({ width, height }: Header): void {
  const { isTTY, columns, rows } = process.stdout;
  const isKnown = isTTY && columns > 0 && rows > 0;
  if (isKnown && (width > columns || height > rows)) {
    console.error(
      `Recorded in ${width}x${height}; this terminal has ${columns}x${rows}, and shows some of it elsewhere.`,
    );
  }
}

async function write(screen: Writable, text: string, signal: AbortSignal): Promise<void> {
  if (!screen.write(text)) {
    await once(screen, "drain", { signal });
  }
}

/**
 * What a recording asks the terminal, such as where the cursor is, the terminal answers as if it were typed. Nobody may have a
 * shell run that: while a cast plays, all that comes from the keyboard is dropped, but Ctrl-C.
 */
class Keyboard {
  readonly #onInterrupt: () => void;
  readonly #listener: (bytes: Buffer) => void;
  #isTaken = false;

  constructor(onInterrupt: () => void) {
    this.#onInterrupt = onInterrupt;
    this.#listener = (bytes) => {
      if (bytes.includes(INTERRUPT)) {
        this.#onInterrupt();
      }
    };
  }

  take(): void {
    if (process.stdin.isTTY) {
      process.stdin.setRawMode(true).on("data", this.#listener).resume();
      this.#isTaken = true;
    }
  }

  async giveBack(): Promise<void> {
    if (this.#isTaken) {
      await wait(ANSWERS_MS);
      process.stdin.off("data", this.#listener).pause().setRawMode(false);
    }
  }
}
