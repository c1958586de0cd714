#![allow(clippy::too_many_lines, reason = "tables")]

use proptest::prelude::*;

use super::*;

pub(super) fn parse<'a>(method: &str, target: &'a str) -> Result<Target<'a>, Error> {
    Target::parse(method, target)
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
    parts.map(|part| if part.is_empty() { "-" } else { part }).join(" ")
}

#[test]
fn case_143_a_resource_is_read_as_kubernetes_own_table_reads_it() {
    for (method, target, expected) in [
        ("GET", "/api/v1/namespaces", "list - v1 - namespaces - -"),
        ("GET", "/api/v1/namespaces/other", "get - v1 other namespaces - other"),
        ("GET", "/api/v1/namespaces/other/pods", "list - v1 other pods - -"),
        ("GET", "/api/v1/namespaces/other/pods/foo", "get - v1 other pods - foo"),
        ("HEAD", "/api/v1/namespaces/other/pods/foo", "get - v1 other pods - foo"),
        ("GET", "/api/v1/pods", "list - v1 - pods - -"),
        ("HEAD", "/api/v1/pods", "list - v1 - pods - -"),
        ("GET", "/api/v1/proxy/namespaces/other/pods/foo", "proxy - v1 other pods - foo"),
        ("GET", "/api/v1/proxy/namespaces/other/pods/foo/subpath/not/a/subresource", "proxy - v1 other pods - foo"),
        ("GET", "/api/v1/watch/pods", "watch - v1 - pods - -"),
        ("GET", "/api/v1/pods?watch=true", "watch - v1 - pods - -"),
        ("GET", "/api/v1/pods?watch=false", "list - v1 - pods - -"),
        ("GET", "/api/v1/watch/namespaces/other/pods", "watch - v1 other pods - -"),
        ("GET", "/api/v1/namespaces/other/pods?watch=1", "watch - v1 other pods - -"),
        ("GET", "/api/v1/namespaces/other/pods?watch=0", "list - v1 other pods - -"),
        ("GET", "/api/v1/namespaces/other/pods/foo/status", "get - v1 other pods status foo"),
        ("GET", "/api/v1/namespaces/other/pods/foo/proxy/subpath", "get - v1 other pods proxy foo"),
        ("PUT", "/api/v1/namespaces/other/finalize", "update - v1 other namespaces finalize other"),
        ("PUT", "/api/v1/namespaces/other/status", "update - v1 other namespaces status other"),
        ("PATCH", "/api/v1/namespaces/other/pods/foo", "patch - v1 other pods - foo"),
        ("DELETE", "/api/v1/namespaces/other/pods/foo", "delete - v1 other pods - foo"),
        ("POST", "/api/v1/namespaces/other/pods", "create - v1 other pods - -"),
        ("DELETE", "/api/v1/nodes", "deletecollection - v1 - nodes - -"),
        ("DELETE", "/api/v1/namespaces", "deletecollection - v1 - namespaces - -"),
        ("DELETE", "/api/v1/namespaces/other/pods", "deletecollection - v1 other pods - -"),
        ("DELETE", "/apis/extensions/v1/namespaces/other/pods", "deletecollection extensions v1 other pods - -"),
        ("POST", "/apis/extensions/v1/namespaces/other/pods", "create extensions v1 other pods - -"),
        ("POST", "/apis/extensions/v1beta3/namespaces/other/pods", "create extensions v1beta3 other pods - -"),
        ("GET", "/api/version/resource", "list - version - resource - -"),
        ("GET", "/apis/group/version/resource/name/subresource", "get group version - resource subresource name"),
        ("GET", "/apis/batch/v1/job/foo/scale", "get batch v1 - job scale foo"),
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
        "/%2e%2e/api",
        "/.",
        "/..",
        "/api/v1/namespaces/n/services/s/proxy/a/../../b",
        "/api/v1/namespaces/n/services/s/proxy/a%00",
        "/api/v1/namespaces/n/pods/proxy/exec/a%2fb/..",
    ] {
        assert_eq!(parse("GET", path), Err(Error::Ambiguous), "{path}");
    }
    for query in ["a\u{1}", "\u{7f}", "\u{fffd}"] {
        let target = format!("/api/v1/pods?{query}");
        assert_eq!(parse("GET", &target), Err(Error::Ambiguous), "{query}");
    }
    assert!(parse("GET", "/api/v1/pods?labelSelector=a in ('b',c)".replace(' ', "+").as_str()).is_ok());
    assert_eq!(parse("GET", "?x"), Err(Error::Ambiguous));
}

