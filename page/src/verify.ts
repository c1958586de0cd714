// Reads the chunks of a recording one by one, and has them judged as `npm run sessions -- verify` does.

import { chunksOf, chunksPath, type Manifest } from "../../deploy/sessions/answers.ts";
import { type Found, sha256, type Verdict, verdictOn } from "../../deploy/sessions/verdict.ts";
import { chunkPath } from "./api.ts";
import { getBytes, getJson } from "./client.ts";

export async function verify(
  manifest: Manifest,
  signal: AbortSignal,
  onProgress: (done: number, all: number) => void,
): Promise<Verdict> {
  const listed = chunksOf(await getJson(chunksPath(manifest.id), signal));
  const found: Found[] = [];
  for (const { name } of listed) {
    const chunk = await getBytes(chunkPath(manifest.id, name), signal);
    found.push({ name, size: chunk.byteLength, sha256: await sha256(chunk) });
    onProgress(found.length, listed.length);
  }
  return verdictOn(manifest, found);
}

export function recordedBytes({ chunks }: Manifest): number {
  return chunks.reduce((sum, { size }) => sum + size, 0);
}
