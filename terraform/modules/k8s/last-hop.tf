# What carries requests from the tunnel to the API server, on the pod's loopback: whoever reaches its port is the service account, or,
# with the guarded one, whoever has its key.

locals {
  script_directory = "/etc/kube-access"
  key_directory    = "/etc/kube-access-key"
  script           = "${local.script_directory}/last-hop.mjs"

  last_hops = {
    # The default reject-paths would refuse exec and attach, and "^$" the root of the API, which is matched as an empty path. "^#" refuses
    # nothing. The probes ask through the proxy for what every service account may read.
    kubectl-proxy = {
      image   = var.kubectl_image
      command = null
      args = [
        "proxy", "--address=127.0.0.1", "--port=${local.api_port}",
        "--accept-hosts=^localhost$,^127\\.0\\.0\\.1$", "--reject-paths=^#",
      ]
      ready  = ["kubectl", "--server=http://127.0.0.1:${local.api_port}", "get", "--raw=/readyz"]
      live   = ["kubectl", "--server=http://127.0.0.1:${local.api_port}", "get", "--raw=/livez"]
      mounts = {}
      memory = "256Mi"
    }
    guarded = {
      image   = var.node_image
      command = ["node", local.script]
      args    = ["--port=${local.api_port}", "--account=${local.account_directory}", "--key-file=${local.key_directory}/key"]
      ready   = ["node", local.script, "--port=${local.api_port}", "--probe=/.last-hop/ready"]
      live    = ["node", local.script, "--port=${local.api_port}", "--probe=/.last-hop/live"]
      mounts  = { last-hop = local.script_directory, last-hop-key = local.key_directory }
      memory  = "512Mi"
    }
  }
  last_hop = local.last_hops[var.last_hop]
}

resource "kubernetes_config_map_v1" "last_hop" {
  count = var.last_hop == "guarded" ? 1 : 0

  metadata {
    name      = "last-hop"
    namespace = kubernetes_namespace_v1.this.metadata[0].name
    labels    = local.labels
  }

  data = {
    "last-hop.mjs" = file("${path.module}/last-hop.mjs")
  }
}

# Between this pod and the Worker, and nobody else: `npm run deploy` hands it to the Worker.
resource "random_bytes" "last_hop_key" {
  count = var.last_hop == "guarded" ? 1 : 0

  length  = 32
  keepers = { edition = var.last_hop_key_edition }
}

resource "kubernetes_secret_v1" "last_hop_key" {
  count = var.last_hop == "guarded" ? 1 : 0

  metadata {
    name      = "last-hop-key"
    namespace = kubernetes_namespace_v1.this.metadata[0].name
    labels    = local.labels
  }

  data = {
    key = random_bytes.last_hop_key[0].base64
  }
}
