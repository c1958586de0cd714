// The kubectls of this machine: the stack's own, and every other one that a person has.

import { readdirSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { output } from "../../../dev/command.ts";

export interface FoundKubectl {
  path: string;
  /** Of "v1.33.1", the 33. */
  minor: number;
  version: string;
}

/** One for each minor version, oldest first: `kubectl` on the PATH, and files named kubectl.1.NN beside it. */
export async function findKubectls(own: string): Promise<FoundKubectl[]> {
  const found = new Map<number, FoundKubectl>();
  for (const path of [own, ...candidates()]) {
    const version = await clientVersion(path);
    const minor = Number(version?.match(/^v1\.(\d+)\.\d+/)?.[1]);
    if (version && minor && !found.has(minor)) {
      found.set(minor, { path, minor, version });
    }
  }
  return [...found.values()].sort((a, b) => a.minor - b.minor);
}

function candidates(): string[] {
  const folders = new Set((process.env.PATH ?? "").split(delimiter).filter(Boolean));
  for (const folder of [...folders]) {
    try {
      folders.add(dirname(realpathSync(join(folder, "kubectl"))));
    } catch {
      // There is none in this folder.
    }
  }
  return [...folders].flatMap((folder) => {
    try {
      const names = readdirSync(folder).filter((name) => /^kubectl(\.1\.\d+)?$/.test(name));
      return names.sort((a, b) => b.length - a.length).map((name) => join(folder, name));
    } catch {
      return []; // the PATH names a folder that does not exist
    }
  });
}

/** "-dispatcher" kubectls only pick one of the files beside them, which are found by themselves. */
async function clientVersion(path: string): Promise<string | undefined> {
  const text = (await output(path, ["version", "--client", "--output=json"])) ?? "{}";
  const version: string | undefined = JSON.parse(text).clientVersion?.gitVersion;
  return version?.includes("dispatcher") ? undefined : version;
}
