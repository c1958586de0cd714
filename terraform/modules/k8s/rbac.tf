# `kubectl proxy` sends a request that lost its Impersonate-User as the service account itself. So the account may do
# nothing but impersonate, and nobody but the users and groups of the identity map. actions.tf says what it may do as them.

locals {
  # What the Worker tells the cluster's audit log beside user and groups.
  own_extras = [for key in ["email", "grant", "original-groups", "original-user", "reason", "subject"] : "kube-access.dev/${key}"]

  # An exact address makes "{email}" a known name; a domain and a group do not (impersonate_any_user).
  users = setunion(var.grants.users, flatten(var.identities[*].act_as.users), [
    for identity in var.identities : replace(identity.user, "{email}", lower(coalesce(identity.email, "-")))
    if identity.user == null ? false : identity.email != null || !strcontains(identity.user, "{email}")
  ])
  groups = setunion(var.grants.groups, flatten(var.identities[*].groups), flatten(var.identities[*].act_as.groups))
  uids   = toset(flatten(var.identities[*].act_as.uids))
  extras = setunion(local.own_extras, flatten(var.identities[*].act_as.extras))

  # KEP-5284: the API server knows the two by their verbs, and a rule of the older kind beside would void the newer.
  constrained = var.impersonation == "constrained"
  impersonate = local.constrained ? "impersonate:user-info" : "impersonate"
  core        = local.constrained ? "authentication.k8s.io" : ""

  # An empty list of names means "all of them" to RBAC: a kind without names gets no rule at all.
  impersonations = concat(
    var.impersonate_any_user ? [{ api_group = local.core, resource = "users", names = null }] : [],
    !var.impersonate_any_user && length(local.users) > 0 ? [{ api_group = local.core, resource = "users", names = sort(local.users) }] : [],
    length(local.groups) > 0 ? [{ api_group = local.core, resource = "groups", names = sort(local.groups) }] : [],
    length(local.uids) > 0 ? [{ api_group = "authentication.k8s.io", resource = "uids", names = sort(local.uids) }] : [],
    [for key in sort(local.extras) : { api_group = "authentication.k8s.io", resource = "userextras/${key}", names = null }],
  )
}

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
