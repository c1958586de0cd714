output "ca_certificate" {
  description = "The cluster's CA certificate (PEM)."
  value       = base64decode(digitalocean_kubernetes_cluster.this.kube_config[0].cluster_ca_certificate)
  sensitive   = true
}

output "host" {
  description = "Address of the API server."
  value       = digitalocean_kubernetes_cluster.this.endpoint
}

output "kubeconfig" {
  description = "The cluster administrator's kubeconfig, valid for seven days."
  value       = digitalocean_kubernetes_cluster.this.kube_config[0].raw_config
  sensitive   = true
}

output "token" {
  description = "The cluster administrator's token."
  value       = digitalocean_kubernetes_cluster.this.kube_config[0].token
  sensitive   = true
}
