// The two audit logs: what the gateway writes and what the API server writes join by Audit-ID, and neither holds what it must not.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { request } from "node:http";
import { after, before, test } from "node:test";
import type { AuditEvent } from "./audit-log.ts";
import { type Site, startSite } from "./site.ts";
import { until } from "./until.ts";
import { EXEC, openWebSocket, STDIN } from "./websocket.ts";

let site: Site;
before(async () => {
  site = await startSite();
});
after(() => site?.stop());

interface GatewayEvent extends AuditEvent {
  kind: string;
  annotations: Record<string, string>;
}

function gatewayEvent(what: string, fits: (event: GatewayEvent) => boolean): Promise<GatewayEvent> {
  return until(`the gateway's log shows ${what}`, 60_000, () => {
    const events = site.stack.gateway.logs().flatMap((line) => {
      const event = line.includes("audit.k8s.io/v1") ? (JSON.parse(line) as GatewayEvent) : undefined;
      return event ? [event] : [];
    });
    return events.find(fits);
  });
}

test("case 137: the gateway's event and the cluster's name the same request, user and groups", async () => {
  const commands: [string, string[], (event: AuditEvent) => boolean][] = [
    ["bob", ["get", "pods", "-l", "a=1"], (event) => event.requestURI.includes("labelSelector=a%3D1")],
    ["bob", ["exec", "shell", "--", "true"], (event) => event.objectRef?.subresource === "exec"],
    [
      "ci",
      ["create", "configmap", "joined"],
      (event) => event.verb === "create" && event.objectRef?.resource === "configmaps",
    ],
    ["bob", ["logs", "web", "--tail=1"], (event) => event.objectRef?.subresource === "log"],
    ["alice", ["get", "--raw", "/version"], (event) => event.requestURI === "/version"],
    ["bob", ["get", "secrets"], (event) => event.objectRef?.resource === "secrets"],
  ];
  for (const [user, args, fits] of commands) {
    await site.as(user).run(args);
    const ours = await gatewayEvent(args.join(" "), fits);
    const theirs = await site.audit.find(args.join(" "), (event) => event.auditID === ours.auditID);
    assert.equal(theirs.user.username, "system:serviceaccount:kube-access:kube-access");
    assert.equal(ours.user.username, theirs.impersonatedUser?.username);
    assert.deepEqual([...(ours.user.groups ?? []), "system:authenticated"], theirs.impersonatedUser?.groups);
    assert.deepEqual(ours.user.extra, theirs.impersonatedUser?.extra);
    assert.equal(ours.verb, theirs.verb);
    assert.deepEqual(ours.objectRef, askedFor(theirs));
    assert.equal(ours.responseStatus?.code, theirs.responseStatus?.code);
  }
});

/** What the path says. The API server adds what it learned from the body: a new object's name. */
function askedFor({ verb, objectRef }: AuditEvent): AuditEvent["objectRef"] {
  if (!objectRef || verb !== "create" || objectRef.subresource) {
    return objectRef;
  }
  const { name: _, ...rest } = objectRef;
  return rest;
}

test("case 88: the cluster's log shows who came through Access, and no caller can set or remove it", async () => {
  await site.as("bob").ok(["get", "pods", "-l", "case=88"]);
  const event = await site.audit.find("the list", ({ requestURI }) => requestURI.includes("case%3D88"));
  assert.deepEqual(event.impersonatedUser?.extra?.["kube-access.dev/email"], ["bob@example.com"]);
  assert.equal(event.impersonatedUser?.extra?.["kube-access.dev/subject"]?.length, 1);
  const forged = await ask("bob", "/api/v1/pods?limit=88", {
    "Impersonate-Extra-Kube-Access.dev%2Femail": "root@example.com",
  });
  assert.equal(forged.status, 403);
  assert.ok(!(await site.audit.events()).some(({ requestURI }) => requestURI === "/api/v1/pods?limit=88"));
});

