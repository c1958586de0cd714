//! The whole decision as tables, natively: from a request's head to the head that is sent, or to the answer that refuses it.
//! It is [`Gateway::step`] that decides, as in the Worker; its questions are answered from tables.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "tables, and a test fails by panicking"
)]

use std::fmt::Write as _;

use kube_access::audit::Entry;
use kube_access::config::Config;
use kube_access::gateway::{self, Gateway, Journey, Plan, Question, Step, Unanswered};
use kube_access::guard::Guards;
use kube_access::identity::IdentityMap;
use kube_access::keys::KeysError;
use kube_access::refusal::{Answer, Refusal};
use kube_access::request::Request;
use kube_access::signature::Key;
use ring::hmac;
use serde_json::{Value, json};

use crate::team::{NOW, Signer, answer, config, encode, jwks, person, signed, token, walk};

#[path = "conformance/team.rs"]
mod team;

/// Sorted by key, as `build.rs` compiles them.
const MAP: IdentityMap<'static> = IdentityMap {
    emails: "alice@example.com\talice\tplatform-admins,developers\n",
    email_domains: "example.com\t{email}\tdevelopers\n",
    service_tokens: "0f.access\tci-deployer\tci\n",
    idp_groups: "",
    granted: "",
};

#[test]
fn whoever_the_map_names_is_sent_as_the_map_says() {
    for (claims, lines) in [
        (
            json!({}),
            vec![
                "Audit-ID:id-1",
                "Impersonate-User:alice",
                "Impersonate-Group:platform-admins",
                "Impersonate-Group:developers",
                "Impersonate-Extra-kube-access.dev%2Femail:alice@example.com",
                "Impersonate-Extra-kube-access.dev%2Fsubject:7335d417-61da-459d-899c-0a01c76a2f94",
            ],
        ),
        (
            json!({"email": "Bob@Example.com", "sub": "id-of-bob"}),
            vec![
                "Audit-ID:id-1",
                "Impersonate-User:bob@example.com",
                "Impersonate-Group:developers",
                "Impersonate-Extra-kube-access.dev%2Femail:bob@example.com",
                "Impersonate-Extra-kube-access.dev%2Fsubject:id-of-bob",
            ],
        ),
        (
            json!({"email": null, "sub": "", "common_name": "0f.access"}),
            vec![
                "Audit-ID:id-1",
                "Impersonate-User:ci-deployer",
                "Impersonate-Group:ci",
                "Impersonate-Extra-kube-access.dev%2Fsubject:0f.access",
            ],
        ),
    ] {
        let sent = decide("GET", "/api/v1/pods", &token(&claims), &[]).unwrap();
        assert_eq!(sent, lines, "{claims}");
    }
}

#[test]
fn what_kubectl_sends_arrives_with_the_identity_and_without_the_credentials() {
    let token = token(&json!({}));
    let list = [
        ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
        ("accept-encoding", "gzip"),
        ("authorization", "Bearer access"),
        ("cf-connecting-ip", "192.0.2.7"),
        ("cf-ray", "8f1a2b3c4d5e6f70-FRA"),
        ("cookie", "CF_Authorization=x"),
        ("host", "kube.example.com"),
        ("kubectl-command", "kubectl get"),
        ("user-agent", "kubectl/v1.37.2 (linux/amd64) kubernetes/8adc0f0"),
    ];
    assert_eq!(
        decide("GET", "/api/v1/namespaces/n/pods?limit=500", &token, &list).unwrap(),
        [
            "accept:application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            "accept-encoding:gzip",
            "kubectl-command:kubectl get",
            "user-agent:kubectl/v1.37.2 (linux/amd64) kubernetes/8adc0f0",
            "Audit-ID:id-1",
            "X-Forwarded-For:192.0.2.7",
            "Impersonate-User:alice",
            "Impersonate-Group:platform-admins",
            "Impersonate-Group:developers",
            "Impersonate-Extra-kube-access.dev%2Femail:alice@example.com",
            "Impersonate-Extra-kube-access.dev%2Fsubject:7335d417-61da-459d-899c-0a01c76a2f94",
        ]
    );
    let exec = [
        ("connection", "Upgrade"),
        ("sec-websocket-key", "yPc6qyEdVivBFTmdg5VfRA=="),
        ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c2E, v5.channel.k8s.io"),
        ("sec-websocket-version", "13"),
        ("upgrade", "websocket"),
    ];
    let target = "/api/v1/namespaces/n/pods/p/exec?command=ls&stdout=true";
    assert_eq!(
        decide("GET", target, &token, &exec).unwrap()[..5],
        [
            "Upgrade:websocket",
            "Origin:http://localhost",
            "Sec-WebSocket-Protocol:v5.channel.k8s.io",
            "Audit-ID:id-1",
            "Impersonate-User:alice"
        ]
    );
}

