# `npm run deploy` reads all but the last four.

output "access_aud" {
  description = "The Access application's audience tag: ACCESS_AUD."
  value       = module.worker.aud
}

output "access_team_domain" {
  description = "The Zero Trust team's origin: ACCESS_TEAM_DOMAIN."
  value       = var.team_domain
}

output "access_machines_aud" {
  description = "The audience tag of the machines' application, which ACCESS_AUD names too, or null."
  value       = module.worker.machines_aud
}

output "account_id" {
  description = "The Cloudflare account: account_id in wrangler.toml."
  value       = var.account_id
}

output "contact" {
  description = "Whom to ask for access: CONTACT, or \"\"."
  value       = var.contact
}

output "hostname" {
  description = "The host name that kubectl calls."
  value       = var.hostname
}

output "identities_kv_id" {
  description = "ID of the KV namespace for the binding IDENTITIES, or null."
  value       = module.worker.kv_namespace_id
}

output "machines_hostname" {
  description = "The host name that programs with a service token call, or null."
  value       = var.machines_hostname
}

output "recordings_bucket" {
  description = "Name of the R2 bucket for the binding RECORDINGS, or null: then the Worker has no Durable Objects either."
  value       = module.worker.recordings_bucket
}

output "vpc_service_id" {
  description = "ID of the VPC service for the binding KUBE_API."
  value       = module.worker.vpc_service_id
}

output "worker_name" {
  description = "The Worker's name, which wrangler.toml must carry too."
  value       = var.worker_name
}

output "zone_id" {
  description = "ID of the zone of the host names, or null where Cloudflare tells it from them."
  value       = var.zone_id
}

output "last_hop_key" {
  description = "What the guarded last hop wants requests to be signed by: the Worker's secret LAST_HOP_KEY. null with `kubectl proxy`."
  value       = module.k8s.last_hop_key
  sensitive   = true
}

output "admin_kubeconfig" {
  description = "The new cluster's administrator, for giving the mapped groups their rights; null for a cluster of your own. Not for daily use."
  value       = one(module.digitalocean[*].kubeconfig)
  sensitive   = true
}

output "impersonated" {
  description = "The users (null: any), groups and extra keys that the gateway may impersonate."
  value       = module.k8s.impersonated
}

output "kubeconfig" {
  description = "A kubeconfig for everybody. It holds no secret: Access recognises the caller."
  value = yamlencode({
    apiVersion      = "v1"
    kind            = "Config"
    current-context = var.worker_name
    clusters        = [{ name = var.worker_name, cluster = { server = "https://${var.hostname}" } }]
    contexts        = [{ name = var.worker_name, context = { cluster = var.worker_name, user = var.worker_name } }]
    # Any text: kubectl would ask for a password without it. The Worker throws it away.
    users = [{ name = var.worker_name, user = { token = "access" } }]
  })
}

output "next_steps" {
  description = "The commands that come next."
  value = join("\n", [
    "# The Worker comes with, and after each change of identities.yaml or terraform.tfvars:",
    "npm run deploy",
    "# Then:",
    "terraform -chdir=terraform output -raw kubeconfig > kube-access.kubeconfig",
    "kubectl --kubeconfig kube-access.kubeconfig auth whoami",
  ])
}
