// What can be seen without being let in: the address, the certificate, Access in front, and its keys.

import { createPublicKey, type JsonWebKey } from "node:crypto";
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { isIP } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { type Check, failed, notChecked, type Outcome, ok } from "./check.ts";
import { type Answer, type Door, hostOf } from "./door.ts";
import type { Project } from "./project.ts";
import { json, noToken, remedies, saying } from "./refusals.ts";

const BIND =
  "Run `npm run deploy`, which writes Terraform's outputs into wrangler.toml and deploys the Worker with them.";
const NO_WARP = "Run this once from a device without WARP.";
const CERTIFICATE_DAYS_LEFT = 7;

export function entranceChecks(door: Door, project: Project): Check[] {
  return [
    { id: "dns", what: "The host name has an address", run: () => dns(door) },
    { id: "tls", what: "TLS works, and the certificate is valid", needs: ["dns"], run: (signal) => tls(door, signal) },
    {
      id: "access",
      what: "A stranger is turned away by Cloudflare Access, not by the Worker",
      needs: ["tls"],
      run: (signal) => access(door, signal),
    },
    {
      id: "audience",
      what: "wrangler.toml names the Access application in front, and its team",
      needs: ["tls"],
      run: (signal) => audience(door, project, signal),
    },
    {
      id: "keys",
      what: "The team's signing keys can be fetched and used",
      run: (signal) => keys(door, project, signal),
    },
    { id: "doors", what: "The Worker has no door without Access", run: () => doors(project) },
    { id: "logs", what: "Cloudflare's logs and traces hold no arguments of exec", run: () => logs(project) },
  ];
}

async function dns(door: Door): Promise<Outcome> {
  const host = hostOf(door.url);
  if (isIP(host)) {
    return ok(`${host} is an address`);
  }
  if (door.isRedirected(door.url)) {
    return ok(`left out: --connect-to names the address of ${host}`);
  }
  try {
    const addresses = await lookup(host, { all: true });
    return ok(`${host} is ${addresses.map(({ address }) => address).join(", ")}`);
  } catch (error) {
    return failed(
      `${host} does not resolve (${(error as NodeJS.ErrnoException).code})`,
      "The host name is made by the second `terraform -chdir=terraform apply`, after `npm run deploy`. Is it spelled right?",
    );
  }
}

async function tls(door: Door, signal: AbortSignal): Promise<Outcome> {
  const socket = connect({ ...door.connection(door.url), rejectUnauthorized: false });
  const abort = () => socket.destroy(new Error("time limit"));
  signal.addEventListener("abort", abort);
  try {
    await once(socket, "secureConnect");
    return judge(socket);
  } catch (error) {
    signal.throwIfAborted();
    const { code, message } = error as NodeJS.ErrnoException;
    return failed(
      `no TLS connection (${code ?? message})`,
      "A new custom domain's certificate takes some minutes. Else see that the host name is the Worker's custom domain.",
    );
  } finally {
    signal.removeEventListener("abort", abort);
    socket.destroy();
  }
}

function judge(socket: TLSSocket): Outcome {
  if (!socket.authorized) {
    return failed(
      `the certificate is not trusted (${socket.authorizationError})`,
      "Somebody between this machine and Cloudflare may be decrypting TLS. For an authority of your own: --ca-file FILE.",
    );
  }
  const until = new Date(socket.getPeerCertificate().valid_to);
  const days = Math.floor((until.getTime() - Date.now()) / 86_400_000);
  const detail = `${socket.getProtocol()}, the certificate is valid for ${days} more days`;
  return days < CERTIFICATE_DAYS_LEFT
    ? failed(detail, "Cloudflare renews certificates by itself: see SSL/TLS > Edge Certificates in the dashboard.")
    : ok(detail);
}

async function access(door: Door, signal: AbortSignal): Promise<Outcome> {
  const answer = await door.stranger(signal);
  const by = turnedAway(answer);
  if (by) {
    return ok(`turned away by ${by.team ?? "Access"} with status ${answer.status}`);
  }
  if (answer.text.includes(noToken)) {
    return failed(
      `the Worker itself answered a stranger (${saying(answer)})`,
      "The host name is no Access application: `terraform -chdir=terraform apply` makes it one.",
    );
  }
  if (!cameThroughGateway(answer)) {
    return failed(
      `neither Access nor the gateway answered (${saying(answer)})`,
      "See that the host name is the Worker's custom domain, and an Access application.",
    );
  }
  return notChecked(
    door.hasCredentials
      ? "requests pass without the credentials too: Access knows this device by its WARP session"
      : "Access knows this device by its WARP session, so it is no stranger",
    NO_WARP,
  );
}

