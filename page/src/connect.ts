// How one connects: the context for kubectl, as lines or as a file, and what lets kubectl in from where one is.

import { kubeconfigPath, type Me } from "./api.ts";
import { copyable } from "./copy.ts";
import { type Child, h, icon, name } from "./dom.ts";
import { tabs } from "./tabs.ts";
import { isHost, kubectlLines } from "./words.ts";

export function connectSection(me: Me): HTMLElement {
  const { host } = me.cluster;
  return h(
    "section",
    { class: "connect", "aria-labelledby": "connect" },
    h("h2", { id: "connect" }, "Connect"),
    h("p", {}, "Add this cluster to your kubeconfig. The lines merge into what is there, and may be run again."),
    isHost(host)
      ? copyable("Lines that add the cluster to your kubeconfig", kubectlLines(host))
      : h("p", { class: "empty" }, "This host's name cannot stand in a line for a shell: take the file."),
    h(
      "p",
      { class: "or" },
      "Or take a file of its own: ",
      h("a", { href: kubeconfigPath, download: true, class: "download" }, icon("download"), "Download the kubeconfig"),
    ),
    h("h3", {}, "From where you are"),
    tabs("From where you are", [
      { label: "With WARP", content: withWarp() },
      { label: "Without WARP", content: withoutWarp(host) },
      { label: "CI and agents", content: programs(me) },
    ]),
    versions(),
  );
}

function withWarp(): HTMLElement {
  return words(
    [
      "Switch the Cloudflare One Client (WARP) on, signed in to your team. It signs kubectl in; nothing else is needed. See that it works:",
    ],
    copyable("A command that tells who you are", ["kubectl auth whoami"]),
  );
}

function withoutWarp(host: string): HTMLElement {
  return words(
    [
      "Plain kubectl cannot log in to Cloudflare Access. ",
      h("code", {}, "kubectl access"),
      ", a plug-in, can: with a browser, where this gateway lets it, or by the login of cloudflared.",
    ],
    isHost(host) &&
      copyable("Commands that log you in by a browser", [
        `kubectl access setup https://${host} --login`,
        "kubectl auth whoami",
      ]),
    isHost(host) &&
      copyable("Commands that run a program by the login of cloudflared", [
        `cloudflared access login https://${host}`,
        `kubectl access run --host https://${host} -- kubectl auth whoami`,
      ]),
  );
}

function programs({ cluster: { host }, contact }: Me): HTMLElement {
  return words(
    [
      "A program brings an Access service token, in ",
      h("code", {}, "CF_ACCESS_CLIENT_ID"),
      " and ",
      h("code", {}, "CF_ACCESS_CLIENT_SECRET"),
      ". This runs it with a kubeconfig of its own, which is gone when it ends:",
    ],
    isHost(host) &&
      copyable("A command that runs a program with a service token", [
        `kubectl access run --host https://${host} -- kubectl get pods`,
      ]),
    h(
      "p",
      {},
      "The token needs an entry ",
      h("code", {}, "service_token"),
      " in the policy, and where people sign in by WARP a host name of its own. ",
      ...(contact === undefined ? ["Ask who runs the gateway."] : ["Ask ", name(contact, "text"), "."]),
    ),
  );
}

function versions(): HTMLElement {
  const rows: [string, string, string, string][] = [
    ["exec, attach, cp", "1.30", "1.29", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true"],
    ["port-forward", "1.31", "1.30", "KUBECTL_PORT_FORWARD_WEBSOCKETS=true"],
  ];
  return h(
    "details",
    { class: "versions" },
    h("summary", {}, "exec needs kubectl 1.30 or newer, port-forward 1.31"),
    h(
      "ul",
      { class: "plain" },
      ...rows.map(([what, since, older, variable]) =>
        h("li", {}, h("strong", {}, what), `: ${since} or newer; ${older} with `, h("code", {}, variable)),
      ),
    ),
    h("p", {}, "Older ones speak SPDY, which this gateway does not carry. All else works with any kubectl."),
  );
}

function words(sentence: Child[], ...more: Child[]): HTMLElement {
  return h("div", {}, h("p", {}, ...sentence), ...more);
}
