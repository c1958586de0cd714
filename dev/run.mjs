// The door to every script: runs under any Node.js from 18 on, installs the packages that package-lock.json pins when they
// are missing or out of date, and hands over to the Node.js that the lock pins.
//
//     node dev/run.mjs SCRIPT [ARGUMENTS]

import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(fileURLToPath(import.meta.url), "../..");
const pinnedNode = join(root, "node_modules/node/bin/node");

if (Number(process.versions.node.split(".")[0]) < 18) {
  fail(`Node.js ${process.versions.node} is too old: install Node.js 18 or newer (https://nodejs.org).`);
}
const [script, ...scriptArguments] = process.argv.slice(2);
if (!script) {
  fail("usage: node dev/run.mjs SCRIPT [ARGUMENTS]");
}
if (!installed()) {
  install();
}
handOver();

/** Whether node_modules holds what package-lock.json pins. npm keeps its own record of what it installed; compare the two. */
function installed() {
  const record = join(root, "node_modules/.package-lock.json");
  if (!existsSync(record) || !existsSync(pinnedNode)) {
    return false;
  }
  const wanted = packages(join(root, "package-lock.json"));
  const present = packages(record);
  return Object.entries(wanted).every(([path, entry]) => {
    // "" is this project itself, and npm skips the optional packages that are made for other machines.
    return path === "" || (present[path] ? present[path].version === entry.version : entry.optional === true);
  });
}

function packages(lockFile) {
  return JSON.parse(readFileSync(lockFile, "utf8")).packages;
}

function install() {
  const started = Date.now();
  console.error("Installing the packages that package-lock.json pins (npm ci) ...");
  // The engine warnings of the packages are about the Node.js that installs them, not about the pinned one that runs them.
  const options = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  const { status, error } = spawnSync("npm", options, { cwd: root, stdio: ["ignore", 2, 2] });
  if (error?.code === "ENOENT") {
    fail("npm is missing: install Node.js together with npm (https://nodejs.org).");
  }
  if (status !== 0) {
    fail("npm ci failed; its messages are above. Check the network and the npm registry, then run the command again.");
  }
  if (!existsSync(pinnedNode)) {
    fail("npm ci did not run the install script of the package 'node'. Allow it (npm config: ignore-scripts=false).");
  }
  console.error(`Installed in ${((Date.now() - started) / 1000).toFixed(1)} s.`);
}

function handOver() {
  const path = [join(root, "node_modules/.bin"), process.env.PATH].join(delimiter);
  const child = spawn(pinnedNode, [resolve(script), ...scriptArguments], {
    stdio: "inherit",
    env: { ...process.env, PATH: path },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => child.kill(signal));
  }
  child.on("error", (error) => fail(`${pinnedNode} does not start: ${error.message}`));
  child.on("exit", (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code));
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}
