use proptest::prelude::*;

use super::*;

const POD: &str = "/api/v1/namespaces/team-a/pods/web";

/// Whether a guard of this one rule, for everybody, lets a request pass.
fn passes(rule: &str, method: &str, target: &str) -> bool {
    check(&format!("g\t\t\t\n\t{rule}\n"), method, target).is_ok()
}

fn check(guards: &str, method: &str, target: &str) -> Result<(), Error> {
    let guards = Guards::parse(guards);
    guards.check(&guards.held_by("bob", &[]), &Target::parse(method, target).unwrap())
}

/// A rule for resources, by its verbs.
fn rule(verbs: &[&str], rest: &str) -> String {
    format!("{} {rest}", verbs.iter().fold(0, |set, verb| set | bit(verb)))
}

#[test]
fn a_guard_holds_for_those_that_it_names_and_without_names_for_everybody() {
    let guards = Guards::parse(
        "a\tbob\t\t\n\t255 * pods * *\nb\t\tagents,ci\t\n\t255 * pods * *\nc\t\t\t\n\t255 * secrets * *\n",
    );
    let names = |user: &str, groups: &[&str]| {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let held = guards.held_by(user, &groups);
        let check = |target| guards.check(&held, &Target::parse("GET", target).unwrap());
        [POD, "/api/v1/secrets"].map(|target| check(target).err().map(|error| error.guard))
    };
    let refused = |name: &str| Some(name.to_owned());
    assert_eq!(names("bob", &[]), [refused("a"), refused("c")]);
    assert_eq!(names("eve", &["x", "ci"]), [refused("b"), refused("c")]);
    assert_eq!(names("eve", &["bob", "agents "]), [None, refused("c")]);
    assert_eq!(names("ci", &[]), [None, refused("c")]);
}

#[test]
fn case_178_many_guards_are_each_held_by_their_own_bit() {
    let text: String =
        (0..200).map(|number| format!("g{number}\tu{number}\t\t\n\t1 * pods * *\n")).collect::<Vec<_>>().concat();
    let guards = Guards::parse(&text);
    for number in [0, 63, 64, 127, 128, 199] {
        let held = guards.held_by(&format!("u{number}"), &[]);
        let refusal = guards.check(&held, &Target::parse("GET", POD).unwrap()).unwrap_err();
        assert_eq!(refusal.guard, format!("g{number}"));
    }
    assert!(guards.check(&guards.held_by("u200", &[]), &Target::parse("GET", POD).unwrap()).is_ok());
}

#[test]
fn case_90_91_178_a_stream_is_create_by_every_method_and_in_every_spelling() {
    let exec = rule(&["create"], "* pods/exec * *");
    for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"] {
        for path in [
            "/exec",
            "/exec/",
            "/exec?command=sh&tty=true",
            "/%65xec",
            "/exe%63",
            "/exec/x",
            "/exec?watch=true",
            "/exec?fieldSelector=metadata.name%3Dother",
        ] {
            assert!(!passes(&exec, method, &format!("{POD}{path}")), "{method} {path}");
        }
    }
    for path in [
        "/api/v1/watch/namespaces/team-a/pods/web/exec",
        "/api/v2/namespaces/team-a/pods/web/exec",
        "/apis/any.example.com/v1/namespaces/team-a/pods/web/exec",
    ] {
        assert!(!passes(&exec, "GET", path), "{path}");
    }
    for subresource in ["attach", "portforward"] {
        let rule = rule(&["create"], &format!("* pods/{subresource} * *"));
        assert!(!passes(&rule, "GET", &format!("{POD}/{subresource}")) && passes(&rule, "GET", &format!("{POD}/exec")));
    }
    let get = rule(&["get"], "* * * *");
    assert!(passes(&get, "GET", &format!("{POD}/exec")), "as the cluster authorises it, it is no get");
    assert!(passes(&exec, "GET", POD) && passes(&exec, "POST", "/api/v1/namespaces/team-a/pods"));
}

