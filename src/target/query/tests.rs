#![allow(clippy::too_many_lines, reason = "a table")]

use proptest::prelude::*;

use super::*;
use crate::target::tests::{parse, row};

#[test]
fn case_143_selectors_are_read_as_list_options_are() {
    for (method, query, expected) in [
        ("GET", "?fieldSelector=metadata.name=name1", "list group version - resource - name1"),
        ("GET", "?fieldSelector=metadata.name%3Dname1", "list group version - resource - name1"),
        ("GET", "?watch=true&fieldSelector=metadata.name=name1", "watch group version - resource - name1"),
        ("GET", "?fieldSelector=foo=bar&labelSelector=baz=qux", "list group version - resource - -"),
        ("GET", "?fieldSelector=metadata.name=name1,foo", "list group version - resource - -"),
        ("GET", "?fieldSelector=metadata.name=name1,foo&watch=true", "watch group version - resource - -"),
        ("GET", "?fieldSelector=metadata.name=name1,foo&watch=false", "list group version - resource - -"),
        ("DELETE", "?fieldSelector=foo=bar&labelSelector=baz=qux", "deletecollection group version - resource - -"),
        (
            "GET",
            "?fieldSelector=metadata.name=foo&fieldSelector=metadata.name=bar",
            "list group version - resource - foo",
        ),
        ("GET", "?fieldSelector=metadata.name!=foo", "list group version - resource - -"),
        ("GET", "?fieldSelector=metadata.name==foo", "list group version - resource - foo"),
        ("GET", "?fieldSelector=metadata.name=..", "list group version - resource - -"),
        ("GET", "?fieldSelector=metadata.name=a%2Fb", "list group version - resource - -"),
        ("GET", "?limit=x&fieldSelector=metadata.name=n", "list group version - resource - -"),
        ("GET", "?timeoutSeconds=&fieldSelector=metadata.name=n&watch=1", "watch group version - resource - -"),
        ("GET", "?fieldSelector=a!b=c,metadata.name=n", "list group version - resource - n"),
        ("GET", "?watch", "watch group version - resource - -"),
        ("GET", "?watch=", "watch group version - resource - -"),
        ("GET", "?watch=FALSE", "list group version - resource - -"),
        ("GET", "?watch=no", "watch group version - resource - -"),
        ("GET", "?watch=0&watch=1", "list group version - resource - -"),
        ("GET", "?%77atch=1", "watch group version - resource - -"),
        ("GET", "?a;watch=1", "list group version - resource - -"),
    ] {
        assert_eq!(row(method, &format!("/apis/group/version/resource{query}")), expected, "{query}");
    }
    assert_eq!(
        row("GET", "/apis/g/v/resource/name?fieldSelector=metadata.name=x&watch=1"),
        "get g v - resource - name"
    );
    assert_eq!(row("GET", "/apis/g/v/watch/resource?fieldSelector=metadata.name=foo"), "watch g v - resource - -");
    assert_eq!(row("GET", "/apis/g/v/watch/resource/name"), "watch g v - resource - name");
}

proptest! {
    #[test]
    fn no_query_panics(query in "\\PC{0,60}") {
        let _ = (is_on(&query, "watch"), name(&query), parse("GET", &format!("/api/v1/pods?{query}")));
    }
}
