// A map of 100,000 identities against one of 10, each compiled into a kube-access of its own.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { buildTools } from "../dev/build-tools.ts";
import { cacheDir } from "../dev/cache.ts";
import { run } from "../dev/command.ts";
import { progress } from "../dev/progress.ts";
import { rateAndCpu } from "./http.ts";
import { builtIn, type Peer } from "./peers.ts";
import { httpRequest, mint } from "./requests.ts";
import type { Work } from "./work.ts";

const root = resolve(import.meta.dirname, "..");
const SIZES = { few: 10, many: 100_000 };

/** In both maps, so that the same caller is looked up in each; more than any isolate has remembered before the round. */
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
    const few = await stage.start(await buildWith(SIZES.few));
    const many = await stage.start(await buildWith(SIZES.many));
    return {
      measure: (name) => rateAndCpu(stage, name === "few" ? few : many, 8),
      close: async () => {
        await Promise.all([few.stop(), many.stop()]);
      },
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

/** Built once for each state of the sources, outside of the work tree. */
async function buildWith(size: number): Promise<Peer> {
  const log = progress();
  const tools = await buildTools(log);
  const map = mapOf(size);
  const sources = await readFile(join(root, "build/.inputs.sha256"), "utf8");
  const key = createHash("sha256").update(sources).update(map).digest("hex").slice(0, 16);
  const dir = join(cacheDir, "bench", `identities-${key}`);
  if (!existsSync(join(dir, "index_bg.wasm"))) {
    log(`building kube-access with ${size} identities (once for each state of src/)`);
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, "identities.yaml"), map);
    const out = join(dir, "build");
    await run(tools.workerBuild, ["--release", "--out-dir", out], {
      cwd: root,
      log,
      env: {
        ...process.env,
        KUBE_ACCESS_IDENTITIES: join(dir, "identities.yaml"),
        CARGO_TARGET_DIR: join(cacheDir, "bench/target"),
        ESBUILD_BIN: tools.esbuild,
        WASM_BINDGEN_BIN: tools.wasmBindgen,
        WASM_OPT_BIN: tools.wasmOpt,
      },
    });
    await copyFile(join(out, "index.js"), join(dir, "index.js"));
    await copyFile(join(out, "index_bg.wasm"), join(dir, "index_bg.wasm"));
  }
  return builtIn(dir);
}
