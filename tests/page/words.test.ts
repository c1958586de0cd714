// What the page says, without the page.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Group, Guard } from "../../page/src/api.ts";
import { href, type Place, placeOf } from "../../page/src/place.ts";
import {
  actAsOptions,
  bytes,
  endedInWords,
  endsOf,
  guardInWords,
  isHost,
  isNamespace,
  left,
  length,
  moment,
} from "../../page/src/words.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

test("what is left is told as one says it", () => {
  for (const [milliseconds, told] of [
    [-5, "0 s"],
    [1, "1 s"],
    [59_000, "59 s"],
    [59_999, "60 s"],
    [MINUTE, "1 min"],
    [48 * MINUTE - 1, "48 min"],
    [HOUR - 1, "1 h"],
    [2 * HOUR + 12 * MINUTE, "2 h 12 min"],
    [DAY - 1, "1 d"],
    [DAY, "1 d"],
    [DAY + 4 * HOUR + MINUTE, "1 d 4 h"],
    [30 * DAY, "30 d"],
  ] as const) {
    assert.equal(left(milliseconds), told, String(milliseconds));
  }
});

test("the spans and sizes of a policy are told in its units", () => {
  assert.deepEqual([0, 45, 90, 3600, 5400, 14_400, 604_800].map(length), [
    "0 s",
    "45 s",
    "1 min 30 s",
    "1 h",
    "1 h 30 min",
    "4 h",
    "168 h",
  ]);
  assert.deepEqual([0, 1023, 1024, 1536, 64 << 20, 5 * 2 ** 40].map(bytes), [
    "0 bytes",
    "1023 bytes",
    "1 KiB",
    "1.5 KiB",
    "64 MiB",
    "5120 GiB",
  ]);
});

test("a moment of today is a time, another one has its day", () => {
  const now = new Date(2026, 10, 26, 12).getTime();
  const told = (...at: [number, number, number, number, number]) => moment(new Date(...at).toISOString(), now);
  assert.equal(told(2026, 10, 26, 18, 5), "18:05");
  assert.equal(told(2026, 10, 27, 9, 0), "27 Nov, 09:00");
  assert.equal(told(2027, 0, 2, 9, 0), "2 Jan 2027, 09:00");
  assert.equal(moment("soon", now), "soon");
});

test("guards are told in plain words", () => {
  const told = (guard: Omit<Guard, "name">) => guardInWords({ name: "g", ...guard });
  assert.deepEqual(told({ allow: "read-only" }), [
    "You may read: get, list and watch, and no more. No secrets, exec, attach, port-forward or proxy.",
  ]);
  assert.deepEqual(
    told({
      deny: [
        {
          verbs: ["get", "list", "watch"],
          apiGroups: [""],
          resources: ["secrets"],
          namespaces: ["*"],
          names: ["*"],
        },
        { verbs: ["get"], urls: ["/metrics"] },
        { verbs: ["*"], resources: ["*"], namespaces: ["kube-*", "prod"] },
        { verbs: ["delete"], resources: ["pods", "services"], names: ["web"] },
        { verbs: ["create"], apiGroups: ["apps", ""], resources: ["*"] },
      ],
    }),
    [
      "No get, list or watch of secrets.",
      "No get to /metrics.",
      "Nothing may be done with any resource in kube-* or prod.",
      "No delete of pods or services named web.",
      "No create of any resource of the API group apps or core.",
    ],
  );
  assert.deepEqual(
    told({ record: "output", maxSession: 14_400, maxBytes: 64 << 20, namespaces: ["*"], names: ["*"] }),
    [
      "Exec, attach and port-forward are recorded: what is shown, not what you type.",
      "What stays open ends after 4 h.",
      "A stream carries at most 64 MiB each way.",
    ],
  );
  assert.deepEqual(told({ record: "input", namespaces: ["prod-*"], names: ["db-0"] }), [
    "Exec, attach and port-forward are recorded for pods named db-0 in prod-*: what is shown, and what you type.",
  ]);
  assert.deepEqual(told({ maxSession: 60, namespaces: ["prod"] }), ["What stays open ends after 1 min in prod."]);
});

test("what ends first is told by its name, and the login by its own", () => {
  const [until, login] = ["2026-11-26T14:00:00Z", "2026-11-26T18:00:00Z"];
  const told = (groups: Group[]) => endsOf({ login, until, why: "policy", groups }).map(endedInWords);
  const over = (what: string) => `${what} has ended: reload the page.`;
  const grant = (name: string): Group => ({ name, from: "grant", grant: "g-1", expires: until });
  const later: Group = { name: "on-call", from: "grant", grant: "g-2", expires: login };
  const entry: Group = { name: "developers", from: "email", expires: until };
  for (const [groups, what] of [
    [[grant("sre"), later], "Your grant of sre"],
    [[grant("sre"), grant("dba"), later], "Your grant of sre and dba"],
    [[{ name: "all", from: "email" }, entry], "Your entry for developers"],
    [[grant("sre"), entry], "What gives you sre and developers"],
    // An entry without groups, or a grant of groups that are there without it.
    [[later], "An entry or a grant of yours"],
  ] as [Group[], string][]) {
    assert.deepEqual(told(groups), [over(what), "Your login has ended: reload the page to log in again."]);
  }
  assert.deepEqual(
    endsOf({ login, until: login, why: "token", groups: [later] }).map(({ at, what }) => [at, what]),
    [[login, "your login"]],
  );
});

test("whom one may act as is told by kubectl's options, those that there are", () => {
  const nobody = { users: [], groups: [], uids: [], extras: [], reasonRequired: false };
  assert.deepEqual(actAsOptions(nobody), []);
  assert.deepEqual(
    actAsOptions({ ...nobody, users: ["breakglass"], extras: ["example.com/ticket"] }).map(({ option }) => option),
    ["--as", "--as-user-extra"],
  );
});

test("an address behind the # leads to its place and back, and one that cannot be read to the first", () => {
  const id = "8204310099999-2bd806c97f0e00af-0000000000000002";
  const places: Place[] = [
    { view: "access" },
    { view: "access", part: "connect" },
    { view: "access", part: "rights" },
    { view: "access", part: "rights", namespace: "team-a" },
    { view: "sessions", search: {} },
    { view: "sessions", search: { user: "a&b=c d", pod: "web", day: "2026-11-26" } },
    { view: "session", id },
    { view: "grants" },
  ];
  for (const place of places) {
    assert.deepEqual(placeOf(href(place)), place);
  }
  assert.deepEqual(placeOf("#%"), { view: "access" });
  assert.deepEqual(placeOf("#rights/%2e%2e"), { view: "access", part: "rights" });
  assert.deepEqual(placeOf("#rights/%E0%A4%A"), { view: "access", part: "rights" });
  assert.deepEqual(placeOf("#sessions/../../grants"), { view: "sessions", search: {} });
  assert.deepEqual(placeOf("#sessions/ID OF NOTHING"), { view: "sessions", search: {} });
});

test("only a host's name goes into a line for a shell, and only a namespace's into a request", () => {
  assert.ok(["kube.example.com", "127.0.0.1:8443", "k"].every(isHost));
  assert.ok(!["", "-k", "k; rm -rf ~", "k$(id)", "k\nid", "k'", "k:8443/x", "k:"].some(isHost));
  assert.ok(["default", "a", "a".repeat(63)].every(isNamespace));
  assert.ok(!["", "A", "a.b", "-a", "a-", "a".repeat(64), "a/b", "a?b"].some(isNamespace));
});
