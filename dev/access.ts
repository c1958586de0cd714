// A stand-in for Cloudflare's edge with Access on it: a TLS server in front of the gateway that lets nobody through who has
// no session, and gives every request of those who have one a freshly signed Cf-Access-Jwt-Assertion.
//
// Where Cloudflare recognises a caller by the device client (WARP), the stand-in does by a session token, which a kubeconfig
// carries as its bearer token. It is consumed here: like Access's own credentials, it never reaches the gateway. Programs are
// recognised as Access does it: by the headers of a service token, or a token of `cloudflared access` in cf-access-token.

import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type IncomingMessage, STATUS_CODES } from "node:http";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import type { Certs, CertsFault } from "./access-certs.ts";
import { ANY_NUMBER_OF_LINES, Forwarder, MAX_HEAD_BYTES } from "./access-forward.ts";
import type { AccessUser } from "./access-keys.ts";
import { Login } from "./access-login.ts";
import type { ManagedOAuth } from "./access-oauth.ts";
import { serverCertificate } from "./certificates.ts";
import { listen } from "./listen.ts";

export type { AccessUser } from "./access-keys.ts";

export interface AccessOptions {
  certs: Certs;
  gateway: { host: string; port: number };
  aud: string;
  /** The team's origin, "https://<team>.cloudflareaccess.com". */
  teamDomain: string;
  users: AccessUser[];
  port?: number;
  /** Managed OAuth, for whoever has no WARP: strangers are answered 401, and told where tokens come from. */
  hasOAuth?: boolean;
}

/**
 * Where callers come from, as Cloudflare sees them: from outside (RFC 5737), and not from the machine that the stand-in runs on.
 * A loopback address would say that they came through a proxy of their own.
 */
export const CALLERS_ADDRESS = "198.51.100.1";

export interface TokenOverrides {
  claims?: Record<string, unknown>;
  header?: Record<string, unknown>;
}

export interface Access {
  /** Where kubectl connects to. */
  url: string;
  /** The authority behind the certificate of `url`: a file, and its contents. */
  caFile: string;
  ca: string;
  certs: { host: string; port: number };
  /** The bearer token by which the stand-in knows a user. */
  session(user: string): string;
  /** The service token of a program, as its headers carry it. */
  serviceToken(user: string): { id: string; secret: string };
  /** The authorization server, where managed OAuth is on. */
  oauth?: ManagedOAuth;
  /** Where somebody with a browser logs in. It has a key, and is for nobody else to see. */
  loginUrl: string;
  /** From now on a user's tokens are good for so many seconds: in Access, how long a session still lasts. */
  setLifetime(user: string, seconds: number): void;
  /** A token as Access would sign it for the user now. */
  mint(user: string, overrides?: TokenOverrides): Promise<string>;
  /** Any header and payload, signed with the key that signs now. */
  signRaw(header: string | object, payload: string | object): Promise<string>;
  /** The `kid` of the key that signs now. */
  kid(): string;
  rotate(): Promise<void>;
  drop(): void;
  fault(mode: CertsFault): void;
  certsRequests(): number;
  stop(): Promise<void>;
}

