// The player is built so that it compiles no WebAssembly (dev/page-player.ts). What it shows must be what asciinema-player shows as it
// is published: both play the same cast, and every cell is compared.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { type Browser, chromium } from "playwright-core";
import { buildPage } from "../../dev/page-build.ts";
import { PLAYER_STYLE } from "../../dev/page-player.ts";
import { findChromium } from "../browser/chromium.ts";
import { LIMIT_MS, TEST_LIMIT_MS } from "./stage.ts";

const root = resolve(import.meta.dirname, "../..");
const PUBLISHED = join(root, "node_modules/asciinema-player/dist/bundle/asciinema-player.min.js");
const LAST = "that was all";
const EVENTS = 2_000;
/** Of the texts that are played: the same in every run. */
const SEED = 20_261_126;

let browser: Browser;

before(async () => {
  browser = await chromium.launch({ executablePath: findChromium(), args: ["--no-sandbox"], timeout: LIMIT_MS });
});

after(() => browser?.close());

test("every cell is as in the published player: colours, wide letters, lines, screens, sizes, and memory that grows", {
  timeout: TEST_LIMIT_MS,
}, async () => {
  const { dir } = await buildPage({ log: () => {} });
  const ours = await shown({
    script: `import { play } from "/player.js"; play(document.querySelector("#screen"), cast);`,
    files: {
      "/player.js": await readFile(join(dir, "player.js"), "utf8"),
      "/player.css": await readFile(join(dir, "player.css"), "utf8"),
    },
    policy:
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types asciinema-player",
  });
  // The options of page/src/player.ts, for somebody who wants nothing to move.
  const options = `{ fit: "width", idleTimeLimit: 2, autoPlay: false, cursorMode: "steady", controls: true, theme: "asciinema",
    terminalFontFamily: "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" }`;
  const published = await shown({
    script: `AsciinemaPlayer.create({ data: cast }, document.querySelector("#screen"), ${options}).el.focus();`,
    files: {
      "/published.js": await readFile(PUBLISHED, "utf8"),
      "/player.css": await readFile(join(root, PLAYER_STYLE), "utf8"),
    },
    policy: "script-src 'self' 'wasm-unsafe-eval'",
  });
  assert.ok(ours.text.includes(LAST));
  assert.equal(ours.text, published.text);
  assert.equal(ours.lines, published.lines, "what letters look like");
  assert.equal(ours.symbols, published.symbols, "what is drawn as shapes");
  assert.equal(ours.canvas, published.canvas, "what is drawn as pixels");
});

interface Player {
  script: string;
  files: Record<string, string>;
  policy: string;
}

/** What a player shows of the cast at its end. */
async function shown({
  script,
  files,
  policy,
}: Player): Promise<{ text: string; lines: string; symbols: string; canvas: string }> {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, reducedMotion: "reduce" });
  context.setDefaultTimeout(LIMIT_MS);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", ({ message }) => complaints.push(message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  const served: Record<string, string> = {
    "/": `<!doctype html><link rel=stylesheet href=/player.css><div id=screen></div><script src=/published.js></script><script type=module src=/start.js></script>`,
    "/start.js": `const cast = ${JSON.stringify(cast())};\n${script}`,
    ...files,
  };
  await page.route("http://player.test/**", (route) => {
    const { pathname } = new URL(route.request().url());
    const type = pathname.endsWith(".js") ? "text/javascript" : pathname.endsWith(".css") ? "text/css" : "text/html";
    const body = served[pathname];
    return route.fulfill(
      body === undefined
        ? { status: 404 }
        : { body, contentType: `${type}; charset=utf-8`, headers: { "content-security-policy": policy } },
    );
  });
  await page.goto("http://player.test/");
  await page.locator(".ap-control-bar").waitFor({ state: "attached" });
  await page.keyboard.press("Space");
  await page.locator(".ap-term-text", { hasText: LAST }).waitFor();
  const seen = (await page.evaluate(`(() => {
    const [text, symbols, canvas] = [".ap-term-text", ".ap-term-symbols", ".ap-term canvas"].map((at) => document.querySelector(at));
    return { text: text.textContent, lines: text.innerHTML, symbols: symbols.innerHTML, canvas: canvas.toDataURL() };
  })()`)) as Awaited<ReturnType<typeof shown>>;
  assert.deepEqual(
    complaints.filter((text) => !text.includes("favicon") && !text.includes("404")),
    [],
  );
  await context.close();
  return seen;
}

/** Everything that a terminal may be told, in no order that anybody would choose, over in a moment. */
function cast(): string {
  let state = SEED;
  const upTo = (limit: number) => {
    // A generator of Park and Miller's: whole numbers, and the same everywhere.
    state = (state * 48_271) % 2_147_483_647;
    return state % limit;
  };
  const pick = <Item>(items: Item[]): Item => items[upTo(items.length)] as Item;
  const words = [
    "ls -la",
    "日本語",
    "é́",
    "👩‍👩‍👧",
    "─│┌┐└┘╱╲",
    "▀▄█░▒▓▟",
    "",
    "🬀🬁🬂",
    "ⅷ",
    "word ",
    "\t",
    "\b",
    "\r\n",
    "\n",
  ];
  const orders = [
    () => `\u001b[${upTo(110)}m`,
    () => `\u001b[38;5;${upTo(256)}m\u001b[48;2;${upTo(256)};${upTo(256)};${upTo(256)}m`,
    () => `\u001b[${1 + upTo(24)};${1 + upTo(90)}H`,
    () => `\u001b[${upTo(5)}${pick([..."ABCDEFGJKLMPSTX@bdG"])}`,
    () => `\u001b[${1 + upTo(5)};${10 + upTo(14)}r`,
    () =>
      pick([
        "\u001b[?1049h",
        "\u001b[?1049l",
        "\u001b7",
        "\u001b8",
        "\u001b(0",
        "\u001b(B",
        "\u001bM",
        "\u001bD",
        "\u001b[?6h",
        "\u001b[?6l",
        "\u001b[?7l",
        "\u001b[?7h",
        "\u001b[4h",
        "\u001b[4l",
      ]),
    () => "x".repeat(upTo(300)),
  ];
  const lines: unknown[] = [{ version: 2, width: 90, height: 24, timestamp: 0 }];
  for (let event = 0; event < EVENTS; event += 1) {
    const time = event / 10_000;
    if (upTo(60) === 0) {
      lines.push([time, "r", `${20 + upTo(180)}x${5 + upTo(60)}`]);
    } else {
      lines.push([time, "o", upTo(2) === 0 ? pick(words).repeat(1 + upTo(4)) : pick(orders)()]);
    }
  }
  lines.push([EVENTS / 10_000, "e", "12"], [EVENTS / 10_000, "r", "100x30"]);
  lines.push([EVENTS / 10_000, "o", `\u001b[r\u001b[?6l\u001b[?7h\u001b[4l\u001b(B\u001b[1;1H\u001b[0m${LAST}`]);
  return lines.map((line) => JSON.stringify(line)).join("\n");
}
