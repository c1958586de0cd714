// The signing keys of the Access stand-in, and the tokens signed with them.

import { createPublicKey, generateKeyPair, type KeyObject, randomUUID, sign } from "node:crypto";
import { promisify } from "node:util";
import { exportJWK, jwtVerify, SignJWT } from "jose";
import { selfSigned } from "./certificates.ts";

/** Someone whom Access has let in: a person by email address, or a service token by its client ID. */
export type AccessUser = Person | { name: string; commonName: string };

export interface Person {
  name: string;
  email: string;
  /** The groups at the identity provider, as that tells them: IDs, or objects. Left out: the provider tells none. */
  groups?: unknown[];
  /** Where get-identity tells them, if not in its own `groups`. */
  groupsIn?: "oidc_fields" | "saml_attributes";
  /** Whether Access was told to put them into its tokens too, which it does as long as they are short. */
  groupsInToken?: boolean;
}

/** The login method by which everybody comes. */
export const LOGIN_METHOD = "4f1e0c2a-7d3b-4a53-9d1e-2f0c86b1a7e5";

export interface Issue {
  aud: string;
  teamDomain: string;
  /** Laid over the claims that Access would set; a claim that is `undefined` is left out. */
  claims?: Record<string, unknown>;
  /** Laid over the header that Access would set. */
  header?: Record<string, unknown>;
}

interface SigningKey {
  kid: string;
  privateKey: KeyObject;
  certificate: string;
}

const TOKEN_LIFETIME_SECONDS = 24 * 60 * 60;
/** Access leaves a claim out, without a word, that would make its cookie too long. */
const MOST_CUSTOM_BYTES = 2048;

export class AccessKeys {
  /** Newest first; the first one signs. */
  #keys: SigningKey[] = [];
  /** Access keeps a person's subject and nonce for the length of a session. */
  readonly #sessions = new Map<string, { sub: string; nonce: string; person: Person }>();

  static async generate(): Promise<AccessKeys> {
    const keys = new AccessKeys();
    await keys.rotate();
    return keys;
  }

  /** A new key signs from now on; the ones before stay published. */
  async rotate(): Promise<void> {
    const { privateKey } = await promisify(generateKeyPair)("rsa", { modulusLength: 2048 });
    const certificate = selfSigned("kube-access.cloudflareaccess.com", privateKey);
    this.#keys.unshift({ kid: randomUUID().replaceAll("-", ""), privateKey, certificate });
  }

  /** Only the key that signs stays published. */
  drop(): void {
    this.#keys = this.#keys.slice(0, 1);
  }

  get current(): SigningKey {
    const [key] = this.#keys;
    if (!key) {
      throw new Error("AccessKeys.generate() makes the first key");
    }
    return key;
  }

  /** The document at /cdn-cgi/access/certs. */
  async published(): Promise<object> {
    const keys = this.#keys.map(async ({ kid, privateKey }) => {
      return { kid, alg: "RS256", use: "sig", ...(await exportJWK(createPublicKey(privateKey))) };
    });
    const certificates = this.#keys.map(({ kid, certificate }) => ({ kid, cert: certificate }));
    return { keys: await Promise.all(keys), public_cert: certificates[0], public_certs: certificates };
  }

  /** A token with the claims that Access gives such a caller. */
  token(user: AccessUser, { aud, teamDomain, claims = {}, header = {} }: Issue): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const common = { type: "app", aud: [aud], iss: teamDomain, iat: now, exp: now + TOKEN_LIFETIME_SECONDS };
    const payload = { ...common, ...this.#claimsOf(user, now), ...claims };
    return new SignJWT(payload)
      .setProtectedHeader({ alg: "RS256", kid: this.current.kid, typ: "JWT", ...header })
      .sign(this.current.privateKey);
  }

  /**
   * What get-identity tells the owner of a token, with the groups that they have now; undefined for a token that is not good. So much
   * of it as Cloudflare documents.
   */
  async identity(token: string): Promise<object | undefined> {
    for (const { privateKey } of this.#keys) {
      const payload = await jwtVerify(token, createPublicKey(privateKey)).then(
        (verified) => verified.payload,
        () => undefined,
      );
      if (payload) {
        const { email, sub } = payload;
        const session = [...this.#sessions.values()].find((known) => known.sub === sub);
        const { groups, groupsIn } = session?.person ?? {};
        const idp = { id: LOGIN_METHOD, type: groupsIn === "saml_attributes" ? "saml" : "oidc" };
        const told = groups && (groupsIn ? { [groupsIn]: { groups } } : { groups });
        return { email, name: email, user_uuid: sub, idp, geo: { country: "DE" }, ...told };
      }
    }
    return undefined;
  }

  /** A token with any header and payload at all, with a good RS256 signature over them. */
  signRaw(header: string | object, payload: string | object): string {
    const input = [header, payload].map(encoded).join(".");
    return `${input}.${sign("RSA-SHA256", Buffer.from(input), this.current.privateKey).toString("base64url")}`;
  }

  #claimsOf(user: AccessUser, now: number): Record<string, unknown> {
    if ("commonName" in user) {
      return { common_name: user.commonName, sub: "" };
    }
    const known = this.#sessions.get(user.name);
    const session = { sub: randomUUID(), nonce: randomUUID().slice(0, 16), ...known, person: user };
    this.#sessions.set(user.name, session);
    const custom = user.groupsInToken ? { groups: user.groups ?? [] } : {};
    const isShort = JSON.stringify(custom).length <= MOST_CUSTOM_BYTES;
    const claims = { email: user.email, nbf: now, identity_nonce: session.nonce, sub: session.sub, country: "DE" };
    return user.groupsInToken ? { ...claims, custom: isShort ? custom : {} } : claims;
  }
}

function encoded(part: string | object): string {
  return Buffer.from(typeof part === "string" ? part : JSON.stringify(part)).toString("base64url");
}