#[test]
fn case_93_99_178_verbs_are_those_that_the_api_server_authorises() {
    for (method, target, verb) in [
        ("GET", "/api/v1/namespaces/n/secrets/s", "get"),
        ("HEAD", "/api/v1/namespaces/n/secrets/s", "get"),
        ("GET", "/api/v1/namespaces/n/secrets", "list"),
        ("GET", "/api/v1/secrets", "list"),
        ("GET", "/api/v1/secrets?watch=0", "list"),
        ("GET", "/api/v1/secrets?watch=1", "watch"),
        ("GET", "/api/v1/secrets?watch", "watch"),
        ("GET", "/api/v1/secrets?watch=false&watch=true", "list"),
        ("GET", "/api/v1/secrets?%77atch=TRUE", "watch"),
        ("GET", "/api/v1/watch/secrets", "watch"),
        ("GET", "/api/v1/watch/namespaces/n/secrets/s", "watch"),
        ("GET", "/api/v1/namespaces/n/secrets?fieldSelector=metadata.name%3Ds", "list"),
        ("POST", "/api/v1/namespaces/n/secrets", "create"),
        ("PUT", "/api/v1/namespaces/n/secrets/s", "update"),
        ("PATCH", "/api/v1/namespaces/n/secrets/s", "patch"),
        ("DELETE", "/api/v1/namespaces/n/secrets/s", "delete"),
        ("DELETE", "/api/v1/namespaces/n/secrets", "deletecollection"),
        ("DELETE", "/api/v1/namespaces/n/secrets?fieldSelector=metadata.name%3Ds", "deletecollection"),
    ] {
        for other in &words::VERBS[..8] {
            let is_let = passes(&rule(&[other], "* secrets * *"), method, target);
            assert_eq!(is_let, *other != verb, "{method} {target} {other}");
        }
    }
}

#[test]
fn case_93_178_resources_are_named_as_rbac_names_them() {
    let all = words::OF_RESOURCES;
    for (resources, target, is_let) in [
        ("pods", POD, false),
        ("pods", "/api/v1/namespaces/team-a/pods/web/log", true),
        ("pods/log", "/api/v1/namespaces/team-a/pods/web/log", false),
        ("pods/log", POD, true),
        ("pods/*", "/api/v1/namespaces/team-a/pods/web/log", false),
        ("pods/*", POD, true),
        ("pods*", "/api/v1/namespaces/team-a/pods/web/log", false),
        ("po*", "/api/v1/namespaces/team-a/podtemplates", false),
        ("*/scale", "/apis/apps/v1/namespaces/n/deployments/d/scale", false),
        ("*/sc*", "/apis/apps/v1/namespaces/n/deployments/d/scale", false),
        ("*/scale", "/apis/apps/v1/namespaces/n/deployments/d", true),
        ("*", "/apis/apps/v1/namespaces/n/deployments/d/scale", false),
        ("services,pods", POD, false),
        ("pods/ephemeralcontainers", "/api/v1/namespaces/team-a/pods/web/ephemeralcontainers", false),
        ("serviceaccounts/token", "/api/v1/namespaces/n/serviceaccounts/s/token", false),
        ("nodes/proxy", "/api/v1/nodes/n/proxy/exec/x", false),
        ("nodes/proxy", "/api/v1/proxy/nodes/n", false),
        ("services/proxy", "/api/v1/namespaces/n/services/https:s:443/proxy/x", false),
    ] {
        assert_eq!(passes(&format!("{all} * {resources} * *"), "PUT", target), is_let, "{resources} {target}");
    }
    for (groups, is_let) in
        [("apps", false), (".", true), (".,apps", false), ("ap*", false), ("batch", true), ("*", false)]
    {
        let rule = format!("{all} {groups} deployments * *");
        assert_eq!(passes(&rule, "GET", "/apis/apps/v1/namespaces/n/deployments"), is_let, "{groups}");
    }
    assert!(!passes(&format!("{all} . pods * *"), "GET", POD));
    assert!(passes(&format!("{all} . pods * *"), "GET", "/apis/metrics.k8s.io/v1/namespaces/n/pods"));
}

