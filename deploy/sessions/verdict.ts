// The verdict on a recording: the chunks that were found, held against the manifest and its chain. It needs WebCrypto and nothing
// else, since the command line and the page both import it.

import type { Chunk, Listed, Manifest } from "./answers.ts";
import { counted, visible } from "./text.ts";

/** A chunk as it was read. */
export interface Found extends Listed {
  sha256: string;
}

export interface Verdict {
  /** What is not as the gateway wrote it; none if all is. */
  problems: string[];
  /** What was recorded, where nothing is wrong. */
  sentence: string;
}

export async function verdictOn(manifest: Manifest, found: Found[]): Promise<Verdict> {
  const problems = [...(await chainProblems(manifest)), ...chunkProblems(manifest.chunks, found)];
  return { problems, sentence: sentenceOf(manifest.chunks) };
}

export async function sha256(bytes: Uint8Array<ArrayBuffer> | ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function sentenceOf(chunks: Chunk[]): string {
  const last = chunks.at(-1);
  if (!last) {
    return "0 chunks, 0 bytes: nothing of this session was recorded";
  }
  const bytes = chunks.reduce((sum, { size }) => sum + size, 0);
  return `${counted(chunks.length, "chunk")}, ${counted(bytes, "byte")}, chain ends in ${last.chain}`;
}

async function chainProblems({ id, chunks }: Manifest): Promise<string[]> {
  const problems: string[] = [];
  for (const [index, chunk] of chunks.entries()) {
    const before = chunks[index - 1];
    const name = visible(chunk.name);
    const link = `${before?.chain ?? id} ${chunk.name} ${chunk.size} ${chunk.sha256}`;
    if ((await sha256(new TextEncoder().encode(link))) !== chunk.chain) {
      problems.push(`the chain breaks at chunk ${name}: the manifest was edited there, or just before it`);
    }
    // The cast follows the names: in another order than this it would not be what was seen.
    if (before && before.name >= chunk.name) {
      problems.push(`chunk ${name} is out of order in the manifest`);
    }
  }
  return problems;
}

function chunkProblems(chunks: Chunk[], found: Found[]): string[] {
  const byName = new Map(found.map((chunk) => [chunk.name, chunk]));
  const names = new Set(chunks.map(({ name }) => name));
  const wrong = chunks.flatMap((chunk) => {
    const name = visible(chunk.name);
    const actual = byName.get(chunk.name);
    if (!actual) {
      return [`chunk ${name} is missing`];
    }
    if (isSame(chunk, actual)) {
      return [];
    }
    const origin = chunks.find((other) => isSame(other, actual));
    return origin
      ? [`chunk ${name} is out of order: it holds what was written as chunk ${visible(origin.name)}`]
      : [
          `chunk ${name} was edited: it had ${chunk.size} bytes and SHA-256 ${chunk.sha256}, and has ${actual.size} and ${actual.sha256}`,
        ];
  });
  const added = found.filter(({ name }) => !names.has(name)).map(({ name }) => `chunk ${visible(name)} was added`);
  return [...wrong, ...added];
}

function isSame(one: Found, other: Found): boolean {
  return one.size === other.size && one.sha256 === other.sha256;
}
