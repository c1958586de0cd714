# Roles to bind to people: what the gateway asks for, as the caller, before it does something of its own. The API server serves none of
# these resources; it only says who may. Bound to nobody here.

resource "kubernetes_cluster_role_v1" "auditor" {
  metadata {
    name   = "${local.name}:auditor"
    labels = local.labels
  }

  # To see sessions and their recordings, and to end one.
  rule {
    api_groups = ["kube-access.dev"]
    resources  = ["sessions"]
    verbs      = ["get", "list", "delete"]
  }
}

resource "kubernetes_cluster_role_v1" "granter" {
  metadata {
    name   = "${local.name}:granter"
    labels = local.labels
  }

  # To give groups for a time, and to take them back.
  rule {
    api_groups = ["kube-access.dev"]
    resources  = ["grants"]
    verbs      = ["create", "get", "list", "delete"]
  }
}
