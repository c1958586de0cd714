mock_resource "digitalocean_kubernetes_cluster" {
  defaults = {
    endpoint = "https://made-up.k8s.ondigitalocean.com"
    kube_config = [{
      raw_config             = "the administrator's kubeconfig"
      token                  = "the administrator's token"
      cluster_ca_certificate = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"
    }]
  }
}
