# `npm run deploy:bind` reads the first six.

output "access_aud" {
  description = "The Access application's audience tag: ACCESS_AUD."
  value       = module.worker.aud
}

output "access_team_domain" {
  description = "The Zero Trust team's origin: ACCESS_TEAM_DOMAIN."
  value       = var.team_domain
}

output "hostname" {
  description = "The host name that kubectl calls."
  value       = var.hostname
}

output "identities_kv_id" {
  description = "ID of the KV namespace for the binding IDENTITIES, or null."
  value       = module.worker.kv_namespace_id
}

output "vpc_service_id" {
  description = "ID of the VPC service for the binding KUBE_API."
  value       = module.worker.vpc_service_id
}

output "worker_name" {
  description = "The Worker's name, which wrangler.toml must carry too."
  value       = var.worker_name
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
  value = module.worker.worker_is_deployed ? join("\n", [
    "# The Worker is deployed, and ${var.hostname} leads to it.",
    "terraform -chdir=terraform output -raw kubeconfig > kube-access.kubeconfig",
    "kubectl --kubeconfig kube-access.kubeconfig auth whoami",
    "# After a change of identities.yaml: apply first, so that the new names may be impersonated.",
    "terraform -chdir=terraform apply && npm run deploy",
    ]) : join("\n", [
    "# The Worker is not deployed yet, so ${var.hostname} leads nowhere. Deploy it, then apply again.",
    "npm run deploy",
    "terraform -chdir=terraform apply",
  ])
}
