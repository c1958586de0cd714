// The states that the sample can be in: `?state=NAME`.

export const STATES = {
  auditor: "alice, who sees everybody's sessions and gives groups; this is the default",
  developer: "bob, who sees his own, may not list namespaces, and from whom guards take much away",
  contractor: "somebody of a domain who may read; no bucket for recordings, no grants",
  agent: "a service token; no sessions, no grants, nobody to ask",
  empty: "somebody without groups, guards, rights, sessions or grants",
  partial: "the API server tells some of it alone",
  hostile: "names that hold HTML, turned text, controls and 10,000 letters",
  ending: "a session that ends in a minute and a half",
  slow: "every answer takes three seconds",
  failing: "the gateway cannot do what it is asked",
  halting: "who one is can be told, and nothing else",
  denied: "whoever has lost their entry since the page was loaded",
  expired: "a session of Access that is over",
  stranger: "somebody whom no entry names: the Worker's own page",
} as const;

export type State = keyof typeof STATES;

export function isState(text: string): text is State {
  return Object.hasOwn(STATES, text);
}
