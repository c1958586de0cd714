# The whole configuration, planned with the providers' real schemas and no network.

mock_provider "cloudflare" {
  source = "./tests/mocks/cloudflare"
}
mock_provider "digitalocean" {
  source = "./tests/mocks/digitalocean"
}
mock_provider "kubernetes" {}

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

run "once_the_worker_exists_the_next_steps_use_it" {
  command = plan

  override_module {
    target  = module.worker
    outputs = { worker_is_deployed = true, aud = "aud", vpc_service_id = "id", kv_namespace_id = null }
  }

  assert {
    condition     = strcontains(output.next_steps, "auth whoami")
    error_message = output.next_steps
  }
}

run "the_defaults_make_no_cluster_and_no_kv_namespace" {
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
    condition     = output.admin_kubeconfig == null
    error_message = "an administrator's kubeconfig came out for a cluster of one's own"
  }
  assert {
    condition     = output.worker_name == "kube-access"
    error_message = "the Worker's name is not the one in wrangler.toml"
  }
}

run "outputs_are_what_deploy_bind_reads" {
  variables {
    identities_kv = true
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
    condition     = yamldecode(output.kubeconfig).clusters[0].cluster.server == "https://kube.example.com"
    error_message = "the kubeconfig leads elsewhere"
  }
  assert {
    condition     = yamldecode(output.kubeconfig).users[0].user.token != ""
    error_message = "without a token kubectl asks for a password"
  }
}

run "before_the_worker_exists_the_next_steps_deploy_it" {
  assert {
    condition     = strcontains(output.next_steps, "npm run deploy\nterraform -chdir=terraform apply")
    error_message = output.next_steps
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
