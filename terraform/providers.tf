# Secrets come from the environment and never stand in a file here:
#   CLOUDFLARE_API_TOKEN   always
#   DIGITALOCEAN_TOKEN     when cluster = "digitalocean"
#   KUBE_TOKEN             when cluster = "endpoint" and the endpoint names no exec command

provider "cloudflare" {}

provider "digitalocean" {}

provider "kubernetes" {
  config_path            = local.cluster.config_path
  config_context         = local.cluster.config_context
  host                   = local.cluster.host
  cluster_ca_certificate = local.cluster.ca_certificate
  token                  = local.cluster.token

  dynamic "exec" {
    for_each = local.cluster.exec[*]

    content {
      api_version = exec.value.api_version
      command     = exec.value.command
      args        = exec.value.args
      env         = exec.value.env
    }
  }
}
