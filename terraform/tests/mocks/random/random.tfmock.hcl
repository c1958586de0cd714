mock_resource "random_bytes" {
  defaults = { base64 = "the last hop's key in base64" }
}
