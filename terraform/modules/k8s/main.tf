# The tunnel, and the namespace, service account and token that its end in the cluster needs. deployment.tf has the
# pods, rbac.tf what they may do, network.tf whom they may talk to.

locals {
  # Fixed: the Worker's documentation, `kubectl` recipes and RBAC bindings name it.
  name   = "kube-access"
  labels = { "app.kubernetes.io/name" = local.name }

  api_port     = 8001
  metrics_port = 2000
}

resource "cloudflare_zero_trust_tunnel_cloudflared" "this" {
  account_id = var.account_id
  name       = var.tunnel_name
  # The provider's default, "local", makes a tunnel that a token cannot run; changing it later replaces the tunnel.
  config_src = "cloudflare"
}

data "cloudflare_zero_trust_tunnel_cloudflared_token" "this" {
  account_id = var.account_id
  tunnel_id  = cloudflare_zero_trust_tunnel_cloudflared.this.id
}

resource "kubernetes_namespace_v1" "this" {
  # Cloudflare keeps a tunnel with connections (1022): the pods are gone before it.
  depends_on = [cloudflare_zero_trust_tunnel_cloudflared.this]

  metadata {
    name = local.name
    labels = merge(local.labels, {
      "pod-security.kubernetes.io/enforce" = "restricted"
    })
  }
}

resource "kubernetes_service_account_v1" "this" {
  metadata {
    name      = local.name
    namespace = kubernetes_namespace_v1.this.metadata[0].name
    labels    = local.labels
  }

  # Only the container that needs the token gets one: deployment.tf.
  automount_service_account_token = false
}

resource "kubernetes_secret_v1" "tunnel_token" {
  metadata {
    name      = "tunnel-token"
    namespace = kubernetes_namespace_v1.this.metadata[0].name
    labels    = local.labels
  }

  data = {
    token = data.cloudflare_zero_trust_tunnel_cloudflared_token.this.token
  }
}
