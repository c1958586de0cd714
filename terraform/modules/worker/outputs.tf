output "aud" {
  description = "The Access application's audience tag."
  value       = cloudflare_zero_trust_access_application.this.aud
}

output "machines_aud" {
  description = "The audience tag of the machines' application, or null."
  value       = one(cloudflare_zero_trust_access_application.machines[*].aud)
}

output "kv_namespace_id" {
  description = "ID of the KV namespace, or null."
  value       = one(cloudflare_workers_kv_namespace.identities[*].id)
}

output "recordings_bucket" {
  description = "Name of the bucket of recordings, or null."
  value       = one(cloudflare_r2_bucket.recordings[*].name)
}

output "vpc_service_id" {
  description = "ID of the VPC service, the Worker's way to the API server."
  value       = cloudflare_connectivity_directory_service.kube_api.service_id
}
