# The service account's rights, made from a map.

mock_provider "cloudflare" {
  source = "./tests/mocks/cloudflare"
}
mock_provider "kubernetes" {
  source = "./tests/mocks/kubernetes"
}
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
    {
      idp_group = "7335d417-61da-459d-899c-0a01c76a2f94"
      groups    = ["on-call"]
      act_as    = { users = ["breakglass"], groups = ["sre"], uids = ["42"], extras = ["example.com/ticket"] }
    },
  ]
}

run "case_130_only_the_users_and_groups_of_the_map_may_be_impersonated" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition     = alltrue([for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.verbs) == tolist(["impersonate:user-info"])])
    error_message = "a rule allows more than impersonate"
  }
  assert {
    condition = one([
      for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.resource_names) if contains(rule.resources, "users")
    ]) == tolist(["bob", "breakglass", "ci-deployer", "contractor", "sso:alice@example.com"])
    error_message = "users"
  }
  assert {
    condition = one([
      for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.resource_names) if contains(rule.resources, "groups")
    ]) == tolist(["ci", "developers", "on-call", "platform-admins", "sre"])
    error_message = "groups"
  }
  assert {
    condition = toset(flatten([
      for rule in kubernetes_cluster_role_v1.this.rule : rule.resources if startswith(one(rule.resources), "userextras/")
      ])) == toset(concat(
      ["userextras/example.com/ticket"],
      [for key in ["email", "grant", "original-groups", "original-user", "reason", "subject"] : "userextras/kube-access.dev/${key}"],
    ))
    error_message = "extras"
  }
  assert {
    condition = one([
      for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.resource_names) if contains(rule.resources, "uids")
    ]) == tolist(["42"])
    error_message = "UIDs"
  }
  assert {
    condition     = length(kubernetes_cluster_role_v1.this.rule) == 10
    error_message = "there is a rule that this test does not know"
  }
  assert {
    condition     = alltrue([for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.api_groups) == tolist(["authentication.k8s.io"])])
    error_message = "constrained impersonation has one API group"
  }
}

run "case_181_no_verb_of_the_one_kind_stands_beside_the_other" {
  module {
    source = "./modules/k8s"
  }

  variables {
    impersonation = "legacy"
  }

  assert {
    condition     = alltrue([for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.verbs) == tolist(["impersonate"])])
    error_message = "a rule of constrained impersonation"
  }
  assert {
    condition     = length(kubernetes_cluster_role_v1.actions) == 0 && length(kubernetes_cluster_role_binding_v1.actions) == 0
    error_message = "actions are constrained impersonation's"
  }
  assert {
    condition = alltrue([
      for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.api_groups) == tolist([""]) if length(setintersection(rule.resources, ["users", "groups"])) > 0
    ])
    error_message = "users and groups are of the core group"
  }
}

run "case_131_without_a_guard_for_everybody_every_action_passes" {
  module {
    source = "./modules/k8s"
  }

  variables {
    guards = [
      { name = "some", whom = { groups = ["ci"] }, allow = "read-only" },
      { name = "one-namespace", deny = [{ resources = ["secrets"], namespaces = ["prod"] }] },
    ]
  }

  assert {
    condition = [for rule in kubernetes_cluster_role_v1.actions[0].rule : tolist(coalesce(rule.resources, [])) if length(coalesce(rule.resources, [])) > 0] == [
      tolist(["*"])
    ]
    error_message = "resources"
  }
  assert {
    condition = toset(flatten(kubernetes_cluster_role_v1.actions[0].rule[*].verbs)) == toset([
      for verb in ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "head", "post", "put"] : "impersonate-on:user-info:${verb}"
    ])
    error_message = "verbs"
  }
}