#[test]
fn case_1_3_12_26_27_29_31_47_67_68_69_75_91_95_96_whatever_is_not_in_order_is_refused() {
    let good = token(&json!({}));
    let none = format!("{}.{}.", encode(r#"{"alg":"none","kid":"team-1"}"#), encode(person().to_string()));
    let stranger = signed(&Signer::stranger(), &person());
    let pods = "/api/v1/pods";
    let long = format!("/api/v1/pods?fieldSelector={}", "x".repeat(16 * 1024));
    for (method, target, token, headers, status, words) in [
        ("GET", pods, "", vec![], 401, "no valid Cloudflare Access token"),
        ("GET", pods, &*none, vec![], 401, "no valid Cloudflare Access token"),
        ("GET", pods, &*stranger, vec![], 401, "no valid Cloudflare Access token"),
        ("GET", pods, &*token(&json!({"exp": NOW})), vec![], 401, "no valid"),
        ("GET", pods, &*token(&json!({"aud": ["another"]})), vec![], 401, "no valid"),
        ("GET", pods, &*token(&json!({"email": null, "sub": ""})), vec![], 403, "a token that names nobody"),
        (
            "GET",
            pods,
            &*token(&json!({"email": "mallory@elsewhere.test"})),
            vec![],
            403,
            "mallory@elsewhere.test is in no entry",
        ),
        ("GET", pods, &*token(&json!({"email": "alice@example.com.evil"})), vec![], 403, "is in no entry"),
        ("GET", pods, &*token(&json!({"email": "system:admin@example.com"})), vec![], 403, "not of the system"),
        ("GET", pods, &*good, vec![("impersonate-user", "root")], 403, "leave out --as"),
        ("GET", pods, &*good, vec![("impersonate-uid", "")], 403, "leave out --as"),
        ("GET", pods, &*good, vec![("origin", "https://evil.test")], 403, "not web pages"),
        ("GET", "/api/v1/%2e%2e/pods", &*good, vec![], 400, "ambiguous"),
        ("GET", "//api/v1/pods", &*good, vec![], 400, "ambiguous"),
        ("TRACE", pods, &*good, vec![], 405, "no such method"),
        ("GET", &*long, &*good, vec![], 414, "too long"),
        ("POST", pods, &*good, vec![("upgrade", "SPDY/3.1")], 400, "kubectl 1.31"),
        ("GET", pods, &*good, vec![("upgrade", "h2c")], 400, "a WebSocket, by GET"),
        (
            "GET",
            "/api/v1/namespaces/n/pods/p/exec",
            &*good,
            vec![
                ("upgrade", "websocket"),
                ("sec-websocket-key", "yPc6qyEdVivBFTmdg5VfRA=="),
                ("sec-websocket-version", "13"),
                ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c2E"),
            ],
            400,
            "no usable subprotocol",
        ),
    ] {
        let answer = decide(method, target, token, &headers).unwrap_err();
        let about = format!("{method} {} {headers:?}: {answer:?}", target.get(..40).unwrap_or(target));
        assert_eq!(answer.status, status, "{about}");
        let body: Value = serde_json::from_str(&answer.body).expect(&about);
        assert_eq!(body["code"], status, "{about}");
        assert!(body["message"].as_str().unwrap().contains(words), "{about}");
        assert!(answer.retry_after.is_none(), "{about}");
    }
}

#[test]
fn who_somebody_is_comes_before_what_they_ask() {
    let stranger = token(&json!({"email": "mallory@elsewhere.test"}));
    for (method, target, headers) in [
        ("TRACE", "/api/v1/pods", vec![]),
        ("GET", "//api/v1/pods", vec![]),
        ("GET", "/api/v1/pods", vec![("impersonate-user", "root")]),
        ("POST", "/api/v1/namespaces/n/pods/p/exec", vec![("upgrade", "SPDY/3.1")]),
    ] {
        assert_eq!(decide(method, target, "", &headers).unwrap_err().status, 401);
        assert_eq!(decide(method, target, &stranger, &headers).unwrap_err().status, 403);
    }
}

#[test]
fn discovery_is_refused_in_the_text_that_kubectl_prints() {
    let answer = decide("GET", "/api?timeout=32s", "", &[]).unwrap_err();
    assert_eq!((answer.status, answer.content_type), (401, "text/plain; charset=utf-8"));
    assert!(answer.body.starts_with("no valid Cloudflare Access token"));
}

#[test]
fn case_55_56_58_61_62_100_the_head_decides_nothing_about_who_it_is() {
    let token = token(&json!({"email": "bob@example.com"}));
    let plain = decide("GET", "/api/v1/pods", &token, &[]).unwrap();
    for (name, value) in [
        ("cf-access-authenticated-user-email", "alice@example.com"),
        ("x-remote-user", "alice"),
        ("authorization", "Bearer admin"),
        ("cookie", "CF_Authorization=alice"),
        ("audit-id", "id-of-another"),
        ("x-forwarded-user", "alice"),
        ("connection", "Impersonate-User, Impersonate-Group, Audit-ID"),
    ] {
        assert_eq!(decide("GET", "/api/v1/pods", &token, &[(name, value)]).unwrap(), plain, "{name}");
    }
}

#[test]
fn case_138_a_query_is_logged_only_where_the_cluster_reads_it_as_harmless() {
    for target in [
        // The API server drops a pair with a semicolon; other readers split it.
        "/api/v1/namespaces/n/pods/p/exec?container=c;command=SECRET",
        // A workload gives the same names a meaning of its own.
        "/api/v1/namespaces/n/services/s/proxy/login?container=SECRET&limit=SECRET",
        // Nobody can say what this is.
        "//api/v1/pods?container=SECRET",
        "/api/v1/namespaces/n/pods/p/exec?command=SECRET&COMMAND=SECRET&%63ommand=SECRET&SECRET",
    ] {
        let text = format!("GET\nhttps://kube.example.com{target}\n0\nid-1");
        let request = Request::read(&text);
        let entry = Entry { request: &request, caller: None, refusal: None };
        for line in [entry.line(), entry.event()] {
            assert!(!line.contains("SECRET"), "{line}");
        }
    }
}

#[test]
fn a_known_caller_is_served_in_one_step_and_a_question_of_no_use_is_never_asked() {
    let mut gateway = gateway(false);
    let token = token(&json!({}));
    let text = text("GET", "/api/v1/pods", &token, &[]);
    let request = Request::read(&text);
    let mut asked = Vec::new();
    let mut note = |gateway: &mut Gateway<'static>, question| {
        asked.push(format!("{question:?}").split([' ', '(']).next().unwrap().to_owned());
        team(gateway, question)
    };
    let first = walk(&mut gateway, &request, &mut Journey::default(), &mut note).unwrap();
    assert_eq!(asked, ["Certs", "Signature"]);
    let Step::Send(second) = gateway.step(&request, &mut Journey::default()) else {
        panic!("a known caller is asked about");
    };
    assert_eq!(first, second);
}

#[test]
fn case_68_90_spdy_is_refused_only_after_everything_else() {
    let token = token(&json!({}));
    let spdy = ("upgrade", "SPDY/3.1");
    let answer = |headers: &[_]| decide("POST", "/api/v1/pods", &token, headers).unwrap_err();
    assert!(answer(&[spdy]).body.contains("kubectl 1.31"));
    assert!(answer(&[spdy, ("impersonate-user", "x")]).body.contains("leave out --as"));
    let exec = "/api/v1/namespaces/n/pods/p/exec";
    assert!(decide("POST", exec, &token, &[spdy]).is_ok(), "the API server says whether they may");
}

#[test]
fn case_171_equal_requests_of_one_user_are_equal_to_the_api_server() {
    let token = token(&json!({}));
    let of = |ray| decide("GET", "/api/v1/pods", &token, &[("cf-ray", ray)]).unwrap();
    assert_eq!(of("8f1a2b3c4d5e6f70-FRA"), of("8f1a2b3c4d5e6f71-AMS"));
}

#[test]
fn case_162_a_key_that_is_withdrawn_while_its_token_is_verified_vouches_for_nobody_after() {
    let token = token(&json!({}));
    let text = text("GET", "/api/v1/pods", &token, &[]);
    let request = Request::read(&text);
    let others = jwks(&[Signer::stranger().jwk("team-2")]);
    for withdrawn_at in ["Signature", "Entries"] {
        let mut gateway = gateway(true);
        let mut withdraw = |gateway: &mut Gateway<'static>, question: Question| {
            if format!("{question:?}").starts_with(withdrawn_at) {
                gateway.renew(Some(&others), NOW);
            }
            team(gateway, question)
        };
        let served = walk(&mut gateway, &request, &mut Journey::default(), &mut withdraw);
        assert_eq!(served.is_ok(), withdrawn_at == "Entries", "once at most");
        let again = walk(&mut gateway, &request, &mut Journey::default(), &mut withdraw);
        assert_eq!(again.unwrap_err().status(), 401, "{withdrawn_at}");
    }
}

