mock_resource "cloudflare_zero_trust_tunnel_cloudflared" {
  defaults = { id = "11111111-1111-4111-8111-111111111111" }
}

mock_data "cloudflare_zero_trust_tunnel_cloudflared_token" {
  defaults = { token = "the tunnel's token" }
}

mock_resource "cloudflare_zero_trust_access_policy" {
  defaults = { id = "33333333-3333-4333-8333-333333333333" }
}

mock_resource "cloudflare_zero_trust_access_application" {
  defaults = { aud = "aud-of-the-application" }
}

mock_resource "cloudflare_connectivity_directory_service" {
  defaults = { service_id = "55555555-5555-4555-8555-555555555555" }
}

mock_resource "cloudflare_workers_kv_namespace" {
  defaults = { id = "66666666666666666666666666666666" }
}
