// `npm run page:screenshots`: the pictures of README.md and docs/page.md, from the sample data, at a clock that stands still.

import { stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { findChromium } from "../tests/browser/chromium.ts";
import { buildPage } from "./page-build.ts";
import { startPageServer } from "./page-server.ts";
import { progress } from "./progress.ts";

const root = resolve(import.meta.dirname, "..");
const NOW = Date.parse("2026-11-26T12:00:00Z");
/** The largest picture that a README should have. */
const LIMIT_BYTES = 200_000;
/** A session of the sample whose recording is whole. */
const SESSION = "8204310099999-2bd806c97f0e00af-0000000000000002";

interface Picture {
  name: string;
  state?: string;
  hash: string;
  options: BrowserContextOptions;
  /** What has to be there, and whatever has to be done first. */
  prepare(page: Page): Promise<void>;
  /** The part of the page that is shown, with some room around it, if not all of the window. */
  part?: string;
}

/** Around a part of the page, in pixels. */
const ROOM = 24;

const desktop = { viewport: { width: 1200, height: 1085 } };

const pictures: Picture[] = [
  {
    name: "page-light",
    hash: "",
    options: { ...desktop, colorScheme: "light" },
    prepare: (page) => page.getByRole("table").waitFor(),
  },
  {
    name: "page-dark",
    hash: "#sessions",
    options: { ...desktop, viewport: { width: 1200, height: 760 }, colorScheme: "dark" },
    prepare: (page) => page.getByText("These are everybody's.").waitFor(),
  },
  {
    name: "page-phone",
    hash: "",
    options: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, colorScheme: "dark" },
    prepare: async (page) => {
      await page.getByRole("table").waitFor();
      await page.getByRole("heading", { name: "What you may do" }).scrollIntoViewIfNeeded();
      await page.evaluate("document.querySelector('.rights').scrollIntoView()");
    },
  },
  {
    name: "page-rights",
    state: "developer",
    hash: "",
    options: { ...desktop, colorScheme: "light" },
    prepare: (page) => page.getByRole("table").waitFor(),
    part: ".rights",
  },
  {
    name: "page-session",
    hash: `#sessions/${SESSION}`,
    options: { ...desktop, viewport: { width: 1200, height: 820 }, colorScheme: "light" },
    prepare: async (page) => {
      await page.getByText("It is what the gateway wrote").waitFor();
      await page.getByRole("button", { name: /^Play the recording/ }).click();
      await page.locator(".ap-control-bar").waitFor({ state: "attached" });
      await page.keyboard.press("Space");
      await page.locator(".playing").getByText('"status":"degraded"').waitFor();
    },
  },
  {
    name: "page-grants",
    hash: "#grants",
    options: { ...desktop, viewport: { width: 1200, height: 800 }, colorScheme: "light" },
    prepare: async (page) => {
      await page.getByLabel("Address").fill("bob@example.com");
      await page.getByRole("checkbox", { name: "on-call" }).check();
      await page.getByText("4 h", { exact: true }).click();
      await page.getByLabel("Reason").fill("INC-7");
    },
  },
  {
    name: "page-refused",
    state: "stranger",
    hash: "",
    options: { viewport: { width: 800, height: 560 }, colorScheme: "light" },
    prepare: (page) => page.getByRole("link", { name: "Try again" }).waitFor(),
  },
  {
    name: "page-failing",
    state: "halting",
    hash: "#sessions",
    options: { viewport: { width: 800, height: 480 }, colorScheme: "dark" },
    prepare: (page) => page.getByRole("button", { name: "Try again" }).waitFor(),
  },
];

const log = progress();
const server = await startPageServer({ dir: (await buildPage({ log })).dir, now: () => NOW });
const browser = await chromium.launch({ executablePath: findChromium(), args: ["--no-sandbox"] });
try {
  for (const picture of pictures) {
    await take(picture);
  }
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  await browser.close();
  await server.stop();
}

async function take({ name, state = "auditor", hash, options, prepare, part }: Picture): Promise<void> {
  const path = join(root, "docs/images", `${name}.png`);
  const settings = { timezoneId: "UTC", locale: "en-GB", reducedMotion: "reduce", ...options } as const;
  const context = await browser.newContext(settings);
  const page = await context.newPage();
  await page.clock.setFixedTime(NOW);
  await page.goto(`${server.url}?state=${state}${hash}`);
  await prepare(page);
  const clip = part === undefined ? undefined : await around(page, part);
  await page.screenshot({ path, ...(clip && { clip, fullPage: true }) });
  await context.close();
  const { size } = await stat(path);
  log(`${relative(root, path)}: ${Math.round(size / 1000)} KB`);
  if (size > LIMIT_BYTES) {
    throw new Error(`${name}.png is larger than ${LIMIT_BYTES / 1000} KB: show less on it.`);
  }
}

async function around(page: Page, part: string): Promise<{ x: number; y: number; width: number; height: number }> {
  const box = await page.locator(part).boundingBox();
  if (!box) {
    throw new Error(`${part} is not on the page`);
  }
  return { x: box.x - ROOM, y: box.y - ROOM, width: box.width + 2 * ROOM, height: box.height + 2 * ROOM };
}
