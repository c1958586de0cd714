// Builds the page: page/ -> build/page/, by esbuild, flat, as the Worker serves it. Does nothing when nothing changed.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { PLAYER_STYLE, player } from "./page-player.ts";
import { type Log, progress } from "./progress.ts";

const root = resolve(import.meta.dirname, "..");
const source = join(root, "page");

/** The files that a browser may ask for. The player's come only when a recording is played. */
export const PAGE_FILES = ["index.html", "page.js", "page.css", "refused.css", "icon.svg"] as const;
export const PLAYER_FILES = ["player.js", "player.css"] as const;

/** The largest page that passes, gzipped, without the player. */
export const PAGE_LIMIT_GZIP_BYTES = 40 * 1024;

export interface BuiltPage {
  /** Where the files are. */
  dir: string;
}

export interface PageBuildOptions {
  log?: Log;
  /** Where the page is put, if not in build/page/. */
  dir?: string;
}

export async function buildPage({
  log = progress(),
  dir = join(root, "build/page"),
}: PageBuildOptions = {}): Promise<BuiltPage> {
  const page = { dir };
  // Beside the files: all that lies among them is uploaded.
  const stamp = `${dir}.sha256`;
  const inputs = await hashOfInputs();
  const isCurrent = existsSync(stamp) && (await readFile(stamp, "utf8")) === inputs;
  if (isCurrent && [...PAGE_FILES, ...PLAYER_FILES].every((name) => existsSync(join(dir, name)))) {
    log(`the page is up to date: ${await sizes(page)}`);
    return page;
  }
  log("building the page");
  await rm(stamp, { force: true });
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  const common = { bundle: true, minify: true, legalComments: "none", logLevel: "silent" } as const;
  const script = { ...common, format: "esm", target: "es2022", absWorkingDir: root } as const;
  await Promise.all([
    build({
      ...script,
      entryPoints: [join(source, "src/page.ts")],
      outfile: join(dir, "page.js"),
      // Found beside page.js, when somebody plays a recording.
      plugins: [
        {
          name: "player",
          setup: (of) => of.onResolve({ filter: /\/player\.ts$/ }, () => ({ path: "./player.js", external: true })),
        },
      ],
    }),
    build({
      ...script,
      entryPoints: [join(source, "src/player.ts")],
      outfile: join(dir, "player.js"),
      plugins: [player()],
      legalComments: "eof",
    }),
    ...["page.css", "refused.css"].map((name) =>
      build({
        ...common,
        entryPoints: [join(source, name)],
        outfile: join(dir, name),
        target: ["chrome120", "firefox121", "safari17"],
      }),
    ),
    build({ ...common, entryPoints: [join(root, PLAYER_STYLE)], outfile: join(dir, "player.css") }),
    ...["index.html", "icon.svg"].map((name) => copyFile(join(source, name), join(dir, name))),
  ]);
  await writeFile(stamp, inputs);
  log(`the page is built: ${await sizes(page)}`);
  return page;
}

async function hashOfInputs(): Promise<string> {
  const hash = createHash("sha256");
  const folders = ["page", "deploy/sessions"].map((name) =>
    readdir(join(root, name), { recursive: true, withFileTypes: true }),
  );
  const sources = (await Promise.all(folders))
    .flat()
    .filter((entry) => entry.isFile() && !entry.parentPath.startsWith(join(source, "sample")))
    .map((entry) => join(entry.parentPath, entry.name));
  // The lock names the versions of esbuild, of the player and of what turns its WebAssembly into JavaScript.
  const others = ["dev/page-build.ts", "dev/page-player.ts", "package-lock.json"].map((name) => join(root, name));
  for (const path of [...sources, ...others].sort()) {
    const contents = await readFile(path);
    hash.update(`\n${path.slice(root.length)} ${contents.length}\n`).update(contents);
  }
  return hash.digest("hex");
}

/** Bytes of the page, raw and gzipped: each file by itself, as it is sent. */
export async function pageSizeOf(
  { dir }: BuiltPage,
  names: readonly string[] = PAGE_FILES,
): Promise<{ raw: number; gzip: number }> {
  const files = await Promise.all(names.map((name) => readFile(join(dir, name))));
  return {
    raw: files.reduce((sum, file) => sum + file.length, 0),
    gzip: files.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0),
  };
}

async function sizes(page: BuiltPage): Promise<string> {
  const kilobytes = async (names: readonly string[]) =>
    `${((await pageSizeOf(page, names)).gzip / 1024).toFixed(1)} KB gzip`;
  return `${await kilobytes(PAGE_FILES)}, and ${await kilobytes(PLAYER_FILES)} of player`;
}

if (import.meta.main) {
  await buildPage().catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
