variable "account_id" {
  description = "Cloudflare account ID."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.account_id))
    error_message = "account_id must be the account's 32 hexadecimal digits, lower case."
  }
}

variable "tunnel_name" {
  description = "Name of the tunnel in the Cloudflare dashboard."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9 _-]{0,99}$", var.tunnel_name))
    error_message = "tunnel_name must have 1 to 100 letters, digits, blanks, hyphens and underscores."
  }
}

variable "identities" {
  description = "The identity map's entries: the users and groups that the gateway may impersonate."
  type = list(object({
    email                = optional(string)
    email_domain         = optional(string)
    service_token        = optional(string)
    idp_group            = optional(string)
    idp                  = optional(string)
    user                 = optional(string)
    groups               = optional(list(string), [])
    allow_system_masters = optional(bool, false)
    act_as = optional(object({
      users           = optional(list(string), [])
      groups          = optional(list(string), [])
      uids            = optional(list(string), [])
      extras          = optional(list(string), [])
      reason_required = optional(bool, false)
    }), {})
    expires = optional(string)
  }))

  validation {
    condition     = length(var.identities) > 0
    error_message = "identities must not be empty: nobody could enter."
  }

  validation {
    condition = alltrue([
      for identity in var.identities :
      length([for caller in [identity.email, identity.email_domain, identity.service_token, identity.idp_group] : caller if caller != null]) == 1
    ])
    error_message = "identities: each entry must have exactly one of email, email_domain, service_token and idp_group."
  }

  validation {
    condition = alltrue([
      for identity in var.identities :
      identity.idp_group != null || (identity.user != null && identity.idp == null)
    ])
    error_message = "identities: an entry must have a user unless it has idp_group, and idp goes with idp_group."
  }

  validation {
    condition = alltrue([
      for identity in var.identities :
      !identity.allow_system_masters || identity.email != null || identity.service_token != null
    ])
    error_message = "identities: allow_system_masters goes with email or service_token alone: a whole domain, or a group of the identity provider, gives nothing of the system."
  }

  # Printable ASCII without a comma, no blank at either end.
  validation {
    condition = alltrue([
      for name in flatten([
        for identity in var.identities :
        concat(identity.user == null ? [] : [identity.user], identity.groups, identity.act_as.users, identity.act_as.groups, identity.act_as.uids)
      ]) : can(regex("^[!-+\\--~]([ -+\\--~]{0,254}[!-+\\--~])?$", name))
    ])
    error_message = "identities: users, groups and UIDs must be 1 to 256 printable ASCII characters without a comma, and without a blank at either end."
  }

  validation {
    condition = alltrue([
      for identity in var.identities :
      !startswith(lower(replace(coalesce(identity.user, "-"), "{email}", coalesce(identity.email, "-"))), "system:") && alltrue([
        for group in identity.groups : !startswith(lower(group), "system:") || (group == "system:masters" && identity.allow_system_masters)
        ]) && alltrue([
        for name in concat(identity.act_as.users, identity.act_as.groups, identity.act_as.uids) : !startswith(lower(name), "system:")
      ])
    ])
    error_message = "identities: names that begin with \"system:\" are Kubernetes' own. Only the group system:masters can be given, by an entry that also says allow_system_masters: true."
  }

  validation {
    condition = alltrue([
      for identity in var.identities :
      length(split("{email}", coalesce(identity.user, "-"))) <= (identity.service_token == null ? 2 : 1)
    ])
    error_message = "identities: \"{email}\" may stand once in the user of an entry, and never in that of a service token."
  }

  validation {
    condition = alltrue([
      for name in flatten([
        for identity in var.identities : concat(identity.groups, identity.act_as.users, identity.act_as.groups, identity.act_as.uids)
      ]) : !strcontains(name, "{email}")
    ])
    error_message = "identities: \"{email}\" stands for the caller's address in an entry's user alone, not in groups and not in act_as."
  }

  validation {
    condition = alltrue([
      for key in flatten(var.identities[*].act_as.extras) :
      can(regex("^[a-z0-9._-]*[.][a-z0-9._-]*/[a-z0-9._/-]*[a-z0-9._-]$", key)) && !startswith(key, "kube-access.dev/")
    ])
    error_message = "identities: an extra of act_as must be a path below a domain in lower case, such as \"example.com/ticket\", and kube-access.dev is the gateway's own."
  }
}

