// Everything that is measured against: the upstream, the client, the team's keys, and each peer running.

import { type Certs, startCerts } from "../dev/access-certs.ts";
import { type Child, startChild } from "./child.ts";
import type { Load, LoadResult } from "./load.ts";
import type { HttpLoad, HttpResult } from "./load-http.ts";
import type { WebSocketLoad, WebSocketResult } from "./load-websocket.ts";
import { buildPeers, type Peer, type PeerName, type Surroundings, startPeer } from "./peers.ts";
import { mint } from "./requests.ts";
import type { Address, Running } from "./workerd.ts";

export interface StageOptions {
  rounds: number;
  /** How long one measurement lasts, where time bounds it. */
  seconds: number;
  /** Another build of kube-access than `build/`: a folder. */
  worker?: string | undefined;
}

export class Stage {
  readonly rounds: number;
  readonly seconds: number;
  readonly certs: Certs;
  readonly upstream: Address;
  readonly peers: Record<PeerName, Peer>;
  /** A token of alice, whom the identity map names by her address. */
  readonly token: string;
  readonly #upstreamProcess: Child<object, Address>;
  readonly #load: Child<Load, LoadResult>;
  readonly #running = new Map<Peer, Running>();
  readonly #started: Running[] = [];

  static async open(options: StageOptions): Promise<Stage> {
    const peers = await buildPeers(options.worker);
    const certs = await startCerts();
    const upstreamProcess = await startChild<object, Address>("upstream.ts");
    const load = await startChild<Load, LoadResult>("load.ts");
    const token = await mint(certs.keys, "alice@example.com");
    return new Stage(options, { peers, certs, token, upstreamProcess, load, upstream: await upstreamProcess.ask({}) });
  }

  private constructor(
    { rounds, seconds }: StageOptions,
    parts: Pick<Stage, "peers" | "certs" | "token" | "upstream"> & {
      upstreamProcess: Child<object, Address>;
      load: Child<Load, LoadResult>;
    },
  ) {
    this.rounds = rounds;
    this.seconds = seconds;
    this.peers = parts.peers;
    this.certs = parts.certs;
    this.token = parts.token;
    this.upstream = parts.upstream;
    this.#upstreamProcess = parts.upstreamProcess;
    this.#load = parts.load;
  }

  /** A peer, warm once it was asked for the first time. */
  async running(peer: Peer, options?: Partial<Surroundings>): Promise<Running> {
    const running = this.#running.get(peer) ?? (await this.start(peer, options));
    this.#running.set(peer, running);
    return running;
  }

  /** Ends the peers that run; they are started again when they are asked for. */
  async renew(): Promise<void> {
    const running = [...this.#running.values()];
    this.#running.clear();
    await Promise.all(running.map((peer) => peer.stop()));
  }

  /** A peer in a fresh workerd. It ends with the stage, if not before. */
  async start(peer: Peer, options: Partial<Surroundings> = {}): Promise<Running> {
    const running = await startPeer(peer, { upstream: this.upstream, certs: this.certs, ...options });
    this.#started.push(running);
    return running;
  }

  /** Hands requests to the client, under a name. */
  async keep(name: string, requests: string[]): Promise<void> {
    await this.#load.ask({ kind: "requests", name, requests });
  }

  async http(requests: string, load: HttpLoad): Promise<HttpResult> {
    return (await this.#load.ask({ kind: "http", requests, ...load })) as HttpResult;
  }

  async webSocket(load: WebSocketLoad): Promise<WebSocketResult> {
    return (await this.#load.ask({ kind: "websocket", ...load })) as WebSocketResult;
  }

  async close(): Promise<void> {
    await Promise.all(this.#started.map((running) => running.stop()));
    await Promise.all([this.#load.stop(), this.#upstreamProcess.stop(), this.certs.stop()]);
  }
}