#[test]
fn case_178_what_could_touch_what_a_rule_names_is_refused_whole() {
    let all = words::OF_RESOURCES;
    for (rest, method, target, is_let) in [
        ("* secrets team-* *", "GET", "/api/v1/namespaces/team-a/secrets/s", false),
        ("* secrets team-* *", "GET", "/api/v1/namespaces/other/secrets", true),
        ("* secrets team-* *", "GET", "/api/v1/secrets", false),
        ("* secrets team-* *", "GET", "/api/v1/secrets?watch=1", false),
        ("* secrets team-* *", "GET", "/api/v1/secrets?fieldSelector=metadata.namespace%3Dother", false),
        ("* secrets team-* *", "DELETE", "/api/v1/secrets", false),
        ("* * kube-system *", "GET", "/api/v1/nodes", true),
        ("* * kube-system *", "GET", "/api/v1/namespaces", true),
        ("* * kube-system *", "GET", "/api/v1/namespaces/kube-system", false),
        ("* * kube-system *", "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", true),
        ("* * kube-system *", "GET", "/apis/longhorn.io/v1/nodes", false),
        ("* * kube-system *", "GET", "/api/v1/namespaces/kube%2Dsystem/pods", false),
        ("* secrets * root-ca", "GET", "/api/v1/namespaces/n/secrets/root-ca", false),
        ("* secrets * root-ca", "GET", "/api/v1/namespaces/n/secrets/other", true),
        ("* secrets * root-ca", "GET", "/api/v1/namespaces/n/secrets", false),
        ("* secrets * root-ca", "DELETE", "/api/v1/namespaces/n/secrets", false),
        ("* secrets * root-ca", "GET", "/api/v1/namespaces/n/secrets?fieldSelector=metadata.name%3Droot-ca", false),
        ("* secrets * root-ca", "GET", "/api/v1/namespaces/n/secrets?fieldSelector=metadata.name%3Dother", true),
        ("* secrets * root-ca", "GET", "/api/v1/namespaces/n/secrets?fieldSelector=metadata.name%21%3Dother", false),
        ("* secrets * root-ca", "GET", "/api/v1/namespaces/n/secrets?labelSelector=a", false),
        ("* secrets * root-*", "PATCH", "/api/v1/namespaces/n/secrets/root-ca", false),
        ("* secrets * root-ca", "POST", "/api/v1/namespaces/n/secrets", true),
        ("* services/proxy * s", "GET", "/api/v1/namespaces/n/services/s/proxy/", false),
        ("* services/proxy * s", "GET", "/api/v1/namespaces/n/services/https:s:443/proxy/", false),
        ("* services/proxy * s", "GET", "/api/v1/namespaces/n/services/s:http/proxy/", false),
        ("* services/proxy * s", "GET", "/api/v1/namespaces/n/services/t:s/proxy/", true),
        ("* pods/exec * web", "GET", "/api/v1/namespaces/n/pods/web/exec", false),
        ("* pods/exec * web", "GET", "/api/v1/namespaces/n/pods/shell/exec", true),
    ] {
        assert_eq!(passes(&format!("{all} {rest}"), method, target), is_let, "{rest}: {method} {target}");
    }
}

#[test]
fn case_92_98_99_read_only_reads_and_no_more() {
    for (method, target, is_let) in [
        ("GET", POD, true),
        ("GET", "/api/v1/pods?watch=1", true),
        ("GET", "/api/v1/namespaces/n/pods/p/log?follow=true", true),
        ("GET", "/api/v1/namespaces/n/pods/p/status", true),
        ("GET", "/apis/any.example.com/v1/things", true),
        ("GET", "/version", true),
        ("GET", "/openapi/v3/apis/apps/v1", true),
        ("GET", "/apis/apps/v1", true),
        ("GET", "/api/", true),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", true),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", true),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", true),
        ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", false),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", false),
        ("POST", "/apis/any.example.com/v1/selfsubjectreviews", false),
        ("DELETE", "/apis/authentication.k8s.io/v1/selfsubjectreviews", false),
        ("GET", "/api/v1/secrets", false),
        ("GET", "/api/v1/namespaces/n/secrets/s", false),
        ("GET", "/api/v1/secrets?watch=1", false),
        ("GET", "/api/v1/watch/secrets", false),
        ("GET", "/api/v1/namespaces/n/%73ecrets", false),
        ("GET", "/api/v1/namespaces/n/pods/p/exec?command=sh", false),
        ("GET", "/api/v1/namespaces/n/pods/p/attach", false),
        ("GET", "/api/v1/namespaces/n/pods/p/portforward", false),
        ("GET", "/api/v1/namespaces/n/pods/p/proxy/x", false),
        ("GET", "/api/v1/namespaces/n/services/s/proxy/", false),
        ("GET", "/api/v1/nodes/n/proxy/pods", false),
        ("GET", "/api/v1/proxy/nodes/n", false),
        ("POST", "/api/v1/namespaces/n/pods", false),
        ("PATCH", "/api/v1/namespaces/n/pods/p/ephemeralcontainers", false),
        ("POST", "/api/v1/namespaces/n/serviceaccounts/s/token", false),
        ("DELETE", "/api/v1/namespaces/n/pods", false),
        ("GET", "/metrics", false),
        ("GET", "/healthz", false),
        ("POST", "/version", false),
        ("PUT", "/apis/apps", false),
    ] {
        assert_eq!(check("ro\t\t\tread-only\n", method, target).is_ok(), is_let, "{method} {target}");
    }
}

