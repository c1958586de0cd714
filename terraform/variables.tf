# Values that one module alone uses are validated there, beside what they are for.

variable "account_id" {
  description = "Cloudflare account ID (dashboard, Workers & Pages, right-hand column)."
  type        = string
}

variable "team_domain" {
  description = "The Zero Trust team's origin: \"https://<team>.cloudflareaccess.com\"."
  type        = string

  validation {
    condition     = can(regex("^https://[a-z0-9]([a-z0-9-]*[a-z0-9])?\\.cloudflareaccess\\.com$", var.team_domain))
    error_message = "team_domain must be \"https://<team>.cloudflareaccess.com\": lower case, no path, no slash at the end."
  }
}

variable "hostname" {
  description = "The host name that kubectl will call, in a zone of this account: kube.example.com."
  type        = string
}

variable "machines_hostname" {
  description = "The host name that programs with a service token call, or null: without one they cannot pass Access."
  type        = string
  default     = null
}

variable "zone_id" {
  description = "ID of the zone of both host names. Only needed where Cloudflare cannot tell it from the names, such as for a zone below another."
  type        = string
  default     = null

  validation {
    condition     = var.zone_id == null || can(regex("^[0-9a-f]{32}$", var.zone_id))
    error_message = "zone_id must be the zone's 32 hexadecimal digits, lower case."
  }
}

variable "worker_name" {
  description = "The Worker's name, as in wrangler.toml. The tunnel and the Access objects carry it too."
  type        = string
  default     = "kube-access"
}

variable "contact" {
  description = "Whom to ask for access: \"the platform team, #platform\". Shown on the page, and to whom no entry names. Without one CONTACT stays as wrangler.toml has it."
  type        = string
  default     = ""

  # By characters of Unicode, as the Worker counts; length() counts what a reader sees as one.
  validation {
    condition     = can(regex("^[^\\p{C}\\p{Zl}\\p{Zp}]{0,200}$", var.contact))
    error_message = "contact must be one line of at most 200 printable characters, such as \"the platform team, #platform\"."
  }
}

variable "allow" {
  description = "Who passes Cloudflare Access. Nobody by default; at least one entry is required. Groups and service tokens are named by their IDs."
  type = object({
    emails            = optional(set(string), [])
    email_domains     = optional(set(string), [])
    group_ids         = optional(set(string), [])
    service_token_ids = optional(set(string), [])
  })
}

variable "session_duration" {
  description = "How long an Access session lasts before its owner signs in again."
  type        = string
  default     = "8h"
}

variable "warp_authentication" {
  description = "Accept the sign-in of the Cloudflare One Client (WARP): what lets plain kubectl pass without a plug-in. Needs a duration for it in the account (step 2 of the README). null leaves it to the account."
  type        = bool
  default     = null
}

variable "without_warp" {
  description = "Switch on managed OAuth (a beta of Cloudflare's), by which `kubectl access login` lets in people without the Cloudflare One Client (WARP)."
  type        = bool
  default     = false
}

variable "identities_file" {
  description = "The identity map that is compiled into the Worker. Relative to this folder."
  type        = string
  default     = "../identities.yaml"

  validation {
    condition     = try(fileexists(var.identities_file), false)
    error_message = "identities_file does not exist. The path is relative to the terraform folder; run terraform with -chdir=terraform."
  }

  validation {
    condition     = !try(fileexists(var.identities_file), false) || can(length(yamldecode(file(var.identities_file)).identities))
    error_message = "identities_file must be YAML with a list named \"identities\"."
  }

  validation {
    condition = alltrue([
      for entry in try(yamldecode(file(var.identities_file)).identities, []) :
      length(setsubtract(keys(entry), ["email", "email_domain", "service_token", "idp_group", "idp", "user", "groups", "allow_system_masters", "act_as", "expires"])) == 0 &&
      length(setsubtract(try(keys(entry.act_as), []), ["users", "groups", "uids", "extras", "reason_required"])) == 0
    ])
    error_message = "identities_file has an entry with an unknown field. Known: email, email_domain, service_token, idp_group, idp, user, groups, allow_system_masters, act_as (users, groups, uids, extras, reason_required), expires."
  }

  validation {
    condition = alltrue([
      for guard in try(yamldecode(file(var.identities_file)).guards, []) :
      length(setsubtract(keys(guard), ["name", "for", "allow", "deny", "record", "max_session", "max_bytes", "streams"])) == 0 &&
      length(setsubtract(try(keys(guard["for"]), []), ["users", "groups"])) == 0 &&
      length(setsubtract(try(keys(guard.streams), []), ["namespaces", "names"])) == 0 && alltrue([
        for rule in try(guard.deny, []) :
        length(setsubtract(keys(rule), ["api_groups", "resources", "verbs", "namespaces", "names", "non_resource_urls"])) == 0
      ])
    ])
    error_message = "identities_file has a guard with an unknown field. Known: name, for (users, groups), allow, deny (api_groups, resources, verbs, namespaces, names, non_resource_urls), record, max_session, max_bytes, streams (namespaces, names)."
  }

  validation {
    condition = (
      length(setsubtract(try(keys(yamldecode(file(var.identities_file))), []), ["identities", "guards", "grants"])) == 0 &&
      length(setsubtract(try(keys(yamldecode(file(var.identities_file)).grants), []), ["users", "groups"])) == 0
    )
    error_message = "identities_file has an unknown field. Known: identities, guards, grants (users, groups)."
  }
}

