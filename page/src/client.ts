// Asks the gateway. Whatever goes wrong becomes a sentence, or word of a session of Access that has ended.

import type { Status } from "./api.ts";

/** Access answers itself, since the session at it has ended: only logging in again helps. */
export class Expired extends Error {}

/** What the gateway refuses, or cannot do now, in its own words. */
export class Refused extends Error {
  readonly code: number;

  constructor(message: string, code: number) {
    super(message);
    this.code = code;
  }
}

export async function getJson(path: string, signal?: AbortSignal): Promise<unknown> {
  return json(await ask(path, { headers: { accept: "application/json" }, ...(signal && { signal }) }));
}

export async function getBytes(path: string, signal?: AbortSignal): Promise<ArrayBuffer> {
  const response = await ask(path, signal ? { signal } : {});
  return unlessBroken(response.arrayBuffer());
}

export async function getText(path: string, signal?: AbortSignal): Promise<string> {
  const response = await ask(path, signal ? { signal } : {});
  return unlessBroken(response.text());
}

export async function postJson(path: string, body: object): Promise<unknown> {
  const headers = { "content-type": "application/json", accept: "application/json" };
  return json(await ask(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

async function ask(path: string, init: RequestInit): Promise<Response> {
  // Access leads whoever has no session to its login, on another origin: followed, that would fail without saying why.
  const response = await unlessBroken(fetch(path, { redirect: "manual", ...init }));
  if (response.type === "opaqueredirect" || response.status === 401) {
    throw new Expired("Your session at Cloudflare Access has ended: reload the page to log in again.");
  }
  if (!response.ok) {
    throw new Refused(await sentenceOf(response), response.status);
  }
  return response;
}

async function json(response: Response): Promise<unknown> {
  const text = await unlessBroken(response.text());
  try {
    return JSON.parse(text);
  } catch {
    throw new Refused(
      "What answered is not the gateway: reload the page, and tell who runs it if that does not help.",
      0,
    );
  }
}

async function sentenceOf(response: Response): Promise<string> {
  const status = await response.json().catch(() => undefined);
  const { message } = (status ?? {}) as Partial<Status>;
  return typeof message === "string" && message !== ""
    ? message
    : `The gateway answered ${response.status} and did not say why: try again in a moment.`;
}

async function unlessBroken<Value>(reading: Promise<Value>): Promise<Value> {
  try {
    return await reading;
  } catch (error) {
    if ((error as Error).name === "AbortError") {
      throw error;
    }
    throw new Refused("The gateway cannot be reached: see that this machine is online, then try again.", 0);
  }
}
