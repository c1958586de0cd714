use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::identity::tests_support::identity;

/// The lines sent for these lines of the caller, or the refusal.
fn send(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Vec<String>, Refusal> {
    let mut text = format!("{method}\nhttps://kube.example.com{target}\n0\nid-1");
    for (name, value) in headers {
        let _ = write!(text, "\n{name}:{value}");
    }
    let (head, _) = Head::read(&text);
    let target = Target::parse(&head)?;
    let caller = Caller::new(identity());
    let outgoing = prepare(&head, &target, &caller)?;
    Ok(outgoing.lines().map(str::to_owned).collect())
}

fn pods(headers: &[(&str, &str)]) -> Result<Vec<String>, Refusal> {
    send("GET", "/api/v1/pods", headers)
}

/// What is sent for a caller without any header: the identity and the audit ID.
const OURS: [&str; 6] = [
    "Audit-ID:id-1",
    "Impersonate-User:alice",
    "Impersonate-Group:admins",
    "Impersonate-Group:devs",
    "Impersonate-Extra-kube-access.dev%2Femail:alice@example.com",
    "Impersonate-Extra-kube-access.dev%2Fsubject:id-1",
];

#[test]
fn case_40_each_group_has_a_line_of_its_own() {
    assert_eq!(pods(&[]).unwrap(), OURS);
}

#[test]
fn the_ray_and_the_clients_address_reach_the_clusters_audit_log() {
    let lines = pods(&[("cf-ray", "8f1-FRA"), ("cf-connecting-ip", "2001:db8::1")]).unwrap();
    assert_eq!(
        lines[1..3],
        [
            "Impersonate-Extra-kube-access.dev%2Fray:8f1-FRA",
            "X-Forwarded-For:2001:db8::1"
        ]
    );
    for (name, value) in [
        ("cf-ray", ""),
        ("cf-ray", "a b"),
        ("cf-connecting-ip", "evil, 1.2.3.4"),
        ("cf-connecting-ip", ""),
    ] {
        assert_eq!(pods(&[(name, value)]).unwrap(), OURS, "{name}: {value}");
    }
}

#[test]
fn case_47_48_49_50_51_52_54_75_a_caller_who_impersonates_is_refused() {
    for name in [
        "Impersonate-User",
        "Impersonate-Group",
        "Impersonate-Uid",
        "Impersonate-Extra-foo",
        "impersonate-user",
        "IMPERSONATE-GROUP",
        "ImPeRsOnAtE-Uid",
        "Impersonate-Extra-example.org%2Fscope",
        "Impersonate-Future",
        "Impersonate",
        "Impersonate-",
        "Impersonate_User",
    ] {
        for value in ["root", "", "a, b", "alice"] {
            assert_eq!(
                pods(&[("accept", "x"), (name, value)]),
                Err(Refusal::Impersonation),
                "{name}: {value}"
            );
        }
    }
}

#[test]
fn case_53_55_56_57_58_59_60_61_66_what_is_not_on_the_list_is_not_sent() {
    for name in [
        "X-Impersonate-User",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Cf-Access-Jwt-Assertion",
        "Cf-Access-Authenticated-User-Email",
        "CF-Access-Client-Id",
        "CF-Access-Client-Secret",
        "cf-access-token",
        "CF_Authorization",
        "X-Remote-User",
        "X-Remote-Uid",
        "X-Remote-Group",
        "X-Remote-Extra-Scopes",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Uri",
        "Forwarded",
        "X-Real-IP",
        "True-Client-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "cf-ipcountry",
        "cf-visitor",
        "cdn-loop",
        "cf-worker",
        "Audit-ID",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Proxy-Connection",
        "HTTP2-Settings",
        "Host",
        "Content-Length",
        "Via",
        "X-Stream-Protocol-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Key",
        "Connection",
    ] {
        for value in ["evil", "", "a, b"] {
            assert_eq!(pods(&[(name, value)]).unwrap(), OURS, "{name}: {value}");
        }
    }
}

#[test]
fn case_62_63_64_65_a_connection_header_takes_nothing_of_ours_away() {
    for nominated in [
        "Impersonate-User",
        "close, ImPeRsOnAtE-GrOuP",
        ", Impersonate-User",
        "Authorization",
        "Audit-ID",
    ] {
        assert_eq!(
            pods(&[("Connection", nominated)]).unwrap(),
            OURS,
            "{nominated}"
        );
    }
    let lines = pods(&[
        ("accept", "a"),
        ("range", "b"),
        ("connection", "close,  Accept"),
    ])
    .unwrap();
    assert_eq!(
        lines[0], "range:b",
        "what the caller nominates is the caller's own hop"
    );
    let upgrade = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade, Impersonate-User"),
        ("sec-websocket-protocol", "v5.channel.k8s.io"),
    ];
    let lines = send("GET", "/api/v1/namespaces/n/pods/p/exec", &upgrade).unwrap();
    assert_eq!(
        lines[..4],
        [
            "Upgrade:websocket",
            "Sec-WebSocket-Protocol:v5.channel.k8s.io",
            "Audit-ID:id-1",
            "Impersonate-User:alice"
        ]
    );
}

