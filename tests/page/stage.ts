// What the tests with a browser stand on: the page with sample data and the Worker's headers, at a clock that stands still, in
// Chromium, which tells everything that it complains of.

import assert from "node:assert/strict";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { buildPage } from "../../dev/page-build.ts";
import { type PageServer, startPageServer } from "../../dev/page-server.ts";
import type { State } from "../../page/sample/states.ts";
import { findChromium } from "../browser/chromium.ts";

/** The time of the sample, and of the page unless a test lets it go on. */
export const NOW = Date.parse("2026-11-26T12:00:00Z");
/** What somebody waits for who looks at a page, on however busy a machine. */
export const LIMIT_MS = 60_000;
/** A whole test. */
export const TEST_LIMIT_MS = 240_000;

/** Sessions of the sample, as dev/page.ts has them at `NOW`. */
export const ids = {
  live: "8204306319999-5ff860bf1190596c-0000000000000000",
  whole: "8204310099999-2bd806c97f0e00af-0000000000000002",
  edited: "8204316999999-5ff860bf1190596c-0000000000000003",
  notRecorded: "8204324199999-ad2b8abab3dab099-0000000000000004",
  missing: "8204329599999-2bd806c97f0e00af-0000000000000005",
  added: "8204395599999-5ff860bf1190596c-0000000000000006",
};

/** Adds up what moved without being asked to, and what the page's policy would not have. */
const WATCH = `(() => {
  window.watched = { shift: 0, shifts: [], violations: [] };
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput, sources } of list.getEntries()) {
      if (!hadRecentInput) {
        watched.shift += value;
        watched.shifts.push(value.toFixed(4) + " " + sources.map(({ node }) => node?.outerHTML?.slice(0, 120)).join(" | "));
      }
    }
  }).observe({ type: "layout-shift", buffered: true });
  document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) => {
    watched.violations.push([violatedDirective, blockedURI, sample].join(" "));
  });
})()`;

export interface Visit {
  page: Page;
  /** What Chromium complained of, but for answers that are failures by themselves. */
  complaints: string[];
  /** Fails if there were complaints, violations of the policy, or something moved by itself. */
  assertCalm(): Promise<void>;
  close(): Promise<void>;
}

export interface Stage {
  server: PageServer;
  visit(state: string, hash?: string, options?: VisitOptions): Promise<Visit>;
  stop(): Promise<void>;
}

export interface VisitOptions extends BrowserContextOptions {
  /** How the page's clock goes: it stands still, or as the test moves it; `real` leaves it alone. */
  clock?: "still" | "moved" | "real";
}

export const sizes = { desktop: { width: 1280, height: 860 }, phone: { width: 360, height: 780 } };

export async function startStage({ slowMs }: { slowMs?: number } = {}): Promise<Stage> {
  const { dir } = await buildPage({ log: () => {} });
  const server = await startPageServer({ dir, now: () => NOW, ...(slowMs === undefined ? {} : { slowMs }) });
  let browser: Browser;
  try {
    browser = await chromium.launch({ executablePath: findChromium(), args: ["--no-sandbox"], timeout: LIMIT_MS });
  } catch (error) {
    await server.stop();
    throw error;
  }
  return {
    server,
    visit: (state, hash = "", options = {}) => visit(browser, `${server.url}?state=${state}${hash}`, options),
    stop: async () => {
      await browser.close();
      await server.stop();
    },
  };
}

async function visit(browser: Browser, url: string, { clock = "still", ...options }: VisitOptions): Promise<Visit> {
  const context = await browser.newContext({ viewport: sizes.desktop, timezoneId: "UTC", locale: "en-GB", ...options });
  context.setDefaultTimeout(LIMIT_MS);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    // A refused request is told like this, however well the page takes it.
    if (["error", "warning"].includes(message.type()) && !message.text().startsWith("Failed to load resource")) {
      complaints.push(message.text());
    }
  });
  page.on("pageerror", ({ stack, message }) => complaints.push(stack ?? message));
  await page.addInitScript(WATCH);
  if (clock === "still") {
    await page.clock.setFixedTime(NOW);
  }
  if (clock === "moved") {
    // It goes on until it is paused, and cannot be paused in its past.
    await page.clock.install({ time: NOW - 3_600_000 });
    await page.clock.pauseAt(NOW);
  }
  await page.goto(url);
  return {
    page,
    complaints,
    assertCalm: async () => {
      const { shift, shifts, violations } = (await page.evaluate("watched")) as {
        shift: number;
        shifts: string[];
        violations: string[];
      };
      assert.deepEqual({ complaints, violations }, { complaints: [], violations: [] });
      assert.ok(shift < 0.01, `${shift} moved by itself: ${shifts.join("\n")}`);
    },
    close: () => context.close(),
  };
}

/** Waits until the page shows what it has to show: nothing is coming any more. */
export async function settled(page: Page): Promise<void> {
  const coming = page.locator("main[aria-busy], .coming, .skeleton, [aria-busy=true], .verdict-line");
  await coming.first().waitFor({ state: "detached" });
}

/** From now on the sample answers the page as in another of its states. */
export async function become(page: Page, state: State): Promise<void> {
  await page
    .context()
    .addCookies([{ name: "state", value: state, domain: "127.0.0.1", path: "/", sameSite: "Strict" }]);
}
