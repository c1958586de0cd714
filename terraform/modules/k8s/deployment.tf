# One pod, two containers: cloudflared holds the tunnel, the last hop (last-hop.tf) carries what arrives to the API server.

locals {
  token_directory = "/etc/cloudflared"
  # Where client-go looks for in-cluster credentials.
  account_directory = "/var/run/secrets/kubernetes.io/serviceaccount"
}

resource "kubernetes_deployment_v1" "this" {
  metadata {
    name      = local.name
    namespace = kubernetes_namespace_v1.this.metadata[0].name
    labels    = local.labels
  }

  wait_for_rollout = var.wait_for_rollout

  spec {
    replicas = var.replicas

    selector {
      match_labels = local.labels
    }

    # A new pod is up before an old one ends: streams break once, the service never.
    strategy {
      type = "RollingUpdate"

      rolling_update {
        max_surge       = "1"
        max_unavailable = "0"
      }
    }

    template {
      metadata {
        labels = local.labels
        # What is new rolls the pods. The hash of a long random text tells nothing about it.
        annotations = merge(
          { "kube-access.dev/tunnel-token-sha256" = nonsensitive(sha256(data.cloudflare_zero_trust_tunnel_cloudflared_token.this.token)) },
          { for map in kubernetes_config_map_v1.last_hop : "kube-access.dev/last-hop-sha256" => sha256(map.data["last-hop.mjs"]) },
          { for key in random_bytes.last_hop_key : "kube-access.dev/last-hop-key-sha256" => nonsensitive(sha256(key.base64)) },
        )
      }

      spec {
        service_account_name            = kubernetes_service_account_v1.this.metadata[0].name
        automount_service_account_token = false
        enable_service_links            = false
        # cloudflared lets running streams finish for 30 seconds.
        termination_grace_period_seconds = 45

        security_context {
          run_as_non_root = true
          run_as_user     = var.pod_user_id
          run_as_group    = var.pod_user_id
          fs_group        = var.pod_user_id

          seccomp_profile {
            type = "RuntimeDefault"
          }
        }

        dynamic "topology_spread_constraint" {
          for_each = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]

          content {
            max_skew           = 1
            topology_key       = topology_spread_constraint.value
            when_unsatisfiable = "ScheduleAnyway"

            label_selector {
              match_labels = local.labels
            }
          }
        }

        container {
          name  = "cloudflared"
          image = var.cloudflared_image
          # Workers VPC needs QUIC; without `--protocol quic` cloudflared may fall back to HTTP/2.
          args = [
            "tunnel", "--no-autoupdate", "--protocol", "quic", "--metrics", "0.0.0.0:${local.metrics_port}", "run",
            "--token-file", "${local.token_directory}/token",
          ]

          port {
            name           = "metrics"
            container_port = local.metrics_port
          }

          # Ready: at least one connection to Cloudflare.
          readiness_probe {
            period_seconds    = 10
            failure_threshold = 3

            http_get {
              path = "/ready"
              port = "metrics"
            }
          }

          # Alive whether or not Cloudflare can be reached: a restart would mend no outage.
          liveness_probe {
            period_seconds    = 20
            failure_threshold = 3

            http_get {
              path = "/healthcheck"
              port = "metrics"
            }
          }

          resources {
            requests = { cpu = "50m", memory = "64Mi" }
            limits   = { memory = "256Mi" }
          }

          security_context {
            allow_privilege_escalation = false
            read_only_root_filesystem  = true
            run_as_non_root            = true

            capabilities {
              drop = ["ALL"]
            }
          }

          volume_mount {
            name       = "tunnel-token"
            mount_path = local.token_directory
            read_only  = true
          }
        }

        container {
          name    = var.last_hop
          image   = local.last_hop.image
          command = local.last_hop.command
          args    = local.last_hop.args

          # From outside, the kubelet cannot reach loopback; so it asks from inside.
          readiness_probe {
            period_seconds    = 15
            timeout_seconds   = 5
            failure_threshold = 3

            exec {
              command = local.last_hop.ready
            }
          }

          liveness_probe {
            period_seconds    = 30
            timeout_seconds   = 10
            failure_threshold = 6

            exec {
              command = local.last_hop.live
            }
          }

          # The probes' own programs run in this memory too.
          resources {
            requests = { cpu = "50m", memory = "96Mi" }
            limits   = { memory = local.last_hop.memory }
          }

          security_context {
            allow_privilege_escalation = false
            read_only_root_filesystem  = true
            run_as_non_root            = true

            capabilities {
              drop = ["ALL"]
            }
          }

          volume_mount {
            name       = "service-account"
            mount_path = local.account_directory
            read_only  = true
          }

          dynamic "volume_mount" {
            for_each = local.last_hop.mounts

            content {
              name       = volume_mount.key
              mount_path = volume_mount.value
              read_only  = true
            }
          }
        }

        volume {
          name = "tunnel-token"

          secret {
            secret_name  = kubernetes_secret_v1.tunnel_token.metadata[0].name
            default_mode = "0440"
          }
        }

        dynamic "volume" {
          for_each = kubernetes_config_map_v1.last_hop

          content {
            name = "last-hop"

            config_map {
              name = volume.value.metadata[0].name
            }
          }
        }

        dynamic "volume" {
          for_each = kubernetes_secret_v1.last_hop_key

          content {
            name = "last-hop-key"

            secret {
              secret_name  = volume.value.metadata[0].name
              default_mode = "0440"
            }
          }
        }

        # The service account's credentials, for the one container that uses them.
        volume {
          name = "service-account"

          projected {
            default_mode = "0440"

            sources {
              service_account_token {
                path               = "token"
                expiration_seconds = 3607
              }
            }
            sources {
              config_map {
                name = "kube-root-ca.crt"

                items {
                  key  = "ca.crt"
                  path = "ca.crt"
                }
              }
            }
            sources {
              downward_api {
                items {
                  path = "namespace"

                  field_ref {
                    field_path = "metadata.namespace"
                  }
                }
              }
            }
          }
        }
      }
    }
  }

  # The pods come when everything that limits them stands.
  depends_on = [kubernetes_cluster_role_binding_v1.this, kubernetes_network_policy_v1.this]
}