run "case_131_181_what_a_guard_for_everybody_takes_away_the_cluster_takes_away_too" {
  module {
    source = "./modules/k8s"
  }

  variables {
    guards = [
      { name = "no-secrets", deny = [{ resources = ["secrets"], verbs = ["get", "list", "watch"] }] },
      { name = "no-exec", deny = [{ resources = ["pods/exec"], verbs = ["create"] }, { non_resource_urls = ["/metrics*"], verbs = ["get"] }] },
    ]
    custom_resources = { "cert-manager.io" = ["certificates"] }
  }

  assert {
    condition = toset(flatten([
      for rule in kubernetes_cluster_role_v1.actions[0].rule : rule.verbs if try(contains(rule.resources, "*"), false)
    ])) == toset([for verb in ["update", "patch", "delete", "deletecollection"] : "impersonate-on:user-info:${verb}"])
    error_message = "of these verbs nothing is taken"
  }
  assert {
    condition = toset(flatten([
      for rule in kubernetes_cluster_role_v1.actions[0].rule : rule.verbs if try(contains(rule.resources, "secrets"), false)
    ])) == toset(["impersonate-on:user-info:create"])
    error_message = "secrets"
  }
  assert {
    condition = !anytrue([
      for rule in kubernetes_cluster_role_v1.actions[0].rule : try(contains(rule.resources, "pods/exec"), false) &&
      length(setintersection(rule.verbs, ["impersonate-on:user-info:get", "impersonate-on:user-info:create"])) > 0
    ])
    error_message = "exec by GET or by POST"
  }
  assert {
    condition = toset(flatten([
      for rule in kubernetes_cluster_role_v1.actions[0].rule : rule.verbs
      if try(contains(rule.api_groups, "cert-manager.io"), false)
    ])) == toset([for verb in ["get", "list", "watch", "create"] : "impersonate-on:user-info:${verb}"])
    error_message = "a custom resource keeps the verbs of which something else is taken"
  }
  assert {
    condition = !anytrue([
      for rule in kubernetes_cluster_role_v1.actions[0].rule :
      try(contains(rule.non_resource_urls, "/metrics") || contains(rule.non_resource_urls, "*"), false) && contains(rule.verbs, "impersonate-on:user-info:get")
    ])
    error_message = "metrics"
  }
}

run "case_131_181_what_a_node_serves_of_pods_is_not_to_be_had_through_the_node" {
  module {
    source = "./modules/k8s"
  }

  variables {
    guards = [
      { name = "no-exec", deny = [{ resources = ["pods/exec"], verbs = ["create"] }] },
      { name = "not-in-production", deny = [{ resources = ["pods/attach"], namespaces = ["prod"] }] },
    ]
    custom_resources = { "cert-manager.io" = ["certificates"] }
  }

  assert {
    condition = !anytrue([
      for rule in kubernetes_cluster_role_v1.actions[0].rule :
      try(contains(rule.resources, "nodes/proxy") || contains(rule.resources, "*"), false) &&
      length(setintersection(rule.verbs, ["impersonate-on:user-info:get", "impersonate-on:user-info:create"])) > 0
    ])
    error_message = "nodes/proxy by what a node serves"
  }
  assert {
    condition = !anytrue([
      for rule in kubernetes_cluster_role_v1.actions[0].rule : try(contains(rule.resources, "pods/exec"), false) &&
      length(setintersection(rule.verbs, ["impersonate-on:user-info:get", "impersonate-on:user-info:create"])) > 0
    ])
    error_message = "exec by GET or by POST"
  }
  assert {
    condition = alltrue([
      for resource in ["nodes", "pods/attach", "certificates"] : toset(flatten([
        for rule in kubernetes_cluster_role_v1.actions[0].rule : rule.verbs
        if try(contains(rule.resources, resource) || contains(rule.resources, "*"), false)
        ])) == toset([
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] : "impersonate-on:user-info:${verb}"
      ])
    ])
    error_message = "what no guard can be said to deny keeps every verb"
  }
}

run "case_131_181_get_opens_no_stream_that_a_guard_for_everybody_shuts_whoever_serves_it" {
  module {
    source = "./modules/k8s"
  }

  variables {
    guards = [{
      name = "no-tunnels"
      deny = [{ api_groups = ["subresources.kubevirt.io"], resources = ["virtualmachineinstances/portforward"], verbs = ["create"] }]
    }]
    custom_resources = { "subresources.kubevirt.io" = ["virtualmachineinstances/portforward", "virtualmachineinstances/vnc"] }
  }

  assert {
    condition = toset(flatten([
      for rule in kubernetes_cluster_role_v1.actions[0].rule : rule.verbs if try(contains(rule.resources, "*"), false)
    ])) == toset([for verb in ["list", "watch", "update", "patch", "delete", "deletecollection"] : "impersonate-on:user-info:${verb}"])
    error_message = "get of everything would open it"
  }
  assert {
    condition = !anytrue([
      for rule in kubernetes_cluster_role_v1.actions[0].rule : try(contains(rule.resources, "virtualmachineinstances/portforward"), false)
    ])
    error_message = "the stream"
  }
  assert {
    condition = alltrue([
      for resource in ["pods/exec", "virtualmachineinstances/vnc"] : toset(flatten([
        for rule in kubernetes_cluster_role_v1.actions[0].rule : rule.verbs if try(contains(rule.resources, resource), false)
      ])) == toset(["impersonate-on:user-info:get", "impersonate-on:user-info:create"])
    ])
    error_message = "other streams"
  }
}

