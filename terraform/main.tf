# From an empty account to kubectl through Cloudflare Access. README.md has the commands in their order.

locals {
  # Each way to reach a cluster fills the same fields; the kubernetes provider reads them. "" is a value to it, for which it
  # does not look into the environment.
  no_cluster = {
    config_path    = "${path.module}/empty.kubeconfig"
    config_context = ""
    host           = ""
    ca_certificate = ""
    token          = ""
    exec           = null
  }
  clusters = {
    digitalocean = {
      host           = one(module.digitalocean[*].host)
      ca_certificate = one(module.digitalocean[*].ca_certificate)
      token          = one(module.digitalocean[*].token)
    }
    kubeconfig = {
      config_path    = try(pathexpand(var.kubeconfig.path), null)
      config_context = try(var.kubeconfig.context, null)
    }
    endpoint = {
      host           = try(var.endpoint.host, null)
      ca_certificate = try(var.endpoint.ca_certificate, null)
      exec           = try(var.endpoint.exec, null)
      # Without a command that prints credentials, null: the one thing that is read from the environment, as KUBE_TOKEN.
      token = try(var.endpoint.exec, null) == null ? null : ""
    }
  }
  cluster = merge(local.no_cluster, local.clusters[var.cluster])
}

module "digitalocean" {
  source = "./modules/digitalocean"
  count  = var.cluster == "digitalocean" ? 1 : 0

  name               = var.digitalocean.name
  region             = var.digitalocean.region
  kubernetes_version = var.digitalocean.kubernetes_version
  node_size          = var.digitalocean.node_size
  node_count         = var.digitalocean.node_count
  high_availability  = var.digitalocean.high_availability
  vpc_cidr           = var.digitalocean.vpc_cidr
  api_allowed_cidrs  = var.digitalocean.api_allowed_cidrs
}

module "k8s" {
  source = "./modules/k8s"

  account_id           = var.account_id
  tunnel_name          = var.worker_name
  identities           = local.identities
  guards               = local.guards
  grants               = local.grants
  impersonation        = var.impersonation
  impersonate_any_user = var.impersonate_any_user
  custom_resources     = var.custom_resources
  cloudflared_image    = var.cloudflared_image
  kubectl_image        = var.kubectl_image
  node_image           = var.node_image
  last_hop             = var.last_hop
  last_hop_key_edition = var.last_hop_key_edition
  replicas             = var.replicas
  wait_for_rollout     = var.wait_for_rollout
  network_policy       = var.network_policy
  api_server           = var.api_server
  pod_user_id          = var.pod_user_id
  metrics_namespace    = var.metrics_namespace
}

module "worker" {
  source = "./modules/worker"

  account_id           = var.account_id
  hostname             = var.hostname
  worker_name          = var.worker_name
  machines_hostname    = var.machines_hostname
  tunnel_id            = module.k8s.tunnel_id
  kube_api_host        = var.kube_api_host
  api_port             = module.k8s.api_port
  allow                = var.allow
  session_duration     = var.session_duration
  warp_authentication  = var.warp_authentication
  without_warp         = var.without_warp
  identities_kv        = var.identities_kv
  sessions             = var.sessions
  recordings_bucket    = var.recordings_bucket
  recordings_retention = var.recordings_retention
  recordings_location  = var.recordings_location
}
