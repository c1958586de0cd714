# A small DOKS cluster in a VPC of its own.

resource "digitalocean_vpc" "this" {
  name     = var.name
  region   = var.region
  ip_range = var.vpc_cidr
}

resource "digitalocean_kubernetes_cluster" "this" {
  name     = var.name
  region   = var.region
  version  = var.kubernetes_version
  vpc_uuid = digitalocean_vpc.this.id
  ha       = var.high_availability

  # An automatic upgrade would leave `version` behind, and going back to it would replace the cluster.
  auto_upgrade  = false
  surge_upgrade = true

  node_pool {
    name       = "${var.name}-default"
    size       = var.node_size
    node_count = var.node_count
  }

  # Always said: a firewall that is only left out stays on.
  control_plane_firewall {
    enabled           = length(var.api_allowed_cidrs) > 0
    allowed_addresses = var.api_allowed_cidrs
  }
}
