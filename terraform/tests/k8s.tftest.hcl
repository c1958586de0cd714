# The gateway pods: what they may be, and what they must not.

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
  identities        = [{ email = "alice@example.com", user = "alice", groups = ["platform-admins"] }]
  cloudflared_image = "docker.io/cloudflare/cloudflared:1@sha256:1111111111111111111111111111111111111111111111111111111111111111"
  kubectl_image     = "registry.k8s.io/kubectl:v1@sha256:2222222222222222222222222222222222222222222222222222222222222222"
  node_image        = "docker.io/library/node:24@sha256:3333333333333333333333333333333333333333333333333333333333333333"
  replicas          = 2
}

run "the_tunnel_is_managed_from_cloudflare" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition     = cloudflare_zero_trust_tunnel_cloudflared.this.config_src == "cloudflare"
    error_message = "a locally managed tunnel cannot be run by a token"
  }
  assert {
    condition     = kubernetes_secret_v1.tunnel_token.data.token == "the tunnel's token"
    error_message = "the Secret does not hold the tunnel's token"
  }
}

run "the_pod_is_as_restricted_as_kubernetes_knows" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition     = kubernetes_namespace_v1.this.metadata[0].labels["pod-security.kubernetes.io/enforce"] == "restricted"
    error_message = "the namespace does not enforce it"
  }
  assert {
    condition = (
      kubernetes_deployment_v1.this.spec[0].template[0].spec[0].security_context[0].run_as_non_root &&
      kubernetes_deployment_v1.this.spec[0].template[0].spec[0].security_context[0].run_as_user == "65532" &&
      kubernetes_deployment_v1.this.spec[0].template[0].spec[0].security_context[0].seccomp_profile[0].type == "RuntimeDefault"
    )
    error_message = "the pod's security context"
  }
  assert {
    condition = alltrue([
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container :
      container.security_context[0].run_as_non_root &&
      container.security_context[0].read_only_root_filesystem &&
      !container.security_context[0].allow_privilege_escalation &&
      !coalesce(container.security_context[0].privileged, false) &&
      container.security_context[0].capabilities[0].drop == tolist(["ALL"]) &&
      length(coalesce(container.security_context[0].capabilities[0].add, [])) == 0
    ])
    error_message = "a container's security context"
  }
  assert {
    condition = alltrue([
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container :
      contains(keys(container.resources[0].requests), "cpu") &&
      contains(keys(container.resources[0].requests), "memory") &&
      length(container.readiness_probe) == 1 && length(container.liveness_probe) == 1
    ])
    error_message = "a container has no requests or no probes"
  }
}

run "the_pod_shares_nothing_with_its_node" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition = !anytrue([
      kubernetes_deployment_v1.this.spec[0].template[0].spec[0].host_network,
      kubernetes_deployment_v1.this.spec[0].template[0].spec[0].host_pid,
      kubernetes_deployment_v1.this.spec[0].template[0].spec[0].host_ipc,
      coalesce(kubernetes_deployment_v1.this.spec[0].template[0].spec[0].share_process_namespace, false),
    ])
    error_message = "a namespace of the node"
  }
  assert {
    condition = alltrue([
      for volume in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].volume :
      length(volume.host_path) == 0 && (length(volume.secret) == 1 || length(volume.projected) == 1)
    ])
    error_message = "a volume that is neither the tunnel's token nor the account's"
  }
  assert {
    condition = alltrue(flatten([
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container : [
        for port in container.port : coalesce(port.host_port, 0) == 0 && port.container_port == 2000
      ]
    ]))
    error_message = "a port other than cloudflared's metrics"
  }
}

run "each_credential_is_in_the_one_container_that_uses_it" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition = (
      !kubernetes_deployment_v1.this.spec[0].template[0].spec[0].automount_service_account_token &&
      !kubernetes_service_account_v1.this.automount_service_account_token
    )
    error_message = "the account's token is mounted into every container"
  }
  assert {
    condition = {
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container : container.name => container.volume_mount[*].name
    } == { cloudflared = tolist(["tunnel-token"]), kubectl-proxy = tolist(["service-account"]) }
    error_message = "a credential is where it is not used"
  }
  assert {
    condition = alltrue([
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container : length(container.env) == 0 && length(container.env_from) == 0
    ])
    error_message = "a credential in the environment"
  }
}

run "case_128_132_the_last_hop_listens_on_loopback_and_lets_exec_through" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition = one([
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container : container.args if container.name == "kubectl-proxy"
    ]) == tolist(["proxy", "--address=127.0.0.1", "--port=8001", "--accept-hosts=^localhost$,^127\\.0\\.0\\.1$", "--reject-paths=^#"])
    error_message = "kubectl proxy's arguments"
  }
  assert {
    condition = strcontains(join(" ", one([
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container : container.args if container.name == "cloudflared"
    ])), "--protocol quic --metrics 0.0.0.0:2000 run")
    error_message = "cloudflared's arguments"
  }
  assert {
    condition     = output.api_port == 8001
    error_message = "the VPC service would knock on another port"
  }
  assert {
    condition     = toset(kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container[*].image) == toset([var.cloudflared_image, var.kubectl_image])
    error_message = "an image that is not the pinned one"
  }
}