variable "guards" {
  description = "The guards; `whom` is their `for`. The cluster enforces those for everybody too, in constrained impersonation."
  type = list(object({
    name  = string
    whom  = optional(object({ users = optional(list(string), []), groups = optional(list(string), []) }))
    allow = optional(string)
    deny = optional(list(object({
      api_groups        = optional(list(string), ["*"])
      resources         = optional(list(string))
      verbs             = optional(list(string), ["*"])
      namespaces        = optional(list(string))
      names             = optional(list(string))
      non_resource_urls = optional(list(string))
    })), [])
    record      = optional(string)
    max_session = optional(string)
    max_bytes   = optional(string)
    streams     = optional(object({ namespaces = optional(list(string)), names = optional(list(string)) }))
  }))
  default = []

  validation {
    condition     = alltrue([for guard in var.guards : guard.allow == null || guard.allow == "read-only"])
    error_message = "guards: allow must be \"read-only\"."
  }

  validation {
    condition = alltrue([
      for guard in var.guards :
      guard.allow != null || length(guard.deny) > 0 || guard.record != null || guard.max_session != null
    ])
    error_message = "guards: a guard that takes nothing away: it must have deny, allow, record or max_session."
  }

  validation {
    condition     = alltrue([for guard in var.guards : contains(["true", "input"], guard.record) if guard.record != null])
    error_message = "guards: record must be true, or input, which keeps what is typed as well; left out, nothing is recorded."
  }

  validation {
    condition = alltrue([
      for seconds in [
        for guard in var.guards : try(sum([
          for index, count in regex("^(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?$", guard.max_session) :
          count == null ? 0 : count * [3600, 60, 1][index]
        ]), 0) if guard.max_session != null
      ] : seconds >= 10 && seconds <= 168 * 3600
    ])
    error_message = "guards: max_session must be hours, minutes and seconds, such as 4h, 90m or 1h30m, from 10s to 168h."
  }

  validation {
    condition = alltrue([
      for kib in [
        for guard in var.guards :
        try(regex("^([0-9]{1,6})[KM]iB$", guard.max_bytes)[0] * (endswith(guard.max_bytes, "MiB") ? 1024 : 1), 0) if guard.max_bytes != null
      ] : kib >= 64 && kib <= 96 * 1024
    ])
    error_message = "guards: max_bytes must be KiB or MiB, such as 512KiB or 64MiB, from 64KiB to 96MiB."
  }

  validation {
    condition = alltrue([
      for guard in var.guards :
      guard.record != null || guard.max_session != null || (guard.max_bytes == null && guard.streams == null)
    ])
    error_message = "guards: max_bytes and streams take nothing away by themselves: a guard must have record or max_session beside them."
  }

  validation {
    condition = alltrue([
      for streams in [for guard in var.guards : guard.streams if guard.streams != null] :
      (streams.namespaces != null || streams.names != null) && alltrue([
        for list in [streams.namespaces, streams.names] : try(length(list), 1) > 0
      ])
    ])
    error_message = "guards: streams must have namespaces or names, and no empty list, which can never match."
  }

  validation {
    condition = alltrue([
      for streams in [for guard in var.guards : guard.streams if guard.streams != null] : alltrue(concat(
        [for namespace in coalesce(streams.namespaces, []) : can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?|([a-z0-9][a-z0-9-]*)?[*])$", namespace))],
        [for name in coalesce(streams.names, []) : name != "" && can(regex("^[!-$&-)+.0-~-]*[*]?$", name))],
      ))
    ])
    error_message = "guards: namespaces and names of streams must be the name of one, or with a * at its end."
  }

  validation {
    condition     = alltrue([for rule in flatten(var.guards[*].deny) : (rule.resources == null) != (rule.non_resource_urls == null)])
    error_message = "guards: a rule must have either resources or non_resource_urls."
  }

  validation {
    condition = alltrue([
      for verb in flatten([for rule in flatten(var.guards[*].deny) : rule.verbs]) :
      contains(["*", "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "head", "post", "put"], verb)
    ])
    error_message = "guards: verbs must be RBAC's, in lower case, or \"*\"."
  }

  # Nothing that would mean something else in a regular expression.
  validation {
    condition = alltrue([
      for group in flatten(var.guards[*].deny[*].api_groups) :
      can(regex("^(|[a-z0-9]([a-z0-9.-]*[a-z0-9])?|([a-z0-9][a-z0-9.-]*)?[*])$", group))
    ])
    error_message = "guards: api_groups must be in lower case, without a version, with a * at their end at most; \"\" is the core group."
  }

  validation {
    condition = alltrue([
      for resource in flatten([for rule in flatten(var.guards[*].deny) : coalesce(rule.resources, [])]) :
      can(regex("^(([*]|[a-z0-9]([a-z0-9-]*[a-z0-9])?)/)?([a-z0-9]([a-z0-9-]*[a-z0-9])?|([a-z0-9][a-z0-9-]*)?[*])$", resource))
    ])
    error_message = "guards: resources must be plurals in lower case, such as pods, pods/exec, */scale, pods/* or \"*\"; their group stands in api_groups."
  }

  validation {
    condition = alltrue([
      for namespace in flatten([for rule in flatten(var.guards[*].deny) : coalesce(rule.namespaces, [])]) :
      can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?|([a-z0-9][a-z0-9-]*)?[*])$", namespace))
    ])
    error_message = "guards: namespaces of a rule must be the name of one, or with a * at its end."
  }

  validation {
    condition = alltrue([
      for url in flatten([for rule in flatten(var.guards[*].deny) : coalesce(rule.non_resource_urls, [])]) :
      can(regex("^[*]$|^/[!-~]*$", url)) && !can(regex("[*].|[,?#%\\\\]|/[.]{0,2}/|/[.]{1,2}$|./$", url))
    ])
    error_message = "guards: non_resource_urls must be paths such as /metrics, /metrics/* or \"*\", without empty, \".\" and \"..\" segments, and without a slash at their end, which changes nothing."
  }
}

variable "grants" {
  description = "Names that Workers KV may hand out, beside those of the entries."
  type = object({
    users  = optional(set(string), [])
    groups = optional(set(string), [])
  })
  default = {}

  validation {
    condition = alltrue([
      for name in setunion(var.grants.users, var.grants.groups) :
      can(regex("^[!-+\\--~]([ -+\\--~]{0,254}[!-+\\--~])?$", name)) && !startswith(lower(name), "system:") && !strcontains(name, "{email}")
    ])
    error_message = "grants must name users and groups in printable ASCII without commas, none of which begins with \"system:\" or holds \"{email}\", which stands in an entry's user alone."
  }
}

variable "impersonation" {
  description = "How the API server lets the gateway impersonate: \"constrained\" (Kubernetes 1.36 or newer), which also holds it to what may be done, or \"legacy\"."
  type        = string
  default     = "constrained"

  validation {
    condition     = contains(["constrained", "legacy"], var.impersonation)
    error_message = "impersonation must be \"constrained\" or \"legacy\"."
  }

  validation {
    condition     = var.impersonation != "constrained" || !contains(flatten(var.identities[*].groups), "system:masters")
    error_message = "In constrained impersonation the API server refuses the group system:masters, which an entry gives: set impersonation = \"legacy\", or bind a group of your own to cluster-admin."
  }
}

variable "custom_resources" {
  description = "Resources that are not Kubernetes' own, by API group: {\"cert-manager.io\" = [\"certificates\", \"certificates/status\"]}. Needed in constrained impersonation where a guard for everybody denies something: only what is listed keeps the verbs that it denies elsewhere."
  type        = map(set(string))
  default     = {}

  validation {
    # A star would give what a guard takes away.
    condition = alltrue(flatten([
      for group, resources in var.custom_resources :
      [can(regex("^[a-z0-9.-]*$", group)), [for resource in resources : can(regex("^[a-z0-9.-]+(/[a-z0-9.-]+)?$", resource))]]
    ]))
    error_message = "custom_resources must name each API group without its version, each resource in the plural, and each subresource as in \"certificates/status\"."
  }
}

variable "impersonate_any_user" {
  description = "Let the gateway impersonate every user name, for a map that gives a whole domain or a group of the identity provider the user \"{email}\"."
  type        = bool
  default     = false

  validation {
    condition = var.impersonate_any_user || alltrue([
      for identity in var.identities :
      (identity.email_domain == null && identity.idp_group == null) || !strcontains(coalesce(identity.user, "-"), "{email}")
    ])
    error_message = "identities has an email_domain or an idp_group whose user contains \"{email}\": RBAC cannot name users that are not known yet. Set impersonate_any_user = true to let the gateway impersonate any user name (groups stay limited to the map), or name a fixed user."
  }
}

variable "cloudflared_image" {
  description = "Image of cloudflared, pinned by digest. 2025.7.0 or newer: Workers VPC asks for it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.-]+(:[0-9]+)?/[^@\\s]+@sha256:[0-9a-f]{64}$", var.cloudflared_image))
    error_message = "cloudflared_image must name a registry and be pinned by digest: docker.io/cloudflare/cloudflared:VERSION@sha256:DIGEST."
  }
}