test("case 133, 138: no secret is in an answer or in any line of the gateway, whatever the level", async () => {
  const places = [
    "token",
    "cookie",
    "authorization",
    "body",
    "exec",
    "stdin",
    "subprotocol",
    "query",
    "client-secret",
    "path-refused",
  ] as const;
  const marker = Object.fromEntries(
    places.map((place) => [place, `marker${randomBytes(8).toString("hex")}`]),
  ) as Record<(typeof places)[number], string>;
  const token = await site.stack.access.mint("bob", { claims: { nonsense: marker.token } });
  const headers = {
    "Cf-Access-Jwt-Assertion": token,
    Cookie: `CF_Authorization=${marker.cookie}`,
    Authorization: `Bearer ${marker.authorization}`,
    "Cf-Access-Client-Secret": marker["client-secret"],
    "User-Agent": "secrets-test",
  };
  const pods = "/api/v1/namespaces/default/pods";
  const exec = `${pods}/shell/exec?command=sh&command=-c&command=cat%20%23${marker.exec}&stdin=true&stdout=true`;
  const refused: Record<string, string>[] = [
    {},
    { "Impersonate-User": "root" },
    { Origin: "https://evil.test" },
    { Upgrade: "SPDY/3.1", Connection: "Upgrade" },
    { "Cf-Access-Jwt-Assertion": `${token}x` },
    { "Cf-Access-Jwt-Assertion": marker.token },
  ];
  const answers: string[] = [];
  for (const more of refused) {
    for (const path of [
      pods,
      exec,
      `${pods}?access_token=${marker.query}`,
      `${pods}//x?${marker.query}`,
      `${pods}/web/proxy/?p=${marker.query}`,
    ]) {
      answers.push((await ask("bob", path, { ...headers, ...more })).body);
      answers.push((await ask("bob", path, { ...headers, ...more }, "POST", marker.body)).body);
    }
  }
  const bearer = `base64url.bearer.authorization.k8s.io.${marker.subprotocol}`;
  // With a cookie it would be a browser's.
  const { Cookie: _, ...withoutCookie } = headers;
  const opened = await openWebSocket(site, "bob", exec, `${bearer}, ${EXEC}`, withoutCookie);
  assert.equal(opened.status, 101);
  assert.equal(opened.headers.get("sec-websocket-protocol"), EXEC);
  opened.socket.send(STDIN, marker.stdin);
  opened.socket.endOf(STDIN);
  await opened.socket.drain();
  assert.equal((await openWebSocket(site, "bob", exec, bearer, withoutCookie)).status, 400);

  await gatewayEvent(
    "the last of them",
    (event) => event.userAgent === "secrets-test" && event.responseStatus?.code === 400,
  );
  const written = site.stack.gateway.logs().join("\n");
  assert.ok(written.includes("secrets-test"), "these requests are in the log");
  const secrets = {
    ...marker,
    token64: token.split(".")[1] ?? "",
    signature: token.split(".")[2] ?? "",
    account: site.gatewayToken,
  };
  for (const [place, secret] of Object.entries(secrets)) {
    assert.ok(!written.includes(secret), `the gateway's log holds what was in ${place}`);
  }
  for (const [place, secret] of Object.entries({ ...secrets, query: site.gatewayToken })) {
    assert.ok(!answers.some((answer) => answer.includes(secret)), `an answer holds what was in ${place}`);
  }
  // The API server's own log, at level Metadata, holds the arguments of exec in the requestURI. Nothing else of it is there.
  const theirs = JSON.stringify((await site.audit.events()).filter(({ userAgent }) => userAgent === "secrets-test"));
  for (const place of ["token", "cookie", "authorization", "body", "stdin", "subprotocol", "client-secret"] as const) {
    assert.ok(!theirs.includes(marker[place]), `the cluster's log holds what was in ${place}`);
  }
});

interface Answer {
  status: number;
  body: string;
}

/** A request straight at the gateway, with a fresh token unless the headers bring one. */
async function ask(
  user: string,
  path: string,
  headers: Record<string, string>,
  method = "GET",
  body?: string,
): Promise<Answer> {
  const { host, port } = site.stack.gateway;
  const token = await site.stack.access.mint(user);
  return new Promise((resolve, reject) => {
    const sent = request({
      host,
      port,
      path,
      method,
      headers: { "Cf-Access-Jwt-Assertion": token, ...headers },
      timeout: 60_000,
    });
    sent.on("response", async (response) => {
      let text = "";
      for await (const chunk of response.setEncoding("utf8")) {
        text += chunk;
      }
      resolve({ status: response.statusCode ?? 0, body: text });
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer to ${method} ${path}`)));
    sent.on("error", reject);
    sent.end(body);
  });
}
