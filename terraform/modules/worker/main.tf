# What stands in front of the Worker (Access) and behind it (the VPC service, the KV namespace, the bucket of recordings). The Worker
# itself, its Durable Objects and its host names are deployed by wrangler.

locals {
  people = concat(
    [for email in var.allow.emails : { email = { email = email } }],
    [for domain in var.allow.email_domains : { email_domain = { domain = domain } }],
    [for id in var.allow.group_ids : { group = { id = id } }],
  )
  is_by_name = var.kube_api_host == "localhost"
  machines   = [for id in var.allow.service_token_ids : { service_token = { token_id = id } }]
}

resource "cloudflare_zero_trust_access_policy" "people" {
  count = length(local.people) > 0 ? 1 : 0

  account_id = var.account_id
  name       = "${var.worker_name} people"
  decision   = "allow"
  include    = local.people

  # Unset, the API answers "" and every later plan shows a difference.
  session_duration = var.session_duration

  # Cloudflare keeps a policy that an application uses: the application lets go first.
  lifecycle {
    create_before_destroy = true
  }
}

resource "cloudflare_zero_trust_access_policy" "machines" {
  count = length(local.machines) > 0 ? 1 : 0

  account_id       = var.account_id
  name             = "${var.worker_name} machines"
  decision         = "non_identity"
  include          = local.machines
  session_duration = var.session_duration

  lifecycle {
    create_before_destroy = true
  }
}

# An application on the host name. One on the Worker itself would answer 403 to every WebSocket: no exec, no
# port-forward.
resource "cloudflare_zero_trust_access_application" "this" {
  account_id       = var.account_id
  name             = var.worker_name
  type             = "self_hosted"
  destinations     = [{ type = "public", uri = var.hostname }]
  session_duration = var.session_duration
  policies         = [for id in cloudflare_zero_trust_access_policy.people[*].id : { id = id, precedence = 1 }]

  # null leaves it to the account.
  allow_authenticate_via_warp = var.warp_authentication
  # A binding cookie would lock out clients that keep no cookies; kubectl is one.
  enable_binding_cookie = false
  # A page from a pod, shown through the API server's proxy, must not read the session.
  http_only_cookie_attribute = true
  # A program without a session gets 401, not the login page.
  service_auth_401_redirect = true
  app_launcher_visible      = false

  # Access's own authorization server, for `kubectl access login`: its tokens are for this application alone, each new one takes the
  # policies' yes, and a client may only have them sent to the machine that it runs on. Strangers are then told so, with 401.
  oauth_configuration = var.without_warp ? {
    enabled                     = true
    dynamic_client_registration = { enabled = true, allow_any_on_loopback = true }
    grant                       = { access_token_lifetime = "15m", session_duration = var.session_duration }
  } : null
}

# Service tokens have a host name of their own: the sign-in by WARP is for applications with Allow and Block policies only.
resource "cloudflare_zero_trust_access_application" "machines" {
  count = var.machines_hostname == null ? 0 : 1

  account_id       = var.account_id
  name             = "${var.worker_name} machines"
  type             = "self_hosted"
  destinations     = [{ type = "public", uri = var.machines_hostname }]
  session_duration = var.session_duration
  policies         = [for id in cloudflare_zero_trust_access_policy.machines[*].id : { id = id, precedence = 1 }]

  enable_binding_cookie      = false
  http_only_cookie_attribute = true
  service_auth_401_redirect  = true
  app_launcher_visible       = false
}

resource "cloudflare_connectivity_directory_service" "kube_api" {
  account_id = var.account_id
  name       = var.worker_name
  type       = "http"
  # The last hop listens on the pod's own loopback; with only this port, https to it is refused.
  http_port = var.api_port
  # An address is reached by the tunnel's network, a name is resolved at the tunnel's end.
  host = {
    ipv4             = local.is_by_name ? null : var.kube_api_host
    network          = local.is_by_name ? null : { tunnel_id = var.tunnel_id }
    hostname         = local.is_by_name ? var.kube_api_host : null
    resolver_network = local.is_by_name ? { tunnel_id = var.tunnel_id } : null
  }
}

resource "cloudflare_workers_kv_namespace" "identities" {
  count = var.identities_kv ? 1 : 0

  account_id = var.account_id
  title      = "${var.worker_name} identities"
}

resource "cloudflare_r2_bucket" "recordings" {
  count = var.sessions ? 1 : 0

  account_id = var.account_id
  name       = var.recordings_bucket
  location   = var.recordings_location
}

# The provider leaves the lock of a bucket where it is when this goes: to take it away is to have no rules.
resource "cloudflare_r2_bucket_lock" "recordings" {
  count = var.sessions ? 1 : 0

  account_id  = var.account_id
  bucket_name = cloudflare_r2_bucket.recordings[0].name
  rules = [
    for days in [coalesce(var.recordings_retention, 0)] : {
      id        = "recordings"
      enabled   = true
      prefix    = "recordings/"
      condition = { type = "Age", max_age_seconds = days * 86400 }
    } if days > 0
  ]
}

# The host name was Terraform's once. Where it still is, the apply that hands it to `npm run deploy` takes it away from nobody.
removed {
  from = cloudflare_workers_custom_domain.this

  lifecycle {
    destroy = false
  }
}