export async function startAccess(options: AccessOptions): Promise<Access> {
  const { certs, gateway, aud, teamDomain, users } = options;
  const sessions = new Map(users.map((user) => [randomBytes(32).toString("base64url"), user]));
  const { ca, cert, key } = serverCertificate(["127.0.0.1", "localhost"]);
  const server = createServer({
    ...{ cert, key, keepAliveTimeout: 60_000, requestTimeout: 0, maxHeaderSize: MAX_HEAD_BYTES },
    allowHalfOpen: true,
  });
  server.maxHeadersCount = ANY_NUMBER_OF_LINES;
  const forwarder = new Forwarder(gateway, server);
  const lifetimes = new Map<AccessUser, number>();

  const tokenOf = (user: AccessUser, { claims, ...more }: TokenOverrides = {}): Promise<string> => {
    const seconds = lifetimes.get(user);
    const ending = seconds === undefined ? {} : { exp: Math.floor(Date.now() / 1000) + seconds };
    return certs.keys.token(user, { aud, teamDomain, claims: { ...ending, ...claims }, ...more });
  };
  const programs = new Map(users.flatMap((user) => ("commonName" in user ? [[user.commonName, user] as const] : [])));
  const serviceSecrets = new Map([...programs.keys()].map((id) => [id, `cfast_${randomBytes(20).toString("hex")}`]));
  const ofServiceToken = ({ headers }: IncomingMessage): AccessUser | undefined => {
    const { "cf-access-client-id": id, "cf-access-client-secret": secret } = headers;
    return typeof id === "string" && secret === serviceSecrets.get(id) ? programs.get(id) : undefined;
  };
  const ofPerson = async ({ headers }: IncomingMessage): Promise<AccessUser | undefined> => {
    const token = headers["cf-access-token"];
    const identity = typeof token === "string" ? await certs.keys.identity(token) : undefined;
    const { email } = (identity ?? {}) as { email?: string };
    return email === undefined ? undefined : users.find((user) => "email" in user && user.email === email);
  };
  const admit = async (request: IncomingMessage): Promise<string[] | undefined> => {
    const session = bearerToken(request) ?? Login.sessionOf(request) ?? "";
    const user =
      sessions.get(session) ??
      ofServiceToken(request) ??
      (await ofPerson(request)) ??
      (await oauth?.userOf(bearerToken(request) ?? ""));
    return user && edgeHeaders(request, user, await tokenOf(user));
  };
  const login = new Login(sessions);
  let oauth: ManagedOAuth | undefined;
  server.on("request", async (request, response) => {
    const answer = login.answer(request);
    if (oauth && request.url === oauth.metadata) {
      const metadata = { resource: url, authorization_servers: [oauth.issuer] };
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(metadata));
      return;
    }
    if (answer) {
      response.writeHead(answer.status, answer.headers).end(answer.body);
      return;
    }
    const headers = await admit(request);
    if (headers) {
      forwarder.request(request, response, headers);
    } else {
      const { status, headers } = turnAway(request, teamDomain, aud, oauth);
      response.writeHead(status, headers).end();
    }
  });
  server.on("upgrade", async (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    const headers = await admit(request);
    if (headers) {
      forwarder.upgrade(request, socket, head, headers);
    } else {
      const { status, headers } = turnAway(request, teamDomain, aud, oauth);
      const lines = Object.entries({ ...headers, connection: "close" }).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n`);
    }
  });

  const listening = await listen(server, options.port);
  const url = `https://${listening.host}:${listening.port}`;
  if (options.hasOAuth) {
    const { startManagedOAuth } = await import("./access-oauth.ts");
    oauth = await startManagedOAuth(url, users);
  }
  const dir = await mkdtemp(join(tmpdir(), "kube-access-edge-"));
  const caFile = join(dir, "ca.crt");
  await writeFile(caFile, ca);

  const named = (name: string): AccessUser => {
    const user = users.find((candidate) => candidate.name === name);
    if (!user) {
      throw new Error(`Access knows no user ${name}, only ${users.map((candidate) => candidate.name).join(", ")}`);
    }
    return user;
  };
  return {
    url,
    ...(oauth && { oauth }),
    caFile,
    ca,
    certs,
    loginUrl: `https://${listening.host}:${listening.port}${login.page}`,
    session: (name) => [...sessions].find(([, user]) => user === named(name))?.[0] ?? "",
    serviceToken: (name) => {
      const user = named(name);
      const id = "commonName" in user ? user.commonName : "";
      return { id, secret: serviceSecrets.get(id) ?? "" };
    },
    setLifetime: (name, seconds) => lifetimes.set(named(name), seconds),
    mint: async (name, overrides) => tokenOf(named(name), overrides),
    signRaw: async (header, payload) => certs.keys.signRaw(header, payload),
    kid: () => certs.keys.current.kid,
    rotate: () => certs.keys.rotate(),
    drop: () => certs.keys.drop(),
    fault: (mode) => certs.fault(mode),
    certsRequests: () => certs.requests(),
    stop: async () => {
      await oauth?.stop();
      forwarder.stop();
      await listening.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function bearerToken(request: IncomingMessage): string | undefined {
  return request.headers.authorization?.match(/^Bearer (\S+)$/)?.[1];
}

/** What the edge answers a stranger: a script gets 401, everybody else the way to the login page. */
function turnAway(
  request: IncomingMessage,
  teamDomain: string,
  aud: string,
  oauth: ManagedOAuth | undefined,
): { status: number; headers: Record<string, string> } {
  if (oauth) {
    return { status: 401, headers: { "www-authenticate": oauth.challenge, "content-length": "0" } };
  }
  if (request.headers["x-requested-with"] === "XMLHttpRequest") {
    return { status: 401, headers: { "content-length": "0" } };
  }
  const query = new URLSearchParams({ kid: aud, redirect_url: request.url ?? "/" });
  const location = `${teamDomain}/cdn-cgi/access/login/${request.headers.host ?? ""}?${query}`;
  return { status: 302, headers: { location, "content-length": "0" } };
}

/** The caller's header lines as the edge passes them on: without what only the edge may say, and with what it says. */
function edgeHeaders(request: IncomingMessage, user: AccessUser, token: string): string[] {
  const lines: string[] = [];
  /** Whom the caller's own proxies have named, then the caller. */
  const forwardedFor: string[] = [];
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const [name = "", value = ""] = request.rawHeaders.slice(index, index + 2);
    if (name.toLowerCase() === "x-forwarded-for") {
      forwardedFor.push(value);
    } else if (!isTheEdgesToSay(name.toLowerCase())) {
      lines.push(name, value);
    }
  }
  forwardedFor.push(CALLERS_ADDRESS);
  lines.push("Cf-Access-Jwt-Assertion", token);
  if ("email" in user) {
    lines.push("Cf-Access-Authenticated-User-Email", user.email);
  }
  lines.push(
    "Cf-Connecting-Ip",
    CALLERS_ADDRESS,
    "X-Forwarded-For",
    forwardedFor.join(", "),
    "X-Forwarded-Proto",
    "https",
  );
  lines.push(
    "Cf-Ray",
    `${randomBytes(8).toString("hex")}-FRA`,
    "Cf-Ipcountry",
    "DE",
    "Cf-Visitor",
    '{"scheme":"https"}',
  );
  return lines;
}

function isTheEdgesToSay(name: string): boolean {
  const own = ["authorization", "cf-connecting-ip", "cf-ray", "cf-ipcountry", "cf-visitor", "x-forwarded-proto"];
  return name.startsWith("cf-access-") || own.includes(name);
}
