// Writes what Terraform made into wrangler.toml, value by value: all else stays as it is, byte for byte.

import { isDeepStrictEqual } from "node:util";
import type { AST } from "toml-eslint-parser";
import { isAt, type Path, readToml, tomlValue } from "./toml.ts";

/** A host name that wrangler gives to the Worker, with its DNS record and certificate. */
export interface Route {
  pattern: string;
  custom_domain: true;
  zone_id?: string;
}

export interface Bindings {
  accountId: string;
  workerName: string;
  routes: Route[];
  teamDomain: string;
  /** The audience tags of Terraform's applications: the people's, and the machines' where they have one. */
  auds: string[];
  vpcServiceId: string;
  /** Who is asked for access. undefined: whoever the file says. */
  contact: string | undefined;
  /** undefined: the Worker has no KV namespace, and nothing that writes grants into one. */
  kvNamespaceId: string | undefined;
  /** The bucket of recordings. undefined: no stream is recorded or bounded. */
  recordingsBucket: string | undefined;
}

/** An entry of an array of tables, known by one of its values. */
interface Entry {
  array: string;
  key: string;
  name: string;
}

const IDENTITIES: Entry = { array: "kv_namespaces", key: "binding", name: "IDENTITIES" };
const RECORDINGS: Entry = { array: "r2_buckets", key: "binding", name: "RECORDINGS" };

/** A Durable Object that the Worker is bound to. */
interface DurableObject {
  entry: Entry;
  className: string;
}

const OF_SESSIONS = [durableObject("SESSIONS", "Session"), durableObject("ROLL", "Roll")];
const OF_GRANTS = [durableObject("GRANTS", "Grants")];
/** Whose classes each migration of wrangler.toml makes, as it is shipped. */
const MIGRATIONS = [OF_SESSIONS, OF_GRANTS];

/** What has Cloudflare make classes of Durable Objects, and take them away. */
interface Migration {
  tag?: string;
  new_classes?: string[];
  new_sqlite_classes?: string[];
  deleted_classes?: string[];
  renamed_classes?: { from: string; to: string }[];
  transferred_classes?: { to: string }[];
}

/** wrangler.toml with the bindings in it. Throws when the file is written in a way that this cannot edit safely. */
export function bind(toml: string, bindings: Bindings): string {
  const { accountId, workerName, routes, teamDomain, auds, vpcServiceId } = bindings;
  const { contact, kvNamespaceId, recordingsBucket } = bindings;
  let text = set(toml, ["name"], workerName);
  text = set(text, ["account_id"], accountId);
  text = setRoutes(text, routes);
  text = set(text, ["vars", "ACCESS_TEAM_DOMAIN"], teamDomain);
  text = auds.reduce(setAudience, text);
  text = setInEntry(text, { array: "vpc_services", key: "binding", name: "KUBE_API" }, "service_id", vpcServiceId);
  text = contact === undefined ? text : set(text, ["vars", "CONTACT"], contact);
  // Sessions first: their classes are the older ones.
  text = bindOrNot(text, OF_SESSIONS, RECORDINGS, "bucket_name", recordingsBucket);
  return bindOrNot(text, OF_GRANTS, IDENTITIES, "id", kvNamespaceId);
}

/**
 * Objects and the store that they write to, or neither, and what has Cloudflare make the classes. The migration stays: Cloudflare
 * refuses a version without a class that it once made.
 */
function bindOrNot(toml: string, objects: DurableObject[], store: Entry, key: string, value: string | undefined) {
  if (value === undefined) {
    return [...objects.map(({ entry }) => entry), store].reduce(commentOut, toml);
  }
  const text = objects.reduce((before, { entry, className }) => {
    return setInEntry(uncomment(before, entry), entry, "class_name", className);
  }, toml);
  return setInEntry(uncomment(makeClasses(text, objects), store), store, key, value);
}

/**
 * Has the migrations make the classes that they do not make yet. wrangler carries out those after the one that it was at last, and
 * takes each tag once. So those of the file as it is shipped come back in their order, the earlier ones too; and where others stand
 * in their place, the one for ours comes after them.
 */
function makeClasses(toml: string, objects: DurableObject[]): string {
  const missingIn = (text: string) => {
    const made = classesOf(migrationsOf(text));
    return objects.map(({ className }) => className).filter((name) => !made.has(name));
  };
  if (missingIn(toml).length === 0) {
    return toml;
  }
  const text = MIGRATIONS.slice(0, MIGRATIONS.indexOf(objects) + 1).reduce(uncommentMigration, toml);
  const missing = missingIn(text);
  if (missing.length === 0) {
    return text;
  }
  refuseInOneLine(text, "migrations");
  const migrations = migrationsOf(text);
  const tags = migrations.map(({ tag }) => tag);
  const tag = ["v1", ...migrations.map((_, index) => `v${index + 2}`)].find((one) => !tags.includes(one));
  const names = missing.map((name) => JSON.stringify(name)).join(", ");
  return append(text, ["[[migrations]]", `tag = ${JSON.stringify(tag)}`, `new_sqlite_classes = [${names}]`]);
}

