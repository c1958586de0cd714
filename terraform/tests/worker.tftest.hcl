# Access in front of the host name, and the Worker's way to the tunnel.

mock_provider "cloudflare" {
  source = "./tests/mocks/cloudflare"
}

variables {
  account_id           = "0123456789abcdef0123456789abcdef"
  hostname             = "kube.example.com"
  worker_name          = "kube-access"
  tunnel_id            = "11111111-1111-4111-8111-111111111111"
  api_port             = 8001
  allow                = { emails = ["alice@example.com"] }
  session_duration     = "8h"
  warp_authentication  = true
  identities_kv        = false
  sessions             = false
  recordings_bucket    = "kube-access-recordings"
  recordings_retention = 90
}

run "the_application_protects_the_host_name" {
  module {
    source = "./modules/worker"
  }

  assert {
    condition     = cloudflare_zero_trust_access_application.this.type == "self_hosted"
    error_message = "the kind of application"
  }
  assert {
    condition     = [for destination in cloudflare_zero_trust_access_application.this.destinations : "${destination.type} ${destination.uri}"] == ["public kube.example.com"]
    error_message = "the application protects something else"
  }
  assert {
    condition = (
      cloudflare_zero_trust_access_application.this.allow_authenticate_via_warp &&
      !cloudflare_zero_trust_access_application.this.enable_binding_cookie &&
      cloudflare_zero_trust_access_application.this.service_auth_401_redirect
    )
    error_message = "kubectl could not sign in"
  }
  assert {
    condition     = cloudflare_zero_trust_access_application.this.session_duration == "8h"
    error_message = "the session's length"
  }
}

run "the_host_name_may_be_under_an_internationalised_domain" {
  module {
    source = "./modules/worker"
  }
  variables {
    hostname = "kube.example.xn--p1ai"
    allow    = { email_domains = ["example.xn--p1ai"] }
  }

  assert {
    condition     = [for destination in cloudflare_zero_trust_access_application.this.destinations : destination.uri] == ["kube.example.xn--p1ai"]
    error_message = "the application protects something else"
  }
}

run "only_who_is_named_passes" {
  module {
    source = "./modules/worker"
  }

  assert {
    condition     = length(cloudflare_zero_trust_access_policy.people) == 1 && length(cloudflare_zero_trust_access_policy.machines) == 0
    error_message = "a policy for nobody"
  }
  assert {
    condition     = cloudflare_zero_trust_access_policy.people[0].decision == "allow"
    error_message = "the decision"
  }
  assert {
    condition     = [for rule in cloudflare_zero_trust_access_policy.people[0].include : rule.email.email] == ["alice@example.com"]
    error_message = "somebody else passes"
  }
  assert {
    condition = !anytrue([
      for rule in cloudflare_zero_trust_access_policy.people[0].include : rule.everyone != null || rule.any_valid_service_token != null
    ])
    error_message = "everybody passes"
  }
}

run "people_and_machines_have_an_application_each" {
  module {
    source = "./modules/worker"
  }

  variables {
    machines_hostname = "kube-ci.example.com"
    allow = {
      emails            = ["alice@example.com"]
      email_domains     = ["example.com"]
      group_ids         = ["77777777-7777-4777-8777-777777777777"]
      service_token_ids = ["88888888-8888-4888-8888-888888888888"]
    }
  }

  assert {
    condition     = length(cloudflare_zero_trust_access_policy.people[0].include) == 3
    error_message = "a rule is missing"
  }
  assert {
    condition = (
      cloudflare_zero_trust_access_policy.machines[0].decision == "non_identity" &&
      [for rule in cloudflare_zero_trust_access_policy.machines[0].include : rule.service_token.token_id] == ["88888888-8888-4888-8888-888888888888"]
    )
    error_message = "the machines' policy"
  }
  assert {
    condition     = length(cloudflare_zero_trust_access_application.this.policies) == 1 && length(cloudflare_zero_trust_access_application.machines[0].policies) == 1
    error_message = "an application has another's policy"
  }
  assert {
    condition = (
      [for destination in cloudflare_zero_trust_access_application.machines[0].destinations : destination.uri] == ["kube-ci.example.com"] &&
      cloudflare_zero_trust_access_application.machines[0].allow_authenticate_via_warp == null &&
      cloudflare_zero_trust_access_application.machines[0].service_auth_401_redirect
    )
    error_message = "the machines' application"
  }
}