variable "kube_api_host" {
  description = "How the tunnel finds the last hop in its own pod: by address, \"127.0.0.1\", or by name, \"localhost\"."
  type        = string
  default     = "127.0.0.1"
}

variable "impersonate_any_user" {
  description = "Let the gateway impersonate every user name. Needed when the map gives a whole email domain the user \"{email}\", because RBAC cannot name users that are not known yet. Groups stay limited to the map."
  type        = bool
  default     = false
}

variable "impersonation" {
  description = "How the API server lets the gateway impersonate: \"constrained\" (Kubernetes 1.36 or newer), which also holds it to what may be done, or \"legacy\"."
  type        = string
  default     = "constrained"
}

variable "custom_resources" {
  description = "Resources that are not Kubernetes' own, by API group: {\"cert-manager.io\" = [\"certificates\", \"certificates/status\"]}. Needed in constrained impersonation where a guard for everybody denies something: only what is listed keeps the verbs that it denies elsewhere."
  type        = map(set(string))
  default     = {}
}

variable "identities_kv" {
  description = "Make a KV namespace, in which access is granted for an hour or revoked in a minute without a deploy."
  type        = bool
  default     = false

  validation {
    condition     = var.identities_kv || length(flatten(values(try(yamldecode(file(var.identities_file)).grants, {})))) == 0
    error_message = "identities_file has grants, which are kept in Workers KV: set identities_kv = true."
  }
}

variable "sessions" {
  description = "Make the R2 bucket for recordings, and bind the Worker to it and to its Durable Objects. Needed where a guard says record or max_session: exec, attach and port-forward for which one does go through them. R2 has to be switched on in the account."
  type        = bool
  default     = false

  validation {
    condition = var.sessions || !anytrue([
      for guard in try(yamldecode(file(var.identities_file)).guards, []) :
      try(guard.record, null) != null || try(guard.max_session, null) != null
    ])
    error_message = "identities_file has a guard with record or max_session, which are kept by Durable Objects and in an R2 bucket: set sessions = true."
  }
}

variable "recordings_bucket" {
  description = "With sessions: the bucket's name, which the account has once. Another name later is another bucket."
  type        = string
  default     = "kube-access-recordings"
}

variable "recordings_retention" {
  description = "With sessions: the days in which nobody can delete or overwrite a recording. 0 or null: no such time. They are not deleted afterwards either."
  type        = number
  default     = 90
}

variable "recordings_location" {
  description = "With sessions: where Cloudflare should keep the bucket, if it can: \"apac\", \"eeur\", \"enam\", \"oc\", \"weur\" or \"wnam\". null leaves it to Cloudflare. It counts when the bucket is made."
  type        = string
  default     = null
}

variable "cluster" {
  description = "Which cluster: \"digitalocean\" makes a new one; \"kubeconfig\" and \"endpoint\" use yours, as the variables of these names say."
  type        = string

  validation {
    condition     = contains(["digitalocean", "kubeconfig", "endpoint"], var.cluster)
    error_message = "cluster must be \"digitalocean\", \"kubeconfig\" or \"endpoint\"."
  }
}

variable "digitalocean" {
  description = "The new cluster. Region and version have no default: `doctl kubernetes options versions` and `doctl kubernetes options regions` list them."
  type = object({
    name               = optional(string, "kube-access")
    region             = string
    kubernetes_version = string
    node_size          = optional(string, "s-2vcpu-4gb")
    node_count         = optional(number, 2)
    high_availability  = optional(bool, false)
    vpc_cidr           = optional(string, "10.77.0.0/20")
    api_allowed_cidrs  = optional(set(string), [])
  })
  default = null

  validation {
    condition     = (var.cluster == "digitalocean") == (var.digitalocean != null)
    error_message = "digitalocean must be set when cluster = \"digitalocean\", and only then."
  }
}

