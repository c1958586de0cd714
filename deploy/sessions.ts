// `npm run sessions -- list`: which sessions went through the gateway, what was seen in them, and whether it is still what was
// recorded.

import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { castPath, endPath, isId, manifestOf, sessionPath, statusOf } from "./sessions/answers.ts";
import { Failure, UsageError } from "./sessions/failure.ts";
import { Kubectl } from "./sessions/kubectl.ts";
import { list, listInWords } from "./sessions/list.ts";
import { play, save } from "./sessions/play.ts";
import { manifestInWords } from "./sessions/show.ts";
import { visible, visibleJson } from "./sessions/text.ts";
import { verify, verifyDirectory } from "./sessions/verify.ts";

const USAGE = `usage: npm run sessions -- COMMAND [options]

  list                     the newest sessions; your own, if you may not list those of others
    --user USER, --pod POD, -n, --namespace NAMESPACE
    --day YYYY-MM-DD       those that began on this day (UTC)
    --live                 those that have not ended
    --limit N              how many at most (default: 50)
    -o json
  show ID                  who, what, where, when, and how it ended
    -o json                the manifest
  play ID                  plays the recording in this terminal; Ctrl-C ends it
    --speed X              times as fast (default: 1)
    --idle SECONDS         no wait is longer (default: 2)
    --save FILE            saves it instead, for \`asciinema play FILE\`
  end ID                   ends a live session
    --reason TEXT          what its user is told
  verify ID                whether the recording is what the gateway wrote
  verify --dir DIR         the same for manifest.json and chunks that were copied from the bucket

  --kubeconfig FILE        kubectl's, with the context that leads to the gateway
  --context NAME           another than the current one
  --kubectl PATH           default: the one in PATH
  --help                   this text

Exit status: 0 done, 1 refused, failed or not as it was written, 2 the command line is wrong.`;

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 100_000;
const DEFAULT_IDLE_SECONDS = 2;
const INTERRUPTED = 130;

const COMMON = ["kubeconfig", "context", "kubectl"];
/** The options of each command. */
const COMMANDS: Record<string, string[]> = {
  list: ["user", "namespace", "pod", "day", "live", "limit", "output"],
  show: ["output"],
  play: ["speed", "idle", "save"],
  end: ["reason"],
  verify: ["dir"],
};

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => stop.abort());
}
// Whoever reads this through `head` has seen enough.
process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => process.exit(code === "EPIPE" ? 0 : 1));

try {
  await main();
} catch (error) {
  if (stop.signal.aborted) {
    process.exitCode = INTERRUPTED;
  } else if (error instanceof UsageError) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exitCode = 2;
  } else if (error instanceof Failure) {
    if (error.message !== "") {
      console.error(error.message);
    }
    process.exitCode = 1;
  } else {
    throw error;
  }
}

async function main(): Promise<void> {
  const { command, values, ids } = readCommandLine();
  const { kubeconfig, context, kubectl: program = "kubectl" } = values;
  const kubectl = new Kubectl({ program, kubeconfig, context, signal: stop.signal });
  const isJson = values.output !== undefined;
  switch (command) {
    case "list":
      return await printList(kubectl, values, isJson);
    case "show":
      return await printManifest(kubectl, idOf(ids), isJson);
    case "play":
      return await playOrSave(kubectl, idOf(ids), values);
    case "end":
      return await end(kubectl, idOf(ids), values.reason);
    default:
      return await printVerdict(kubectl, ids, values.dir);
  }
}

type Values = ReturnType<typeof parsed>["values"];

async function printList(kubectl: Kubectl, values: Values, isJson: boolean): Promise<void> {
  const { user, namespace, pod, day, live } = values;
  if (user === "") {
    throw new UsageError("--user: the name of a user was expected");
  }
  for (const [option, name] of Object.entries({ namespace, pod })) {
    if (name !== undefined && !/^[a-z0-9][a-z0-9.-]{0,252}$/.test(name)) {
      throw new UsageError(`--${option} ${visible(name)}: the name of a ${option} was expected`);
    }
  }
  if (day !== undefined && !isDay(day)) {
    throw new UsageError(`--day ${visible(day)}: a day was expected, such as 2026-11-25`);
  }
  const limit = numberOf("limit", values.limit, DEFAULT_LIMIT);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new UsageError(`--limit ${limit}: a whole number from 1 to ${MAX_LIMIT} was expected`);
  }
  const filters = { user, namespace, pod, day, state: live ? "live" : undefined };
  const listing = await list(kubectl, filters, limit);
  if (isJson) {
    console.log(visibleJson(listing));
    return;
  }
  const { scope, sessions, more } = listing;
  if (sessions.length > 0) {
    console.log(listInWords(sessions, Date.now()));
  } else {
    const isFiltered = Object.values(filters).some((filter) => filter !== undefined);
    console.error(isFiltered ? "No session matches." : "There are no sessions.");
  }
  if (scope === "own") {
    console.error("Only your own: you may not list those of others.");
  }
  if (more) {
    console.error(`There may be more: --limit ${Math.min(limit * 10, MAX_LIMIT)}`);
  }
}