variable "kubectl_image" {
  description = "Image with kubectl as its entry point, pinned by digest."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.-]+(:[0-9]+)?/[^@\\s]+@sha256:[0-9a-f]{64}$", var.kubectl_image))
    error_message = "kubectl_image must name a registry and be pinned by digest: registry.k8s.io/kubectl:VERSION@sha256:DIGEST."
  }
}

variable "node_image" {
  description = "Image of Node.js 22 or newer, for the guarded last hop, pinned by digest."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.-]+(:[0-9]+)?/[^@\\s]+@sha256:[0-9a-f]{64}$", var.node_image))
    error_message = "node_image must name a registry and be pinned by digest: docker.io/library/node:VERSION@sha256:DIGEST."
  }
}

variable "last_hop" {
  description = "What carries requests to the API server: \"kubectl-proxy\", or \"guarded\", which takes only what the Worker signed and loses no byte when one side of a stream ends first."
  type        = string
  default     = "kubectl-proxy"

  validation {
    condition     = contains(["kubectl-proxy", "guarded"], var.last_hop)
    error_message = "last_hop must be \"kubectl-proxy\" or \"guarded\"."
  }
}

variable "last_hop_key_edition" {
  description = "Another number makes another key for the guarded last hop; run `npm run deploy` right after that apply."
  type        = number
  default     = 1

  validation {
    condition     = floor(var.last_hop_key_edition) == var.last_hop_key_edition
    error_message = "last_hop_key_edition must be a whole number."
  }
}

