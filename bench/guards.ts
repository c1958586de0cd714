// Guards, and groups of the identity provider, against none of either: each compiled into a kube-access of its own.

import { rateAndCpu } from "./http.ts";
import { buildMap } from "./identities.ts";
import { httpRequest, mint } from "./requests.ts";
import type { Goal, Work } from "./work.ts";

const EMAIL = "user-0@example.com";
const GROUP = "7335d417-61da-459d-899c-0a01c76a2f94";

const entry = `identities:\n  - email: ${EMAIL}\n    user: user-0\n    groups: [developers]\n`;
const group = `  - idp_group: ${GROUP}\n    groups: [on-call]\n`;

export const guardWorks: Work[] = [
  work("guards", "100 guards and groups known", `${entry}${group}${guards(100)}`, {
    rate: { atLeast: 0.95 },
  }),
  work("guards-1000", "1,000 guards", `${entry}${guards(1000)}`, { cpu: { atMost: 1.05 } }),
];

/**
 * Guards for everybody. None refuses the request, and each has to be looked at: all are of its verb, and half of them of its resource.
 */
function guards(count: number): string {
  const rules = Array.from({ length: count }, (_, index) =>
    index % 2 === 0
      ? `{ resources: [pods, pods/log], verbs: [get, list, watch], namespaces: [team-${index}, prod-*] }`
      : `{ resources: [secrets, configmaps], verbs: [get, update], names: [secret-${index}*] }`,
  );
  return `guards:\n${rules.map((rule, index) => `  - { name: guard-${index}, deny: [${rule}] }\n`).join("")}`;
}

function work(name: string, title: string, map: string, goals: { rate?: Goal; cpu?: Goal }): Work {
  const over = (goal?: Goal) => goal && { goals: { none: goal } };
  return {
    name,
    subjects: { none: "kube-access, no guards", guarded: `kube-access, ${title}` },
    figures: [
      { title: `${title}, 8 connections`, unit: "req/s", digits: 0, ...over(goals.rate) },
      { title: "the same: CPU time of workerd", unit: "µs/req", digits: 1, ...over(goals.cpu) },
    ],
    isSlow: true,
    open: async (stage) => {
      const token = await mint(stage.certs.keys, EMAIL, { groups: [GROUP] });
      await stage.keep("small", [httpRequest("/api/v1/namespaces/default/pods/web", token)]);
      const none = await buildMap("no-guards", entry);
      const guarded = await buildMap(name, map);
      return {
        measure: async (subject, round) => {
          return rateAndCpu(stage, await stage.running(subject === "none" ? none : guarded), 8, round);
        },
      };
    },
  };
}
