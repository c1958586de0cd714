// Rights as a person can read them: what stands in each cell, and what has to be said beside it. No element of the page in here.

import { type Right, type Rights, type Row, VERBS, type Verb, type Wildcard } from "./api.ts";
import { listed } from "./words.ts";

export interface Cell {
  /** none: the verb does not exist for this resource. */
  is: "yes" | "some" | "taken" | "no" | "none";
  /** What a screen reader says. */
  text: string;
  isRecorded: boolean;
}

/** Something that a cell cannot say, and the guard that it is about. */
export interface Note {
  kind: "taken" | "some" | "recorded";
  text: string;
  guard?: string;
}

/** Where one verb is all there is. The gateway takes exec, attach and port-forward as the API server does: as create. */
const ONLY: Record<string, Verb[]> = {
  "pods/log": ["get"],
  "pods/exec": ["create"],
  "pods/attach": ["create"],
  "pods/portforward": ["create"],
};

/** How many names of a right are told. */
const NAMES_SHOWN = 5;

export function cellOf({ group, resource, verbs }: Row, verb: Verb): Cell {
  const right = verbs[verb];
  const isRecorded = right?.recorded !== undefined;
  const only = group === "" ? ONLY[resource] : undefined;
  if (!right) {
    const is = only && !only.includes(verb) ? "none" : "no";
    return { is, text: is === "none" ? "" : "no", isRecorded };
  }
  if (right.is === "taken") {
    return { is: "taken", text: `no: RBAC grants it, the guard ${right.by ?? ""} takes it away`, isRecorded: false };
  }
  const isPart = right.is === "some" || right.except !== undefined;
  const text = [
    right.is === "some" ? `only ${namesOf(right)}` : "yes",
    ...(right.except === undefined ? [] : [`but not what the guard ${right.except} takes away`]),
    ...(isRecorded ? ["recorded"] : []),
  ];
  return { is: isPart ? "some" : "yes", text: text.join(", "), isRecorded };
}

/** What stands beside a row: one note for all verbs of which the same is to be said. */
export function notesOf({ verbs }: Row): Note[] {
  const notes = new Map<string, { note: Note; verbs: Verb[] }>();
  const add = (verb: Verb, note: Note) => {
    const key = JSON.stringify(note);
    const known = notes.get(key) ?? { note, verbs: [] };
    notes.set(key, { note, verbs: [...known.verbs, verb] });
  };
  for (const verb of VERBS) {
    const right = verbs[verb];
    if (right?.is === "taken") {
      add(verb, { kind: "taken", text: "", guard: right.by ?? "" });
    }
    if (right?.is === "some") {
      add(verb, { kind: "some", text: `only ${namesOf(right)}` });
    }
    if (right?.except !== undefined) {
      add(verb, { kind: "some", text: "less what is taken away by", guard: right.except });
    }
    if (right?.recorded) {
      const what = right.recorded === "input" ? "recorded, what you type as well" : "recorded";
      add(verb, { kind: "recorded", text: what });
    }
  }
  const all = [...notes.values()];
  return all.map(({ note, verbs: told }) => {
    // The cells show which verbs it is about, unless there are several of a kind.
    const isOne = note.kind === "recorded" || all.filter((other) => other.note.kind === note.kind).length === 1;
    return isOne ? note : { ...note, text: `${listed(told)}: ${note.text}`.trimEnd() };
  });
}

function namesOf({ names = [] }: Right): string {
  const more = names.length - NAMES_SHOWN;
  return more > 0 ? `${names.slice(0, NAMES_SHOWN).join(", ")} and ${more} more` : listed(names);
}

export function hasAny({ verbs }: Row): boolean {
  return Object.values(verbs).some(({ is }) => is !== "taken");
}

/** The whole of it in one sentence. */
export function rightsInWords({ rows, namespace }: Rights): string {
  const usual = rows.filter(({ isUsual }) => isUsual);
  const resources = usual.filter(({ resource }) => !resource.includes("/"));
  const may = (row: Row, verbs: Verb[]) => verbs.some((verb) => (row.verbs[verb]?.is ?? "taken") !== "taken");
  const read = resources.filter((row) => may(row, ["get", "list", "watch"])).length;
  const changed = resources.filter((row) => may(row, ["create", "update", "patch", "delete"])).length;
  const exec = usual.find(({ resource }) => resource === "pods/exec");
  const entered = exec?.verbs.create;
  const share = (count: number) => (count === resources.length ? "all" : count === 0 ? "none" : String(count));
  const enters =
    entered === undefined || entered.is === "taken"
      ? "and may not enter pods"
      : `and may enter pods${entered.recorded ? ", recorded" : ""}`;
  return `In ${namespace} you may read ${share(read)} of the ${resources.length} usual resources, change ${share(changed)}, ${enters}.`;
}

/** A rule with a star, as one says it. */
export function wildcardInWords({ verbs, groups, resources, names }: Wildcard): string {
  const verb = verbs.includes("*") ? "Every verb" : listed(verbs);
  const resource = resources.includes("*") ? "every resource" : listed(resources);
  const group = groups.includes("*")
    ? "every API group"
    : `the API group ${listed(groups.map((one) => one || "core"))}`;
  const named = names && names.length > 0 ? `, named ${listed(names, "or")}` : "";
  return `${verb} on ${resource} of ${group}${named}`;
}
