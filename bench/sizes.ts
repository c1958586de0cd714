// What is uploaded: each file by itself, as an upload is compressed.

import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { LIMIT_GZIP_BYTES } from "../dev/build.ts";
import { type PeerName, peerTitles } from "./peers.ts";
import type { Work } from "./work.ts";

const { bare, jose, ours } = peerTitles;

export const sizeWork: Work = {
  name: "size",
  subjects: { bare, jose, ours },
  figures: [
    { title: "the Worker, gzip", unit: "KB", digits: 1, limit: { atMost: Math.floor(LIMIT_GZIP_BYTES / 1024) } },
  ],
  isExact: true,
  open: async (stage) => ({
    measure: async (name) => {
      const files = await Promise.all(stage.peers[name as PeerName].modules.map((file) => readFile(file)));
      return [files.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0) / 1024];
    },
  }),
};
