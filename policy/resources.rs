//! Kubernetes' own resources, so that a guard that means one of them and names none is told so.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Kubernetes' own resources and subresources by API group, as an API server lists them.
static CATALOGUE: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("../terraform/modules/k8s/api-resources.json")).unwrap_or_default()
});

/// Group, then its resources in the plural, each with kubectl's short names after a colon. `kubectl api-resources` lists them.
#[rustfmt::skip]
const RESOURCES: &[(&str, &str)] = &[
    ("", "bindings componentstatuses:cs configmaps:cm endpoints:ep events:ev limitranges:limits namespaces:ns nodes:no \
          persistentvolumeclaims:pvc persistentvolumes:pv pods:po podtemplates replicationcontrollers:rc resourcequotas:quota \
          secrets serviceaccounts:sa services:svc"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies mutatingadmissionpolicybindings mutatingwebhookconfigurations \
          validatingadmissionpolicies validatingadmissionpolicybindings validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions:crd"),
    ("apiregistration.k8s.io", "apiservices"),
    ("apps", "controllerrevisions daemonsets:ds deployments:deploy replicasets:rs statefulsets:sts"),
    ("authentication.k8s.io", "selfsubjectreviews tokenreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews subjectaccessreviews"),
    ("autoscaling", "horizontalpodautoscalers:hpa"),
    ("batch", "cronjobs:cj jobs"),
    ("certificates.k8s.io", "certificatesigningrequests:csr clustertrustbundles podcertificaterequests"),
    ("coordination.k8s.io", "leasecandidates leases"),
    ("discovery.k8s.io", "endpointslices"),
    ("events.k8s.io", "events:ev"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas prioritylevelconfigurations"),
    ("internal.apiserver.k8s.io", "storageversions"),
    ("metrics.k8s.io", "nodes pods"),
    ("networking.k8s.io", "ingressclasses ingresses:ing ipaddresses:ip networkpolicies:netpol servicecidrs"),
    ("node.k8s.io", "runtimeclasses"),
    ("policy", "poddisruptionbudgets:pdb"),
    ("rbac.authorization.k8s.io", "clusterrolebindings clusterroles rolebindings roles"),
    ("resource.k8s.io", "deviceclasses devicetaintrules resourceclaims resourceclaimtemplates resourceslices"),
    ("scheduling.k8s.io", "priorityclasses:pc"),
    ("storage.k8s.io", "csidrivers csinodes csistoragecapacities storageclasses:sc volumeattachments volumeattributesclasses"),
    ("storagemigration.k8s.io", "storageversionmigrations"),
];

/// Those whose objects are named otherwise than by a domain in lower case.
#[rustfmt::skip]
const FREELY_NAMED: [&str; 7] = [
    "apiservices", "clusterrolebindings", "clusterroles", "clustertrustbundles", "ipaddresses", "rolebindings", "roles",
];

/// The groups that have this resource, if it is one of Kubernetes' own.
pub(super) fn groups_of(resource: &str) -> Vec<&'static str> {
    named().filter(|(_, plural, _)| *plural == resource).map(|(group, ..)| group).collect()
}

/// The subresources of one of Kubernetes' own resources, as far as they are known.
pub(super) fn subresources_of(resource: &str) -> Vec<&'static str> {
    let of_resource = |name: &'static String| name.strip_prefix(resource)?.strip_prefix('/');
    CATALOGUE.values().flatten().filter_map(of_resource).collect()
}

/// What a rule names by one text in these API groups (without any, in all), where it can only be Kubernetes' own: group, and
/// `pods` or `pods/exec`. Nothing where a custom resource may be meant.
pub(super) fn meant_by(text: &str, groups: &[&str]) -> Option<Vec<(&'static str, &'static str)>> {
    let name = text.split('/').next().unwrap_or_default();
    let is_open =
        if groups.is_empty() { groups_of(name).is_empty() } else { !groups.iter().all(|group| is_own(group)) };
    if is_open {
        return None;
    }
    let is_meant = |(group, own): &(&str, &str)| (groups.is_empty() || groups.contains(group)) && matches(text, own);
    let listed = CATALOGUE.iter().flat_map(|(group, all)| all.iter().map(move |own| (group.as_str(), own.as_str())));
    Some(listed.chain(named().map(|(group, plural, _)| (group, plural))).filter(is_meant).collect())
}

