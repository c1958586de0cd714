// X.509 certificates for the local stand-ins, made at start and never kept. Node.js makes keys but no certificates, so the
// few DER structures of RFC 5280 that are needed are written out here.

import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIPv4 } from "node:net";

const DAY_MS = 24 * 60 * 60 * 1000;

export interface ServerCertificate {
  /** The authority that signed it, PEM: what a kubeconfig names as certificate-authority. */
  ca: string;
  cert: string;
  key: string;
}

/** A certificate for the given names and addresses, signed by an authority made for it alone. */
export function serverCertificate(hosts: string[]): ServerCertificate {
  const authority = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const server = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const issuer = "kube-access local authority";
  return {
    ca: certificate({ subject: issuer, issuer, of: authority.publicKey, by: authority.privateKey, isAuthority: true }),
    cert: certificate({
      subject: "kube-access local edge",
      issuer,
      of: server.publicKey,
      by: authority.privateKey,
      hosts,
    }),
    key: server.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

/** A self-signed certificate around an existing RSA key, as Access publishes its signing keys. */
export function selfSigned(subject: string, key: KeyObject): string {
  return certificate({ subject, issuer: subject, of: createPublicKey(key), by: key });
}

interface Contents {
  subject: string;
  issuer: string;
  of: KeyObject;
  by: KeyObject;
  isAuthority?: boolean;
  hosts?: string[];
}

function certificate({ subject, issuer, of, by, isAuthority = false, hosts = [] }: Contents): string {
  const algorithm = sequence(
    by.asymmetricKeyType === "rsa" ? [oid.sha256WithRsa, tagged(0x05)] : [oid.ecdsaWithSha256],
  );
  const extensions = [
    sequence([oid.basicConstraints, tagged(0x01, 0xff), octets(sequence(isAuthority ? [tagged(0x01, 0xff)] : []))]),
  ];
  if (hosts.length > 0) {
    extensions.push(sequence([oid.subjectAltName, octets(sequence(hosts.map(generalName)))]));
  }
  const body = sequence([
    tagged(0xa0, tagged(0x02, 2)), // version 3
    tagged(0x02, 1, randomBytes(15)), // serial number, positive
    algorithm,
    name(issuer),
    sequence([time(Date.now() - DAY_MS), time(Date.now() + 30 * DAY_MS)]),
    name(subject),
    of.export({ type: "spki", format: "der" }),
    tagged(0xa3, sequence(extensions)),
  ]);
  const der = sequence([body, algorithm, tagged(0x03, 0, sign("sha256", body, by))]);
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function generalName(host: string): Buffer {
  return isIPv4(host) ? tagged(0x87, ...host.split(".").map(Number)) : tagged(0x82, Buffer.from(host));
}

function name(commonName: string): Buffer {
  const attribute = sequence([oid.commonName, tagged(0x0c, Buffer.from(commonName))]);
  return sequence([tagged(0x31, attribute)]);
}

function time(milliseconds: number): Buffer {
  const digits = new Date(milliseconds).toISOString().replace(/[-:T]|\.\d+/g, "");
  return tagged(0x17, Buffer.from(digits.slice(2)));
}

function octets(contents: Buffer): Buffer {
  return tagged(0x04, contents);
}

function sequence(items: Buffer[]): Buffer {
  return tagged(0x30, ...items);
}

/** One DER element: tag, length, contents. */
function tagged(tag: number, ...contents: (Buffer | number)[]): Buffer {
  const value = Buffer.concat(contents.map((part) => (typeof part === "number" ? Buffer.of(part) : part)));
  return Buffer.concat([Buffer.of(tag), lengthOf(value), value]);
}

/** Definite length in the fewest bytes: DER allows no other, and Go's parser checks. */
function lengthOf({ length }: Buffer): Buffer {
  if (length < 0x80) {
    return Buffer.of(length);
  }
  return length < 0x100 ? Buffer.of(0x81, length) : Buffer.of(0x82, length >> 8, length & 0xff);
}

const oid = {
  commonName: tagged(0x06, 0x55, 0x04, 0x03),
  subjectAltName: tagged(0x06, 0x55, 0x1d, 0x11),
  basicConstraints: tagged(0x06, 0x55, 0x1d, 0x13),
  ecdsaWithSha256: tagged(0x06, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02),
  sha256WithRsa: tagged(0x06, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b),
};