#[test]
fn case_91_an_odd_spelling_of_exec_is_exec() {
    for path in ["exec", "exec/", "%65xec", "ex%65c?command=ls", "exec?command=a&command=b%2Fc"] {
        assert_eq!(row("GET", &format!("/api/v1/namespaces/n/pods/p/{path}")), "get - v1 n pods exec p", "{path}");
    }
    assert_eq!(row("GET", "/api/v1/namespaces/n/pods/p;x/exec"), "get - v1 n pods exec p;x");
    assert_eq!(row("GET", "/apis/..;/api/v1/pods"), "list ..; api - v1 - pods".replace("list", "get"));
}

#[test]
fn a_workload_behind_a_proxy_may_have_encoded_separators_in_its_paths() {
    assert_eq!(row("GET", "/api/v1/namespaces/n/services/s:80/proxy/a%2Fb%5cc%25"), "get - v1 n services proxy s:80");
    assert_eq!(parse("GET", "/api/v1/namespaces/n/services/a%2fb/proxy/x"), Err(Error::Ambiguous));
    assert_eq!(parse("GET", "/api/v1/namespaces/proxy/pods/a%2Fb"), Err(Error::Ambiguous));
}

#[test]
fn case_168_raw_characters_are_brought_to_the_spelling_that_is_sent() {
    let proxy = "/api/v1/namespaces/n/services/s/proxy";
    for (target, spelled) in [
        ("/q?query=up{job=\"x\"}", "/q?query=up{job=%22x%22}"),
        ("/q?a=<b>&c='d'&e=f#g", "/q?a=%3Cb%3E&c=%27d%27&e=f%23g"),
        ("/q?ü", "/q?%C3%BC"),
        ("/a|b{c}\"<>^`[]#d", "/a%7Cb%7Bc%7D%22%3C%3E%5E%60%5B%5D%23d"),
        ("//a//b/", "//a//b/"),
        ("/%E9/%2F%5c%25", "/%E9/%2F%5c%25"),
        ("/a\\b/ü", "/a%5Cb/%C3%BC"),
    ] {
        let target = format!("{proxy}{target}");
        let read = parse("GET", &target).unwrap();
        assert_eq!(read.text, format!("{proxy}{spelled}"));
        assert_eq!((&*read.subresource, &*read.name), ("proxy", "s"), "{target}");
        assert_eq!(parse("GET", &read.text).unwrap(), read, "spelled once, and no more");
    }
    assert_eq!(row("GET", "/api/v1/namespaces/n/pods/a|b"), "get - v1 n pods - a|b");
    assert_eq!(row("GET", "/api/v1/namespaces/n/pods/ö"), "get - v1 n pods - ö");
    for target in ["/a/../b", "/a/%2e%2E/b", "/.", "/%2e", "/a%0ab", "/%", "/%zz", "/\u{fffd}"] {
        let target = format!("{proxy}{target}");
        assert_eq!(parse("GET", &target), Err(Error::Ambiguous), "{target}");
    }
}

#[test]
fn case_95_methods_that_the_api_does_not_have_are_refused() {
    for method in ["OPTIONS", "TRACE", "CONNECT", "PURGE", "get", "Get", "", "GET ", "PROPFIND"] {
        assert_eq!(parse(method, "/api/v1/pods"), Err(Error::Method), "{method}");
    }
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
        assert_eq!(parse("GET", path).unwrap().is_long_running(), is_long, "{path}");
    }
}

proptest! {
    #[test]
    fn no_path_panics_and_what_is_accepted_has_one_reading(path in "/(api|apis)?[a-z/%.2fFeE;:\\\\ ?=&-]{0,40}") {
        if let Ok(target) = parse("GET", &path) {
            let raw = path.split('?').next().unwrap();
            prop_assert!(target.is_proxy() || !raw.contains("//"));
            prop_assert!(!raw.contains("/../") && (target.is_proxy() || !raw.contains('\\')));
            for part in [&target.namespace, &target.resource, &target.name] {
                prop_assert!(!part.contains('/') && part != "." && part != "..");
            }
        }
    }
}
