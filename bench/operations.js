// The Worker of operations.ts: repeats one operation as often as it is told to.

const SENT = [
  ["accept", "application/json"],
  ["accept-encoding", "gzip"],
  ["kubectl-command", "kubectl get"],
  ["kubectl-session", "0f0a1e22-6f0f-4a4f-9d3b-2b9f7c5f9a01"],
  ["user-agent", "kubectl/v1.37.0 (linux/amd64) kubernetes/0000000"],
  ["Audit-ID", "0f0a1e22-6f0f-4a4f-9d3b-2b9f7c5f9a02"],
  ["Impersonate-Extra-kube-access.dev%2Fray", "8f1e0d2c3b4a5968-FRA"],
  ["X-Forwarded-For", "203.0.113.7"],
  ["Impersonate-User", "alice"],
  ["Impersonate-Group", "platform-admins"],
  ["Impersonate-Group", "developers"],
  ["Impersonate-Extra-kube-access.dev%2Femail", "alice@example.com"],
];
const ANSWERED = ["alt-svc", "clear-site-data", "report-to", "set-cookie", "server", "www-authenticate"];
const URL = "http://localhost/api/v1/namespaces/default/pods/web";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const bytes = new Uint8Array(32 * 1024);
const kept = new Headers(SENT);
const head = new Request(URL, { headers: SENT, redirect: "manual" });
const never = new Promise(() => {});

const operations = {
  "read the headers: for … of": ({ headers }) => {
    let text = "";
    for (const [name, value] of headers) text += `\n${name}:${value}`;
    return text;
  },
  "read the headers: forEach": ({ headers }) => {
    let text = "";
    headers.forEach((value, name) => {
      text += `\n${name}:${value}`;
    });
    return text;
  },
  "1.6 KB of text to bytes: encode": (_, text) => encoder.encode(text),
  "1.6 KB of text to bytes: encodeInto": (_, text) => encoder.encodeInto(text, bytes),
  "700 bytes to text": () => decoder.decode(bytes.subarray(0, 700)),
  "12 lines to send: new Headers(array)": () => new Headers(SENT),
  "12 lines to send: append": () => {
    const headers = new Headers();
    for (const [name, value] of SENT) headers.append(name, value);
    return headers;
  },
  "12 lines to send: two of them set in kept Headers": () => {
    kept.set("Audit-ID", "0f0a1e22-6f0f-4a4f-9d3b-2b9f7c5f9a02");
    kept.set("Impersonate-Extra-kube-access.dev%2Fray", "8f1e0d2c3b4a5968-FRA");
  },
  "a request to send: from an object": () => {
    return new Request(URL, { method: "GET", headers: kept, body: null, redirect: "manual" });
  },
  "a request to send: from a kept Request": () => new Request(URL, head),
  "look for a header, 6 times": ({ headers }) => ANSWERED.some((name) => headers.has(name)),
  "bound a wait: a promise": () => {
    return new Promise((resolve) => {
      never.then(resolve, resolve);
    });
  },
  "bound a wait: a timer": () => clearTimeout(setTimeout(() => {}, 60_000)),
  "bound a wait: an AbortController": () => new AbortController().signal,
};

export default {
  fetch(request) {
    const name = decodeURIComponent(request.headers.get("operation") ?? "");
    if (name === "") return Response.json(Object.keys(operations));
    const operation = operations[name];
    const text = operations["read the headers: forEach"](request);
    const times = Number(request.headers.get("times"));
    let result;
    for (let time = 0; time < times; time += 1) result = operation(request, text);
    return new Response(typeof result);
  },
};
