// A map of 100,000 identities against one of 10, each compiled into a kube-access of its own.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildWorker } from "../dev/build.ts";
import { cacheDir } from "../dev/cache.ts";
import { rateAndCpu } from "./http.ts";
import { builtIn, type Peer } from "./peers.ts";
import { httpRequest, mint } from "./requests.ts";
import type { Work } from "./work.ts";

const SIZES = { few: 10, many: 100_000 };

/** Who asks: people whom both maps name. */
const CALLERS = 10;

export const identityWork: Work = {
  name: "identities",
  subjects: { few: "kube-access, 10 identities", many: "kube-access, 100,000 identities" },
  figures: [
    {
      title: "100,000 compiled identities, 8 connections",
      unit: "req/s",
      digits: 0,
      goals: { few: { atLeast: 0.97 } },
    },
    { title: "the same: CPU time of workerd", unit: "µs/req", digits: 1 },
  ],
  isSlow: true,
  open: async (stage) => {
    const emails = Array.from({ length: CALLERS }, (_, index) => emailOf(index));
    const tokens = await Promise.all(emails.map((email) => mint(stage.certs.keys, email)));
    await stage.keep(
      "small",
      tokens.map((token) => httpRequest("/api/v1/namespaces/default/pods/web", token)),
    );
    const few = await buildMap(`identities-${SIZES.few}`, mapOf(SIZES.few));
    const many = await buildMap(`identities-${SIZES.many}`, mapOf(SIZES.many));
    return {
      measure: async (name, round) => rateAndCpu(stage, await stage.running(name === "few" ? few : many), 8, round),
    };
  },
};

function emailOf(index: number): string {
  return `user-${index}@example.com`;
}

function mapOf(size: number): string {
  const entries = Array.from({ length: size }, (_, index) => {
    return `  - email: ${emailOf(index)}\n    user: user-${index}\n    groups: [developers, team-${index % 100}]\n`;
  });
  return `identities:\n${entries.join("")}`;
}

/** A kube-access with another map: built once for each state of the sources, outside of the work tree. */
export async function buildMap(name: string, map: string): Promise<Peer> {
  const dir = join(cacheDir, "bench", name);
  const identities = join(dir, "identities.yaml");
  await mkdir(dir, { recursive: true });
  await writeFile(identities, map);
  await buildWorker({ log: () => {}, dir, identities });
  return builtIn(dir);
}
