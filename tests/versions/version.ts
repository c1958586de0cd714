// Version numbers as people write them.

/** Of "v1.33.1", "1.33.1". */
export function plain(version: string): string {
  return version.replace(/^v/, "");
}

/** Of "v1.33.1", "1.33". */
export function minorOf(version: string): string {
  return plain(version).split(".").slice(0, 2).join(".");
}
