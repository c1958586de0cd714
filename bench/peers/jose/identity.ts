// Claims -> the caller, by the map that is compiled into the bundle.

import type { JWTPayload } from "jose";
import { Refusal } from "./refusal.ts";

interface Entry {
  email?: string;
  email_domain?: string;
  service_token?: string;
  user: string;
  groups?: string[];
}

export interface Caller {
  user: string;
  /** The lines that say so, in pairs. */
  lines: [string, string][];
}

/** identities.yaml, put here by the bundler. */
declare const IDENTITIES: Entry[];

const byKey = new Map(IDENTITIES.map((entry) => [keyOf(entry), entry]));

export function callerOf(claims: JWTPayload): Caller {
  const { sub, email, common_name: clientId } = claims as JWTPayload & { email?: unknown; common_name?: unknown };
  if (typeof email === "string" && sub) {
    return person(
      email.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()),
      sub,
    );
  }
  if (typeof clientId === "string" && email === undefined && !sub) {
    const entry = byKey.get(`service_token ${clientId}`);
    return caller(entry, clientId, "", [["subject", clientId]]);
  }
  throw notMapped("a token that names nobody");
}

function person(email: string, sub: string): Caller {
  const domain = email.slice(email.lastIndexOf("@") + 1);
  const entry = byKey.get(`email ${email}`) ?? byKey.get(`email_domain ${domain}`);
  return caller(entry, email, email, [
    ["email", email],
    ["subject", sub],
  ]);
}

function caller(entry: Entry | undefined, name: string, email: string, extras: [string, string][]): Caller {
  const user = entry?.user.replace("{email}", email) ?? "";
  if (!entry || !/^[!-~](?:[ -~]{0,254}[!-~])?$/.test(user) || user.startsWith("system:")) {
    throw notMapped(name);
  }
  return {
    user,
    lines: [
      ["Impersonate-User", user],
      ...(entry.groups ?? []).map((group): [string, string] => ["Impersonate-Group", group]),
      ...extras.map(([key, value]): [string, string] => [`Impersonate-Extra-kube-access.dev%2F${key}`, value]),
    ],
  };
}

function keyOf({ email, email_domain, service_token }: Entry): string {
  if (email) {
    return `email ${email.toLowerCase()}`;
  }
  return email_domain ? `email_domain ${email_domain}` : `service_token ${service_token}`;
}

function notMapped(name: string): Refusal {
  return new Refusal(403, "Forbidden", `${name} is in no entry of this gateway's identity map`);
}
