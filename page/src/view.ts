// What every view is to the page.

import type { Place } from "./place.ts";

export interface View {
  element: HTMLElement;
  /** Goes to another place of the same view; false, if it has to be made anew. */
  goTo?(place: Place): boolean;
}

/** Shows a failure in place of all, since the view cannot go on. */
export type Failed = (error: Error) => void;
