# Where the cluster's network plugin enforces policies: nothing comes in, and out go only DNS, the tunnel and the API
# server. So the tunnel cannot be turned into a way to the rest of the cluster.

locals {
  private_ipv4 = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
  private_ipv6 = ["fc00::/7", "fe80::/10"]
}

resource "kubernetes_network_policy_v1" "this" {
  count = var.network_policy ? 1 : 0

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

    # DNS: OpenShift's pods listen on 5353.
    egress {
      dynamic "ports" {
        for_each = setproduct([53, 5353], ["UDP", "TCP"])

        content {
          port     = ports.value[0]
          protocol = ports.value[1]
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

    # The API server. To Cilium, and to others that know nodes, no range of addresses is a node, and there the API server may run:
    # so there is none unless the operator says so.
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
