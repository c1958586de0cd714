// A stand-in for the part of Cloudflare's REST API that the modules use: objects are kept in memory, references between them
// are checked, and answers carry the defaults that the API fills in.

import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { listen } from "../../dev/listen.ts";
import { type Collection, collectionsOf, type Fields } from "./cloudflare-collections.ts";

export interface Cloudflare {
  url: string;
  apiToken: string;
  /** What `wrangler deploy` would do, as far as this API shows it. */
  deployWorker(name: string): void;
  /** Every object there is: its collection and the fields that the API returns. */
  objects(): { collection: string; fields: Fields }[];
  tokenOf(tunnelId: string): string;
  stop(): Promise<void>;
}

class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export async function startCloudflare(accountId: string): Promise<Cloudflare> {
  const apiToken = randomBytes(20).toString("hex");
  const workers = new Set<string>();
  const objects = new Map<string, Map<string, Fields>>();
  const all = (path: string) => objects.get(path) ?? new Map<string, Fields>();
  const tokenOf = (tunnelId: string) => Buffer.from(JSON.stringify({ a: accountId, t: tunnelId })).toString("base64");

  const collections = collectionsOf({
    id: accountId,
    has: (collection, id) => all(collection).has(id),
    hasWorker: (name) => workers.has(name),
  });

  const answer = async (request: IncomingMessage): Promise<unknown> => {
    if (request.headers.authorization !== `Bearer ${apiToken}`) {
      throw new ApiError(403, "Authentication error");
    }
    const path = new URL(request.url ?? "", "http://api").pathname.replace(/^\/client\/v4/, "");
    const inAccount = `/accounts/${accountId}/`;
    if (!path.startsWith(inAccount)) {
      throw new ApiError(404, `no such account: ${path}`);
    }
    const rest = path.slice(inAccount.length);
    if (rest === "workers/scripts" && request.method === "GET") {
      const created = new Date().toISOString();
      return [...workers].map((id) => ({ id, created_on: created, modified_on: created }));
    }
    const [, tunnelId] = /^cfd_tunnel\/([^/]+)\/token$/.exec(rest) ?? [];
    if (tunnelId && all("cfd_tunnel").has(tunnelId)) {
      return tokenOf(tunnelId);
    }
    const collection = collections.find((one) => rest === one.path || rest.startsWith(`${one.path}/`));
    if (!collection) {
      throw new ApiError(404, `no such route: ${request.method} ${path}`);
    }
    const id = rest.slice(collection.path.length + 1);
    return id === "" ? create(collection, request) : one(collection, id, request);
  };

  const create = async (collection: Collection, request: IncomingMessage): Promise<Fields> => {
    if (request.method !== collection.createdBy) {
      throw new ApiError(405, `${request.method} ${collection.path}`);
    }
    const sent = await body(request);
    const reason = collection.refuses?.(sent);
    if (reason) {
      throw new ApiError(400, reason);
    }
    const id = collection.id();
    const fields = { ...collection.defaults(sent), ...sent, [collection.idField]: id };
    objects.set(collection.path, all(collection.path).set(id, fields));
    return fields;
  };

  const one = async (collection: Collection, id: string, request: IncomingMessage): Promise<Fields> => {
    const found = all(collection.path).get(id);
    if (!found) {
      throw new ApiError(404, `${collection.path} ${id} not found`);
    }
    if (request.method === "DELETE") {
      all(collection.path).delete(id);
    } else if (request.method !== "GET") {
      Object.assign(found, await body(request));
    }
    return found;
  };

  const server = createServer((request, response) => {
    answer(request).then(
      (result) => reply(response, 200, { success: true, errors: [], messages: [], result }),
      (error: Error) => {
        const status = error instanceof ApiError ? error.status : 500;
        reply(response, status, { success: false, errors: [{ code: 1000, message: error.message }], messages: [] });
      },
    );
  });
  const listening = await listen(server);
  return {
    url: `http://${listening.host}:${listening.port}/client/v4`,
    apiToken,
    deployWorker: (name) => workers.add(name),
    objects: () =>
      [...objects].flatMap(([collection, found]) => [...found.values()].map((fields) => ({ collection, fields }))),
    tokenOf,
    stop: () => listening.stop(),
  };
}

async function body(request: IncomingMessage): Promise<Fields> {
  return JSON.parse(Buffer.concat(await request.toArray()).toString()) as Fields;
}

function reply(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}