#[test]
fn case_94_other_urls_are_matched_as_the_api_server_decodes_them() {
    let urls = |list: &str| format!("{} {list}", words::OF_URLS);
    for (list, method, target, is_let) in [
        ("/metrics", "GET", "/metrics", false),
        ("/metrics", "GET", "/metrics/", false),
        ("/metrics", "GET", "/%6detrics", false),
        ("/metrics", "GET", "/metrics?x=1", false),
        ("/metrics", "GET", "/metrics/slis", true),
        ("/metrics/*", "GET", "/metrics/slis", false),
        ("/debug*", "GET", "/debug/pprof/", false),
        ("*", "GET", "/healthz", false),
        ("*", "GET", "/", false),
        ("*", "GET", "/version", true),
        ("*", "HEAD", "/api", true),
        ("*", "GET", "/apis/apps/v1", true),
        ("*", "GET", "/openapi/v2", true),
        ("*", "POST", "/version", false),
        ("*", "GET", POD, true),
    ] {
        assert_eq!(passes(&urls(list), method, target), is_let, "{list}: {method} {target}");
    }
    assert!(passes(&rule(&["post"], "*"), "GET", "/healthz"));
}

#[test]
fn a_refusal_names_the_guard_and_what_it_takes_away() {
    let error = check("no-exec\t\t\t\n\t8 * pods/exec * *\n", "GET", &format!("{POD}/exec")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the guard \"no-exec\" of this gateway does not let this pass, whatever the cluster's RBAC grants: create pods/exec in namespace team-a"
    );
    let error = check("no-metrics\t\t\t\n\t1889 /metrics\n", "GET", "/metrics").unwrap_err();
    assert!(error.to_string().ends_with(": get /metrics"), "{error}");
}

const SESSIONS: &str = "bobs\tbob\t\t\t- 3600 67108864 * *\nrecorded\t\tdevs,ops\t\toutput 14400 1048576 * *\n\
    prod\t\tdevs\t\tinput - 67108864 prod-* web-*,db\nno-secrets\t\t\t\t\n\t255 * secrets * *\n\
    all\t\t\tread-only\t- 600 2097152 kube-system *\n";

fn stay(user: &str, groups: &[&str], method: &str, target: &str) -> Option<Stay> {
    let guards = Guards::parse(SESSIONS);
    let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    guards.stay(&guards.held_by(user, &groups), &Target::parse(method, target).unwrap())
}

#[test]
fn what_the_guards_that_hold_ask_of_a_stream_is_the_strictest_of_each() {
    use Record::{Input, Nothing, Output};
    const MIB: u64 = 1 << 20;
    for (user, groups, namespace, pod, asked) in [
        ("eve", &[][..], "n", "p", None),
        ("eve", &["bob"], "n", "p", None),
        ("bob", &[], "n", "p", Some((Nothing, Some(3600), 64 * MIB, "bobs"))),
        ("eve", &["ops"], "n", "p", Some((Output, Some(14400), MIB, "recorded"))),
        ("bob", &["x", "ops"], "n", "p", Some((Output, Some(3600), MIB, "bobs recorded"))),
        ("eve", &["devs"], "prod-1", "p", Some((Output, Some(14400), MIB, "recorded"))),
        ("eve", &["devs"], "n", "web-1", Some((Output, Some(14400), MIB, "recorded"))),
        ("eve", &["devs"], "prod-1", "web-1", Some((Input, Some(14400), MIB, "recorded prod"))),
        ("eve", &["devs"], "prod-1", "db", Some((Input, Some(14400), MIB, "recorded prod"))),
        ("eve", &["devs"], "prod-1", "db-1", Some((Output, Some(14400), MIB, "recorded"))),
        ("bob", &["devs"], "prod-1", "web-", Some((Input, Some(3600), MIB, "bobs recorded prod"))),
        ("eve", &[], "kube-system", "p", Some((Nothing, Some(600), 2 * MIB, "all"))),
        ("bob", &["ops"], "kube-system", "p", Some((Output, Some(600), MIB, "bobs recorded all"))),
    ] {
        for (method, stream) in [("GET", "exec?command=sh"), ("POST", "attach"), ("GET", "portforward"), ("GET", "log")]
        {
            let found = stay(user, groups, method, &format!("/api/v1/namespaces/{namespace}/pods/{pod}/{stream}"));
            let found = found.map(|stay| (stay.record, stay.seconds, stay.bytes, stay.guards.join(" ")));
            let asked = asked.map(|(record, seconds, bytes, guards)| (record, seconds, bytes, guards.to_owned()));
            assert_eq!(found, asked, "{user} {groups:?} {namespace} {pod} {stream}");
        }
    }
}

