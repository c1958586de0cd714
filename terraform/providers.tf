# Secrets come from the environment and never stand in a file here:
#   CLOUDFLARE_API_TOKEN   always
#   DIGITALOCEAN_TOKEN     when cluster = "digitalocean"
#   KUBE_TOKEN             when cluster = "endpoint" and the endpoint names no exec command

provider "cloudflare" {}

provider "digitalocean" {}

# Everything is said, so that a KUBE_HOST, KUBE_TOKEN or KUBE_CTX which another tool left in the environment mixes with nothing:
# half of one cluster's settings with half of another's would send an administrator's credentials astray.
provider "kubernetes" {
  config_path            = local.cluster.config_path
  config_context         = local.cluster.config_context
  host                   = local.cluster.host
  cluster_ca_certificate = local.cluster.ca_certificate
  token                  = local.cluster.token

  config_context_auth_info = ""
  config_context_cluster   = ""
  username                 = ""
  password                 = ""
  client_certificate       = ""
  client_key               = ""
  insecure                 = false
  tls_server_name          = ""
  proxy_url                = ""

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
