variable "name" {
  description = "Name of the cluster and its VPC."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,46}[a-z0-9]$", var.name))
    error_message = "name must have 2 to 48 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "region" {
  description = "Region slug, such as fra1. `doctl kubernetes options regions` lists them."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{3}[0-9]$", var.region))
    error_message = "region must be a DigitalOcean region slug such as \"fra1\"."
  }
}

variable "kubernetes_version" {
  description = "Version slug, such as 1.36.1-do.0. `doctl kubernetes options versions` lists them. A higher one upgrades in place, a lower one replaces the cluster."
  type        = string

  validation {
    condition     = can(regex("^1\\.[0-9]+\\.[0-9]+-do\\.[0-9]+$", var.kubernetes_version))
    error_message = "kubernetes_version must be a full DigitalOcean version slug such as \"1.36.1-do.0\"; \"latest\" would change under your feet."
  }
}

variable "node_size" {
  description = "Droplet size slug of the nodes. `doctl kubernetes options sizes` lists them."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+(-[a-z0-9_.]+)*-[0-9]+vcpu-[0-9]+gb(-[a-z0-9]+)*$", var.node_size)) || can(regex("^[a-z]+[0-9]*-[0-9]+$", var.node_size))
    error_message = "node_size must be a droplet size slug such as \"s-2vcpu-4gb\"."
  }
}

variable "node_count" {
  description = "Number of nodes. Two let the gateway survive the loss of one."
  type        = number

  validation {
    condition     = var.node_count >= 1 && var.node_count <= 512 && floor(var.node_count) == var.node_count
    error_message = "node_count must be a whole number from 1 to 512."
  }
}

variable "high_availability" {
  description = "Run a highly available control plane. Costs extra, and cannot be switched off again."
  type        = bool
}

variable "vpc_cidr" {
  description = "Private address range of the VPC."
  type        = string

  validation {
    condition = can(cidrhost(var.vpc_cidr, 0)) && can(regex("^(10\\.|192\\.168\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.)", var.vpc_cidr)) && (
      try(tonumber(split("/", var.vpc_cidr)[1]), 0) >= 16 && try(tonumber(split("/", var.vpc_cidr)[1]), 0) <= 24
    )
    error_message = "vpc_cidr must be a private IPv4 range from /16 to /24, such as \"10.77.0.0/20\"."
  }
}

variable "api_allowed_cidrs" {
  description = "Addresses that may reach the API server directly, this machine's among them: Terraform needs it. The nodes always may. Empty: no firewall, and the API server's own authentication alone protects it."
  type        = set(string)

  validation {
    condition     = alltrue([for cidr in var.api_allowed_cidrs : can(cidrhost(cidr, 0)) || can(cidrhost("${cidr}/32", 0))])
    error_message = "api_allowed_cidrs must be IP addresses or CIDR ranges, such as \"198.51.100.7/32\"."
  }
}
