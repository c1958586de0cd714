# What identities.yaml says, as the build reads it too: tests/identities.rs compares the two.

locals {
  policy     = try(yamldecode(file(var.identities_file)), {})
  identities = try(local.policy.identities, [])
  # To Terraform `for` is no name of an attribute.
  guards = [for guard in try(local.policy.guards, []) : merge(guard, { whom = try(guard["for"], null) })]
  grants = try(local.policy.grants, {})
}
