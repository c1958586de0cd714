// One session's manifest, for people: here as lines, and on the page as it is laid out there.

import type { Manifest } from "./answers.ts";
import { counted, moment, padded, shellWords, span, visible } from "./text.ts";

const LABEL_WIDTH = 13;

export function manifestInWords(manifest: Manifest, now: number): string {
  return factsOf(manifest, now)
    .map(([label, value]) => `${padded(`${label}:`, LABEL_WIDTH)}${visible(value)}`)
    .join("\n");
}

/** What is known, each under its label. It may hold what somebody typed: `visible` is for whoever shows it. */
export function factsOf(manifest: Manifest, now: number): [label: string, value: string][] {
  const { caller, target, bytes, sha256, chunks } = manifest;
  const streams = ["stdin", "stdout", "stderr"] as const;
  const recorded = chunks.reduce((sum, { size }) => sum + size, 0);
  const rows: [label: string, value: string | undefined][] = [
    ["ID", manifest.id],
    ["State", manifest.state],
    ["User", caller.user + (caller.email === undefined ? "" : ` (${caller.email})`)],
    ["Groups", listed(caller.groups)],
    ["Acts as", caller.acts_as && [caller.acts_as.user, ...(caller.acts_as.groups ?? [])].join(", ")],
    ["Grants", listed(caller.grants)],
    ["Subject", caller.subject],
    ["Address", caller.address],
    ["Session", target.kind + (target.tty ? " with a terminal" : "") + (target.stdin ? ", stdin open" : "")],
    ["Pod", `${target.namespace}/${target.pod}`],
    ["Container", target.container],
    ["Command", target.command && target.command.length > 0 ? shellWords(target.command) : undefined],
    ["Protocol", manifest.protocol],
    ["Guards", listed(manifest.guards)],
    ["Recorded", manifest.record],
    ["Started", moment(manifest.started)],
    ["Ended", manifest.ended === undefined ? undefined : moment(manifest.ended)],
    ["Lasted", manifest.state === "live" || manifest.ended ? span(manifest.started, manifest.ended ?? now) : undefined],
    ["Ended by", manifest.by],
    ["Reason", manifest.reason],
    ["Exit code", manifest.exit_code === undefined ? undefined : String(manifest.exit_code)],
    ["Bytes", bytes && streams.map((stream) => `${stream} ${bytes[stream]}`).join(", ")],
    ...streams.map((stream): [string, string | undefined] => {
      const digest = sha256?.[stream];
      return [`  ${stream}`, digest && `SHA-256 ${digest}`];
    }),
    ["Chunks", chunks.length > 0 ? `${counted(chunks.length, "chunk")}, ${counted(recorded, "byte")}` : undefined],
    ["Chain ends", chunks.at(-1)?.chain],
    ["Audit ID", manifest.audit_id],
    ["Ray", manifest.ray],
  ];
  return rows.flatMap(([label, value]) => (value ? [[label, value] as [string, string]] : []));
}

function listed(names: string[] | undefined): string | undefined {
  return names?.join(", ");
}
