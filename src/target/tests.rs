#![allow(clippy::too_many_lines, reason = "tables")]

use proptest::prelude::*;

use super::*;

pub(super) fn parse(method: &str, target: &str) -> Result<Target, Refusal> {
    let text = format!("{method}\nhttps://kube.example.com{target}\n0\nid");
    Target::parse(&Head::read(&text).0)
}

/// `verb group version namespace resource subresource name`, `-` for empty.
pub(super) fn row(method: &str, target: &str) -> String {
    let target = parse(method, target).unwrap();
    if !target.is_resource {
        return "non-resource".into();
    }
    let parts = [
        target.verb,
        &target.group,
        &target.version,
        &target.namespace,
        &target.resource,
        &target.subresource,
        &target.name,
    ];
    parts
        .map(|part| if part.is_empty() { "-" } else { part })
        .join(" ")
}

#[test]
fn case_143_a_resource_is_read_as_kubernetes_own_table_reads_it() {
    for (method, target, expected) in [
        ("GET", "/api/v1/namespaces", "list - v1 - namespaces - -"),
        (
            "GET",
            "/api/v1/namespaces/other",
            "get - v1 other namespaces - other",
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods",
            "list - v1 other pods - -",
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods/foo",
            "get - v1 other pods - foo",
        ),
        (
            "HEAD",
            "/api/v1/namespaces/other/pods/foo",
            "get - v1 other pods - foo",
        ),
        ("GET", "/api/v1/pods", "list - v1 - pods - -"),
        ("HEAD", "/api/v1/pods", "list - v1 - pods - -"),
        (
            "GET",
            "/api/v1/proxy/namespaces/other/pods/foo",
            "proxy - v1 other pods - foo",
        ),
        (
            "GET",
            "/api/v1/proxy/namespaces/other/pods/foo/subpath/not/a/subresource",
            "proxy - v1 other pods - foo",
        ),
        ("GET", "/api/v1/watch/pods", "watch - v1 - pods - -"),
        ("GET", "/api/v1/pods?watch=true", "watch - v1 - pods - -"),
        ("GET", "/api/v1/pods?watch=false", "list - v1 - pods - -"),
        (
            "GET",
            "/api/v1/watch/namespaces/other/pods",
            "watch - v1 other pods - -",
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods?watch=1",
            "watch - v1 other pods - -",
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods?watch=0",
            "list - v1 other pods - -",
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods/foo/status",
            "get - v1 other pods status foo",
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods/foo/proxy/subpath",
            "get - v1 other pods proxy foo",
        ),
        (
            "PUT",
            "/api/v1/namespaces/other/finalize",
            "update - v1 other namespaces finalize other",
        ),
        (
            "PUT",
            "/api/v1/namespaces/other/status",
            "update - v1 other namespaces status other",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/other/pods/foo",
            "patch - v1 other pods - foo",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/other/pods/foo",
            "delete - v1 other pods - foo",
        ),
        (
            "POST",
            "/api/v1/namespaces/other/pods",
            "create - v1 other pods - -",
        ),
        (
            "DELETE",
            "/api/v1/nodes",
            "deletecollection - v1 - nodes - -",
        ),
        (
            "DELETE",
            "/api/v1/namespaces",
            "deletecollection - v1 - namespaces - -",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/other/pods",
            "deletecollection - v1 other pods - -",
        ),
        (
            "DELETE",
            "/apis/extensions/v1/namespaces/other/pods",
            "deletecollection extensions v1 other pods - -",
        ),
        (
            "POST",
            "/apis/extensions/v1/namespaces/other/pods",
            "create extensions v1 other pods - -",
        ),
        (
            "POST",
            "/apis/extensions/v1beta3/namespaces/other/pods",
            "create extensions v1beta3 other pods - -",
        ),
        (
            "GET",
            "/api/version/resource",
            "list - version - resource - -",
        ),
        (
            "GET",
            "/apis/group/version/resource/name/subresource",
            "get group version - resource subresource name",
        ),
        (
            "GET",
            "/apis/batch/v1/job/foo/scale",
            "get batch v1 - job scale foo",
        ),
    ] {
        assert_eq!(row(method, target), expected, "{method} {target}");
    }
}

#[test]
fn case_143_what_is_no_resource_is_none() {
    for target in [
        "/",
        "/api/version/",
        "/apis/group/version/",
        "/badprefix/version/resource",
        "/apis/version/resource",
        "/api",
        "/apis",
        "/not-api/version/resource",
        "/apis/extensions/v1beta1",
        "/apis/extensions/v1beta1/",
        "/api/version",
        "/version",
        "/x",
    ] {
        assert_eq!(row("GET", target), "non-resource", "{target}");
    }
    assert_eq!(parse("POST", "/version").unwrap().verb, "post");
}