#[test]
fn case_68_90_spdy_is_refused_only_after_everything_else() {
    assert_eq!(
        send("POST", "/x", &[("upgrade", "SPDY/3.1")]),
        Err(Refusal::Spdy)
    );
    assert_eq!(
        send(
            "POST",
            "/x",
            &[("upgrade", "SPDY/3.1"), ("impersonate-user", "x")]
        ),
        Err(Refusal::Impersonation)
    );
}

#[test]
fn case_69_a_bearer_token_among_the_subprotocols_is_taken_out() {
    let offer = |offer: &str| {
        send(
            "GET",
            "/x",
            &[("upgrade", "websocket"), ("sec-websocket-protocol", offer)],
        )
    };
    let bearer = "base64url.bearer.authorization.k8s.io.c2VjcmV0";
    for (offered, sent) in [
        (
            format!("v5.channel.k8s.io, {bearer}, v4.channel.k8s.io"),
            "v5.channel.k8s.io, v4.channel.k8s.io",
        ),
        (
            format!("{bearer},SPDY/3.1+portforward.k8s.io"),
            "SPDY/3.1+portforward.k8s.io",
        ),
        ("Base64URL.Bearer.authorization.k8s.io.x, a".into(), "a"),
        ("graphql-ws".into(), "graphql-ws"),
    ] {
        assert_eq!(
            offer(&offered).unwrap()[1],
            format!("Sec-WebSocket-Protocol:{sent}")
        );
    }
    for offered in [
        bearer,
        "",
        "a,,b",
        "a b",
        "ä",
        &format!("{bearer}, {bearer}"),
    ] {
        assert_eq!(offer(offered), Err(Refusal::Subprotocol), "{offered}");
    }
    assert_eq!(
        send("GET", "/x", &[("upgrade", "websocket")]).unwrap()[0],
        "Upgrade:websocket"
    );
}

#[test]
fn case_70_a_value_that_is_no_plain_text_is_not_sent() {
    for value in ["ü", "\u{ff}", "a\u{1}b", "\u{7f}"] {
        assert_eq!(pods(&[("user-agent", value)]).unwrap(), OURS, "{value:?}");
    }
}

#[test]
fn case_73_what_a_client_needs_is_sent_as_it_came() {
    for (name, value) in [
        (
            "accept",
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        ),
        (
            "accept",
            "application/vnd.kubernetes.protobuf,application/json",
        ),
        ("accept-encoding", "gzip"),
        ("content-type", "application/apply-patch+yaml"),
        ("content-type", "application/strategic-merge-patch+json"),
        ("if-none-match", "\"etag\""),
        ("if-match", "*"),
        ("user-agent", "kubectl/v1.37.2 (linux/amd64) kubernetes/abc"),
        ("range", "bytes=0-1"),
        ("kubectl-command", "kubectl get"),
        ("kubectl-session", "1eef2988"),
    ] {
        assert_eq!(
            pods(&[(name, value)]).unwrap()[0],
            format!("{name}:{value}")
        );
    }
}

#[test]
fn a_web_page_is_refused() {
    for (name, value) in [
        ("Origin", "https://evil.test"),
        ("origin", "null"),
        ("Origin", "https://kube.example.com"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Access-Control-Request-Method", "POST"),
    ] {
        assert_eq!(
            pods(&[(name, value)]),
            Err(Refusal::CrossSite),
            "{name}: {value}"
        );
    }
    assert!(pods(&[("Sec-Fetch-Site", "none")]).is_ok());
}

proptest! {
    #[test]
    fn case_72_74_100_whatever_a_caller_sends_the_identity_is_the_maps(
        headers in prop::collection::vec(("[A-Za-z_-]{1,24}|(?i)(impersonate-user|x-remote-user|connection|upgrade|cookie)", "[ -~]{0,24}"), 0..12)
    ) {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if let Ok(lines) = pods(&headers) {
            let ours: Vec<&String> = lines.iter().filter(|line| starts_with(line, "impersonate")).collect();
            prop_assert_eq!(ours, OURS[1..].iter().collect::<Vec<_>>());
            for line in lines.iter().filter(|line| !OURS.contains(&line.as_str())) {
                let (name, _) = line.split_once(':').unwrap();
                prop_assert!(is_forwarded(name) || matches!(name, "Upgrade" | "Sec-WebSocket-Extensions"), "{}", line);
            }
        }
    }
}
