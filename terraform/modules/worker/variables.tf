variable "account_id" {
  description = "Cloudflare account ID."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.account_id))
    error_message = "account_id must be the account's 32 hexadecimal digits, lower case."
  }
}

variable "hostname" {
  description = "The host name that kubectl will call, in a zone of this account."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+([a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$", var.hostname)) && !endswith(var.hostname, ".workers.dev")
    error_message = "hostname must be a bare host name in lower case, such as \"kube.example.com\": no scheme, port, path or wildcard, and not under workers.dev."
  }
}

variable "machines_hostname" {
  description = "The host name that programs with a service token call, or null: without one they cannot pass Access."
  type        = string
  default     = null

  validation {
    condition     = var.machines_hostname == null || (can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+([a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$", var.machines_hostname)) && !endswith(coalesce(var.machines_hostname, "-"), ".workers.dev"))
    error_message = "machines_hostname must be a bare host name in lower case, such as \"kube-ci.example.com\": no scheme, port, path or wildcard, and not under workers.dev."
  }

  validation {
    condition     = var.machines_hostname != var.hostname
    error_message = "machines_hostname must be another name than hostname: people sign in by WARP there, which an application for service tokens cannot have."
  }
}

variable "worker_name" {
  description = "The Worker's name, as in wrangler.toml."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.worker_name))
    error_message = "worker_name must have 1 to 63 lower-case letters, digits and hyphens."
  }
}

variable "tunnel_id" {
  description = "The tunnel that leads to the gateway pods."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.tunnel_id))
    error_message = "tunnel_id must be a UUID."
  }
}

variable "api_port" {
  description = "Port on which the last hop listens inside the gateway pod."
  type        = number

  validation {
    condition     = var.api_port >= 1 && var.api_port <= 65535 && floor(var.api_port) == var.api_port
    error_message = "api_port must be a whole number from 1 to 65535."
  }
}

variable "kube_api_host" {
  description = "How the tunnel finds the last hop in its own pod: by address, \"127.0.0.1\", or by name, \"localhost\"."
  type        = string
  default     = "127.0.0.1"

  validation {
    condition     = contains(["127.0.0.1", "localhost"], var.kube_api_host)
    error_message = "kube_api_host must be \"127.0.0.1\" or \"localhost\": the last hop listens nowhere else."
  }
}

variable "allow" {
  description = "Who passes Cloudflare Access. At least one entry is required."
  type = object({
    emails            = optional(set(string), [])
    email_domains     = optional(set(string), [])
    group_ids         = optional(set(string), [])
    service_token_ids = optional(set(string), [])
  })

  validation {
    condition     = length(setunion(var.allow.emails, var.allow.email_domains, var.allow.group_ids, var.allow.service_token_ids)) > 0
    error_message = "allow must name at least one email, email domain, group or service token: an empty policy would lock everybody out."
  }

  validation {
    condition     = alltrue([for email in var.allow.emails : can(regex("^[^@\\s*,]+@[^@\\s*,]+\\.[^@\\s*,]+$", email))])
    error_message = "allow.emails must hold whole addresses, such as \"alice@example.com\"; for everybody of a domain use allow.email_domains."
  }

  validation {
    condition     = alltrue([for domain in var.allow.email_domains : can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+([a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$", domain))])
    error_message = "allow.email_domains must hold bare domains in lower case, such as \"example.com\": no @, no wildcard."
  }

  validation {
    condition = alltrue([
      for id in setunion(var.allow.group_ids, var.allow.service_token_ids) :
      can(regex("^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$", id))
    ])
    error_message = "allow.group_ids and allow.service_token_ids must hold IDs (UUIDs), not names or client IDs."
  }

  validation {
    condition     = length(var.allow.service_token_ids) == 0 || var.machines_hostname != null
    error_message = "allow.service_token_ids needs machines_hostname, a host name for programs alone, such as \"kube-ci.example.com\": the one of the people has the sign-in by WARP."
  }
}

variable "session_duration" {
  description = "How long an Access session lasts before its owner signs in again."
  type        = string

  validation {
    condition     = can(regex("^([1-9][0-9]*h)?([1-9][0-9]*m)?$", var.session_duration)) && var.session_duration != ""
    error_message = "session_duration must be hours and minutes, such as \"8h\", \"30m\" or \"1h30m\"."
  }
}

variable "warp_authentication" {
  description = "Accept the sign-in of the Cloudflare One Client (WARP). null leaves it to the account."
  type        = bool
  default     = null
}

variable "without_warp" {
  description = "Switch on managed OAuth, by which `kubectl access login` lets in people without the Cloudflare One Client (WARP)."
  type        = bool
  default     = false
}

variable "identities_kv" {
  description = "Make a KV namespace for identities that are granted or revoked without a deploy."
  type        = bool
}

variable "sessions" {
  description = "Make the R2 bucket for recordings of streams."
  type        = bool
}

variable "recordings_bucket" {
  description = "Name of the bucket of recordings."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.recordings_bucket))
    error_message = "recordings_bucket must have 3 to 63 lower-case letters, digits and hyphens, and no hyphen at either end."
  }
}

variable "recordings_retention" {
  description = "The days in which nobody can delete or overwrite a recording. 0 or null: no such time."
  type        = number

  # Ten years: seconds in the place of days would lock for longer than anybody meant.
  validation {
    condition     = var.recordings_retention == null ? true : var.recordings_retention >= 0 && var.recordings_retention <= 3650 && floor(var.recordings_retention) == var.recordings_retention
    error_message = "recordings_retention must be a whole number of days, from 0 to 3650."
  }
}

variable "recordings_location" {
  description = "Where Cloudflare should keep the bucket, if it can. null leaves it to Cloudflare."
  type        = string
  default     = null

  validation {
    condition     = var.recordings_location == null ? true : contains(["apac", "eeur", "enam", "oc", "weur", "wnam"], var.recordings_location)
    error_message = "recordings_location must be \"apac\", \"eeur\", \"enam\", \"oc\", \"weur\" or \"wnam\"."
  }
}
