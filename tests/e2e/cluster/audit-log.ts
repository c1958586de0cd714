// The cluster's own audit log: what the API server says was asked of it, and by whom.

import { open } from "node:fs/promises";
import { until } from "./until.ts";

export interface AuditEvent {
  auditID: string;
  stage: string;
  requestURI: string;
  verb: string;
  user: { username: string; groups?: string[]; extra?: Record<string, string[]> };
  impersonatedUser?: { username: string; groups?: string[]; extra?: Record<string, string[]> };
  userAgent?: string;
  objectRef?: {
    resource?: string;
    namespace?: string;
    name?: string;
    subresource?: string;
    apiGroup?: string;
    apiVersion?: string;
  };
  responseStatus?: { code: number };
}

const WRITTEN_MS = 60_000;

export class AuditLog {
  readonly #file: string;
  readonly #events: AuditEvent[] = [];
  #offset = 0;
  #rest = "";
  #reading: Promise<void> = Promise.resolve();

  constructor(file: string) {
    this.#file = file;
  }

  /** Every event so far, oldest first. */
  async events(): Promise<readonly AuditEvent[]> {
    // Those who ask at the same time read one after the other, each what the one before has left.
    this.#reading = this.#reading.then(() => this.#read());
    await this.#reading;
    return this.#events;
  }

  /** The first event that fits, as soon as it is written. */
  find(what: string, fits: (event: AuditEvent) => boolean): Promise<AuditEvent> {
    return until(`the cluster's audit log shows ${what}`, WRITTEN_MS, async () => (await this.events()).find(fits));
  }

  async #read(): Promise<void> {
    const file = await open(this.#file);
    try {
      for (;;) {
        const { bytesRead, buffer } = await file.read({ buffer: Buffer.alloc(1 << 20), position: this.#offset });
        if (bytesRead === 0) {
          return;
        }
        this.#offset += bytesRead;
        const lines = (this.#rest + buffer.toString("latin1", 0, bytesRead)).split("\n");
        this.#rest = lines.pop() ?? "";
        this.#events.push(...lines.map((line) => JSON.parse(Buffer.from(line, "latin1").toString("utf8"))));
      }
    } finally {
      await file.close();
    }
  }
}
