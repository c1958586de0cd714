// What a caller sees whom Access lets in: the cluster, who they are there, and that they cannot be anybody else.

import { ANY_USER, type Entry } from "../impersonation.ts";
import { type Check, failed, notChecked, type Outcome, ok } from "./check.ts";
import type { Door } from "./door.ts";
import { turnedAway } from "./entrance.ts";
import { entriesAt, entryFor, type Project } from "./project.ts";
import { impersonationRefused, json, remedyFor, saying } from "./refusals.ts";

const SIGN_IN =
  "Connect WARP, or set CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET (a service token), or " +
  "CF_ACCESS_TOKEN (what `cloudflared access token --app=URL` prints).";
/** The API server gives it to everybody whom it knows. */
const EVERYBODY = "system:authenticated";

interface UserInfo {
  username?: string;
  groups?: string[];
  extra?: Record<string, string[]>;
}

export function callerChecks(door: Door, project: Project): Check[] {
  return [
    {
      id: "cluster",
      what: "A request of a caller reaches the API server",
      needs: ["tls"],
      run: (signal) => cluster(door, signal),
    },
    {
      id: "identity",
      what: "The caller arrives as identities.yaml says, each group by itself",
      needs: ["cluster"],
      run: (signal) => identity(door, project, signal),
    },
    {
      id: "impersonation",
      what: "A caller cannot become somebody else (--as)",
      needs: ["cluster"],
      run: (signal) => impersonation(door, signal),
    },
    {
      id: "browsers",
      what: "A browser enters through a proxy on its own machine, and no other way",
      needs: ["cluster"],
      run: (signal) => browsers(door, signal),
    },
  ];
}

async function cluster(door: Door, signal: AbortSignal): Promise<Outcome> {
  if (!door.hasCredentials && turnedAway(await door.stranger(signal))) {
    return notChecked("Access turns this device away, and no credentials were given", SIGN_IN);
  }
  const answer = await door.ask("/version", { signal });
  if (turnedAway(answer)) {
    return failed(
      `Access turned the credentials away with status ${answer.status}`,
      `Have they expired, and does a policy of the Access application name them? ${SIGN_IN}`,
    );
  }
  const version = json<{ gitVersion?: string }>(answer)?.gitVersion;
  return answer.status === 200 && version
    ? ok(`Kubernetes ${version} answers, so ACCESS_AUD and the VPC binding KUBE_API of the deployed Worker are right`)
    : failed(`GET /version was answered ${saying(answer)}`, remedyFor(answer));
}

async function identity(door: Door, project: Project, signal: AbortSignal): Promise<Outcome> {
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const answer = await door.ask(path, { method: "POST", body: review, signal });
  if (answer.status === 404) {
    return notChecked("this API server has no SelfSubjectReview", "Kubernetes 1.28 and newer have it.");
  }
  const userInfo = json<{ status?: { userInfo?: UserInfo } }>(answer)?.status?.userInfo;
  return answer.status === 201 && userInfo
    ? compare(userInfo, project)
    : failed(`the SelfSubjectReview was answered ${saying(answer)}`, remedyFor(answer));
}

function compare({ username = "", groups = [], extra = {} }: UserInfo, project: Project): Outcome {
  const email = extra["kube-access.dev/email"]?.[0];
  const subject = extra["kube-access.dev/subject"]?.[0];
  if (email === undefined && subject === undefined) {
    return failed(
      `the caller arrives as ${username}, without a sign of the gateway`,
      "Something else answers in the gateway's place: see where the host name leads.",
    );
  }
  const joined = groups.filter((group) => group.includes(","));
  if (joined.length > 0) {
    return failed(
      `several groups arrive as one: "${joined.join('", "')}"`,
      "Something between Worker and cluster joins repeated header lines, as `wrangler dev` in remote mode does. Give callers one group each until it is gone.",
    );
  }
  const who = email ?? `service token ${subject}`;
  const identities = entriesAt(Date.now(), project.policy);
  const byGroup = identities.filter((entry) => email !== undefined && entry.idp_group !== undefined);
  const entry =
    entryFor(identities, { email, subject }) ?? byGroup.find((entry) => userOf(entry, email ?? "") === username);
  const differences = entry
    ? differencesOf(entry, byGroup, email ?? "", username, groups)
    : ["identities.yaml has no entry for it"];
  if (entry && differences.length === 0) {
    return ok(arrival(username, entry));
  }
  const detail = `${who} arrives as user ${username}, and ${differences.join("; ")}`;
  return project.hasKv
    ? notChecked(`${detail}: a KV entry may say so`, "Call as somebody who has no KV entry.")
    : failed(
        detail,
        "The Worker was built from another identities.yaml: `terraform -chdir=terraform apply && npm run deploy`.",
      );
}