variable "replicas" {
  description = "Number of gateway pods."
  type        = number

  validation {
    condition     = var.replicas >= 1 && var.replicas <= 25 && floor(var.replicas) == var.replicas
    error_message = "replicas must be a whole number from 1 to 25, the most connectors that one tunnel takes."
  }
}

variable "wait_for_rollout" {
  description = "Wait until the pods are ready."
  type        = bool
  default     = true
}

variable "pod_user_id" {
  description = "User and group ID of the pods' processes. null leaves them to the platform: OpenShift hands out its own."
  type        = number
  default     = 65532

  validation {
    condition     = var.pod_user_id == null ? true : var.pod_user_id >= 1 && var.pod_user_id <= 2147483647 && floor(var.pod_user_id) == var.pod_user_id
    error_message = "pod_user_id must be a whole number from 1, since the namespace takes no root, or null."
  }
}

variable "network_policy" {
  description = "Make the NetworkPolicy."
  type        = bool
  default     = true
}

variable "api_server" {
  description = "Ports at which the pods may reach the API server, and its addresses; without addresses, anywhere."
  type = object({
    cidrs = optional(set(string), [])
    ports = optional(set(number), [443, 6443])
  })
  default = {}

  validation {
    condition     = alltrue([for cidr in var.api_server.cidrs : can(cidrhost(cidr, 0))])
    error_message = "api_server.cidrs must hold ranges, such as \"10.245.0.1/32\"."
  }

  validation {
    condition = length(var.api_server.ports) > 0 && alltrue([
      for port in var.api_server.ports : port >= 1 && port <= 65535 && floor(port) == port
    ])
    error_message = "api_server.ports must hold at least one port from 1 to 65535."
  }
}

variable "metrics_namespace" {
  description = "Namespace whose pods may scrape cloudflared's metrics, or null."
  type        = string
  default     = null

  validation {
    condition     = var.metrics_namespace == null || can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.metrics_namespace))
    error_message = "metrics_namespace must be the name of a namespace."
  }
}
