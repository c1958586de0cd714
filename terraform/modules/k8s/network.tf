# Where the cluster's network plugin enforces policies: nothing comes in, and out go only DNS, the tunnel and the API
# server. So the tunnel cannot be turned into a way to the rest of the cluster.

locals {
  private_ipv4 = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
  private_ipv6 = ["fc00::/7", "fe80::/10"]
}

resource "kubernetes_network_policy_v1" "this" {
  metadata {
    name      = local.name
    namespace = kubernetes_namespace_v1.this.metadata[0].name
    labels    = local.labels
  }

  spec {
    pod_selector {
      match_labels = local.labels
    }
    policy_types = ["Ingress", "Egress"]

    dynamic "ingress" {
      for_each = var.metrics_namespace[*]

      content {
        from {
          namespace_selector {
            match_labels = { "kubernetes.io/metadata.name" = ingress.value }
          }
        }
        ports {
          port     = local.metrics_port
          protocol = "TCP"
        }
      }
    }

    # DNS
    egress {
      dynamic "ports" {
        for_each = ["UDP", "TCP"]

        content {
          port     = 53
          protocol = ports.value
        }
      }
    }

    # Cloudflare: the tunnel itself is QUIC (UDP); cloudflared also probes TCP when it starts.
    egress {
      to {
        ip_block {
          cidr   = "0.0.0.0/0"
          except = local.private_ipv4
        }
      }
      to {
        ip_block {
          cidr   = "::/0"
          except = local.private_ipv6
        }
      }
      dynamic "ports" {
        for_each = ["UDP", "TCP"]

        content {
          port     = 7844
          protocol = ports.value
        }
      }
    }

    # The API server
    egress {
      dynamic "to" {
        for_each = sort(var.api_server.cidrs)

        content {
          ip_block {
            cidr = to.value
          }
        }
      }
      dynamic "ports" {
        for_each = sort(var.api_server.ports)

        content {
          port     = ports.value
          protocol = "TCP"
        }
      }
    }
  }
}

resource "kubernetes_pod_disruption_budget_v1" "this" {
  metadata {
    name      = local.name
    namespace = kubernetes_namespace_v1.this.metadata[0].name
    labels    = local.labels
  }

  spec {
    max_unavailable = 1

    selector {
      match_labels = local.labels
    }
  }
}