#[test]
fn case_19_32_whoever_does_not_answer_lets_nobody_in() {
    let token = token(&json!({}));
    let text = text("GET", "/api/v1/pods", &token, &[]);
    let request = Request::read(&text);
    for (jwks, error) in
        [(None, KeysError::Unreachable), (Some("{}"), KeysError::Malformed), (Some(r#"{"keys":[]}"#), KeysError::Empty)]
    {
        let mut silent = |gateway: &mut Gateway<'static>, _| {
            assert!(gateway.begin_renewal(NOW).is_some());
            assert!(gateway.renew(jwks, NOW).is_some(), "a failure is written down");
            gateway::Answer::Certs
        };
        let mut gateway = gateway(false);
        let refused = walk(&mut gateway, &request, &mut Journey::default(), &mut silent);
        assert_eq!(refused.unwrap_err(), Refusal::KeysUnavailable(error));
    }
    let mut failing = |gateway: &mut Gateway<'static>, question: Question| match question {
        Question::Entries(_) => gateway::Answer::Entries(Err(Unanswered)),
        question => team(gateway, question),
    };
    let refused = walk(&mut gateway(true), &request, &mut Journey::default(), &mut failing);
    assert_eq!(refused.unwrap_err().status(), 503);
}

#[test]
fn case_166_a_body_that_the_runtime_would_drop_is_refused() {
    let token = token(&json!({}));
    let workload = "/api/v1/namespaces/n/services/echo:http/proxy/_search";
    for target in ["/api/v1/pods", workload] {
        for header in [("content-length", "2"), ("transfer-encoding", "chunked")] {
            for method in ["GET", "HEAD"] {
                let answer = decide(method, target, &token, &[header]).unwrap_err();
                assert!(answer.status == 400 && answer.body.contains("send it as a POST"));
            }
            assert!(decide("DELETE", target, &token, &[header]).is_ok());
        }
        assert!(decide("GET", target, &token, &[("content-length", "0")]).is_ok());
    }
}

#[test]
fn case_27_an_address_that_no_entry_can_hold_gets_a_sentence_that_helps() {
    for email in ["jürgen@example.com", "jürgen@elsewhere.test", "a,b@example.com"] {
        let answer = decide("GET", "/api/v1/pods", &token(&json!({"email": email})), &[]);
        let answer = answer.unwrap_err();
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("such as an alias"), "{}", answer.body);
    }
}

