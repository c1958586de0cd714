// Rights as a person can read them: what stands in each cell, and what has to be said beside it. No element of the page in here.

import { type Right, type Rights, type Row, VERBS, type Verb, type Wildcard } from "./api.ts";
import { listed } from "./words.ts";

export interface Cell {
  /** none: the verb does not exist for this resource. */
  is: "yes" | "some" | "taken" | "no" | "none";
  /** What a screen reader says. */
  text: string;
  recorded?: keyof typeof RECORDED;
}

/** Something that a cell cannot say, or has no cell, and the guard that it is about. */
export interface Note {
  kind: "taken" | "some" | "also" | keyof typeof RECORDED;
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

/** What is said of what is recorded: all of it, or what has some names. */
export const RECORDED = { recorded: "recorded", "partly-recorded": "some of it is recorded" } as const;

/** How many names of a right are told. */
const NAMES_SHOWN = 5;

export function cellOf({ group, resource, verbs }: Row, verb: Verb): Cell {
  const right = verbs[verb];
  const only = group === "" ? ONLY[resource] : undefined;
  if (!right) {
    const is = only && !only.includes(verb) ? "none" : "no";
    return { is, text: is === "none" ? "" : "no" };
  }
  if (right.is === "taken") {
    return { is: "taken", text: `no: RBAC grants it, the guard ${right.by ?? ""} takes it away` };
  }
  const isPart = right.is === "some" || right.except !== undefined;
  const recorded = right.recorded ? "recorded" : right.someRecorded ? "partly-recorded" : undefined;
  const text = [
    right.is === "some" ? `only ${namesOf(right)}` : "yes",
    ...(right.except === undefined ? [] : [`but not what the guard ${right.except} takes away`]),
    ...(recorded === undefined ? [] : [RECORDED[recorded]]),
  ];
  return { is: isPart ? "some" : "yes", text: text.join(", "), ...(recorded && { recorded }) };
}

/** What stands beside a row: one note for all verbs of which the same is to be said. */
export function notesOf({ verbs }: Row): Note[] {
  const all = gathered(VERBS.flatMap((verb) => remarksOf(verbs[verb]).map((remark) => [verb, remark])));
  return all.map(({ remark, verbs: told }) => {
    // The cells show which verbs it is about, unless there are several of a kind.
    const isOne = remark.kind === "recorded" || all.filter((other) => other.remark.kind === remark.kind).length === 1;
    return isOne ? remark : { ...remark, text: `${listed(told)}: ${remark.text}`.trimEnd() };
  });
}

/** The verbs that have no cell, and what is to be said of each: they are often the most that somebody may do. */
export function othersOf({ verbs }: Row): Note[] {
  const others = Object.entries(verbs).filter(([verb]) => !(VERBS as readonly string[]).includes(verb));
  const told = others.flatMap(([verb, right]): [string, Note][] => {
    const remarks = remarksOf(right);
    return remarks.length === 0 ? [[verb, { kind: "also", text: "" }]] : remarks.map((remark) => [verb, remark]);
  });
  return gathered(told).map(({ remark, verbs: of }) => {
    if (remark.kind === "also") {
      return { ...remark, text: `also: ${of.join(", ")}` };
    }
    const text = remark.kind === "taken" ? `${listed(of)}: taken away by` : `also ${listed(of)}: ${remark.text}`;
    return { ...remark, text };
  });
}

/** What has to be said of a right, beside that there is one. */
function remarksOf(right: Right | undefined): Note[] {
  if (!right) {
    return [];
  }
  const { is, by = "", except, recorded, someRecorded } = right;
  const typed = (what: "output" | "input") => (what === "input" ? ", what you type as well" : "");
  const remarks: (Note | false | undefined)[] = [
    is === "taken" && { kind: "taken", text: "", guard: by },
    is === "some" && { kind: "some", text: `only ${namesOf(right)}` },
    except !== undefined && { kind: "some", text: "less what is taken away by", guard: except },
    recorded && { kind: "recorded", text: `${RECORDED.recorded}${typed(recorded)}` },
    someRecorded && { kind: "partly-recorded", text: `${RECORDED["partly-recorded"]}${typed(someRecorded)}` },
  ];
  return remarks.filter((remark) => remark !== false && remark !== undefined);
}

/** Each remark once, with the verbs that it is about. */
function gathered(all: [verb: string, remark: Note][]): { remark: Note; verbs: string[] }[] {
  const known = new Map<string, { remark: Note; verbs: string[] }>();
  for (const [verb, remark] of all) {
    const key = JSON.stringify(remark);
    const { verbs } = known.get(key) ?? { verbs: [] };
    known.set(key, { remark, verbs: [...verbs, verb] });
  }
  return [...known.values()];
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
  const entered = exec && cellOf(exec, "create");
  const share = (count: number) => (count === resources.length ? "all" : count === 0 ? "none" : String(count));
  const enters =
    entered?.is === "yes" || entered?.is === "some"
      ? `may enter pods${entered.recorded === undefined ? "" : ` (${RECORDED[entered.recorded]})`}`
      : "may not enter pods";
  return `In ${namespace} you may read ${share(read)} and change ${share(changed)} of the ${resources.length} usual resources, not counting subresources, and ${enters}.`;
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