#[test]
fn case_91_a_path_that_could_be_read_in_two_ways_is_refused() {
    for path in [
        "//api/v1/pods",
        "/api/v1//pods",
        "/api/v1/pods//",
        "//",
        "/api/v1/../pods",
        "/api/v1/./pods",
        "/api/v1/%2e%2e/pods",
        "/api/v1/%2E/pods",
        "/api/v1/.%2e/pods",
        "/api/v1/namespaces/a%2Fpods",
        "/api/v1/namespaces/a/pods%2fexec",
        "/api/v1/namespaces/a%5Cb",
        "/api/v1/namespaces/a\\b",
        "/api/v1/a%00b",
        "/api/v1/a%0d%0ab",
        "/api/v1/a%7f",
        "/api/v1/%",
        "/api/v1/%4",
        "/api/v1/%zz",
        "/api/v1/%ff",
        "/api/v1/%252e",
        "/api/v1/pöds",
        "/api/v1/a b",
        "/api/v1/a|b",
        "/api/v1/a^b",
        "/api/v1/a<b",
        "/api/v1/a\"b",
        "/api/v1/a`b",
        "/api/v1/{a}",
        "/api/v1/#x",
        "/api/v1/a#/exec",
        "/%2e%2e/api",
        "/.",
        "/..",
        "/api/v1/namespaces/n/services/s/proxy/a/../../b",
        "/api/v1/namespaces/n/services/s/proxy/a%00",
        "/api/v1/namespaces/n/pods/proxy/exec/a%2fb/..",
    ] {
        assert_eq!(parse("GET", path), Err(Refusal::AmbiguousPath), "{path}");
    }
    for query in [
        "a#",
        "a#&fieldSelector=metadata.name=x",
        "a\u{1}",
        "a b",
        "\"",
        "<",
        ">",
        "ü",
        "\u{7f}",
    ] {
        assert_eq!(
            parse("GET", &format!("/api/v1/pods?{query}")),
            Err(Refusal::AmbiguousPath),
            "{query}"
        );
    }
    assert!(
        parse(
            "GET",
            "/api/v1/pods?labelSelector=a in ('b',c)"
                .replace(' ', "+")
                .as_str()
        )
        .is_ok()
    );
    assert_eq!(parse("GET", "?x"), Err(Refusal::AmbiguousPath));
}

#[test]
fn case_91_an_odd_spelling_of_exec_is_exec() {
    for path in [
        "exec",
        "exec/",
        "%65xec",
        "ex%65c?command=ls",
        "exec?command=a&command=b%2Fc",
    ] {
        assert_eq!(
            row("GET", &format!("/api/v1/namespaces/n/pods/p/{path}")),
            "get - v1 n pods exec p",
            "{path}"
        );
    }
    assert_eq!(
        row("GET", "/api/v1/namespaces/n/pods/p;x/exec"),
        "get - v1 n pods exec p;x"
    );
    assert_eq!(
        row("GET", "/apis/..;/api/v1/pods"),
        "list ..; api - v1 - pods".replace("list", "get")
    );
}

#[test]
fn a_workload_behind_a_proxy_may_have_encoded_separators_in_its_paths() {
    assert_eq!(
        row(
            "GET",
            "/api/v1/namespaces/n/services/s:80/proxy/a%2Fb%5cc%25"
        ),
        "get - v1 n services proxy s:80"
    );
    assert_eq!(
        parse("GET", "/api/v1/namespaces/n/services/a%2fb/proxy/x"),
        Err(Refusal::AmbiguousPath)
    );
    assert_eq!(
        parse("GET", "/api/v1/namespaces/proxy/pods/a%2Fb"),
        Err(Refusal::AmbiguousPath)
    );
}

#[test]
fn case_95_methods_that_the_api_does_not_have_are_refused() {
    for method in [
        "OPTIONS", "TRACE", "CONNECT", "PURGE", "get", "Get", "", "GET ", "PROPFIND",
    ] {
        assert_eq!(
            parse(method, "/api/v1/pods"),
            Err(Refusal::MethodNotAllowed),
            "{method}"
        );
    }
}

#[test]
fn case_67_an_upgrade_is_a_websocket_or_spdy_or_refused() {
    let protocol = |method: &str, upgrade: &str| {
        let text = format!(
            "{method}\nhttps://k/api/v1/namespaces/n/pods/p/exec\n0\nid\nupgrade:{upgrade}"
        );
        Protocol::parse(&Head::read(&text).0)
    };
    assert_eq!(protocol("GET", "websocket"), Ok(Protocol::WebSocket));
    assert_eq!(protocol("GET", "WebSocket"), Ok(Protocol::WebSocket));
    assert_eq!(protocol("POST", "SPDY/3.1"), Ok(Protocol::Spdy));
    assert_eq!(protocol("GET", "spdy/3.1"), Ok(Protocol::Spdy));
    for upgrade in ["h2c", "", "websocket, h2c", "TLS/1.0", "x"] {
        assert_eq!(
            protocol("GET", upgrade),
            Err(Refusal::UnknownUpgrade),
            "{upgrade}"
        );
    }
    assert_eq!(protocol("POST", "websocket"), Err(Refusal::UnknownUpgrade));
}

#[test]
fn long_running_requests_are_those_of_the_api_server() {
    for (path, is_long) in [
        ("/api/v1/pods?watch=1", true),
        ("/api/v1/watch/pods", true),
        ("/api/v1/namespaces/n/pods/p/log", true),
        ("/api/v1/namespaces/n/pods/p/exec", true),
        ("/api/v1/namespaces/n/services/s/proxy", true),
        ("/api/v1/namespaces/n/pods/p", false),
        ("/api/v1/pods", false),
        ("/version", false),
    ] {
        assert_eq!(
            parse("GET", path).unwrap().is_long_running(),
            is_long,
            "{path}"
        );
    }
}

proptest! {
    #[test]
    fn no_path_panics_and_what_is_accepted_has_one_reading(path in "/(api|apis)?[a-z/%.2fFeE;:\\\\ ?=&-]{0,40}") {
        if let Ok(target) = parse("GET", &path) {
            let raw = path.split('?').next().unwrap();
            prop_assert!(!raw.contains("//") && !raw.contains("/../") && !raw.contains('\\'));
            for part in [&target.namespace, &target.resource, &target.name] {
                prop_assert!(!part.contains('/') && part != "." && part != "..");
            }
        }
    }
}