#[test]
fn case_127_what_is_sent_is_signed_where_the_last_hop_asks_for_it() {
    const KEY: &str = "a key that nobody else knows, of enough characters";
    let config = Config { last_hop_key: Key::parse(KEY), ..config() };
    let mut gateway = Gateway::new(Ok(config), MAP, Guards::default(), false);
    for (headers, target) in [
        (&[][..], "/api/v1/pods?limit=5"),
        (&[("kube-access-signature", "1 forged")], "/api/v1/pods"),
        (&[("kube-access-signature", "1 forged")], "/api/v1/namespaces/d/services/web/proxy/x"),
        (&[("upgrade", "SPDY/3.1")], "/api/v1/namespaces/d/pods/web/exec?command=sh"),
    ] {
        let text = text("POST", target, &token(&json!({})), headers);
        let request = Request::read(&text);
        let plan = walk(&mut gateway, &request, &mut Journey::default(), &mut team).unwrap();
        let identity = "impersonate-user:alice\nimpersonate-group:platform-admins\nimpersonate-group:developers\n\
            impersonate-extra-kube-access.dev%2femail:alice@example.com\n\
            impersonate-extra-kube-access.dev%2fsubject:7335d417-61da-459d-899c-0a01c76a2f94";
        let text = format!("{NOW}\nPOST\n{target}\nid-1\n{identity}");
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), text.as_bytes());
        let lines = lines(&plan);
        let found: Vec<_> = lines.iter().filter(|line| line.to_lowercase().starts_with("kube-access-")).collect();
        assert_eq!(found, [&format!("Kube-Access-Signature:{NOW} {}", encode(mac))]);
        // Without a key a stream whose upgrade was declined may be asked for twice; a signature counts once.
        assert!(!plan.may_repeat);
    }
}

