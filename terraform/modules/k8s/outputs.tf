output "api_port" {
  description = "Port on which `kubectl proxy` listens inside the pod."
  value       = local.api_port
}

output "impersonated" {
  description = "What the service account may impersonate: users (null: any), groups, extras."
  value = {
    users  = var.impersonate_any_user ? null : sort(local.users)
    groups = sort(local.groups)
    extras = local.extras
  }
}

output "tunnel_id" {
  description = "ID of the tunnel."
  value       = cloudflare_zero_trust_tunnel_cloudflared.this.id
}