run "without_a_word_the_account_decides_about_warp" {
  module {
    source = "./modules/worker"
  }

  variables {
    warp_authentication = null
  }

  assert {
    condition     = length(cloudflare_zero_trust_access_application.machines) == 0
    error_message = "a host name for machines that nobody asked for"
  }
}

run "people_without_warp_get_tokens_for_this_machine_and_this_application_alone" {
  module {
    source = "./modules/worker"
  }

  variables {
    without_warp = true
  }

  assert {
    condition = (
      cloudflare_zero_trust_access_application.this.oauth_configuration.enabled &&
      cloudflare_zero_trust_access_application.this.oauth_configuration.dynamic_client_registration.allow_any_on_loopback &&
      !can(length(cloudflare_zero_trust_access_application.this.oauth_configuration.dynamic_client_registration.allowed_uris)) &&
      cloudflare_zero_trust_access_application.this.oauth_configuration.grant.session_duration == "8h"
    )
    error_message = "managed OAuth"
  }
}

run "without_a_word_there_is_no_managed_oauth" {
  module {
    source = "./modules/worker"
  }

  assert {
    condition     = cloudflare_zero_trust_access_application.this.oauth_configuration == null
    error_message = "managed OAuth that nobody asked for"
  }
}

run "the_last_hop_may_be_found_by_its_name" {
  module {
    source = "./modules/worker"
  }

  variables {
    kube_api_host = "localhost"
  }

  assert {
    condition = (
      cloudflare_connectivity_directory_service.kube_api.host.hostname == "localhost" &&
      cloudflare_connectivity_directory_service.kube_api.host.resolver_network.tunnel_id == var.tunnel_id &&
      cloudflare_connectivity_directory_service.kube_api.host.ipv4 == null &&
      cloudflare_connectivity_directory_service.kube_api.host.network == null
    )
    error_message = "the host"
  }
}

run "an_empty_policy_is_refused" {
  command = plan

  module {
    source = "./modules/worker"
  }

  variables {
    allow = {}
  }

  expect_failures = [var.allow]
}

run "the_vpc_service_leads_to_the_pods_loopback_without_tls" {
  module {
    source = "./modules/worker"
  }

  assert {
    condition = (
      cloudflare_connectivity_directory_service.kube_api.type == "http" &&
      cloudflare_connectivity_directory_service.kube_api.http_port == 8001 &&
      cloudflare_connectivity_directory_service.kube_api.https_port == null
    )
    error_message = "the port"
  }
  assert {
    condition = (
      cloudflare_connectivity_directory_service.kube_api.host.ipv4 == "127.0.0.1" &&
      cloudflare_connectivity_directory_service.kube_api.host.network.tunnel_id == var.tunnel_id
    )
    error_message = "the host"
  }
}

run "without_sessions_there_is_no_bucket" {
  module {
    source = "./modules/worker"
  }

  assert {
    condition     = length(cloudflare_r2_bucket.recordings) == 0 && length(cloudflare_r2_bucket_lock.recordings) == 0 && output.recordings_bucket == null
    error_message = "a bucket that nobody asked for"
  }
}

run "recordings_have_a_bucket_in_which_they_are_locked" {
  module {
    source = "./modules/worker"
  }

  variables {
    sessions            = true
    recordings_location = "weur"
  }

  assert {
    condition     = output.recordings_bucket == "kube-access-recordings" && cloudflare_r2_bucket.recordings[0].location == "weur"
    error_message = "the bucket"
  }
  assert {
    condition = (
      cloudflare_r2_bucket_lock.recordings[0].bucket_name == "kube-access-recordings" &&
      [for rule in cloudflare_r2_bucket_lock.recordings[0].rules : "${rule.enabled} ${rule.prefix} ${rule.condition.type} ${rule.condition.max_age_seconds}"] == ["true recordings/ Age 7776000"]
    )
    error_message = "the lock"
  }
}

run "a_lock_for_no_days_has_no_rules" {
  module {
    source = "./modules/worker"
  }

  variables {
    sessions             = true
    recordings_retention = 0
  }

  assert {
    condition     = length(cloudflare_r2_bucket_lock.recordings) == 1 && length(cloudflare_r2_bucket_lock.recordings[0].rules) == 0
    error_message = "a rule that locks nothing, or a lock that is forgotten where it is"
  }
}

run "null_is_no_days_either" {
  module {
    source = "./modules/worker"
  }

  variables {
    sessions             = true
    recordings_retention = null
  }

  assert {
    condition     = length(cloudflare_r2_bucket_lock.recordings[0].rules) == 0
    error_message = "a rule that nobody asked for"
  }
}