/// The team, which publishes its key.
fn team(gateway: &mut Gateway<'static>, question: Question) -> gateway::Answer {
    answer(gateway, question, &jwks(&[Signer::team().jwk("team-1")]))
}

/// What is decided about a request in a new isolate, whose questions the team and an empty store answer.
fn decide(method: &str, target: &str, token: &str, headers: &[(&str, &str)]) -> Result<Vec<String>, Answer> {
    let text = text(method, target, token, headers);
    let request = Request::read(&text);
    let mut gateway = gateway(false);
    let mut journey = Journey::default();
    walk(&mut gateway, &request, &mut journey, &mut team)
        .map(|plan| lines(&plan))
        .map_err(|refusal| refusal.answer(&request))
}

fn gateway(has_store: bool) -> Gateway<'static> {
    Gateway::new(Ok(config()), MAP, Guards::default(), has_store)
}

fn text(method: &str, target: &str, token: &str, headers: &[(&str, &str)]) -> String {
    let mut text = format!("{method}\nhttps://kube.example.com{target}\n{}\nid-1", NOW * 1000);
    if !token.is_empty() {
        write!(text, "\ncf-access-jwt-assertion:{token}").unwrap();
    }
    for (name, value) in headers {
        write!(text, "\n{name}:{value}").unwrap();
    }
    text
}

fn lines(plan: &Plan<'_>) -> Vec<String> {
    let lines = plan.head.lines.lines().chain(plan.caller.lines().lines());
    lines.map(str::to_owned).collect()
}
