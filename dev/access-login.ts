// The login of the Access stand-in, for browsers: whoever has the key of the page says who they are, and a cookie says so from then on.
// `npm start` prints the page's address with the key, which nobody else on the machine can guess.

import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { AccessUser } from "./access-keys.ts";

/** Where Access has its own paths on a host that it protects. */
const PATH = "/cdn-cgi/access/login";

const COOKIE = "CF_Authorization";

export interface LoginAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

export class Login {
  readonly #key = randomBytes(16).toString("base64url");
  readonly #sessions: Map<string, AccessUser>;

  constructor(sessions: Map<string, AccessUser>) {
    this.#sessions = sessions;
  }

  /** Path and query of the page. */
  get page(): string {
    return `${PATH}?key=${this.#key}`;
  }

  /** The session token of a request's cookie. */
  static sessionOf({ headers }: IncomingMessage): string | undefined {
    const cookies = (headers.cookie ?? "").split(/; */);
    return cookies.find((cookie) => cookie.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1);
  }

  /** The answer to a request for the login; nothing for any other. */
  answer({ url = "" }: IncomingMessage): LoginAnswer | undefined {
    const [path, query] = url.split("?");
    if (path !== PATH) {
      return undefined;
    }
    const asked = new URLSearchParams(query);
    if (asked.get("key") !== this.#key) {
      return text(403, "To log in, open the address that npm start has printed: it has a key.");
    }
    const as = asked.get("as");
    if (as === null) {
      return { ...text(200, this.#users()), headers: { "content-type": "text/html; charset=utf-8", ...STAYS_HERE } };
    }
    const session = [...this.#sessions].find(([, { name }]) => name === as)?.[0];
    if (session === undefined) {
      return text(404, "There is no such user.");
    }
    const cookie = `${COOKIE}=${session}; Path=/; HttpOnly; Secure; SameSite=Lax`;
    return { status: 302, headers: { location: "/.kube-access/", "set-cookie": cookie, ...STAYS_HERE }, body: "" };
  }

  #users(): string {
    const users = [...this.#sessions.values()].map((user) => {
      const who = "email" in user ? user.email : user.commonName;
      return `<li><a href="${PATH}?key=${this.#key}&amp;as=${user.name}">${user.name}</a> ${who}</li>`;
    });
    return `<!doctype html><title>Log in</title><h1>Log in as</h1><ul>${users.join("")}</ul>\n`;
  }
}

/** The address of the page is a secret. */
const STAYS_HERE = { "cache-control": "no-store", "referrer-policy": "no-referrer" };

function text(status: number, body: string): LoginAnswer {
  return { status, headers: { "content-type": "text/plain; charset=utf-8", ...STAYS_HERE }, body };
}
