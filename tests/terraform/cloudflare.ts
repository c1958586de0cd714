// A stand-in for the part of Cloudflare's REST API that the modules use: objects are kept in memory, references between them
// are checked, and answers carry the defaults that the API fills in.

import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { listen } from "../../dev/listen.ts";
import { AssetStore } from "./cloudflare-assets.ts";
import { type Collection, collectionsOf, type Fields, type Refusal } from "./cloudflare-collections.ts";
import { ApiError } from "./cloudflare-error.ts";
import { type Deployed, workersApi } from "./cloudflare-workers.ts";

export interface Cloudflare {
  url: string;
  apiToken: string;
  /** What wrangler has deployed, by name. */
  workers: Map<string, Deployed>;
  /** Host names that have a DNS record of another making. */
  dnsRecords: Set<string>;
  /** Names of R2 buckets that hold objects. */
  filled: Set<string>;
  /** The rules by which objects of an R2 bucket are locked, by its name. */
  locks: Map<string, unknown[]>;
  /** Whether the tunnel is run; nobody runs it, unless this says so. */
  connection(isConnected: (tunnelId: string) => Promise<boolean>): void;
  /** Says how long a sign-in by WARP counts in the account, which a new account does not. */
  setWarpDuration(duration: string | undefined): void;
  /** Every object there is: its collection and the fields that the API returns. */
  objects(): { collection: string; fields: Fields }[];
  tokenOf(tunnelId: string): string;
  stop(): Promise<void>;
}