/// Whether a rule's text names a resource: `pods`, `pods*`, `*/scale`. `src/guard/pattern.rs` reads it alike.
pub(super) fn matches(text: &str, resource: &str) -> bool {
    match text.strip_prefix("*/") {
        Some(text) => resource.split_once('/').is_some_and(|(_, subresource)| matches(text, subresource)),
        None => text.strip_suffix('*').map_or(text == resource, |start| resource.starts_with(start)),
    }
}

/// Whether objects may have names that are no domains: with capitals or colons, or a point at the end.
pub(super) fn has_free_names(resource: &str) -> bool {
    let name = resource.split('/').next().unwrap_or_default();
    // What is asked of a proxy may have a scheme and a port beside its name.
    FREELY_NAMED.contains(&name) || resource.ends_with("/proxy")
}

/// Whether this is a group of Kubernetes' own.
pub(super) fn is_own(group: &str) -> bool {
    RESOURCES.iter().any(|(own, _)| *own == group)
}

/// The plural of what is no resource, but the singular, the kind or the short name of one.
pub(super) fn plural_of(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    if !groups_of(&text).is_empty() {
        return named().map(|(_, plural, _)| plural).find(|plural| *plural == text);
    }
    let endings = |plural: &str| {
        plural.strip_suffix("ies").is_some_and(|stem| text == format!("{stem}y"))
            || plural.strip_suffix("es").is_some_and(|stem| text == stem)
            || plural.strip_suffix('s').is_some_and(|stem| text == stem)
    };
    named().find(|(_, plural, short)| *short == Some(text.as_str()) || endings(plural)).map(|(_, plural, _)| plural)
}

/// Group, plural and short name of each.
fn named() -> impl Iterator<Item = (&'static str, &'static str, Option<&'static str>)> {
    RESOURCES.iter().flat_map(|(group, resources)| {
        resources.split_ascii_whitespace().map(|resource| match resource.split_once(':') {
            Some((plural, short)) => (*group, plural, Some(short)),
            None => (*group, resource, None),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::words;
    use super::*;

    #[test]
    fn singulars_kinds_and_short_names_lead_to_the_plural() {
        for (text, plural) in [
            ("pod", "pods"),
            ("po", "pods"),
            ("Pod", "pods"),
            ("Pods", "pods"),
            ("secret", "secrets"),
            ("Ingress", "ingresses"),
            ("netpol", "networkpolicies"),
            ("networkpolicy", "networkpolicies"),
            ("deploy", "deployments"),
            ("storageclass", "storageclasses"),
        ] {
            assert_eq!(plural_of(text), Some(plural), "{text}");
        }
        assert_eq!(plural_of("certificates"), None);
    }

    #[test]
    fn subresources_are_those_that_an_api_server_lists() {
        assert_eq!(subresources_of("serviceaccounts"), ["token"]);
        assert_eq!(subresources_of("deployments"), ["scale", "status"]);
        assert!(words::STREAMS.iter().all(|stream| subresources_of("pods").contains(stream)));
        assert!(subresources_of("secrets").is_empty() && subresources_of("pod").is_empty());
    }

    #[test]
    fn every_resource_in_no_namespace_is_a_resource() {
        for resource in words::CLUSTER_SCOPED {
            let groups = groups_of(resource);
            assert!(
                !groups.is_empty() && groups.iter().all(|group| words::is_cluster_scoped(group, resource)),
                "{resource}"
            );
        }
    }

    #[test]
    fn what_a_text_names_is_known_where_it_can_only_be_kubernetes_own() {
        for (text, groups, meant) in [
            ("pods/ex*", &[][..], Some(&["pods/exec"][..])),
            ("pods/log", &[""], Some(&["pods/log"])),
            ("*/exec", &["apps"], Some(&[])),
            ("*/sc*", &["apps"], Some(&["deployments/scale", "replicasets/scale", "statefulsets/scale"])),
            ("secret*", &["apps", "batch"], Some(&[])),
            ("secrets", &["apps", ""], Some(&["secrets"])),
            ("*/exec", &[], None),
            ("pod*", &[], None),
            ("foos", &[], None),
            ("pods", &["", "example.com"], None),
            ("secrets", &["apps*"], None),
        ] {
            let names = meant_by(text, groups).map(|all| all.into_iter().map(|(_, own)| own).collect::<BTreeSet<_>>());
            assert_eq!(names, meant.map(|all| all.iter().copied().collect()), "{text} {groups:?}");
        }
    }
}