run "what_is_taken_from_get_or_where_there_is_no_stream_shuts_none" {
  module {
    source = "./modules/k8s"
  }

  variables {
    guards = [{
      name = "two"
      deny = [{ resources = ["services*"], verbs = ["watch"] }, { api_groups = ["batch"], resources = ["*"], verbs = ["create"] }]
    }]
  }

  assert {
    condition = toset(flatten([
      for rule in kubernetes_cluster_role_v1.actions[0].rule : rule.verbs if try(contains(rule.resources, "*"), false)
    ])) == toset([for verb in ["get", "list", "update", "patch", "delete", "deletecollection"] : "impersonate-on:user-info:${verb}"])
    error_message = "get is left for whatever there is"
  }
}

run "get_of_a_stream_goes_with_create_alone" {
  module {
    source = "./modules/k8s"
  }

  variables {
    guards = [{ name = "no-pods", deny = [{ resources = ["pods*"], verbs = ["get"] }] }]
  }

  assert {
    condition = toset([
      for resource in ["pods", "pods/log", "pods/exec", "pods/attach"] : resource if anytrue([
        for rule in kubernetes_cluster_role_v1.actions[0].rule :
        try(contains(rule.resources, resource), false) && contains(rule.verbs, "impersonate-on:user-info:get")
      ])
    ]) == toset(["pods/exec", "pods/attach"])
    error_message = "to the gateway exec is create, so it lets exec pass"
  }
}

run "case_131_read_only_for_everybody_leaves_reading_discovery_and_reviews_of_oneself" {
  module {
    source = "./modules/k8s"
  }

  variables {
    guards = [{ name = "read-only", allow = "read-only" }]
  }

  assert {
    condition = toset([
      for rule in kubernetes_cluster_role_v1.actions[0].rule : tolist(rule.resources)
      if length(setsubtract(rule.verbs, [for verb in ["get", "list", "watch"] : "impersonate-on:user-info:${verb}"])) > 0 && length(coalesce(rule.resources, [])) > 0
    ]) == toset([tolist(["selfsubjectreviews"]), tolist(["selfsubjectaccessreviews", "selfsubjectrulesreviews"])])
    error_message = "something beside reviews of oneself can be created or changed"
  }
  assert {
    condition = !anytrue([
      for resource in flatten([for rule in kubernetes_cluster_role_v1.actions[0].rule : coalesce(rule.resources, [])]) :
      resource == "secrets" || can(regex("[*]|/(exec|attach|portforward|proxy)$", resource))
    ])
    error_message = "secrets, streams, proxies or everything"
  }
  assert {
    condition = toset(flatten([for rule in kubernetes_cluster_role_v1.actions[0].rule : coalesce(rule.non_resource_urls, [])])) == toset([
      "/api", "/api/*", "/apis", "/apis/*", "/openapi/*", "/version", "/version/",
    ])
    error_message = "discovery"
  }
}

run "an_older_api_server_is_told_what_it_needs" {
  command = plan

  module {
    source = "./modules/k8s"
  }

  override_data {
    target = data.kubernetes_server_version.this[0]
    values = { major = "1", minor = "35+", git_version = "v1.35.4-gke.1" }
  }

  expect_failures = [data.kubernetes_server_version.this]
}

