import assert from "node:assert/strict";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { test } from "node:test";
import { selfSigned, serverCertificate } from "../../dev/certificates.ts";

test("a server certificate names its hosts and is signed by its authority", () => {
  const { ca, cert } = serverCertificate(["127.0.0.1", "localhost"]);
  const [authority, server] = [new X509Certificate(ca), new X509Certificate(cert)];
  assert.equal(authority.ca, true);
  assert.equal(server.ca, false);
  assert.ok(server.checkIssued(authority) && server.verify(authority.publicKey));
  assert.equal(server.checkIP("127.0.0.1"), "127.0.0.1");
  assert.equal(server.checkHost("localhost"), "localhost");
  assert.equal(server.checkHost("example.com"), undefined);
});

test("a server certificate is valid now", () => {
  const server = new X509Certificate(serverCertificate(["localhost"]).cert);
  assert.ok(server.validFromDate.getTime() < Date.now() && Date.now() < server.validToDate.getTime());
});

test("a signing key's certificate carries the key", () => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const certificate = new X509Certificate(selfSigned("kube-access.cloudflareaccess.com", privateKey));
  assert.ok(certificate.publicKey.equals(publicKey) && certificate.verify(publicKey));
});