run "a_node_or_a_rollout_never_takes_both_pods" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition     = kubernetes_deployment_v1.this.spec[0].replicas == "2"
    error_message = "replicas"
  }
  assert {
    condition     = kubernetes_deployment_v1.this.spec[0].strategy[0].rolling_update[0].max_unavailable == "0"
    error_message = "a rollout takes a pod before its successor is ready"
  }
  assert {
    condition     = kubernetes_pod_disruption_budget_v1.this.spec[0].max_unavailable == "1"
    error_message = "the disruption budget"
  }
  assert {
    condition     = kubernetes_deployment_v1.this.spec[0].template[0].spec[0].topology_spread_constraint[*].topology_key == tolist(["kubernetes.io/hostname", "topology.kubernetes.io/zone"])
    error_message = "the pods are not spread"
  }
}

run "case_128_nothing_comes_in_and_little_goes_out" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition     = toset(kubernetes_network_policy_v1.this[0].spec[0].policy_types) == toset(["Ingress", "Egress"]) && length(kubernetes_network_policy_v1.this[0].spec[0].ingress) == 0
    error_message = "something may come in"
  }
  assert {
    condition = toset(flatten([
      for rule in kubernetes_network_policy_v1.this[0].spec[0].egress : [for port in rule.ports : port.port]
    ])) == toset(["53", "5353", "443", "6443", "7844"])
    error_message = "something else may go out"
  }
}

# To Cilium and its like no range of addresses is a node, and on a node the API server may run.
run "the_api_server_may_be_anywhere_unless_the_operator_says_where" {
  module {
    source = "./modules/k8s"
  }

  assert {
    condition = length([
      for rule in kubernetes_network_policy_v1.this[0].spec[0].egress : rule
      if contains(rule.ports[*].port, "6443") && length(rule.to) == 0
    ]) == 1
    error_message = "a range of addresses that nobody gave"
  }
}

run "narrowed_addresses_are_the_only_ones" {
  module {
    source = "./modules/k8s"
  }

  variables {
    api_server = { cidrs = ["10.245.0.1/32"], ports = [443] }
  }

  assert {
    condition = one([
      for rule in kubernetes_network_policy_v1.this[0].spec[0].egress : rule.to[*].ip_block[0].cidr if contains(rule.ports[*].port, "443")
    ]) == tolist(["10.245.0.1/32"])
    error_message = "the addresses"
  }
}

run "a_policy_of_ones_own_takes_its_place" {
  module {
    source = "./modules/k8s"
  }

  variables {
    network_policy = false
  }

  assert {
    condition     = length(kubernetes_network_policy_v1.this) == 0
    error_message = "there is a policy"
  }
}

run "the_platform_may_choose_the_ids" {
  module {
    source = "./modules/k8s"
  }

  variables {
    pod_user_id = null
  }

  assert {
    condition = (
      coalesce(kubernetes_deployment_v1.this.spec[0].template[0].spec[0].security_context[0].run_as_user, "-") == "-" &&
      coalesce(kubernetes_deployment_v1.this.spec[0].template[0].spec[0].security_context[0].fs_group, "-") == "-" &&
      kubernetes_deployment_v1.this.spec[0].template[0].spec[0].security_context[0].run_as_non_root
    )
    error_message = "an ID that OpenShift would refuse"
  }
}

run "the_guarded_last_hop_is_the_script_on_the_pinned_node" {
  module {
    source = "./modules/k8s"
  }

  variables {
    last_hop = "guarded"
  }

  assert {
    condition = [
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container : [container.name, container.image]
    ] == [["cloudflared", var.cloudflared_image], ["guarded", var.node_image]]
    error_message = "the containers"
  }
  assert {
    condition = one([
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container : concat(container.command, container.args) if container.name == "guarded"
    ]) == tolist(["node", "/etc/kube-access/last-hop.mjs", "--port=8001", "--account=/var/run/secrets/kubernetes.io/serviceaccount", "--key-file=/etc/kube-access-key/key"])
    error_message = "the command"
  }
  assert {
    condition = {
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container : container.name => container.volume_mount[*].name
    } == { cloudflared = tolist(["tunnel-token"]), guarded = tolist(["service-account", "last-hop", "last-hop-key"]) }
    error_message = "a credential is where it is not used"
  }
  assert {
    condition     = kubernetes_config_map_v1.last_hop[0].data["last-hop.mjs"] == file("modules/k8s/last-hop.mjs")
    error_message = "another script"
  }
  assert {
    condition     = nonsensitive(kubernetes_secret_v1.last_hop_key[0].data.key) == "the last hop's key in base64" && random_bytes.last_hop_key[0].length == 32
    error_message = "the key"
  }
  assert {
    condition = alltrue([
      for container in kubernetes_deployment_v1.this.spec[0].template[0].spec[0].container :
      container.security_context[0].read_only_root_filesystem && container.security_context[0].capabilities[0].drop == tolist(["ALL"])
    ])
    error_message = "a container's security context"
  }
}

run "metrics_are_for_the_namespace_that_is_named" {
  module {
    source = "./modules/k8s"
  }

  variables {
    metrics_namespace = "monitoring"
  }

  assert {
    condition     = kubernetes_network_policy_v1.this[0].spec[0].ingress[0].from[0].namespace_selector[0].match_labels["kubernetes.io/metadata.name"] == "monitoring"
    error_message = "the namespace"
  }
  assert {
    condition     = kubernetes_network_policy_v1.this[0].spec[0].ingress[0].ports[*].port == tolist(["2000"])
    error_message = "more than the metrics port"
  }
}

run "an_image_without_a_digest_is_refused" {
  command = plan

  module {
    source = "./modules/k8s"
  }

  variables {
    kubectl_image = "registry.k8s.io/kubectl:v1.37.0"
  }

  expect_failures = [var.kubectl_image]
}
