// What the gateway tells in fields, in the words of people.

import type { ActAs, Denial, Group, Guard, Me } from "./api.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const KIB = 1024;

/** How long it still is: 3 d 4 h, 5 h 12 min, 12 min, 42 s. Seconds and minutes are rounded up. */
export function left(milliseconds: number): string {
  if (milliseconds < MINUTE) {
    return `${Math.max(0, Math.ceil(milliseconds / SECOND))} s`;
  }
  const minutes = Math.ceil(milliseconds / MINUTE);
  if (minutes < 60) {
    return `${minutes} min`;
  }
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? pair(hours, "h", minutes % 60, "min") : pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return `${large} ${largeUnit}${small === 0 ? "" : ` ${small} ${smallUnit}`}`;
}

/** A span that a policy names: 4 h, 1 h 30 min, 45 s. */
export function length(seconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(seconds / 3600), "h"],
    [Math.floor((seconds % 3600) / 60), "min"],
    [seconds % 60, "s"],
  ];
  const told = parts.filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`);
  return told.join(" ") || "0 s";
}

/** A moment in the reader's own time: 18:00, or with the day if that is another than today's. */
export function moment(rfc3339: string, now: number): string {
  const time = new Date(rfc3339);
  if (Number.isNaN(time.getTime())) {
    return rfc3339;
  }
  const clock = time.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (time.toDateString() === new Date(now).toDateString()) {
    return clock;
  }
  const isThisYear = time.getFullYear() === new Date(now).getFullYear();
  const day = { day: "numeric", month: "short", ...(isThisYear ? {} : { year: "numeric" as const }) } as const;
  return `${time.toLocaleDateString("en-GB", day)}, ${clock}`;
}

export function bytes(count: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  let rest = count;
  let unit = 0;
  while (rest >= KIB && unit < units.length - 1) {
    rest /= KIB;
    unit += 1;
  }
  return `${unit === 0 || Number.isInteger(rest) ? rest : rest.toFixed(1)} ${units[unit]}`;
}

/** One, two and three. */
export function listed(words: string[], last = "and"): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}

/** How somebody came to be let in. */
export function ruleInWords(me: Pick<Me, "rule" | "email">): string {
  switch (me.rule) {
    case "email":
      return "let in by your address";
    case "email_domain":
      return "let in by your domain";
    case "service_token":
      return "let in by a service token";
    case "idp_group":
      return "let in by a group of your identity provider";
    case "kv":
      return "let in by an entry in Workers KV";
  }
}

/** Where a group comes from; how long it lasts is told beside it. */
export function originInWords({ from }: Pick<Group, "from">): string {
  switch (from) {
    case "email":
      return "by your address";
    case "email_domain":
      return "by your domain";
    case "service_token":
      return "by the service token";
    case "idp_group":
      return "by a group of the identity provider";
    case "kv":
      return "by Workers KV";
    case "grant":
      return "granted";
  }
}

/** Something that ends for somebody, and what they do about it. */
export interface End {
  at: string;
  what: string;
  /** What to do: as it is said before, and when it has ended. */
  before: string;
  after: string;
}

/** What ends while one has the page: the first of it all, and the login. */
export function endsOf(me: Pick<Me, "login" | "until" | "why" | "groups">): End[] {
  const login = {
    at: me.login,
    what: "your login",
    before: "then you log in again",
    after: "reload the page to log in again",
  };
  if (me.why === "token") {
    return [login];
  }
  const first = { at: me.until, what: endingInWords(me), before: "reload the page then", after: "reload the page" };
  return [first, login];
}

/** What of the policy ends first. What gives no group of its own is in no list of groups. */
function endingInWords({ groups, until }: Pick<Me, "until" | "groups">): string {
  const ending = groups.filter(({ expires }) => expires === until);
  if (ending.length === 0) {
    return "an entry or a grant of yours";
  }
  const grants = ending.filter(({ from }) => from === "grant").length;
  const what = grants === ending.length ? "your grant of" : grants === 0 ? "your entry for" : "what gives you";
  return `${what} ${listed(ending.map(({ name }) => name))}`;
}

export function endedInWords({ what, after }: End): string {
  return asSentence(`${what} has ended: ${after}`);
}

/** A text as a sentence that stands by itself. */
export function asSentence(text: string): string {
  return `${capitalised(text)}${/[.!?]$/.test(text) ? "" : "."}`;
}

export function capitalised(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

/** What a guard does, in sentences. */
export function guardInWords(guard: Guard): string[] {
  return [
    ...(guard.allow === "read-only"
      ? ["You may read: get, list and watch, and no more. No secrets, exec, attach, port-forward or proxy."]
      : []),
    ...(guard.deny ?? []).map(denialInWords),
    ...streamsInWords(guard),
  ];
}

function denialInWords({ verbs, urls, apiGroups, resources = [], namespaces, names }: Denial): string {
  const verb = isAll(verbs) ? "nothing" : `no ${listed(verbs, "or")}`;
  if (urls) {
    return sentence([isAll(verbs) ? "no request" : verb, `to ${listed(urls, "or")}`]);
  }
  const groups = (apiGroups ?? []).filter((group) => group !== "*").map((group) => group || "core");
  return sentence([
    isAll(verbs) ? "nothing may be done with" : `${verb} of`,
    isAll(resources) ? "any resource" : listed(resources, "or"),
    !isAll(resources) || groups.length === 0 ? undefined : `of the API group ${listed(groups, "or")}`,
    isAll(names) ? undefined : `named ${listed(names ?? [], "or")}`,
    isAll(namespaces) ? undefined : `in ${listed(namespaces ?? [], "or")}`,
  ]);
}

function streamsInWords({ record, maxSession, maxBytes, namespaces, names }: Guard): string[] {
  if (record === undefined && maxSession === undefined) {
    return [];
  }
  const where = [
    isAll(names) ? undefined : `for pods named ${listed(names ?? [], "or")}`,
    isAll(namespaces) ? undefined : `in ${listed(namespaces ?? [], "or")}`,
  ];
  const kept = record === "input" ? ": what is shown, and what you type" : ": what is shown, not what you type";
  return [
    ...(record === undefined
      ? []
      : [sentence(["exec, attach and port-forward are recorded", ...where, undefined], kept)]),
    ...(maxSession === undefined ? [] : [sentence([`what stays open ends after ${length(maxSession)}`, ...where])]),
    ...(maxBytes === undefined ? [] : [`A stream carries at most ${bytes(maxBytes)} each way.`]),
  ];
}

function isAll(texts: string[] | undefined): boolean {
  return texts === undefined || texts.length === 0 || texts.includes("*");
}

function sentence(parts: (string | undefined)[], end = ""): string {
  return asSentence(parts.filter((part) => part !== undefined).join(" ") + end);
}

/** Whom somebody may act as, by the option of kubectl that does it. */
export function actAsOptions({ users, groups, uids, extras }: ActAs): { option: string; names: string[] }[] {
  return [
    { option: "--as", names: users },
    { option: "--as-group", names: groups },
    { option: "--as-uid", names: uids },
    { option: "--as-user-extra", names: extras },
  ].filter(({ names }) => names.length > 0);
}

/** The lines that make the context: they merge into what there is, and may be run again. */
export function kubectlLines(host: string): string[] {
  return [
    `kubectl config set-cluster ${host} --server=https://${host}`,
    `kubectl config set-credentials ${host} --token=access`,
    `kubectl config set-context ${host} --cluster=${host} --user=${host}`,
    `kubectl config use-context ${host}`,
  ];
}

/** Whether a host may stand in a line that somebody pastes into a shell. */
export function isHost(text: string): boolean {
  return /^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:\d{1,5})?$/.test(text);
}

/** Whether a text may be the name of a namespace. */
export function isNamespace(text: string): boolean {
  return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text);
}
