// A stand-in for Access's managed OAuth: a real authorization server (oidc-provider) on loopback, whose tokens the stand-in for Access
// takes as it takes a session. As with Access, its access tokens are opaque, and each use of a refresh token gives a new one.

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Provider from "oidc-provider";
import type { AccessUser } from "./access-keys.ts";

export interface ManagedOAuth {
  issuer: string;
  /** RFC 9728: where the resource's tokens come from. */
  metadata: string;
  /** What a stranger is told (RFC 9728, section 5.1). */
  challenge: string;
  userOf(token: string): Promise<AccessUser | undefined>;
  /** How often a refresh token was taken. */
  refreshes(): number;
  /** From now on access tokens last so many seconds. */
  setLifetime(seconds: number): void;
  /** Ends all logins. */
  forget(): Promise<void>;
  stop(): Promise<void>;
}

const LIFETIME_SECONDS = 900;
const METADATA = "/.well-known/oauth-protected-resource";

/** For the resource at this origin. Whoever logs in there says who they are, by name. */
export async function startManagedOAuth(resource: string, users: AccessUser[]): Promise<ManagedOAuth> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let lifetime = LIFETIME_SECONDS;
  let refreshes = 0;
  let since = 0;
  const named = (name: string) => users.find((user) => user.name === name);
  const provider = new Provider(issuer, {
    features: {
      devInteractions: { enabled: true },
      registration: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, asked) => {
          if (asked.replace(/\/$/, "") !== resource) {
            throw new Error(`no tokens for ${asked} here`);
          }
          return { scope: "", audience: resource, accessTokenFormat: "opaque", accessTokenTTL: lifetime };
        },
      },
    },
    clientDefaults: { grant_types: ["authorization_code", "refresh_token"], response_types: ["code"] },
    pkce: { required: () => true },
    issueRefreshToken: async () => true,
    rotateRefreshToken: true,
    cookies: { keys: ["local"] },
    findAccount: (_, id) => (named(id) ? { accountId: id, claims: () => ({ sub: id }) } : undefined),
    ttl: { AccessToken: () => lifetime, RefreshToken: 86_400, Session: 3600, Grant: 86_400, Interaction: 600 },
  });
  provider.on("grant.success", (context) => {
    refreshes += context.oidc.params?.grant_type === "refresh_token" ? 1 : 0;
  });
  server.on("request", provider.callback());
  return {
    issuer,
    metadata: METADATA,
    challenge: `Bearer resource_metadata="${resource}${METADATA}"`,
    userOf: async (token) => {
      const found = await provider.AccessToken.find(token);
      const isGood = found && !found.isExpired && found.iat >= since;
      return isGood ? named(found.accountId ?? "") : undefined;
    },
    refreshes: () => refreshes,
    setLifetime: (seconds) => {
      lifetime = seconds;
    },
    forget: async () => {
      since = Math.floor(Date.now() / 1000) + 1;
      server.removeAllListeners("request");
      server.on("request", (_, response) => {
        response.writeHead(400, { "content-type": "application/json" }).end('{"error":"invalid_grant"}');
      });
    },
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