/** `byGroup`: what the identity provider knows of the caller may add the groups of these. */
function differencesOf(entry: Entry, byGroup: Entry[], email: string, username: string, groups: string[]): string[] {
  const user = userOf(entry, email);
  const mapped = entry.groups ?? [];
  const possible = [EVERYBODY, ...mapped, ...byGroup.flatMap((one) => one.groups ?? [])];
  const missing = mapped.filter((group) => !groups.includes(group));
  const foreign = groups.filter((group) => !possible.includes(group));
  return [
    ...(username === user ? [] : [`should arrive as ${user}`]),
    ...(missing.length > 0 ? [`group ${missing.join(", ")} is missing`] : []),
    ...(foreign.length > 0 ? [`group ${foreign.join(", ")} is not in the map`] : []),
  ];
}

/** As whom an entry lets somebody in. An address may have what `replace` takes for a pattern, such as "$&". */
function userOf({ user }: Entry, email: string): string | undefined {
  return user?.replace(ANY_USER, () => email);
}

function arrival(username: string, { groups = [] }: Entry): string {
  const named = groups.length === 0 ? "no groups" : `group ${groups.join(" and group ")}`;
  const hint = groups.length < 2 ? " (that several groups stay apart shows with a caller who has several)" : "";
  return `user ${username}, ${named}${hint}`;
}

async function impersonation(door: Door, signal: AbortSignal): Promise<Outcome> {
  const headers = { "impersonate-user": "kube-access-doctor" };
  const answer = await door.ask("/version", { headers, signal });
  if (answer.status === 403 && impersonationRefused.some((sentence) => answer.text.includes(sentence))) {
    return ok("the gateway refuses impersonation headers");
  }
  return failed(
    `a request with Impersonate-User was answered ${saying(answer)}`,
    answer.status >= 500
      ? remedyFor(answer)
      : "Take the host name away at once (`npx wrangler delete`): whatever answers there is not this gateway, or an old one.",
  );
}

/**
 * The gateway takes a browser's request only when the first address of X-Forwarded-For is loopback: `kubectl proxy`, Lens and
 * Headlamp append it, and no page can. That holds as long as Cloudflare keeps what the caller sent and appends to it.
 */
async function browsers(door: Door, signal: AbortSignal): Promise<Outcome> {
  const page = await door.ask("/version", { headers: { "sec-fetch-site": "none" }, signal });
  if (page.status !== 403 || turnedAway(page)) {
    return failed(
      `a web page's request was answered ${saying(page)}`,
      page.status === 200
        ? "The deployed Worker is an old one (`npm run deploy`), or something in front of it takes Sec-Fetch-* away or begins X-Forwarded-For with a loopback address: see Rules > Transform Rules."
        : remedyFor(page),
    );
  }
  const proxied = { "sec-fetch-site": "same-origin", "x-forwarded-for": "127.0.0.1" };
  const local = await door.ask("/version", { headers: proxied, signal });
  if (local.status === 200) {
    return ok("X-Forwarded-For arrives with what the caller sent at its beginning");
  }
  return failed(
    `a request through a proxy on the caller's machine was answered ${saying(local)}`,
    local.status === 403
      ? 'X-Forwarded-For arrives without what the caller sent, so dashboards through `kubectl proxy`, Lens and Headlamp are refused (nobody gets in who should not): see Rules > Transform Rules, such as "Remove visitor IP headers".'
      : remedyFor(local),
  );
}
