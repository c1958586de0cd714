# `kubectl proxy` sends a request that lost its Impersonate-User as the service account itself. So the account may do nothing but
# impersonate: names.tf says whom, actions.tf what may be done as them.

data "kubernetes_server_version" "this" {
  count = local.constrained ? 1 : 0

  lifecycle {
    postcondition {
      condition     = tonumber(self.major) > 1 || tonumber(regex("^[0-9]+", self.minor)) >= 36
      error_message = "impersonation = \"constrained\" needs Kubernetes 1.36 or newer, and this API server is ${self.git_version}: it knows no such verbs and would refuse everybody. Set impersonation = \"legacy\"."
    }
  }
}

resource "kubernetes_cluster_role_v1" "this" {
  metadata {
    name   = "${local.name}-impersonator"
    labels = local.labels
  }

  dynamic "rule" {
    for_each = local.impersonations

    content {
      api_groups     = [rule.value.api_group]
      resources      = [rule.value.resource]
      resource_names = rule.value.names
      verbs          = [local.impersonate]
    }
  }

  # From one kind to the other without a gap: first what may be done, then as whom.
  depends_on = [data.kubernetes_server_version.this, kubernetes_cluster_role_binding_v1.actions]
}

resource "kubernetes_cluster_role_binding_v1" "this" {
  metadata {
    name   = "${local.name}-impersonator"
    labels = local.labels
  }

  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "ClusterRole"
    name      = kubernetes_cluster_role_v1.this.metadata[0].name
  }

  subject {
    kind      = "ServiceAccount"
    name      = kubernetes_service_account_v1.this.metadata[0].name
    namespace = kubernetes_namespace_v1.this.metadata[0].name
  }
}

resource "kubernetes_cluster_role_v1" "actions" {
  count = local.constrained ? 1 : 0

  metadata {
    name   = "${local.name}-actions"
    labels = local.labels
  }

  dynamic "rule" {
    for_each = local.actions

    content {
      api_groups = [rule.value.api_group]
      resources  = rule.value.resources
      verbs      = rule.value.verbs
    }
  }

  dynamic "rule" {
    for_each = [for rule in local.urls : rule if length(rule.urls) > 0]

    content {
      non_resource_urls = rule.value.urls
      verbs             = rule.value.verbs
    }
  }

  # On the way to the older kind it goes after the account has that: with nothing to create, all that this says is the order.
  lifecycle {
    create_before_destroy = true
  }
}

resource "kubernetes_cluster_role_binding_v1" "actions" {
  count = local.constrained ? 1 : 0

  metadata {
    name   = "${local.name}-actions"
    labels = local.labels
  }

  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "ClusterRole"
    name      = kubernetes_cluster_role_v1.actions[0].metadata[0].name
  }

  subject {
    kind      = "ServiceAccount"
    name      = kubernetes_service_account_v1.this.metadata[0].name
    namespace = kubernetes_namespace_v1.this.metadata[0].name
  }

  lifecycle {
    create_before_destroy = true
  }
}
