# What stands in front of the Worker (Access, the host name) and behind it (the VPC service, the KV namespace).
# The Worker's code itself is deployed by wrangler.

locals {
  people = concat(
    [for email in var.allow.emails : { email = { email = email } }],
    [for domain in var.allow.email_domains : { email_domain = { domain = domain } }],
    [for id in var.allow.group_ids : { group = { id = id } }],
  )
  machines = [for id in var.allow.service_token_ids : { service_token = { token_id = id } }]

  policies = concat(cloudflare_zero_trust_access_policy.people[*].id, cloudflare_zero_trust_access_policy.machines[*].id)

  worker_is_deployed = contains(data.cloudflare_workers_scripts.account.result[*].id, var.worker_name)
}

resource "cloudflare_zero_trust_access_policy" "people" {
  count = length(local.people) > 0 ? 1 : 0

  account_id = var.account_id
  name       = "${var.worker_name} people"
  decision   = "allow"
  include    = local.people

  # Unset, the API answers "" and every later plan shows a difference.
  session_duration = var.session_duration
}

resource "cloudflare_zero_trust_access_policy" "machines" {
  count = length(local.machines) > 0 ? 1 : 0

  account_id       = var.account_id
  name             = "${var.worker_name} machines"
  decision         = "non_identity"
  include          = local.machines
  session_duration = var.session_duration
}

# An application on the host name. One on the Worker itself would answer 403 to every WebSocket: no exec, no
# port-forward.
resource "cloudflare_zero_trust_access_application" "this" {
  account_id       = var.account_id
  name             = var.worker_name
  type             = "self_hosted"
  destinations     = [{ type = "public", uri = var.hostname }]
  session_duration = var.session_duration
  policies         = [for index, id in local.policies : { id = id, precedence = index + 1 }]

  allow_authenticate_via_warp = var.warp_authentication
  # A binding cookie would lock out clients that keep no cookies; kubectl is one.
  enable_binding_cookie = false
  # A page from a pod, shown through the API server's proxy, must not read the session.
  http_only_cookie_attribute = true
  # A program with a bad service token gets 401, not the login page.
  service_auth_401_redirect = true
  app_launcher_visible      = false
}

resource "cloudflare_connectivity_directory_service" "kube_api" {
  account_id = var.account_id
  name       = var.worker_name
  type       = "http"
  # `kubectl proxy` listens on the pod's own loopback; with only this port, https to it is refused.
  http_port = var.api_port
  host = {
    ipv4    = "127.0.0.1"
    network = { tunnel_id = var.tunnel_id }
  }
}

resource "cloudflare_workers_kv_namespace" "identities" {
  count = var.identities_kv ? 1 : 0

  account_id = var.account_id
  title      = "${var.worker_name} identities"
}

data "cloudflare_workers_scripts" "account" {
  account_id = var.account_id
  max_items  = 10000
}

# A host name can only be given to a Worker that exists, and the Worker can only be deployed once the VPC service
# exists. So the first apply leaves it out, and the apply after `npm run deploy` finds the Worker and adds it.
resource "cloudflare_workers_custom_domain" "this" {
  count = local.worker_is_deployed ? 1 : 0

  account_id = var.account_id
  hostname   = var.hostname
  service    = var.worker_name

  # Never on the internet without Access in front.
  depends_on = [cloudflare_zero_trust_access_application.this]
}
