// Whether a recording is what the gateway wrote. The manifest has the size and the SHA-256 of each chunk, and a chain in which
// each link holds the one before: nothing can be edited, taken out, put in or moved without the chain ending in another value.
// What is made of them is told by verdict.ts; here they are read.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { castPath, chunksOf, chunksPath, type Listed, type Manifest, manifestOf, sessionPath } from "./answers.ts";
import { Failure } from "./failure.ts";
import { type Kubectl, Refused } from "./kubectl.ts";
import { counted } from "./text.ts";
import { type Found, verdictOn } from "./verdict.ts";

/** How many problems are told. */
const SHOWN = 20;
const MANIFEST = "manifest.json";

/** Verifies what lies in the gateway's bucket; says in a sentence that it is as it was, or throws one that says what is not. */
export async function verify(kubectl: Kubectl, id: string): Promise<string> {
  const manifest = await manifestFrom(kubectl, id);
  demandEnded(manifest);
  const listed = chunksOf(await kubectl.getJson(chunksPath(id)));
  const bytes = listed.length > 0 ? kubectl.get(castPath(id)) : [];
  return judged(manifest, await hashed(listed, bytes));
}

/** The same for files from the bucket: manifest.json, and each chunk under the name that it has there. */
export async function verifyDirectory(dir: string, id: string | undefined): Promise<string> {
  const manifest = await manifestIn(dir);
  demandEnded(manifest);
  if (id !== undefined && id !== manifest.id) {
    throw new Failure(`${join(dir, MANIFEST)} is that of session ${manifest.id}.`);
  }
  const named = new Set(manifest.chunks.map(({ name }) => name));
  const found: Found[] = [];
  for (const name of (await orFailure(readdir(dir))).sort()) {
    // What else lies there, such as a cast that was saved, is no chunk.
    if (named.has(name) || /^\d+$/.test(name)) {
      found.push({ name, ...(await orFailure(digest(createReadStream(join(dir, name))))) });
    }
  }
  return judged(manifest, found);
}

async function manifestFrom(kubectl: Kubectl, id: string): Promise<Manifest> {
  try {
    const manifest = manifestOf(await kubectl.getJson(sessionPath(id)), "the manifest");
    if (manifest.id !== id) {
      throw new Failure(`the manifest is that of session ${manifest.id}`);
    }
    return manifest;
  } catch (error) {
    if (error instanceof Refused && error.reason === "NotFound") {
      const lines = [error.message, `Session ${id} has no manifest: there is nothing to verify it by.`];
      throw new Failure(lines.join("\n").trimStart());
    }
    throw error;
  }
}

async function manifestIn(dir: string): Promise<Manifest> {
  const file = join(dir, MANIFEST);
  const text = await orFailure(readFile(file, "utf8"));
  let manifest: unknown;
  try {
    manifest = JSON.parse(text);
  } catch {
    throw new Failure(`${file} is no JSON`);
  }
  return manifestOf(manifest, file);
}

function demandEnded({ id, state }: Manifest): void {
  if (state === "live") {
    throw new Failure(`Session ${id} is still live: its manifest is complete when it has ended.`);
  }
}

/** Takes the cast apart where the bucket's list says that a chunk ends, without ever holding more than what just came. */
async function hashed(listed: Listed[], bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Found[]> {
  const found: Found[] = [];
  let hash = createHash("sha256");
  let size = 0;
  let total = 0;
  const closeFull = () => {
    for (let next = listed[found.length]; next && next.size === size; next = listed[found.length]) {
      found.push({ name: next.name, size, sha256: hash.digest("hex") });
      hash = createHash("sha256");
      size = 0;
    }
  };
  closeFull();
  for await (const part of bytes) {
    total += part.length;
    let rest = part;
    for (let next = listed[found.length]; next && rest.length > 0; next = listed[found.length]) {
      const taken = rest.subarray(0, next.size - size);
      hash.update(taken);
      size += taken.length;
      rest = rest.subarray(taken.length);
      closeFull();
    }
  }
  const expected = listed.reduce((sum, chunk) => sum + chunk.size, 0);
  if (total !== expected) {
    throw new Failure(
      `The cast came with ${counted(total, "byte")}, and its chunks have ${expected} by the bucket's list: try again.`,
    );
  }
  return found;
}

async function digest(bytes: AsyncIterable<Uint8Array>): Promise<{ size: number; sha256: string }> {
  const hash = createHash("sha256");
  let size = 0;
  for await (const part of bytes) {
    hash.update(part);
    size += part.length;
  }
  return { size, sha256: hash.digest("hex") };
}

async function judged(manifest: Manifest, found: Found[]): Promise<string> {
  const { problems, sentence } = await verdictOn(manifest, found);
  if (problems.length > 0) {
    const more = problems.length > SHOWN ? [`and ${problems.length - SHOWN} more`] : [];
    const title = `Session ${manifest.id} is not as the gateway wrote it:`;
    throw new Failure([title, ...problems.slice(0, SHOWN), ...more].join("\n  "));
  }
  return `ok: ${sentence}`;
}

async function orFailure<Value>(reading: Promise<Value>): Promise<Value> {
  try {
    return await reading;
  } catch (error) {
    throw new Failure((error as Error).message);
  }
}