async function printManifest(kubectl: Kubectl, id: string, isJson: boolean): Promise<void> {
  const answer = await kubectl.getJson(sessionPath(id));
  console.log(isJson ? visibleJson(answer) : manifestInWords(manifestOf(answer, "the manifest"), Date.now()));
}

async function playOrSave(kubectl: Kubectl, id: string, values: Values): Promise<void> {
  const speed = numberOf("speed", values.speed, 1);
  if (!(speed > 0)) {
    throw new UsageError(`--speed ${values.speed}: a number above 0 was expected`);
  }
  const idle = numberOf("idle", values.idle, DEFAULT_IDLE_SECONDS);
  if (!(idle >= 0)) {
    throw new UsageError(`--idle ${values.idle}: a number of seconds was expected`);
  }
  if (values.save === undefined) {
    return await play(kubectl.get(castPath(id)), { speed, idle }, stop);
  }
  if (values.speed !== undefined || values.idle !== undefined) {
    throw new UsageError("--save: saved is all, as it was; --speed and --idle are for playing");
  }
  const file = resolve(values.save);
  const size = await save(kubectl.get(castPath(id)), file, stop.signal);
  console.log(`Saved ${size} bytes: asciinema play ${file}`);
}

async function end(kubectl: Kubectl, id: string, reason: string | undefined): Promise<void> {
  const { isSuccess, message } = statusOf(await kubectl.deleteJson(endPath(id, reason)));
  if (!isSuccess) {
    throw new Failure(visible(message) || `Session ${id} was not ended.`);
  }
  console.log(visible(message) || `Session ${id} was ended.`);
}

async function printVerdict(kubectl: Kubectl, ids: string[], dir: string | undefined): Promise<void> {
  if (dir === undefined) {
    console.log(await verify(kubectl, idOf(ids)));
  } else {
    // The manifest says whose it is; an ID demands that it is this one.
    console.log(await verifyDirectory(dir, ids.length > 0 ? idOf(ids) : undefined));
  }
}

function readCommandLine() {
  const { values, positionals } = parsed();
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const [command, ...ids] = positionals;
  if (command === undefined) {
    throw new UsageError(`expected a command: ${Object.keys(COMMANDS).join(", ")}`);
  }
  const own = Object.hasOwn(COMMANDS, command) ? COMMANDS[command] : undefined;
  if (!own) {
    throw new UsageError(`${visible(command)}: there is no such command`);
  }
  const foreign = Object.keys(values).find((name) => !own.includes(name) && !COMMON.includes(name));
  if (foreign !== undefined) {
    throw new UsageError(`--${foreign} is no option of ${command}`);
  }
  if (values.output !== undefined && values.output !== "json") {
    throw new UsageError(`-o ${visible(values.output)}: there is json, and what is printed without it`);
  }
  if (command === "list" && ids.length > 0) {
    throw new UsageError("list takes no ID: show ID, or list with --user, --namespace, --pod or --day");
  }
  return { command, values, ids };
}

/** The one ID that a command is about. It becomes part of a path, so nothing else passes. */
function idOf([id, ...more]: string[]): string {
  if (id === undefined || more.length > 0) {
    throw new UsageError("expected the ID of one session, as list prints it");
  }
  if (!isId(id)) {
    throw new UsageError(`${visible(id)}: this is no ID of a session; list prints them`);
  }
  return id;
}

function numberOf(option: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (text?.trim() === "" || !Number.isFinite(value)) {
    throw new UsageError(`--${option} ${visible(text ?? "")}: a number was expected`);
  }
  return value;
}

function isDay(text: string): boolean {
  const time = new Date(`${text}T00:00:00Z`);
  return /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(time.getTime()) && time.toISOString().startsWith(text);
}

function parsed() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        user: { type: "string" },
        namespace: { type: "string", short: "n" },
        pod: { type: "string" },
        day: { type: "string" },
        live: { type: "boolean" },
        limit: { type: "string" },
        output: { type: "string", short: "o" },
        speed: { type: "string" },
        idle: { type: "string" },
        save: { type: "string" },
        reason: { type: "string" },
        dir: { type: "string" },
        kubeconfig: { type: "string" },
        context: { type: "string" },
        kubectl: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
