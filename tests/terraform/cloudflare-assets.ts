// The part of Cloudflare's REST API by which wrangler uploads a Worker's Static Assets: first what there is, by hash, then those files
// that are not there yet.

import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { ApiError } from "./cloudflare-error.ts";

/** Path to hash. */
type Manifest = Record<string, { hash: string; size: number }>;

export class AssetStore {
  readonly #files = new Map<string, Buffer>();
  /** What each upload is of, by the token that it goes on with. */
  readonly #uploads = new Map<string, Manifest>();

  isToken(token: string): boolean {
    return this.#uploads.has(token);
  }

  begin({ manifest }: { manifest: Manifest }): object {
    const jwt = randomBytes(20).toString("hex");
    this.#uploads.set(jwt, manifest);
    const missing = Object.values(manifest).filter(({ hash }) => !this.#files.has(hash));
    return { jwt, buckets: missing.length > 0 ? [missing.map(({ hash }) => hash)] : [] };
  }

  async receive(request: IncomingMessage): Promise<object> {
    const headers = { "content-type": request.headers["content-type"] ?? "" };
    const form = await new Response(Buffer.concat(await request.toArray()), { headers }).formData();
    for (const [hash, part] of form) {
      this.#files.set(hash, Buffer.from(typeof part === "string" ? part : await part.text(), "base64"));
    }
    return { jwt: request.headers.authorization?.replace(/^Bearer /, "") };
  }

  /** The files of an upload that is done, by their paths. */
  filesOf(token: string): Record<string, Buffer> {
    const manifest = this.#uploads.get(token) ?? {};
    return Object.fromEntries(
      Object.entries(manifest).map(([path, { hash, size }]) => {
        const file = this.#files.get(hash);
        if (file?.length !== size) {
          throw new ApiError(400, `the asset ${path} was not uploaded`);
        }
        return [path, file];
      }),
    );
  }
}