variable "kubeconfig" {
  description = "Your cluster by a kubeconfig. The context is named, so that a later `kubectl config use-context` cannot redirect an apply."
  type = object({
    path    = optional(string, "~/.kube/config")
    context = string
  })
  default = null

  validation {
    condition     = (var.cluster == "kubeconfig") == (var.kubeconfig != null)
    error_message = "kubeconfig must be set when cluster = \"kubeconfig\", and only then."
  }

  validation {
    condition     = var.kubeconfig == null ? true : try(fileexists(pathexpand(var.kubeconfig.path)), false)
    error_message = "kubeconfig.path does not exist."
  }
}

variable "endpoint" {
  description = "Your cluster by its address, its CA certificate (PEM) and a command that prints credentials, as in a kubeconfig's exec section. Without exec the token is read from KUBE_TOKEN."
  type = object({
    host           = string
    ca_certificate = string
    exec = optional(object({
      api_version = optional(string, "client.authentication.k8s.io/v1")
      command     = string
      args        = optional(list(string), [])
      env         = optional(map(string), {})
    }))
  })
  default = null

  validation {
    condition     = (var.cluster == "endpoint") == (var.endpoint != null)
    error_message = "endpoint must be set when cluster = \"endpoint\", and only then."
  }

  validation {
    condition     = var.endpoint == null || can(regex("^https://[^/ ]+$", var.endpoint.host))
    error_message = "endpoint.host must be an https origin: \"https://api.example.com:6443\"."
  }

  validation {
    condition     = var.endpoint == null || can(regex("^-----BEGIN CERTIFICATE-----", var.endpoint.ca_certificate))
    error_message = "endpoint.ca_certificate must be PEM text, beginning with -----BEGIN CERTIFICATE-----."
  }
}

variable "cloudflared_image" {
  description = "Image of cloudflared, pinned by digest."
  type        = string
  default     = "docker.io/cloudflare/cloudflared:2026.7.3@sha256:e39ee8da81ad5e05d77f38d2f51c60ca51bf2a8450ac3abab50c17fdb91d91bf"
}

variable "kubectl_image" {
  description = "Image whose kubectl serves as the last hop (`kubectl proxy`) unless that is the guarded one, pinned by digest."
  type        = string
  default     = "registry.k8s.io/kubectl:v1.37.0@sha256:5ed410ebac5dc976cc717098994dcdb29bbbd38f6bd65f582311f5be4ba719cf"
}

variable "node_image" {
  description = "Image of Node.js 22 or newer, which runs the guarded last hop, pinned by digest."
  type        = string
  default     = "docker.io/library/node:24.21.0-bookworm-slim@sha256:0e0ff40c39bc087845bfb27465a0df4ea419520094bc35842ff83dd8cbe6f9b6"
}

variable "last_hop" {
  description = "What carries requests to the API server: \"kubectl-proxy\", or \"guarded\", which takes only what the Worker signed and loses no byte when one side of a stream ends first."
  type        = string
  default     = "kubectl-proxy"
}

variable "last_hop_key_edition" {
  description = "Another number makes another key for the guarded last hop; run `npm run deploy` right after that apply."
  type        = number
  default     = 1
}

variable "replicas" {
  description = "Number of gateway pods. Two survive the loss of a node."
  type        = number
  default     = 2
}

variable "wait_for_rollout" {
  description = "Wait until the pods are ready, so that an apply that succeeds means a tunnel that is up."
  type        = bool
  default     = true
}

variable "pod_user_id" {
  description = "User and group ID of the pods' processes. null leaves them to the platform: OpenShift hands out its own."
  type        = number
  default     = 65532
}

variable "network_policy" {
  description = "Make the NetworkPolicy that shuts the pods off from everything but DNS, the tunnel and the API server."
  type        = bool
  default     = true
}

variable "api_server" {
  description = "Where the pods may reach the API server: the ports behind the Service `kubernetes`, and its addresses when they are known and stable. Without addresses: anywhere."
  type = object({
    cidrs = optional(set(string), [])
    ports = optional(set(number), [443, 6443])
  })
  default = {}
}

variable "metrics_namespace" {
  description = "Namespace whose pods may scrape cloudflared's metrics (port 2000). Nobody may by default."
  type        = string
  default     = null
}
