//! [`Target`] reads a request as kube-apiserver does, by kube-apiserver's own word: `request_info/table.tsv` holds what
//! `RequestInfoFactory` of `k8s.io/apiserver` makes of a thousand odd requests (`request_info/main.go` fills it in).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use kube_access::target::Target;

#[test]
fn case_91_143_a_thousand_odd_requests_are_read_as_kube_apiserver_reads_them_or_refused() {
    let mut accepted = 0;
    let mut refused = 0;
    for line in include_str!("request_info/table.tsv").lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [method, target, expected @ ..] = &*cells else {
            panic!("{line}");
        };
        let Ok(found) = Target::parse(method, target) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        let read = [
            found.verb,
            &found.group,
            &found.version,
            &found.namespace,
            &found.resource,
            &found.subresource,
            &found.name,
        ];
        assert_eq!(read, expected, "{method} {target}");
    }
    assert_eq!((accepted, refused), (900, 100));
}
