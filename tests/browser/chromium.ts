// Real Chromium, as a visitor has it: none of the switches by which automation turns features off, a profile of its own that
// is not private (Chromium fetches nothing ahead in private windows), and no network but the names that a test gives it.

import { accessSync, constants } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";

const names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/** Where Chromium is: CHROMIUM, or the first of its usual names on the PATH. */
export function findChromium(): string {
  const { CHROMIUM: chosen, PATH: path = "" } = process.env;
  if (chosen) {
    if (!isProgram(chosen)) {
      throw new Error(`CHROMIUM=${chosen} is no program that can be run: set it to where Chromium is, or unset it.`);
    }
    return chosen;
  }
  const candidates = path.split(delimiter).flatMap((dir) => names.map((name) => join(dir, name)));
  const found = candidates.find(isProgram);
  if (!found) {
    throw new Error(
      "No Chromium is found: install it (on Debian: apt-get install chromium), or set CHROMIUM to where it is.",
    );
  }
  return found;
}

export interface ChromiumOptions {
  /** Which port of this machine answers for which `HOST:PORT`; all other names lead nowhere. */
  hosts: Record<string, number>;
  /** SHA-256 of the public keys whose certificates are good, in base64. */
  keys: string[];
}

export interface Chromium {
  context: BrowserContext;
  /** A new tab. */
  tab(): Promise<Page>;
  stop(): Promise<void>;
}

/** Beyond it something hangs. Generous, since the machine may be busy. */
const LIMIT_MS = 60_000;

export async function startChromium({ hosts, keys }: ChromiumOptions): Promise<Chromium> {
  const profile = await mkdtemp(join(tmpdir(), "kube-access-chromium-"));
  const rules = Object.entries(hosts).map(([host, port]) => `MAP ${host} 127.0.0.1:${port}`);
  const remove = () => rm(profile, { recursive: true, force: true, maxRetries: 5 });
  const context = await chromium
    .launchPersistentContext(profile, {
      executablePath: findChromium(),
      ignoreDefaultArgs: true,
      timeout: LIMIT_MS,
      args: [
        ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
        ...["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"],
        `--host-resolver-rules=${[...rules, "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"].join(", ")}`,
        `--ignore-certificate-errors-spki-list=${keys.join(",")}`,
        `--user-data-dir=${profile}`,
        ...["--remote-debugging-pipe", "about:blank"],
      ],
    })
    .catch(async (error) => {
      await remove();
      throw error;
    });
  context.setDefaultTimeout(LIMIT_MS);
  return {
    context,
    tab: () => context.newPage(),
    stop: async () => {
      await context.close();
      await remove();
    },
  };
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
