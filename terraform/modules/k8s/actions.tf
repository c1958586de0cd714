# What may be done through the gateway at all, whoever asks: in constrained impersonation the API server wants that said. It is
# everything, less what guards for everybody take away, so that the cluster holds to those guards even without the Worker.
#
# RBAC only adds. So a verb of which nothing is taken is given for whatever there is, and any other for each resource by itself: those
# of Kubernetes, which api-resources.json lists, and those of custom_resources. A rule of a guard with namespaces or names cannot be
# said so; the Worker alone holds to it. What a node would serve of it all the same is taken away here too.

locals {
  on        = "impersonate-on:user-info:"
  verbs     = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
  url_verbs = ["get", "head", "post", "put", "patch", "delete"]
  streams   = ["attach", "exec", "portforward"]

  # What no guard takes away: kubectl would not work.
  discovery = ["/api", "/api/*", "/apis", "/apis/*", "/openapi/*", "/version", "/version/"]
  self_reviews = [
    "authentication.k8s.io selfsubjectreviews",
    "authorization.k8s.io selfsubjectaccessreviews",
    "authorization.k8s.io selfsubjectrulesreviews",
  ]
  other_urls = [
    "/", "/.well-known/*", "/debug/*", "/healthz", "/healthz/*", "/livez", "/livez/*", "/logs", "/logs/*", "/metrics", "/metrics/*",
    "/openid/v1/jwks", "/readyz", "/readyz/*",
  ]

  everybodys = [for guard in var.guards : guard if guard.whom == null]
  read_only  = anytrue([for guard in local.everybodys : guard.allow == "read-only"])
  denied     = flatten([for guard in local.everybodys : guard.deny])

  # Those for resources, as regular expressions: "pods*", "*/scale".
  rules = flatten([
    for guard in local.everybodys : [
      for rule in guard.deny : {
        guard      = guard.name
        is_sayable = rule.namespaces == null && rule.names == null
        verbs      = contains(rule.verbs, "*") ? local.verbs : rule.verbs
        groups     = "^(${join("|", [for group in rule.api_groups : replace(replace(group, ".", "\\."), "*", ".*")])})$"
        resources = "^(${join("|", [
          for resource in rule.resources :
          startswith(resource, "*/") ? "[^/]+/${replace(trimprefix(resource, "*/"), "*", ".*")}" : replace(resource, "*", ".*")
        ])})$"
        # Whether a stream may be among them. Of Kubernetes' own groups only the core group has any; a custom one may.
        has_streams = length(setsubtract(rule.api_groups, setsubtract(keys(local.own_resources), [""]))) > 0 && anytrue([
          for resource in rule.resources : !strcontains(resource, "/") ? endswith(resource, "*") : anytrue([
            for stream in local.streams : can(regex("^${replace(split("/", resource)[1], "*", ".*")}$", stream))
          ])
        ])
      } if rule.resources != null
    ]
  ])

  # What a node's kubelet serves of every pod of the node, in every namespace: who reaches it needs no right to the pod. A guard that
  # denies any of that denies nodes/proxy, here by the verbs that a kubelet serves (k8s.io/kubernetes/pkg/kubelet/server): each verb that is
  # denied costs the custom resources that are not listed.
  of_nodes = {
    "pods"             = ["get", "list", "watch"]
    "pods/attach"      = ["create"]
    "pods/exec"        = ["create"]
    "pods/log"         = ["get"]
    "pods/portforward" = ["create"]
  }
  against_nodes = distinct([
    for rule in local.rules : rule.guard if can(regex(rule.groups, "")) && anytrue([
      for resource, verbs in local.of_nodes : can(regex(rule.resources, resource)) && length(setintersection(rule.verbs, verbs)) > 0
    ])
  ])
  denials = concat(
    [for rule in local.rules : rule if rule.is_sayable],
    [for guard in local.against_nodes : { verbs = ["create", "get"], groups = "^$", resources = "^nodes/proxy$", has_streams = false }],
  )

  # kubectl's exec is a GET, which `get` of everything would let through.
  touched = [
    for verb in local.verbs : verb if local.read_only || anytrue([
      for denial in local.denials :
      contains(denial.verbs, verb) || (verb == "get" && contains(denial.verbs, "create") && denial.has_streams)
    ])
  ]
  free = setsubtract(local.verbs, local.touched)

  own_resources = jsondecode(file("${path.module}/api-resources.json"))
  catalogue = {
    for group in setunion(keys(local.own_resources), keys(var.custom_resources)) :
    group => setunion(lookup(local.own_resources, group, []), lookup(var.custom_resources, group, []))
  }

  # Group, then the verbs that are left of the touched ones, then the resources of which these are left.
  left = {
    for group, resources in local.catalogue : group => {
      for resource in resources : join(",", [
        for verb in local.touched : "${local.on}${verb}"
        if contains(local.self_reviews, "${group} ${resource}") ? !local.read_only || verb == "create" : (
          (!local.read_only || (
            contains(["get", "list", "watch"], verb) && split("/", resource)[0] != "secrets" &&
            !contains(concat(local.streams, ["proxy"]), try(split("/", resource)[1], ""))
          )) &&
          # A stream is authorised as create, whatever the method.
          !anytrue([
            for denial in local.denials : can(regex(denial.groups, group)) && can(regex(denial.resources, resource)) &&
            contains(denial.verbs, verb == "get" && contains(local.streams, try(split("/", resource)[1], "")) ? "create" : verb)
          ])
        )
      ]) => resource...
    }
  }
  actions = concat(
    length(local.free) > 0 ? [{ api_group = "*", resources = ["*"], verbs = [for verb in local.free : "${local.on}${verb}"] }] : [],
    flatten([
      for group, by_verbs in local.left : [
        for verbs, resources in by_verbs : { api_group = group, resources = sort(resources), verbs = split(",", verbs) } if verbs != ""
      ]
    ]),
  )

  denied_urls = {
    for verb in local.url_verbs : verb => flatten([
      # To a server of such URLs a slash at the end changes nothing.
      for rule in local.denied : [for url in rule.non_resource_urls : endswith(url, "*") ? [url] : [url, "${url}/"]]
      if rule.non_resource_urls != null && (contains(rule.verbs, "*") || contains(rule.verbs, verb))
    ])
  }
  touched_url_verbs = [for verb in local.url_verbs : verb if local.read_only || length(local.denied_urls[verb]) > 0]
  free_url_verbs    = setsubtract(local.url_verbs, local.touched_url_verbs)
  urls = concat(
    length(local.free_url_verbs) > 0 ? [{ urls = ["*"], verbs = [for verb in local.free_url_verbs : "${local.on}${verb}"] }] : [],
    [
      for verb in local.touched_url_verbs : {
        verbs = ["${local.on}${verb}"]
        urls = [
          for url in concat(local.discovery, local.other_urls) : url
          if(contains(["get", "head"], verb) && contains(local.discovery, url)) || (!local.read_only && !anytrue([
            # Whether the two have a path in common.
            for denied in local.denied_urls[verb] :
            trimsuffix(denied, "*") == trimsuffix(url, "*") ||
            (endswith(denied, "*") && startswith(url, trimsuffix(denied, "*"))) ||
            (endswith(url, "*") && startswith(denied, trimsuffix(url, "*")))
          ]))
        ]
      }
    ],
  )
}
