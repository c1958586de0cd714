mock_provider "digitalocean" {
  source = "./tests/mocks/digitalocean"
}

variables {
  name               = "kube-access"
  region             = "fra1"
  kubernetes_version = "1.36.1-do.0"
  node_size          = "s-2vcpu-4gb"
  node_count         = 2
  high_availability  = false
  vpc_cidr           = "10.77.0.0/20"
  api_allowed_cidrs  = []
}

run "a_cluster_stands_in_a_vpc_of_its_own" {
  module {
    source = "./modules/digitalocean"
  }

  assert {
    condition     = digitalocean_kubernetes_cluster.this.vpc_uuid == digitalocean_vpc.this.id
    error_message = "the cluster is not in the VPC"
  }
  assert {
    condition     = digitalocean_vpc.this.ip_range == "10.77.0.0/20" && digitalocean_vpc.this.region == "fra1"
    error_message = "the VPC is not the one asked for"
  }
  assert {
    condition     = digitalocean_kubernetes_cluster.this.node_pool[0].size == "s-2vcpu-4gb" && digitalocean_kubernetes_cluster.this.node_pool[0].node_count == 2
    error_message = "the node pool is not the one asked for"
  }
  assert {
    condition     = digitalocean_kubernetes_cluster.this.ha == false && digitalocean_kubernetes_cluster.this.auto_upgrade == false
    error_message = "something that costs money or changes the version by itself is on"
  }
  assert {
    condition     = !digitalocean_kubernetes_cluster.this.control_plane_firewall[0].enabled
    error_message = "a firewall without addresses would lock Terraform out, and one that is left out stays on"
  }
}

run "addresses_switch_the_firewall_on" {
  module {
    source = "./modules/digitalocean"
  }

  variables {
    api_allowed_cidrs = ["198.51.100.7/32"]
  }

  assert {
    condition     = digitalocean_kubernetes_cluster.this.control_plane_firewall[0].enabled
    error_message = "the firewall is off"
  }
  assert {
    condition     = toset(digitalocean_kubernetes_cluster.this.control_plane_firewall[0].allowed_addresses) == toset(["198.51.100.7/32"])
    error_message = "the firewall lets others in"
  }
}

run "a_version_that_changes_by_itself_is_refused" {
  command = plan

  module {
    source = "./modules/digitalocean"
  }

  variables {
    kubernetes_version = "latest"
  }

  expect_failures = [var.kubernetes_version]
}
