# Whom the service account may impersonate: the users, groups, UIDs and extras of the identity map. rbac.tf makes rules of them.

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
