// Requests of every kind, made from a seed: the same seed makes the same requests.

/** Of the local users. Carol may be breakglass, and a guard lets dave read only. */
export type User = "alice" | "bob" | "ci" | "carol" | "dave";

/** Whom each may be by `--as`: carol somebody else, alice and bob themselves, without some of their groups. */
const ACTS: Record<User, { username: string; groups: string[] }[]> = {
  alice: [
    { username: "alice", groups: ["developers"] },
    { username: "alice", groups: ["developers", "platform-admins"] },
  ],
  bob: [{ username: "bob@example.com", groups: ["developers"] }],
  ci: [{ username: "ci-deployer", groups: ["ci"] }],
  carol: [{ username: "breakglass", groups: [] }],
  dave: [{ username: "contractor", groups: ["contractors"] }],
};

/** A request as it goes on the wire, less what says who sends it. */
export interface HostileRequest {
  number: number;
  user: User;
  /** Whom the user rightly asks to be, with these groups and no others. */
  as?: { username: string; groups: string[] };
  method: string;
  /** Path and query, as raw bytes (Latin-1). */
  target: string;
  headers: [name: string, value: string][];
  webSocket: boolean;
  /** What is odd about it. Nothing odd: the gateway has to forward it. */
  oddities: string[];
  /** Something in it can only be refused. */
  mustBeRefused: boolean;
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class RequestMaker {
  readonly #random: () => number;
  #number = 0;

  constructor(seed: number) {
    this.#random = randomNumbers(seed);
  }

  next(): HostileRequest {
    const method = this.#chance(0.75) ? "GET" : this.#pick(METHODS);
    const changes = !["GET", "HEAD"].includes(method);
    const webSocket = method === "GET" && this.#chance(0.12);
    const request: HostileRequest = {
      number: ++this.#number,
      // Who may do everything only looks: what is sent here is sent for real.
      user: this.#pick(changes ? (["bob", "ci", "dave"] as const) : (["alice", "bob", "ci", "carol", "dave"] as const)),
      method,
      target: `${webSocket ? this.#streamPath() : this.#path()}${this.#query(webSocket)}`,
      headers: this.#headers(),
      webSocket,
      oddities: [],
      mustBeRefused: false,
    };
    for (let count = this.#pick([0, 0, 1, 1, 2, 3]); count > 0; count -= 1) {
      this.#addOddity(request);
    }
    return request;
  }

  #addOddity(request: HostileRequest): void {
    const oddity = this.#pick(ODDITIES);
    const header = (name: string, value: string) => {
      const at = Math.floor(this.#random() * (request.headers.length + 1));
      request.headers.splice(at, 0, [name, value]);
    };
    request.oddities.push(oddity);
    switch (oddity) {
      case "impersonate": {
        const name = this.#pick(IMPERSONATION);
        const value = this.#pick(["root", "mallory", "system:masters", "", "x,system:masters"]);
        header(this.#mixCase(name), value);
        if (this.#chance(0.3)) {
          header(this.#mixCase(name), value);
        }
        request.mustBeRefused = true;
        break;
      }
      case "as": {
        const as = this.#pick(ACTS[request.user]);
        const changes = !["GET", "HEAD"].includes(request.method);
        if (request.as || (changes && as.username === "breakglass")) {
          break; // once, and nothing is sent for real by whoever may do everything
        }
        request.as = as;
        header(this.#mixCase("Impersonate-User"), as.username);
        for (const group of as.groups) {
          header(this.#mixCase("Impersonate-Group"), group);
        }
        break;
      }
      case "connection": {
        const tokens = Array.from({ length: this.#pick([1, 2, 3]) }, () => this.#mixCase(this.#pick(NOMINATED)));
        header(this.#mixCase("Connection"), tokens.join(this.#pick([",", ", ", " , ", ",,"])));
        break;
      }
      case "identity":
        header(
          this.#mixCase(this.#pick(IDENTITY_HEADERS)),
          this.#pick(["root", "system:masters", "", "Bearer x", "system:admin"]),
        );
        break;
      case "routing":
        header(
          this.#mixCase(this.#pick(ROUTING_HEADERS)),
          this.#pick(["/api/v1/secrets", "evil.test", "DELETE", "127.0.0.1"]),
        );
        break;
      case "origin":
        header(this.#mixCase("Origin"), this.#pick(["https://evil.test", "null", "http://localhost"]));
        request.mustBeRefused = true;
        break;
      case "upgrade":
        header("Upgrade", this.#pick(["h2c", "SPDY/3.1", "websocket, h2c", "WebSocket ", "spdy/3.1"]));
        break;
      case "subprotocol":
        header(
          "Sec-WebSocket-Protocol",
          this.#pick(["base64url.bearer.authorization.k8s.io.eA", "v4.channel.k8s.io", "x,,y", ""]),
        );
        break;
      case "method":
        request.method = this.#pick(["PURGE", "TRACE", "OPTIONS", "get", "PROPFIND", "LINK"]);
        request.webSocket = false;
        request.mustBeRefused = true;
        break;
      case "path":
        request.target = this.#spoil(request.target);
        break;
      case "query":
        request.target += `${request.target.includes("?") ? "&" : "?"}${this.#pick(ODD_QUERIES)}`;
        break;
    }
  }

  #path(): string {
    const [group, resources] = this.#pick(RESOURCES);
    const namespaced = this.#chance(0.7) ? `/namespaces/${this.#pick(NAMESPACES)}` : "";
    const name = this.#chance(0.5) ? `/${this.#pick(NAMES)}` : "";
    const subresource = name && this.#chance(0.4) ? `/${this.#pick(SUBRESOURCES)}` : "";
    const resource = `${this.#chance(0.04) ? "/watch" : ""}${namespaced}/${this.#pick(resources)}${name}${subresource}`;
    return this.#chance(0.12) ? this.#pick(OTHER_PATHS) : `${group}${resource}${this.#chance(0.05) ? "/" : ""}`;
  }

  #streamPath(): string {
    return `/api/v1/namespaces/default/pods/${this.#pick(["web", "shell"])}/${this.#pick(["exec", "attach", "portforward"])}`;
  }

  #query(webSocket: boolean): string {
    const pairs = Array.from({ length: this.#pick([0, 0, 1, 2]) }, () => this.#pick(QUERIES));
    if (webSocket) {
      pairs.push("command=true", "stdout=true");
    }
    return pairs.length > 0 ? `?${pairs.join("&")}` : "";
  }

  #headers(): [string, string][] {
    const headers = Array.from({ length: this.#pick([0, 1, 2, 3]) }, () => this.#pick(PLAIN_HEADERS));
    return headers.map(([name, value]) => [this.#mixCase(name), value]);
  }

  /** Writes a path in another way: one that means the same, means something else, or means nothing. */
  #spoil(target: string): string {
    const end = target.includes("?") ? target.indexOf("?") : target.length;
    const path = target.slice(0, end);
    const slashes = [...path.matchAll(/\//g)].map(({ index }) => index);
    const at = this.#pick(slashes.length > 0 ? slashes : [0]);
    const insert = this.#pick([
      "/",
      "/.",
      "/..",
      "/%2e%2e",
      "/%2E",
      "/x/..",
      ";x",
      "%2f",
      "%5C",
      "\\",
      "%00",
      "%0a",
      "%",
      "%zz",
      "\xe9",
      "%25",
      "%20",
      "%c3%28",
      "\t",
      "/;",
      "/%252e%252e",
      "#",
    ]);
    const encoded = () => {
      const index = 1 + Math.floor(this.#random() * Math.max(1, path.length - 1));
      const hex = (path.charCodeAt(index) || 47).toString(16).padStart(2, "0");
      return `${path.slice(0, index)}%${this.#chance(0.5) ? hex : hex.toUpperCase()}${path.slice(index + 1)}`;
    };
    const spoiled = this.#pick([
      () => `${path.slice(0, at)}${insert}${path.slice(at)}`,
      encoded,
      encoded,
      () => path.toUpperCase(),
      () => `/${path}`,
      () => `${path}/`,
      () => `http://evil.test${path}`,
      () => `${path}/../../../../api/v1/secrets`,
    ])();
    return `${spoiled}${target.slice(end)}`;
  }

  #mixCase(name: string): string {
    return this.#chance(0.5)
      ? name
      : [...name].map((letter) => (this.#chance(0.5) ? letter.toUpperCase() : letter.toLowerCase())).join("");
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)] as T;
  }
}

const METHODS = ["HEAD", "POST", "PUT", "PATCH", "DELETE"];
const ODDITIES = [
  "impersonate",
  "as",
  "as",
  "connection",
  "connection",
  "identity",
  "routing",
  "origin",
  "upgrade",
  "subprotocol",
  "method",
  "path",
  "path",
  "path",
  "query",
] as const;
const IMPERSONATION = [
  "Impersonate-User",
  "Impersonate-Group",
  "Impersonate-Uid",
  "Impersonate-Extra-Scopes",
  "Impersonate-Extra-Kube-Access.dev%2Femail",
  "Impersonate-Future",
  "Impersonate",
  "Impersonate-",
  "Impersonate_User",
];
const NOMINATED = [
  "Impersonate-User",
  "Impersonate-Group",
  "Impersonate-Extra-Kube-Access.dev%2Femail",
  "Authorization",
  "Audit-ID",
  "User-Agent",
  "Accept",
  "close",
  "keep-alive",
  "Upgrade",
  "Host",
  "",
  "X-Forwarded-For",
  "Cf-Access-Jwt-Assertion",
];
const IDENTITY_HEADERS = [
  "X-Remote-User",
  "X-Remote-Group",
  "X-Remote-Uid",
  "X-Remote-Extra-Scopes",
  "Authorization",
  "Proxy-Authorization",
  "Cookie",
  "X-Impersonate-User",
  "Cf-Access-Authenticated-User-Email",
  "Audit-ID",
  "X-Forwarded-User",
  "X-Webauth-User",
  "Cf-Access-Client-Id",
];
const ROUTING_HEADERS = [
  "X-Original-URL",
  "X-Rewrite-URL",
  "X-HTTP-Method-Override",
  "X-Forwarded-Host",
  "X-Forwarded-Uri",
  "Forwarded",
  "X-Real-IP",
  "True-Client-IP",
  "TE",
  "Trailer",
  "Keep-Alive",
  "Proxy-Connection",
  "X-Forwarded-Prefix",
];
const PLAIN_HEADERS: readonly [string, string][] = [
  ["Accept", "application/json"],
  ["Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"],
  ["Accept", "application/vnd.kubernetes.protobuf,application/json"],
  ["Accept-Encoding", "gzip"],
  ["Kubectl-Command", "kubectl get"],
  ["Kubectl-Session", "1eef2988-39f4-4deb-b703-ff09d2571bee"],
  ["If-None-Match", '"x"'],
  ["Content-Type", "application/json"],
  ["Cache-Control", "no-cache"],
];
const RESOURCES: readonly [string, readonly string[]][] = [
  [
    "/api/v1",
    ["pods", "configmaps", "secrets", "services", "nodes", "namespaces", "serviceaccounts", "events", "pods", "pods"],
  ],
  ["/apis/apps/v1", ["deployments", "replicasets", "daemonsets"]],
  ["/apis/batch/v1", ["jobs", "cronjobs"]],
  ["/apis/rbac.authorization.k8s.io/v1", ["roles", "clusterroles", "rolebindings", "clusterrolebindings"]],
  ["/apis/nosuch.example.com/v1", ["things"]],
];
const NAMESPACES = ["default", "team-a", "kube-system", "kube-access", "nosuch"];
const NAMES = ["web", "shell", "nosuch", "a.b", "x:y", "kube-access", "with%20space", "exec"];
const SUBRESOURCES = [
  "log",
  "status",
  "exec",
  "attach",
  "portforward",
  "scale",
  "proxy",
  "token",
  "ephemeralcontainers",
  "eviction",
  "proxy/metrics",
  "finalize",
  "binding",
];
const OTHER_PATHS = [
  "/",
  "/api",
  "/apis",
  "/version",
  "/healthz",
  "/readyz",
  "/openapi/v2",
  "/openapi/v3",
  "/metrics",
  "/api/v1",
  "/apis/apps",
  "/apis/apps/v1",
  "/nosuch",
  "/api/v1/",
  "/logs",
  "/debug/pprof",
  "/.well-known/openid-configuration",
];
const QUERIES = [
  "limit=1",
  "labelSelector=a%3Db",
  "fieldSelector=metadata.name%3Dweb",
  "watch=true&timeoutSeconds=1",
  "watch=0",
  "watch=false",
  "resourceVersion=0",
  "tailLines=1",
  "container=web",
  "pretty=true",
  "dryRun=All",
  "fieldManager=x",
  "timeout=1s",
];
const ODD_QUERIES = [
  "watch",
  "watch=&timeoutSeconds=1",
  "watch=1&watch=0&timeoutSeconds=1",
  "fieldSelector=metadata.name%3Dx%2Fy",
  "fieldSelector=metadata.name%21%3Dx",
  "fieldSelector=%zz",
  "as=root",
  "impersonate-user=root",
  "access_token=x",
  "%77atch=1&timeoutSeconds=1",
  "a;b=c",
  "fieldSelector=metadata.name=web,metadata.name=shell",
  "x=%00",
  "timeoutSeconds=1&watch=TRUE",
  "timeoutSeconds=1&watch=False",
];
