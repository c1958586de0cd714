// Builds asciinema-player for a page with a strict Content Security Policy. As it is published, it needs 'wasm-unsafe-eval', since its
// terminal is WebAssembly that it compiles from bytes, and sets innerHTML, which Trusted Types refuse. Here binaryen's wasm2js makes
// JavaScript of the former, and what is set has to be one of the player's own constants, by a policy with a name. A version in which
// one of the places is not found does not build.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Plugin } from "esbuild";
import { run } from "./command.ts";

const root = resolve(import.meta.dirname, "..");

export const PLAYER_STYLE = "node_modules/asciinema-player/dist/bundle/asciinema-player.css";
/** The policy's name: `trusted-types` of the page's Content-Security-Policy. */
export const PLAYER_POLICY = "asciinema-player";

export function player(): Plugin {
  return {
    name: "asciinema-player",
    setup(build) {
      let wasm = "";
      build.onLoad({ filter: /asciinema-player\/dist\/opts-[\w-]+\.js$/ }, async ({ path }) => {
        const text = await readFile(path, "utf8");
        wasm = found(text, /var vtWasmModule = base64Decode\("([A-Za-z0-9+/=]+)"\);/);
        return { contents: adapted(text), loader: "js" };
      });
      build.onResolve({ filter: /^terminal-of-the-player$/ }, ({ path }) => ({ path, namespace: "terminal" }));
      build.onLoad({ filter: /.*/, namespace: "terminal" }, async () => ({
        contents: await asJavaScript(wasm),
        loader: "js",
      }));
    },
  };
}

function adapted(text: string): string {
  const edits: [before: RegExp, after: string][] = [
    [/var vtWasmModule = base64Decode\("[A-Za-z0-9+/=]+"\);/, "var vtWasmModule;"],
    [
      /async function __wbg_load\(module, imports\) \{/,
      "async function __wbg_load(module, imports) { return { instance: { exports: instantiate(imports.wbg) }, module };",
    ],
    // What is 64 bits wide in WebAssembly comes as two halves.
    [
      /(__wbindgen_cast_\w+ = function \()arg0(\) \{\s+\/\/ Cast intrinsic for `U64 -> Externref`\.\s+const ret = )BigInt\.asUintN\(64, arg0\)/,
      "$1low, high$2(BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)",
    ],
    [/t\.innerHTML = html;/, "t.innerHTML = constant.createHTML(html);"],
    [/symbol\.innerHTML = content;/, "symbol.innerHTML = constant.createHTML(content);"],
  ];
  const edited = edits.reduce((all, [before, after]) => {
    found(all, before);
    return all.replace(before, after);
  }, text);
  const left = edited.match(/\.innerHTML = (?!constant)|insertAdjacentHTML|document\.write|new Function\(/);
  if (left) {
    throw new Error(`asciinema-player sets HTML where dev/page-player.ts does not know of it: ${left[0]}`);
  }
  return `import { instantiate } from "terminal-of-the-player";
const policy = { createHTML: (html) => html };
const constant = globalThis.trustedTypes?.createPolicy("${PLAYER_POLICY}", policy) ?? policy;
${edited}`;
}

async function asJavaScript(base64: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "kube-access-player-"));
  try {
    const [wasm, script] = [join(dir, "terminal.wasm"), join(dir, "terminal.js")];
    await writeFile(wasm, Buffer.from(base64, "base64"));
    await run(process.execPath, [join(root, "node_modules/binaryen/bin/wasm2js"), "-O", wasm, "-o", script]);
    const text = await readFile(script, "utf8");
    // It instantiates itself when it is imported, with imports that are a module: here it is a function of them.
    const [, body = ""] = found(text, /^import \* as wbg from 'wbg';\n/) && text.split("import * as wbg from 'wbg';\n");
    const end = body.indexOf("var retasmFunc = asmFunc({");
    if (end < 0) {
      throw new Error("wasm2js wrote something else than dev/page-player.ts knows");
    }
    // Memory that has grown leaves the old one detached, as WebAssembly's does: the player sees by that that its views are old.
    const grows =
      /var newBuffer = new ArrayBuffer\((newPages << 16)\);\s+var newHEAP8 = new Int8Array\(newBuffer\);\s+newHEAP8\.set\(HEAP8\);/;
    found(body, grows);
    const terminal = body.slice(0, end).replace(grows, "var newBuffer = buffer.transfer($1);");
    return `${terminal}\nexport const instantiate = (wbg) => asmFunc({ wbg });\n`;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function found(text: string, pattern: RegExp): string {
  const match = text.match(pattern);
  if (!match) {
    throw new Error(`asciinema-player has changed: dev/page-player.ts does not find ${pattern}`);
  }
  return match[1] ?? match[0];
}
