use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::impersonation::tests_support::HEADERS;
use crate::request::Request;

/// The lines sent for these lines of the caller, whose names the runtime puts into lower case.
fn send(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Vec<String>, Error> {
    let mut text = format!("{method}\nhttps://kube.example.com{target}\n0\nid-1");
    for (name, value) in headers {
        let _ = write!(text, "\n{}:{value}", name.to_ascii_lowercase());
    }
    let request = Request::read(&text);
    let protocol = request.protocol.unwrap_or(Protocol::Http);
    let outgoing = prepare(&request.head, request.target.as_ref().unwrap(), protocol, Offers::All)?;
    Ok(outgoing.lines.lines().map(str::to_owned).collect())
}

fn pods(headers: &[(&str, &str)]) -> Result<Vec<String>, Error> {
    send("GET", "/api/v1/pods", headers)
}

/// What is sent for a caller without any header.
const OURS: [&str; 1] = ["Audit-ID:id-1"];

const HANDSHAKE: [(&str, &str); 3] =
    [("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", "yPc6qyEdVivBFTmdg5VfRA==")];

fn upgrade(headers: &[(&str, &str)]) -> Result<Vec<String>, Error> {
    send("GET", "/x", &[&HANDSHAKE, headers].concat())
}

#[test]
fn the_clients_address_reaches_the_clusters_audit_log() {
    let lines = pods(&[("cf-ray", "8f1-FRA"), ("cf-connecting-ip", "2001:db8::1")]).unwrap();
    assert_eq!(lines, ["Audit-ID:id-1", "X-Forwarded-For:2001:db8::1"]);
    for value in ["evil, 1.2.3.4", ""] {
        assert_eq!(pods(&[("cf-connecting-ip", value)]).unwrap(), OURS, "{value}");
    }
}

#[test]
fn case_47_48_49_50_51_52_54_nothing_of_an_impersonation_is_sent_on() {
    for name in HEADERS {
        for value in ["root", "", "a, b", "alice"] {
            assert_eq!(pods(&[(name, value)]).unwrap(), OURS, "{name}: {value}");
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
        "Proxy-Connection",
        "HTTP2-Settings",
        "Host",
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
    for name in ["Transfer-Encoding", "Content-Length"] {
        let lines = send("POST", "/api/v1/pods", &[(name, "1")]);
        assert_eq!(lines.unwrap(), OURS, "{name}");
    }
}

#[test]
fn case_62_63_64_65_a_connection_header_takes_nothing_of_ours_away() {
    for nominated in ["Impersonate-User", "close, ImPeRsOnAtE-GrOuP", ", Impersonate-User", "Authorization", "Audit-ID"]
    {
        assert_eq!(pods(&[("Connection", nominated)]).unwrap(), OURS, "{nominated}");
    }
    let lines = pods(&[("accept", "a"), ("range", "b"), ("connection", "close,  Accept")]).unwrap();
    assert_eq!(lines[0], "range:b", "what the caller nominates is the caller's own hop");
    let nominating = [("connection", "Upgrade, Impersonate-User"), ("sec-websocket-protocol", "v5.channel.k8s.io")];
    assert_eq!(
        upgrade(&nominating).unwrap(),
        ["Upgrade:websocket", "Origin:http://localhost", "Sec-WebSocket-Protocol:v5.channel.k8s.io", "Audit-ID:id-1",]
    );
}

#[test]
fn case_69_a_bearer_token_among_the_subprotocols_is_taken_out() {
    let offer = |offer: &str| upgrade(&[("sec-websocket-protocol", offer)]);
    let bearer = "base64url.bearer.authorization.k8s.io.c2VjcmV0";
    for (offered, sent) in [
        (format!("v5.channel.k8s.io, {bearer}, v4.channel.k8s.io"), "v5.channel.k8s.io, v4.channel.k8s.io"),
        (format!("{bearer},SPDY/3.1+portforward.k8s.io"), "SPDY/3.1+portforward.k8s.io"),
        ("Base64URL.Bearer.authorization.k8s.io.x, a".into(), "a"),
        ("graphql-ws".into(), "graphql-ws"),
    ] {
        assert_eq!(offer(&offered).unwrap()[2], format!("Sec-WebSocket-Protocol:{sent}"));
    }
    for offered in [bearer, "", "a,,b", "a b", "ä", &format!("{bearer}, {bearer}")] {
        assert_eq!(offer(offered), Err(Error::Subprotocol), "{offered}");
    }
    assert_eq!(upgrade(&[]).unwrap()[0], "Upgrade:websocket");
}

#[test]
fn case_153_every_websocket_goes_up_with_an_origin_of_ours() {
    for origin in ["https://kube.example.com", "http://127.0.0.1:8001", "null"] {
        let lines = upgrade(&[("origin", origin)]).unwrap();
        assert_eq!(lines, ["Upgrade:websocket", "Origin:http://localhost", "Audit-ID:id-1"]);
    }
}

#[test]
fn case_167_a_workload_gets_all_but_credentials_identity_edge_and_connection() {
    let workload = "/api/v1/namespaces/n/services/s/proxy/x";
    for name in [
        "x-scope-orgid",
        "traceparent",
        "kbn-xsrf",
        "x-requested-with",
        "x-csrf-token",
        "origin",
        "referer",
        "sec-fetch-site",
        "x-http-method-override",
        "accept",
        "user-agent",
        "if-match",
        "x-api-key",
    ] {
        let lines = send("GET", workload, &[(name, "v")]).unwrap();
        assert_eq!(lines, [format!("{name}:v"), OURS[0].to_owned()], "{name}");
        let is_known = is_for_api(name);
        assert_eq!(pods(&[(name, "v")]).unwrap().len(), 1 + usize::from(is_known), "{name}");
    }
    for name in [
        "authorization",
        "proxy-authorization",
        "cookie",
        "cf-access-jwt-assertion",
        "cf-access-client-secret",
        "cf_authorization",
        "cf-connecting-ip",
        "cdn-loop",
        "x-remote-user",
        "x_remote_user",
        "x-remote-extra-a",
        "x-forwarded-for",
        "x_forwarded_for",
        "x-forwarded-user",
        "forwarded",
        "x-real-ip",
        "x-original-url",
        "host",
        "te",
        "trailer",
        "keep-alive",
        "transfer-encoding",
        "http2-settings",
        "audit-id",
        "sec-websocket-key",
        "true-client-ip",
    ] {
        let lines = send("POST", workload, &[(name, "v")]).unwrap();
        assert_eq!(lines, OURS, "{name}");
    }
    assert_eq!(send("GET", workload, &[("impersonate_user", "x")]).unwrap(), OURS);
    assert_eq!(
        send("GET", workload, &[("x-a", "1"), ("x-b", "2"), ("connection", "X-A")]).unwrap(),
        ["x-b:2", OURS[0]]
    );
}

#[test]
fn case_70_170_a_value_is_sent_as_it_came_or_not_at_all() {
    for value in ["ü", "\u{ff}", "日本", "a\tb"] {
        let lines = pods(&[("user-agent", value)]).unwrap();
        assert_eq!(lines[0], format!("user-agent:{value}"));
    }
    for value in ["a\u{1}b", "\u{7f}", "\u{fffd}"] {
        assert_eq!(pods(&[("user-agent", value)]).unwrap(), OURS, "{value:?}");
    }
}

#[test]
fn case_73_what_a_client_needs_is_sent_as_it_came() {
    for (name, value) in [
        ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
        ("accept", "application/vnd.kubernetes.protobuf,application/json"),
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
        assert_eq!(pods(&[(name, value)]).unwrap()[0], format!("{name}:{value}"));
    }
}

proptest! {
    #[test]
    fn case_72_74_whatever_a_caller_sends_nothing_goes_on_but_what_is_on_the_list(
        headers in prop::collection::vec(("[A-Za-z_-]{1,24}|(?i)(impersonate-user|x-remote-user|connection|upgrade|cookie)", "[ -~]{0,24}"), 0..12)
    ) {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if let Ok(lines) = pods(&headers) {
            for line in lines.iter().filter(|line| !OURS.contains(&line.as_str())) {
                let (name, _) = line.split_once(':').unwrap();
                prop_assert!(is_for_api(name), "{}", line);
            }
        }
    }
}
