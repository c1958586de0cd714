//! RBAC's words, as guards use them.
//!
//! `build.rs` compiles this file too: a guard is checked by the words by which it is read.

/// The verbs of requests for resources, then what methods are called at other URLs, where they have another name.
pub const VERBS: [&str; 11] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "head", "post", "put"];

/// The verbs of requests for resources, as a set of [`bit`]s.
pub const OF_RESOURCES: u16 = 0x0ff;

/// The verbs of other URLs: get, patch, delete, head, post and put.
pub const OF_URLS: u16 = 0x761;

/// What opens a stream to a container. It is authorised as `create`, by whatever method it is asked for.
pub const STREAMS: [&str; 3] = ["attach", "exec", "portforward"];

/// How a compiled guard writes the core group, whose name is empty.
pub const CORE_GROUP: &str = ".";

/// The API group of what the gateway has itself: its grants and its sessions. It exists for RBAC and guards alone.
pub const OWN_GROUP: &str = "kube-access.dev";

/// What anybody may ask about themselves, by group and resource. No guard takes it away: kubectl would not work.
pub const SELF_REVIEWS: [(&str, &str); 3] = [
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];

/// Kubernetes' own resources that are in no namespace. A list of any other one, without a namespace, is a list of all namespaces.
#[rustfmt::skip]
pub const CLUSTER_SCOPED: [&str; 34] = [
    "apiservices", "certificatesigningrequests", "clusterrolebindings", "clusterroles", "clustertrustbundles",
    "componentstatuses", "csidrivers", "csinodes", "customresourcedefinitions", "deviceclasses", "devicetaintrules",
    "flowschemas", "ingressclasses", "ipaddresses", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations", "namespaces", "nodes", "persistentvolumes", "priorityclasses",
    "prioritylevelconfigurations", "resourceslices", "runtimeclasses", "selfsubjectreviews", "servicecidrs", "storageclasses",
    "storageversionmigrations", "storageversions", "validatingadmissionpolicies", "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations", "volumeattachments", "volumeattributesclasses",
];

/// The place of a verb in a set; nothing for no verb, or for one that no request has.
#[must_use]
pub fn bit(verb: &str) -> u16 {
    VERBS.iter().position(|known| *known == verb).map_or(0, |index| 1 << index)
}

/// Whether a resource of this group is in no namespace: one of Kubernetes' own, or of the gateway's.
#[must_use]
pub fn is_cluster_scoped(group: &str, resource: &str) -> bool {
    let is_own = || (group.is_empty() || group.ends_with(".k8s.io")) && CLUSTER_SCOPED.contains(&resource);
    group == OWN_GROUP || is_own()
}

/// Whether a path belongs to discovery. No guard takes it away: kubectl would not work.
#[must_use]
pub fn is_discovery(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    matches!(path, "/api" | "/apis" | "/version")
        || ["/api/", "/apis/", "/openapi/"].iter().any(|part| path.starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_hold_the_verbs_that_they_say() {
        let of = |verbs: &[&str]| verbs.iter().fold(0, |set, verb| set | bit(verb));
        assert_eq!(OF_RESOURCES, of(&VERBS[..8]));
        assert_eq!(OF_URLS, of(&["get", "patch", "delete", "head", "post", "put"]));
        assert_eq!((bit("impersonate"), bit("GET"), bit("")), (0, 0, 0));
    }

    #[test]
    fn the_resources_in_no_namespace_are_kubernetes_own_and_the_gateways() {
        assert!(is_cluster_scoped(OWN_GROUP, "sessions") && is_cluster_scoped(OWN_GROUP, "grants"));
        assert!(is_cluster_scoped("", "nodes") && is_cluster_scoped("storage.k8s.io", "csinodes"));
        assert!(!is_cluster_scoped("longhorn.io", "nodes") && !is_cluster_scoped("", "pods"));
    }
}
