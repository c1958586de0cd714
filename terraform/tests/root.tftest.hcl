# The whole configuration, planned with the providers' real schemas and no network.

mock_provider "cloudflare" {
  source = "./tests/mocks/cloudflare"
}
mock_provider "digitalocean" {
  source = "./tests/mocks/digitalocean"
}
mock_provider "kubernetes" {
  source = "./tests/mocks/kubernetes"
}
mock_provider "random" {
  source = "./tests/mocks/random"
}

variables {
  account_id      = "0123456789abcdef0123456789abcdef"
  team_domain     = "https://acme.cloudflareaccess.com"
  hostname        = "kube.example.com"
  identities_file = "tests/identities.yaml"
  cluster         = "kubeconfig"
  # Any file: the provider that would read it is a mock.
  kubeconfig = { path = "tests/identities.yaml", context = "test" }
  allow      = { emails = ["alice@example.com"] }
}

run "the_defaults_make_no_cluster_no_kv_namespace_and_no_bucket" {
  command = plan

  assert {
    condition     = length(module.digitalocean) == 0
    error_message = "a DigitalOcean cluster was planned for a cluster of one's own"
  }
  assert {
    condition     = output.identities_kv_id == null
    error_message = "a KV namespace was planned without being asked for"
  }
  assert {
    condition     = output.recordings_bucket == null
    error_message = "a bucket of recordings was planned without being asked for"
  }
  assert {
    condition     = output.contact == ""
    error_message = "a contact that nobody named"
  }
  assert {
    condition     = output.admin_kubeconfig == null
    error_message = "an administrator's kubeconfig came out for a cluster of one's own"
  }
  assert {
    condition     = output.machines_hostname == null && output.access_machines_aud == null && nonsensitive(output.last_hop_key) == null
    error_message = "machines or a guarded last hop without being asked for"
  }
  assert {
    condition     = output.worker_name == "kube-access"
    error_message = "the Worker's name is not the one in wrangler.toml"
  }
}

run "the_shipped_map_needs_no_right_to_be_anybody" {
  command = plan

  variables {
    identities_file = "../identities.yaml"
  }

  assert {
    condition     = toset(output.impersonated.users) == toset(["alice", "bob@example.com", "breakglass", "ci-deployer", "contractor", "on-call-engineer"])
    error_message = "the gateway may impersonate others than the map names"
  }
}

run "outputs_are_what_deploy_bind_reads" {
  variables {
    contact       = "the platform team, \"#platform\""
    identities_kv = true
    sessions      = true
  }

  assert {
    condition     = output.contact == "the platform team, \"#platform\""
    error_message = "contact"
  }

  assert {
    condition     = output.access_team_domain == "https://acme.cloudflareaccess.com"
    error_message = "access_team_domain"
  }
  assert {
    condition     = output.access_aud == "aud-of-the-application"
    error_message = "access_aud is not the application's"
  }
  assert {
    condition     = output.vpc_service_id == "55555555-5555-4555-8555-555555555555"
    error_message = "vpc_service_id is not the VPC service's"
  }
  assert {
    condition     = output.identities_kv_id == "66666666666666666666666666666666"
    error_message = "identities_kv_id is not the namespace's"
  }
  assert {
    condition     = output.recordings_bucket == "kube-access-recordings"
    error_message = "recordings_bucket is not the bucket's name"
  }
  assert {
    condition     = yamldecode(output.kubeconfig).clusters[0].cluster.server == "https://kube.example.com"
    error_message = "the kubeconfig leads elsewhere"
  }
  assert {
    condition     = yamldecode(output.kubeconfig).users[0].user.token != ""
    error_message = "without a token kubectl asks for a password"
  }
}

run "the_next_steps_deploy_the_worker_and_use_it" {
  assert {
    condition     = can(regex("(?s)npm run deploy\n.*auth whoami", output.next_steps))
    error_message = output.next_steps
  }
}

run "machines_and_a_guarded_last_hop_reach_the_outputs" {
  variables {
    machines_hostname = "kube-ci.example.com"
    last_hop          = "guarded"
    zone_id           = "0123456789abcdef0123456789abcdef"
    allow             = { emails = ["alice@example.com"], service_token_ids = ["88888888-8888-4888-8888-888888888888"] }
  }

  assert {
    condition     = output.access_machines_aud == "aud-of-the-application" && output.machines_hostname == "kube-ci.example.com"
    error_message = "the machines' application"
  }
  assert {
    condition     = output.last_hop_key == "the last hop's key in base64"
    error_message = "the last hop's key"
  }
  assert {
    condition     = output.account_id == var.account_id && output.zone_id == var.zone_id
    error_message = "account and zone"
  }
}

run "digitalocean_makes_a_cluster_and_hands_it_on" {
  variables {
    cluster      = "digitalocean"
    kubeconfig   = null
    digitalocean = { region = "fra1", kubernetes_version = "1.36.1-do.0" }
  }

  assert {
    condition     = length(module.digitalocean) == 1
    error_message = "no cluster was made"
  }
  assert {
    condition     = output.admin_kubeconfig == "the administrator's kubeconfig"
    error_message = "admin_kubeconfig is not the new cluster's"
  }
}

run "an_endpoint_of_ones_own_is_accepted" {
  command = plan

  variables {
    cluster    = "endpoint"
    kubeconfig = null
    endpoint = {
      host           = "https://api.example.com:6443"
      ca_certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
      exec           = { command = "aws", args = ["eks", "get-token"] }
    }
  }

  assert {
    condition     = length(module.digitalocean) == 0
    error_message = "a DigitalOcean cluster was planned for an endpoint of one's own"
  }
}
