//! Guards from the text of a policy to what is refused: what the build makes of them, and what the Worker then does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kube_access::guard::{Error, Guards};
use kube_access::target::Target;
use proptest::prelude::*;

#[path = "../src/identity/name.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the library")]
mod name;
#[path = "../policy/source.rs"]
#[allow(dead_code, reason = "shared with build.rs")]
mod source;
#[path = "../src/guard/words.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the library")]
mod words;

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// A node's proxy, in whatever spelling.
const NODES: [&str; 8] = [
    "/api/v1/nodes/n/proxy",
    "/api/v1/nodes/n/proxy/exec/prod/web/x?command=sh",
    "/api/v1/nodes/n/proxy/run/prod-1/web/c",
    "/api/v1/proxy/nodes/n",
    "/api/v1/proxy/nodes/n:10250/run/prod/web/x",
    "/api/v1/nodes/n/%70roxy/run",
    "/api/v1/watch/nodes/n/proxy/x",
    "/api/v1/namespaces/x/nodes/n/proxy/exec",
];

/// The guards of a policy whose only entry gives the user a, in the group x.
fn guards(guards: &str) -> String {
    let yaml = format!("identities: [{{email: a@b.c, user: a, groups: [x]}}]\nguards: [{guards}]\n");
    source::compile(&yaml).map_err(|error| format!("{guards}: {error}")).unwrap().guards
}

fn check(guards: &str, user: &str, method: &str, target: &str) -> Result<(), Error> {
    let guards = Guards::parse(guards);
    guards.check(&guards.held_by(user, &[]), &Target::parse(method, target).unwrap())
}

#[test]
fn case_178_what_a_node_serves_of_pods_is_refused_through_the_node_to_whom_a_guard_denies_or_records_it() {
    for fields in [
        "record: true",
        "record: input, max_session: 1m, streams: {namespaces: [prod-*], names: [web]}",
        "deny: [{resources: ['*'], namespaces: [prod-*]}]",
        "deny: [{resources: [pods/exec], namespaces: [prod-*]}]",
        "deny: [{resources: [pods/exec], verbs: [create]}]",
        "deny: [{resources: [pods/attach], names: [web]}]",
        "deny: [{resources: ['pods/port*'], verbs: [create, delete]}]",
        "deny: [{resources: ['*/log'], verbs: [get]}]",
        "deny: [{resources: ['po*'], verbs: [watch]}]",
        "deny: [{api_groups: [apps, ''], resources: [pods, deployments], verbs: [list], names: [web]}]",
        "deny: [{api_groups: ['*'], resources: [pods], verbs: ['*'], namespaces: [a]}]",
        "deny: [{resources: [secrets]}, {resources: ['pods/*']}]",
        "allow: read-only",
    ] {
        let held = guards(&format!("{{name: first, max_session: 1m}}, {{name: g, {fields}}}"));
        let of_others = guards(&format!("{{name: g, for: {{groups: [x]}}, {fields}}}"));
        for (method, target) in METHODS.iter().flat_map(|method| NODES.map(|target| (*method, target))) {
            let error = check(&held, "eve", method, target).unwrap_err();
            assert_eq!(error.guard(), "g", "{fields}: {method} {target}");
            assert!(check(&of_others, "eve", method, target).is_ok(), "{fields}: {method} {target}");
        }
        for target in ["/api/v1/nodes/n", "/api/v1/nodes/n/status", "/api/v1/namespaces/n/services/s/status"] {
            assert!(check(&held, "eve", "GET", target).is_ok(), "{fields}: {target}");
        }
    }
}

#[test]
fn what_a_node_does_not_serve_of_pods_closes_no_node() {
    for fields in [
        "max_session: 1m",
        "deny: [{resources: [secrets]}]",
        "deny: [{resources: [pods], verbs: [create, update, patch, delete, deletecollection]}]",
        "deny: [{resources: [pods/log], verbs: [update]}]",
        "deny: [{resources: [pods/status, pods/eviction, services/proxy]}]",
        "deny: [{api_groups: [apps, 'example.*'], resources: ['*']}]",
        "deny: [{non_resource_urls: ['*']}]",
    ] {
        for (method, target) in METHODS.iter().flat_map(|method| NODES.map(|target| (*method, target))) {
            let guards = guards(&format!("{{name: g, {fields}}}"));
            assert!(check(&guards, "eve", method, target).is_ok(), "{fields}: {method} {target}");
        }
    }
}

proptest! {
    #[test]
    fn a_guard_for_a_url_compiles_if_a_request_for_it_passes_and_denies_it_with_a_slash_at_its_end_too(
        url in "(/|//|/\\./|/\\.\\./|/api/|/%)?(/([a-c]{1,2}|\\.{1,3}|%41|[ -~])){1,3}/?",
    ) {
        let yaml = format!("identities: [{{email: a@b.c, user: a}}]\nguards: [{{name: g, deny: [{{non_resource_urls: [{url:?}]}}]}}]\n");
        if let Ok(tables) = source::compile(&yaml) {
            prop_assume!(!url.contains('*'));
            for spelling in [url.clone(), format!("{url}/")] {
                prop_assert!(Target::parse("GET", &spelling).is_ok(), "{}", spelling);
                prop_assert!(check(&tables.guards, "eve", "GET", &spelling).is_err(), "{}", spelling);
            }
        }
    }
}