#[test]
fn what_stays_open_and_could_touch_what_a_guard_names_is_bounded() {
    for (groups, method, target, guards) in [
        (&["devs"][..], "GET", "/api/v1/pods?watch=1", "recorded prod all"),
        (&["devs"], "GET", "/api/v1/watch/namespaces/prod-1/pods", "recorded prod"),
        (&["devs"], "GET", "/api/v1/namespaces/n/pods?watch=1", "recorded"),
        (&["devs"], "GET", "/api/v1/namespaces/prod-1/pods?watch=1&fieldSelector=metadata.name%3Ddb", "recorded prod"),
        (&["devs"], "GET", "/api/v1/namespaces/prod-1/pods?watch=1&fieldSelector=metadata.name%3Dx", "recorded"),
        (&["devs"], "GET", "/api/v1/namespaces/prod-1/services/https:db:443/proxy/", "recorded prod"),
        (&["devs"], "GET", "/api/v1/proxy/namespaces/prod-1/services/db:443", "recorded prod"),
        (&["devs"], "GET", "/api/v1/nodes?watch=1", "recorded"),
        (&[], "GET", "/api/v1/nodes/n/proxy/containerLogs/prod-1/db/x", "all"),
        (&[], "GET", "/api/v1/proxy/nodes/n", "all"),
        (&[], "GET", "/api/v1/pods?watch=1", "all"),
        (&[], "GET", "/api/v1/nodes?watch=1", ""),
        (&["devs"], "GET", "/api/v1/pods", ""),
        (&["devs"], "GET", POD, ""),
        (&["devs"], "POST", "/api/v1/namespaces/prod-1/pods", ""),
        (&["devs"], "GET", "/version", ""),
        (&["devs"], "GET", "/metrics?watch=1", ""),
    ] {
        let asking = stay("eve", groups, method, target).map(|stay| stay.guards.join(" "));
        assert_eq!(asking.unwrap_or_default(), guards, "{groups:?} {target}");
    }
}

#[test]
fn what_is_asked_of_the_caller_and_of_whom_they_act_as_becomes_one() {
    let target = format!("{POD}/exec");
    let (caller, other) =
        (stay("bob", &["ops"], "GET", &target).unwrap(), stay("breakglass", &["ops"], "GET", &target));
    let expected =
        Stay { guards: vec!["bobs".into(), "recorded".into()], seconds: Some(3600), ..other.clone().unwrap() };
    assert_eq!(caller.clone().and(other.clone()), expected);
    assert_eq!(caller.clone().and(None), caller);
    let turned = other.unwrap().and(Some(caller));
    assert_eq!((turned.seconds, turned.guards.join(" ")), (Some(3600), "recorded bobs".into()));
}

#[test]
fn guards_know_whether_any_of_them_asks_something_of_sessions() {
    let known = |text| {
        let guards = Guards::parse(text);
        (guards.bounds_sessions(), guards.may_record())
    };
    assert_eq!(known(""), (false, false));
    assert_eq!(known("a\t\t\t\nb\t\t\tread-only\t\n"), (false, false));
    assert_eq!(known("a\t\t\t\t\nb\t\t\t\t- 60 67108864 * *\n"), (true, false));
    assert_eq!(known(SESSIONS), (true, true));
}

#[test]
fn what_a_guard_denies_is_refused_whatever_else_it_asks() {
    let guards = "g\t\t\t\toutput 60 65536 team-a *\n\t8 * pods/exec * shell\n";
    assert!(check(guards, "GET", &format!("{POD}/exec")).is_ok());
    assert!(check(guards, "GET", "/api/v1/namespaces/team-a/pods/shell/exec").is_err());
}

proptest! {
    #[test]
    fn case_91_101_whatever_is_asked_for_a_guard_on_everything_lets_nothing_pass_but_discovery_and_reviews_of_oneself(
        method in "GET|HEAD|POST|PUT|PATCH|DELETE",
        target in "/(api|apis|metrics|%61pi|version|healthz|openapi)(/[a-z0-9%:.]{1,8}){0,7}/?(\\?[a-z=&%0-9]{0,12})?",
    ) {
        let everything = format!("g\t\t\t\n\t{} * * * *\n\t{} *\n", words::OF_RESOURCES, words::OF_URLS);
        if let Ok(parsed) = Target::parse(&method, &target) {
            let is_let = check(&everything, &method, &target).is_ok();
            prop_assert_eq!(is_let, Asked::of(&parsed, &resource_of(&parsed)).stays_open(), "{} {}", method, target);
        }
    }
}