export async function startCloudflare(accountId: string): Promise<Cloudflare> {
  const apiToken = randomBytes(20).toString("hex");
  const workers = new Map<string, Deployed>();
  const dnsRecords = new Set<string>();
  const filled = new Set<string>();
  const locks = new Map<string, unknown[]>();
  const assets = new AssetStore();
  const ofWorkers = workersApi(workers, dnsRecords, assets);
  let warpDuration: string | undefined;
  let isConnected = async (_: string) => false;
  const objects = new Map<string, Map<string, Fields>>();
  /** What the API gave to an object when it was made. */
  const made = new WeakMap<Fields, Fields>();
  const all = (path: string) => objects.get(path) ?? new Map<string, Fields>();
  const tokenOf = (tunnelId: string) => Buffer.from(JSON.stringify({ a: accountId, t: tunnelId })).toString("base64");

  const collections = collectionsOf({
    id: accountId,
    has: (collection, id) => all(collection).has(id),
    all: (collection) => [...all(collection).values()],
    isBound: (serviceId) =>
      [...workers.values()].some(({ bindings }) => bindings.some(({ service_id }) => service_id === serviceId)),
    isConnected: (tunnelId) => isConnected(tunnelId),
    isFilled: (bucket) => filled.has(bucket),
    warpDuration: () => warpDuration,
  });

  const answer = async (request: IncomingMessage): Promise<unknown> => {
    const path = new URL(request.url ?? "", "http://api").pathname.replace(/^\/client\/v4/, "");
    const inAccount = `/accounts/${accountId}/`;
    const token = request.headers.authorization?.replace(/^Bearer /, "") ?? "";
    // Assets are uploaded by a token of their own.
    const isKnown = path === `${inAccount}workers/assets/upload` ? assets.isToken(token) : token === apiToken;
    if (!isKnown) {
      throw new ApiError(403, "Authentication error");
    }
    if (!path.startsWith(inAccount)) {
      throw new ApiError(404, `no such account: ${path}`);
    }
    const rest = path.slice(inAccount.length);
    const [, tunnelId] = /^cfd_tunnel\/([^/]+)\/token$/.exec(rest) ?? [];
    if (tunnelId && all("cfd_tunnel").has(tunnelId)) {
      return tokenOf(tunnelId);
    }
    const [, bucket] = /^r2\/buckets\/([^/]+)\/lock$/.exec(rest) ?? [];
    if (bucket && all("r2/buckets").has(bucket)) {
      return lockOf(bucket, request);
    }
    const ofWorker = await ofWorkers(rest, request);
    if (ofWorker !== undefined) {
      return ofWorker;
    }
    const collection = collections.find((one) => rest === one.path || rest.startsWith(`${one.path}/`));
    if (!collection) {
      throw new ApiError(404, `no such route: ${request.method} ${path}`);
    }
    const id = rest.slice(collection.path.length + 1);
    return id === "" ? createOrList(collection, request) : one(collection, id, request);
  };

  /** The lock of a bucket: it is always there, and without rules it locks nothing. */
  const lockOf = async (bucket: string, request: IncomingMessage): Promise<object> => {
    if (request.method === "PUT") {
      locks.set(bucket, (await body(request)).rules as unknown[]);
      return {};
    }
    return { rules: locks.get(bucket) ?? [] };
  };

  const createOrList = async (collection: Collection, request: IncomingMessage): Promise<Fields | Fields[]> => {
    if (request.method === "GET") {
      return [...all(collection.path).values()];
    }
    if (request.method !== "POST") {
      throw new ApiError(405, `${request.method} ${collection.path}`);
    }
    const sent = await body(request);
    refuseIf(collection.refuses?.(sent));
    const given = { ...collection.defaults(sent), [collection.idField]: collection.id() };
    const fields: Fields = { ...given, ...sent };
    const { path, unique } = collection;
    if (unique && [...all(path).values()].some((other) => other[unique.field] === fields[unique.field])) {
      refuseIf(unique.refusal);
    }
    made.set(fields, given);
    objects.set(collection.path, all(collection.path).set(String(fields[collection.idField]), fields));
    return fields;
  };

  const one = async (collection: Collection, id: string, request: IncomingMessage): Promise<Fields> => {
    const found = all(collection.path).get(id);
    if (!found) {
      throw new ApiError(404, `${collection.path} ${id} not found`);
    }
    if (request.method === "DELETE") {
      refuseIf(await collection.keeps?.(found));
      all(collection.path).delete(id);
    } else if (request.method !== "GET") {
      const sent = await body(request);
      refuseIf(collection.refuses?.({ ...found, ...sent }));
      if (request.method === "PUT") {
        // A PUT leaves nothing of what was sent before.
        for (const name of Object.keys(found)) {
          delete found[name];
        }
        Object.assign(found, made.get(found));
      }
      Object.assign(found, sent);
    }
    return found;
  };

  const server = createServer((request, response) => {
    answer(request).then(
      (result) => reply(response, 200, { success: true, errors: [], messages: [], result }),
      (error: Error) => {
        const status = error instanceof ApiError ? error.status : 500;
        const code = error instanceof ApiError ? error.code : 1000;
        reply(response, status, { success: false, errors: [{ code, message: error.message }], messages: [] });
      },
    );
  });
  const listening = await listen(server);
  return {
    url: `http://${listening.host}:${listening.port}/client/v4`,
    apiToken,
    workers,
    dnsRecords,
    filled,
    locks,
    connection: (next) => {
      isConnected = next;
    },
    setWarpDuration: (duration) => {
      warpDuration = duration;
    },
    objects: () =>
      [...objects].flatMap(([collection, found]) => [...found.values()].map((fields) => ({ collection, fields }))),
    tokenOf,
    stop: () => listening.stop(),
  };
}

function refuseIf(refusal: Refusal | undefined): void {
  if (refusal) {
    const [code, message, status = 400] = refusal;
    throw new ApiError(status, message, code);
  }
}

/** What is sent; null says that there is to be nothing. */
async function body(request: IncomingMessage): Promise<Fields> {
  const text = Buffer.concat(await request.toArray()).toString();
  return JSON.parse(text, (_, value) => value ?? undefined) as Fields;
}

function reply(response: ServerResponse, status: number, value: unknown): void {
  // After a 409 the provider goes on asking for minutes, unless it is told that this is in vain.
  const headers = { "content-type": "application/json", "x-should-retry": "false" };
  response.writeHead(status, headers).end(JSON.stringify(value));
}
