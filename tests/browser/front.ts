// Cloudflare's edge with Access on it, as a browser meets it. Where the stand-in of dev/access.ts knows a caller by a bearer
// token, a browser brings what it has anyway: the device client (WARP) makes every request of the machine alice's, whoever
// caused it; or a login has left a cookie. The edge then signs for alice, and names the visitor's address after whatever
// X-Forwarded-For says already. Keeps what came and what it was answered.

import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { Duplex } from "node:stream";
import type { Access } from "../../dev/access.ts";
import { type Listening, listen } from "../../dev/listen.ts";
import { localApplication } from "../../dev/users.ts";

/** How the edge knows alice: by her device, or by the cookie that a login left. */
export type Session = "device" | "cookie";

/** One request as it came, and what it was answered. */
export interface Visit {
  method: string;
  target: string;
  /** Names and values in turn, as they came. */
  lines: string[];
  isUpgrade: boolean;
  /** 0 until there is an answer. */
  status: number;
  answer: string;
  /** The names of the answer's header lines, in lower case. */
  answerNames: string[];
  /** The answer was given in full, or nobody wanted it any more. */
  isOver: boolean;
}

export interface Front extends Listening {
  visits: Visit[];
  session: Session;
  /** Whose the session is: alice's, unless a test says otherwise. */
  user: string;
  /** Takes away by what a browser tells that it is one, as one of 2020 would not say it. */
  isOldBrowser: boolean;
  reset(): void;
}

export const sessionCookie = { name: "CF_Authorization", value: "session-of-alice" };
/** Where alice is. A documentation address: what counts is that it is not this machine's. */
export const visitorAddress = "203.0.113.7";

const CONNECTION_LINES = ["connection", "keep-alive", "proxy-connection", "te", "expect", "upgrade"];

interface FrontOptions {
  cert: string;
  key: string;
  access: Access;
  gateway: { host: string; port: number };
}

export async function startFront({ cert, key, access, gateway }: FrontOptions): Promise<Front> {
  const server = createServer({ cert, key, requestTimeout: 0 });
  const front = { visits: [] as Visit[], session: "device" as Session, user: "alice", isOldBrowser: false };

  const begin = (request: IncomingMessage, isUpgrade: boolean): Visit => {
    const { method = "", url: target = "", rawHeaders: lines } = request;
    const kept = { method, target, lines, isUpgrade, status: 0, answer: "", answerNames: [], isOver: false };
    front.visits.push(kept);
    return kept;
  };
  /** The request onward; nothing for a stranger's. */
  const open = async (request: IncomingMessage, isUpgrade: boolean): Promise<ClientRequest | undefined> => {
    if (front.session === "cookie" && !isLoggedIn(request)) {
      return undefined;
    }
    const lines = edgeLines(request.rawHeaders, await access.mint(front.user), front.isOldBrowser);
    const { host, port } = gateway;
    const headers = isUpgrade ? [...lines, "Connection", "Upgrade", "Upgrade", "websocket"] : lines;
    const { method, url: path } = request;
    return httpRequest({ agent: false, host, port, method, path, headers, setHost: false });
  };

  server.on("request", async (request: IncomingMessage, response: ServerResponse) => {
    const visit = begin(request, false);
    response.on("close", () => {
      visit.isOver = true;
    });
    const onward = await open(request, false);
    if (!onward) {
      visit.status = 302;
      response.writeHead(302, { location: loginPage(request) }).end();
      return;
    }
    response.on("close", () => onward.destroy());
    onward.on("error", () => response.destroy());
    if (visit.isOver) {
      onward.destroy();
      return;
    }
    onward.on("response", (answer) => {
      visit.status = answer.statusCode ?? 0;
      visit.answerNames = Object.keys(answer.headers);
      keep(answer, visit);
      response.writeHead(visit.status, answer.statusMessage, without(answer.rawHeaders));
      response.flushHeaders();
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    request.pipe(onward);
  });
  server.on("upgrade", async (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => {}); // its close follows
    const visit = begin(request, true);
    socket.on("close", () => {
      visit.isOver = true;
    });
    const onward = await open(request, true);
    if (!onward) {
      visit.status = 302;
      socket.end(`HTTP/1.1 302 Found\r\nLocation: ${loginPage(request)}\r\nConnection: close\r\n\r\n`);
      return;
    }
    socket.on("close", () => onward.destroy());
    const answerWith = (answer: IncomingMessage, lines: string[]) => {
      visit.status = answer.statusCode ?? 0;
      visit.answerNames = Object.keys(answer.headers);
      socket.write(`HTTP/1.1 ${visit.status} ${answer.statusMessage}\r\n${text(lines)}\r\n`);
    };
    onward.on("error", () => socket.destroy());
    onward.on("upgrade", (answer, peer, peerHead) => {
      answerWith(answer, answer.rawHeaders);
      socket.write(peerHead);
      peer.write(head);
      peer.on("error", () => socket.destroy());
      peer.on("close", () => socket.end());
      socket.on("close", () => peer.destroy());
      keep(peer, visit);
      socket.pipe(peer).pipe(socket);
    });
    onward.on("response", (answer) => {
      answerWith(answer, [...without(answer.rawHeaders, "transfer-encoding"), "Connection", "close"]);
      keep(answer, visit);
      answer.pipe(socket);
    });
    onward.end();
  });

  const listening = await listen(server);
  return Object.assign(front, {
    ...listening,
    reset: () => {
      front.visits = [];
      front.session = "device";
      front.user = "alice";
      front.isOldBrowser = false;
    },
  });
}

/** The values of a visit's header lines of this name, in order. */
export function valuesOf({ lines }: Visit, name: string): string[] {
  return lines.filter((_, index) => index % 2 === 1 && lines[index - 1]?.toLowerCase() === name);
}

function isLoggedIn(request: IncomingMessage): boolean {
  return (request.headers.cookie ?? "").split("; ").includes(`${sessionCookie.name}=${sessionCookie.value}`);
}

function loginPage(request: IncomingMessage): string {
  return `${localApplication.teamDomain}/cdn-cgi/access/login/${request.headers.host}`;
}

/** The caller's lines as the edge passes them on. */
function edgeLines(raw: string[], token: string, isOldBrowser: boolean): string[] {
  const lines: string[] = [];
  const forwardedFor: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const [name = "", value = ""] = raw.slice(index, index + 2);
    const lower = name.toLowerCase();
    if (lower === "x-forwarded-for") {
      forwardedFor.push(value);
    } else if (!isOldBrowser || !/^(sec-fetch-|sec-purpose$|purpose$)/.test(lower)) {
      lines.push(name, value);
    }
  }
  const said = ["Cf-Access-Jwt-Assertion", token, "Cf-Connecting-Ip", visitorAddress, "X-Forwarded-Proto", "https"];
  return [...without(lines), ...said, "X-Forwarded-For", [...forwardedFor, visitorAddress].join(", ")];
}

function without(raw: string[], ...more: string[]): string[] {
  const names = [...CONNECTION_LINES, ...more];
  return raw.filter((_, index) => !names.includes((raw[index - (index % 2)] ?? "").toLowerCase()));
}

function text(lines: string[]): string {
  return lines.map((part, index) => part + (index % 2 === 0 ? ": " : "\r\n")).join("");
}

function keep(answer: NodeJS.EventEmitter, visit: Visit): void {
  answer.on("data", (chunk: Buffer) => {
    visit.answer += chunk.toString("latin1");
  });
}