/** Brings the migration of these objects' classes back where it comes last, and nothing of it has been done. */
function uncommentMigration(text: string, objects: DurableObject[]): string {
  const migrations = migrationsOf(text);
  const made = classesOf(migrations);
  const names = objects.map(({ className }) => className);
  const last = readToml(text).tables.findLast(({ resolvedKey }) => resolvedKey[0] === "migrations");
  if (names.some((name) => made.has(name)) || (migrations.length > 0 && !last)) {
    return text;
  }
  const isOurs = new RegExp(`^#\\s?new_sqlite_classes\\s*=.*["']${names[0]}["']`, "m");
  const isTagFree = (block: string) =>
    !migrations.some(({ tag }) => tag === /^#\s?tag\s*=\s*["'](.*?)["']/m.exec(block)?.[1]);
  const isMeant = (block: string, at: number) => isOurs.test(block) && isTagFree(block) && at > (last?.range[1] ?? 0);
  return uncommentBlocks(text, "migrations", isMeant);
}

function migrationsOf(text: string): Migration[] {
  const { migrations } = tomlValue(text);
  return Array.isArray(migrations) ? migrations : [];
}

/** The classes that there are after all of them. */
function classesOf(migrations: Migration[]): Set<string> {
  const classes = new Set<string>();
  for (const { deleted_classes = [], renamed_classes = [], transferred_classes = [], ...made } of migrations) {
    for (const gone of [...deleted_classes, ...renamed_classes.map(({ from }) => from)]) {
      classes.delete(gone);
    }
    const named = [...renamed_classes, ...transferred_classes].map(({ to }) => to);
    for (const name of [...(made.new_classes ?? []), ...(made.new_sqlite_classes ?? []), ...named]) {
      classes.add(name);
    }
  }
  return classes;
}

function durableObject(name: string, className: string): DurableObject {
  return { entry: { array: "durable_objects.bindings", key: "name", name }, className };
}

function set(text: string, path: Path, value: string): string {
  return setLiteral(text, path, JSON.stringify(value));
}

function setLiteral(text: string, path: Path, literal: string): string {
  const present = find(text, path);
  return present ? replace(text, present, literal) : insert(text, path, literal);
}

/** All of them are Terraform's: a host name without Access in front would be a way past it. */
function setRoutes(text: string, routes: Route[]): string {
  if (isDeepStrictEqual(tomlValue(text).routes, routes)) {
    return text;
  }
  const isTable = readToml(text).tables.some(({ resolvedKey }) => resolvedKey[0] === "routes");
  if (isTable || find(text, ["route"])) {
    throw new Error(
      "wrangler.toml has route or [[routes]]: take it out. The host names are Terraform's, and are written as one value, routes = […].",
    );
  }
  const inline = (route: Route) =>
    `{ ${Object.entries(route)
      .map(([key, value]) => `${key} = ${JSON.stringify(value)}`)
      .join(", ")} }`;
  return setLiteral(text, ["routes"], `[${routes.map(inline).join(", ")}]`);
}

/**
 * Terraform knows of its own audiences. A single one in the file is its first, or was; among several, in one string or in a
 * list, each is one more.
 */
function setAudience(text: string, aud: string, index: number): string {
  const path = ["vars", "ACCESS_AUD"];
  const present = find(text, path);
  const elements = present?.type === "TOMLArray" ? present.elements : [];
  const tags = present ? (present.type === "TOMLArray" ? elements.map(textOf) : textOf(present).split(",")) : [];
  const placeholder = tags.findIndex((tag) => tag.trim().startsWith("<"));
  const replaced = tags.length === 1 && index === 0 ? 0 : placeholder;
  if (present && tags.some((tag) => tag.trim() === aud)) {
    return text;
  }
  if (elements[0]) {
    const [at] = elements[0].range;
    return replaced < 0
      ? splice(text, at, at, `${JSON.stringify(aud)}, `)
      : replace(text, elements[replaced] ?? elements[0], JSON.stringify(aud));
  }
  return set(text, path, (replaced < 0 ? [aud, ...tags.filter(Boolean)] : tags.with(replaced, aud)).join(","));
}

function setInEntry(text: string, entry: Entry, key: string, value: string): string {
  const { array, key: known, name } = entry;
  const index = indexOf(text, entry);
  if (index !== undefined) {
    return set(text, [...array.split("."), index, key], value);
  }
  refuseInOneLine(text, array);
  const lines = [
    [known, name],
    [key, value],
  ].map(([left, right]) => `${left} = ${JSON.stringify(right)}`);
  return append(text, [`[[${array}]]`, ...lines]);
}

/** Which of its array an entry is. */
function indexOf(text: string, { array, key, name }: Entry): number | undefined {
  const path = array.split(".");
  const found = readToml(text).settings.find((setting) => {
    const isInArray = setting.path.length === path.length + 2 && isAt(setting.path.slice(0, path.length), path);
    return isInArray && setting.path.at(-1) === key && textOf(setting.value) === name;
  });
  return found?.path[path.length] as number | undefined;
}

/** Takes an entry out of force and leaves it to be read. */
function commentOut(text: string, entry: Entry): string {
  const index = indexOf(text, entry);
  if (index === undefined) {
    return text;
  }
  const table = tableAt(text, [...entry.array.split("."), index]);
  if (!table) {
    throw isInOneLine(entry.array);
  }
  const start = lineStart(text, table.range[0]);
  const end = (table.body.at(-1) ?? table.key).range[1];
  return splice(text, start, end, text.slice(start, end).replaceAll(/^(?!#|\r?$)/gm, "# "));
}

/** Brings an entry back that was commented out. */
function uncomment(text: string, entry: Entry): string {
  const isMeant = new RegExp(`^#\\s?${entry.key}\\s*=\\s*["']${entry.name}["']`, "m");
  return indexOf(text, entry) === undefined ? uncommentBlocks(text, entry.array, (block) => isMeant.test(block)) : text;
}

/** Brings those entries of an array back that were commented out and say what is meant. */
function uncommentBlocks(text: string, array: string, isMeant: (block: string, at: number) => boolean): string {
  const comments = new Set(readToml(text).comments.map(({ range }) => range[0]));
  const header = `\\[\\[\\s*${array.replace(".", "\\s*\\.\\s*")}\\s*\\]\\]`;
  const block = new RegExp(`^#\\s?${header}.*(?:\\r?\\n#\\s?\\w+\\s*=.*)*`, "gm");
  return text.replaceAll(block, (found, at: number) =>
    comments.has(at) && isMeant(found, at) ? found.replaceAll(/^#\s?/gm, "") : found,
  );
}

function find(text: string, wanted: Path): AST.TOMLContentNode | undefined {
  return readToml(text).settings.find(({ path }) => isAt(path, wanted))?.value;
}

function tableAt(text: string, wanted: Path): AST.TOMLTable | undefined {
  return readToml(text).tables.find(({ resolvedKey }) => isAt(resolvedKey, wanted));
}

/** A new line: after the last one of its table, or in a table of its own. */
function insert(text: string, path: Path, literal: string): string {
  const table = path.slice(0, -1);
  const line = `${path.at(-1)} = ${literal}`;
  const { tables, top } = readToml(text);
  if (table.length === 0) {
    const last = top.body.findLast((part) => part.type === "TOMLKeyValue");
    return last ? insertAfter(text, last, line) : `${line}${lineEnd(text)}${text}`;
  }
  const present = tables.find(({ resolvedKey }) => isAt(resolvedKey, table));
  if (present) {
    return insertAfter(text, present.body.at(-1) ?? present.key, line);
  }
  refuseInOneLine(text, table.filter((step) => typeof step === "string").join("."));
  return append(text, [`[${table.join(".")}]`, line]);
}

function insertAfter(text: string, node: AST.HasLocs, line: string): string {
  const rest = /\r?\n|$/.exec(text.slice(node.range[1]));
  const end = node.range[1] + (rest?.index ?? 0);
  return splice(text, end, end, `${lineEnd(text)}${line}`);
}

function append(text: string, lines: string[]): string {
  const before = text.trimEnd();
  return [...(before ? [before, ""] : []), ...lines, ""].join(lineEnd(text));
}

function refuseInOneLine(text: string, table: string): void {
  const { settings, tables } = readToml(text);
  const path = table.split(".");
  const isTable = tables.some(({ resolvedKey }) => isAt(resolvedKey.slice(0, path.length), path));
  if (!isTable && settings.some((setting) => isAt(setting.path.slice(0, path.length), path))) {
    throw isInOneLine(table);
  }
}

function isInOneLine(table: string): Error {
  return new Error(`wrangler.toml sets ${table} in one line: write it as a table, [${table}] or [[${table}]].`);
}

function replace(text: string, node: AST.HasLocs, value: string): string {
  return splice(text, ...node.range, value);
}

function splice(text: string, start: number, end: number, value: string): string {
  return text.slice(0, start) + value + text.slice(end);
}

function lineStart(text: string, at: number): number {
  return text.lastIndexOf("\n", at - 1) + 1;
}

function lineEnd(text: string): string {
  return text.includes("\r\n") ? "\r\n" : "\n";
}

function textOf(node: AST.TOMLContentNode): string {
  return node.type === "TOMLValue" && node.kind === "string" ? node.value : "";
}