async function audience(door: Door, project: Project, signal: AbortSignal): Promise<Outcome> {
  if (!project.teamDomain || project.audiences.length === 0) {
    return failed("ACCESS_TEAM_DOMAIN or ACCESS_AUD is not filled in", BIND);
  }
  const by = turnedAway(await door.stranger(signal));
  if (!by?.audience) {
    return notChecked("Access names its application only to those whom it turns away", NO_WARP);
  }
  if (by.team !== undefined && by.team !== project.teamDomain.host) {
    return failed(`the team in front is ${by.team}, wrangler.toml says ${project.teamDomain.host}`, BIND);
  }
  return project.audiences.includes(by.audience)
    ? ok(`the application is ${by.audience.slice(0, 12)}..., as in ACCESS_AUD`)
    : failed(`the application in front is ${by.audience}, which ACCESS_AUD does not name`, BIND);
}

async function keys(door: Door, project: Project, signal: AbortSignal): Promise<Outcome> {
  if (!project.teamDomain) {
    return failed("ACCESS_TEAM_DOMAIN is not filled in", BIND);
  }
  const url = new URL("/cdn-cgi/access/certs", project.teamDomain);
  const wrong = `Open ${url.href} in a browser. If it shows no keys, ACCESS_TEAM_DOMAIN in wrangler.toml is not your team's origin.`;
  let answer: Answer;
  try {
    answer = await door.fetch(url, signal);
  } catch (error) {
    signal.throwIfAborted();
    return failed(`no answer from ${url.host} (${(error as NodeJS.ErrnoException).code})`, wrong);
  }
  const published = json<{ keys?: JsonWebKey[] }>(answer)?.keys;
  if (answer.status !== 200 || !Array.isArray(published)) {
    return failed(`${url.host} answered no keys (status ${answer.status})`, wrong);
  }
  const usable = published.filter((key) => key?.kid && key.alg === "RS256" && isRsaKey(key));
  return usable.length > 0
    ? ok(`${usable.length} of ${published.length} keys are usable (RS256)`)
    : failed(`none of the ${published.length} keys is a usable RS256 key`, wrong);
}

async function doors({ workersDev, previewUrls }: Project): Promise<Outcome> {
  const open = [...(workersDev ? ["workers_dev"] : []), ...(previewUrls ? ["preview_urls"] : [])];
  return open.length === 0
    ? ok("wrangler.toml switches workers.dev and preview addresses off")
    : failed(
        `wrangler.toml leaves ${open.join(" and ")} on: the Access application does not cover those addresses`,
        `Set ${open.map((name) => `${name} = false`).join(" and ")} in wrangler.toml, and run \`npm run deploy\`.`,
      );
}

async function logs({ logsQueries, hasTraces }: Project): Promise<Outcome> {
  const missing = [
    ...(logsQueries ? ["[observability] redact_query_string = true"] : []),
    ...(hasTraces ? ["[observability.traces] enabled = false"] : []),
  ];
  return missing.length === 0
    ? ok("wrangler.toml redacts query strings and switches traces off")
    : failed(
        "the query string of exec holds the command's arguments, and Cloudflare attaches URLs to every line and span",
        `Say ${missing.join(" and ")} in wrangler.toml, and run \`npm run deploy\`.`,
      );
}

/**
 * How Access turned a request away, if it did: which team, and which application. The login page's address names the
 * application as `kid`, a bare 401 or 403 in Cf-Access-Aud; cloudflared reads the same two.
 */
export function turnedAway({ status, headers }: Answer): { team?: string; audience?: string } | undefined {
  const { location = "" } = headers;
  if (status === 302 && URL.canParse(location)) {
    const login = new URL(location);
    const isLogin = login.host.endsWith(".cloudflareaccess.com") && login.pathname.startsWith("/cdn-cgi/access/login");
    const audience = login.searchParams.get("kid");
    return isLogin ? { team: login.host, ...(audience ? { audience } : {}) } : undefined;
  }
  const isAccess = ["cf-access-aud", "cf-access-domain", "cf-access-error"].some((name) => name in headers);
  if ((status === 401 || status === 403) && isAccess) {
    const audience = headers["cf-access-aud"];
    return typeof audience === "string" ? { audience } : {};
  }
  return undefined;
}

/** Whether the gateway or the cluster behind it spoke: a version, a Status, or a sentence of the gateway's own. */
function cameThroughGateway(answer: Answer): boolean {
  const body = json<{ gitVersion?: string; kind?: string }>(answer);
  const isSentence = remedies.some(([sentence]) => answer.text.includes(sentence));
  return body?.gitVersion !== undefined || body?.kind === "Status" || isSentence;
}

function isRsaKey(jwk: JsonWebKey): boolean {
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = createPublicKey({ key: jwk, format: "jwk" });
    return asymmetricKeyType === "rsa" && (asymmetricKeyDetails?.modulusLength ?? 0) >= 2048;
  } catch {
    return false;
  }
}
