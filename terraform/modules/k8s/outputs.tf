output "api_port" {
  description = "Port on which the last hop listens inside the pod."
  value       = local.api_port
}

output "impersonated" {
  description = "What the service account may impersonate: users (null: any), groups, UIDs, extras."
  value = {
    users  = var.impersonate_any_user ? null : sort(local.users)
    groups = sort(local.groups)
    uids   = sort(local.uids)
    extras = sort(local.extras)
  }
}

output "last_hop_key" {
  description = "What the guarded last hop wants requests to be signed by, or null."
  value       = one(random_bytes.last_hop_key[*].base64)
  sensitive   = true
}

output "tunnel_id" {
  description = "ID of the tunnel."
  value       = cloudflare_zero_trust_tunnel_cloudflared.this.id
}
