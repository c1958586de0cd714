# The service account's rights, made from a map.

mock_provider "cloudflare" {
  source = "./tests/mocks/cloudflare"
}
mock_provider "kubernetes" {}
mock_provider "random" {
  source = "./tests/mocks/random"
}

variables {
  account_id        = "0123456789abcdef0123456789abcdef"
  tunnel_name       = "kube-access"
  cloudflared_image = "docker.io/cloudflare/cloudflared:1@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  kubectl_image     = "registry.k8s.io/kubectl:v1@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  node_image        = "docker.io/library/node:24@sha256:3333333333333333333333333333333333333333333333333333333333333333"
  replicas          = 2
  identities = [
    { email = "Alice@Example.com", user = "sso:{email}", groups = ["platform-admins"] },
    { email = "bob@example.com", user = "bob", groups = ["developers", "on-call"] },
    { email_domain = "contractors.example", user = "contractor" },
    { service_token = "0123456789abcdef.access", user = "ci-deployer", groups = ["ci", "developers"] },
  ]
}

run "case_130_only_the_users_and_groups_of_the_map_may_be_impersonated" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition     = alltrue([for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.verbs) == tolist(["impersonate"])])
    error_message = "a rule allows more than impersonate"
  }
  assert {
    condition = one([
      for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.resource_names) if contains(rule.resources, "users")
    ]) == tolist(["bob", "ci-deployer", "contractor", "sso:alice@example.com"])
    error_message = "users"
  }
  assert {
    condition = one([
      for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.resource_names) if contains(rule.resources, "groups")
    ]) == tolist(["ci", "developers", "on-call", "platform-admins"])
    error_message = "groups"
  }
  assert {
    condition = toset(flatten([
      for rule in kubernetes_cluster_role_v1.this.rule : rule.resources if contains(rule.api_groups, "authentication.k8s.io")
    ])) == toset(["userextras/kube-access.dev/email", "userextras/kube-access.dev/subject"])
    error_message = "extras"
  }
  assert {
    condition     = length(kubernetes_cluster_role_v1.this.rule) == 4
    error_message = "there is a rule that this test does not know"
  }
}

run "the_role_is_bound_to_the_gateways_account_and_nobody_else" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition     = length(kubernetes_cluster_role_binding_v1.this.subject) == 1
    error_message = "more than one subject"
  }
  assert {
    condition = (
      kubernetes_cluster_role_binding_v1.this.subject[0].kind == "ServiceAccount" &&
      kubernetes_cluster_role_binding_v1.this.subject[0].name == "kube-access" &&
      kubernetes_cluster_role_binding_v1.this.subject[0].namespace == "kube-access"
    )
    error_message = "bound to something else"
  }
  assert {
    condition     = kubernetes_cluster_role_binding_v1.this.role_ref[0].name == kubernetes_cluster_role_v1.this.metadata[0].name
    error_message = "bound to another role"
  }
}

# To RBAC an empty list of names means every name.
run "case_130_a_map_without_groups_allows_no_group" {
  module {
    source = "./modules/k8s"
  }

  variables {
    identities = [{ email = "alice@example.com", user = "alice" }]
  }

  assert {
    condition     = length([for rule in kubernetes_cluster_role_v1.this.rule : rule if contains(rule.resources, "groups")]) == 0
    error_message = "there is a rule for groups"
  }
}

run "a_domain_under_its_own_addresses_is_refused_without_a_word" {
  command = plan

  module {
    source = "./modules/k8s"
  }

  variables {
    identities = [{ email_domain = "example.com", user = "{email}", groups = ["developers"] }]
  }

  expect_failures = [var.impersonate_any_user]
}

run "the_word_widens_users_and_leaves_groups_alone" {
  module {
    source = "./modules/k8s"
  }

  variables {
    identities           = [{ email_domain = "example.com", user = "{email}", groups = ["developers"] }]
    impersonate_any_user = true
  }

  assert {
    condition = one([
      for rule in kubernetes_cluster_role_v1.this.rule : true if contains(rule.resources, "users") && length(coalesce(rule.resource_names, [])) == 0
    ])
    error_message = "users are not widened"
  }
  assert {
    condition = one([
      for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.resource_names) if contains(rule.resources, "groups")
    ]) == tolist(["developers"])
    error_message = "groups"
  }
  assert {
    condition     = output.impersonated.users == null
    error_message = "the output does not say that any user may be impersonated"
  }
}

run "names_that_kv_entries_hand_out_are_added" {
  module {
    source = "./modules/k8s"
  }

  variables {
    kv_users  = ["carol"]
    kv_groups = ["auditors"]
  }

  assert {
    condition     = contains(output.impersonated.users, "carol") && contains(output.impersonated.groups, "auditors")
    error_message = "the names are missing"
  }
}

run "system_masters_needs_the_entrys_own_word" {
  module {
    source = "./modules/k8s"
  }

  variables {
    identities = [{ email = "alice@example.com", user = "alice", groups = ["system:masters"], allow_system_masters = true }]
  }

  assert {
    condition     = output.impersonated.groups == tolist(["system:masters"])
    error_message = "system:masters"
  }
}