run "a_newer_managed_one_is_not" {
  command = plan

  module {
    source = "./modules/k8s"
  }

  override_data {
    target = data.kubernetes_server_version.this[0]
    values = { major = "1", minor = "36+", git_version = "v1.36.1-gke.1" }
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

run "the_roles_for_people_reach_the_gateways_own_resources_and_nothing_else" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition = kubernetes_cluster_role_v1.auditor.metadata[0].name == "kube-access:auditor" && [
      for rule in kubernetes_cluster_role_v1.auditor.rule : join(" ", [
        for part in [rule.api_groups, rule.resources, rule.verbs, rule.resource_names, rule.non_resource_urls] : join(",", sort(coalesce(part, [])))
      ])
    ] == ["kube-access.dev sessions delete,get,list  "]
    error_message = "kube-access:auditor"
  }
  assert {
    condition = kubernetes_cluster_role_v1.granter.metadata[0].name == "kube-access:granter" && [
      for rule in kubernetes_cluster_role_v1.granter.rule : join(" ", [
        for part in [rule.api_groups, rule.resources, rule.verbs, rule.resource_names, rule.non_resource_urls] : join(",", sort(coalesce(part, [])))
      ])
    ] == ["kube-access.dev grants create,delete,get,list  "]
    error_message = "kube-access:granter"
  }
}

run "a_guard_that_only_records_takes_no_right_away" {
  module {
    source = "./modules/k8s"
  }

  variables {
    guards = [{ name = "recorded", record = true, max_session = "4h" }, { name = "with-input", record = "input" }]
  }

  assert {
    condition = [for rule in kubernetes_cluster_role_v1.actions[0].rule : tolist(coalesce(rule.resources, [])) if length(coalesce(rule.resources, [])) > 0] == [
      tolist(["*"])
    ]
    error_message = "resources"
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

run "so_is_a_group_of_the_provider_under_its_members_addresses" {
  command = plan

  module {
    source = "./modules/k8s"
  }

  variables {
    identities = [{ idp_group = "g", user = "{email}" }]
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

run "names_that_grants_hand_out_are_added" {
  module {
    source = "./modules/k8s"
  }

  variables {
    grants = { users = ["carol"], groups = ["auditors", "developers"] }
  }

  assert {
    condition     = contains(output.impersonated.users, "carol") && contains(output.impersonated.groups, "auditors")
    error_message = "the names are missing"
  }
  assert {
    condition = toset([
      for rule in kubernetes_cluster_role_v1.this.rule : join(" ", concat(sort(rule.resources), sort(rule.api_groups), sort(rule.verbs), sort(rule.resource_names)))
      if length(setintersection(rule.resources, ["users", "groups"])) > 0
      ]) == toset([
      "groups authentication.k8s.io impersonate:user-info auditors ci developers on-call platform-admins sre",
      "users authentication.k8s.io impersonate:user-info bob breakglass carol ci-deployer contractor sso:alice@example.com",
    ])
    error_message = "the rules"
  }
}

run "names_that_grants_hand_out_are_added_in_legacy_impersonation_too" {
  module {
    source = "./modules/k8s"
  }

  variables {
    grants        = { groups = ["auditors"] }
    impersonation = "legacy"
  }

  assert {
    condition = toset([
      for rule in kubernetes_cluster_role_v1.this.rule : join(" ", concat(sort(rule.resources), sort(rule.api_groups), sort(rule.verbs), sort(rule.resource_names)))
      if contains(rule.resources, "groups")
    ]) == toset(["groups  impersonate auditors ci developers on-call platform-admins sre"])
    error_message = "the rule"
  }
}

run "groups_that_grants_alone_hand_out_may_be_impersonated" {
  module {
    source = "./modules/k8s"
  }

  variables {
    identities = [{ email = "alice@example.com", user = "alice" }]
    grants     = { groups = ["on-call"] }
  }

  assert {
    condition = one([
      for rule in kubernetes_cluster_role_v1.this.rule : tolist(rule.resource_names) if contains(rule.resources, "groups")
    ]) == tolist(["on-call"])
    error_message = "groups"
  }
}

run "system_masters_needs_the_entrys_own_word" {
  module {
    source = "./modules/k8s"
  }

  variables {
    identities    = [{ email = "alice@example.com", user = "alice", groups = ["system:masters"], allow_system_masters = true }]
    impersonation = "legacy"
  }

  assert {
    condition     = output.impersonated.groups == tolist(["system:masters"])
    error_message = "system:masters"
  }
}
