mock_data "kubernetes_server_version" {
  defaults = {
    major       = "1"
    minor       = "37"
    git_version = "v1.37.2"
  }
}
