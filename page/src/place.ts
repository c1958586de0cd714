// Where one is on the page: what stands behind the # of its address, so that a link leads to it, and a reload stays there.

import { isId } from "../../deploy/sessions/answers.ts";
import { isNamespace } from "./words.ts";

export type Part = "connect" | "rights";

/** What a list of sessions is narrowed to. */
export interface Search {
  user?: string;
  namespace?: string;
  pod?: string;
  day?: string;
}

export type Place =
  | { view: "access"; part?: Part; namespace?: string }
  | { view: "sessions"; search?: Search }
  | { view: "session"; id: string }
  | { view: "grants" };

const SEARCH = ["user", "namespace", "pod", "day"] as const;

export function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?");
  const [first, second] = path.split("/").map(decoded);
  switch (first) {
    case "connect":
      return { view: "access", part: "connect" };
    case "rights":
      return second && isNamespace(second)
        ? { view: "access", part: "rights", namespace: second }
        : { view: "access", part: "rights" };
    case "sessions":
      return second !== undefined && isId(second)
        ? { view: "session", id: second }
        : { view: "sessions", search: searchOf(new URLSearchParams(query)) };
    case "grants":
      return { view: "grants" };
    default:
      return { view: "access" };
  }
}

export function href(place: Place): string {
  switch (place.view) {
    case "access":
      return `#${place.part ?? "access"}${place.namespace === undefined ? "" : `/${encodeURIComponent(place.namespace)}`}`;
    case "sessions": {
      const query = new URLSearchParams(Object.entries(place.search ?? {}).filter(([, text]) => text)).toString();
      return `#sessions${query === "" ? "" : `?${query}`}`;
    }
    case "session":
      return `#sessions/${encodeURIComponent(place.id)}`;
    case "grants":
      return "#grants";
  }
}

export function titleOf(place: Place): string {
  switch (place.view) {
    case "access":
      return "Access";
    case "sessions":
      return "Sessions";
    case "session":
      return "Session";
    case "grants":
      return "Grants";
  }
}

function searchOf(query: URLSearchParams): Search {
  return Object.fromEntries(
    SEARCH.flatMap((key) => {
      const text = query.get(key);
      return text ? [[key, text]] : [];
    }),
  );
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
