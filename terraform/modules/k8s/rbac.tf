# `kubectl proxy` sends a request that lost its Impersonate-User as the service account itself. So the account may do
# nothing but impersonate, and nobody but the users and groups of the identity map.

locals {
  # What the Worker sends beside user and groups, for the cluster's audit log.
  extras = ["kube-access.dev/email", "kube-access.dev/subject"]

  # An exact address makes "{email}" a known name; a domain does not (impersonate_any_user).
  users = setunion(var.kv_users, [
    for identity in var.identities : replace(identity.user, "{email}", lower(coalesce(identity.email, "-")))
    if identity.email != null || !strcontains(identity.user, "{email}")
  ])
  groups = setunion(var.kv_groups, flatten(var.identities[*].groups))

  # An empty list of names means "all of them" to RBAC: a kind without names gets no rule at all.
  impersonations = concat(
    var.impersonate_any_user ? [{ api_group = "", resource = "users", names = null }] : [],
    !var.impersonate_any_user && length(local.users) > 0 ? [{ api_group = "", resource = "users", names = sort(local.users) }] : [],
    length(local.groups) > 0 ? [{ api_group = "", resource = "groups", names = sort(local.groups) }] : [],
    [for key in local.extras : { api_group = "authentication.k8s.io", resource = "userextras/${key}", names = null }],
  )
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
      verbs          = ["impersonate"]
    }
  }
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
