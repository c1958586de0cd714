//! What the line says of streams, watches and logs: which streams are in our hands, until when each may stay, and who may have what was
//! recorded.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tables, and a test fails by panicking"
)]

use kube_access::config::{Config, Features};
use kube_access::deadline::Why;
use kube_access::gateway::{Answer, Gateway, Journey, Plan, Question, Step};
use kube_access::guard::{Guards, Record};
use kube_access::identity::IdentityMap;
use kube_access::own::Reply;
use kube_access::refusal::Refusal;
use kube_access::request::Request;
use kube_access::session::own::Call;
use serde_json::{Value, json};

use crate::team::{NOW, Signer, config, jwks, token};

#[path = "conformance/team.rs"]
#[allow(dead_code, reason = "shared with the conformance table")]
mod team;

const MAP: IdentityMap<'static> = IdentityMap {
    emails: "alice@example.com\talice\tadmins\t\tbreakglass\nbob@example.com\tbob\tdevelopers\ncarol@example.com\tcarol\tadmins\t1800000300\n",
    email_domains: "",
    service_tokens: "",
    idp_groups: "",
    granted: "",
};

/// Developers are recorded; for those in `guests`, and for breakglass, things end after ten minutes and five.
const GUARDS: &str = "recorded\t\tdevelopers\t\toutput - 67108864 * *\n\
    short\t\tguests\t\t- 600 1048576 default,team-* *\n\
    shorter\tbreakglass\t\t\t- 300 1048576 * *\n";

const EXEC: &str = "/api/v1/namespaces/default/pods/web/exec?command=sh";
const UPGRADE: &str = "\nupgrade:websocket\nsec-websocket-version:13\nsec-websocket-key:yPc6qyEdVivBFTmdg5VfRA==";
const OFFER: &str = "\nsec-websocket-protocol:v5.channel.k8s.io";

/// The world around one gateway.
struct World {
    gateway: Gateway<'static>,
    /// What Workers KV has of whoever asks.
    stored: Option<Value>,
    /// What the API server answers a review.
    allowed: Option<bool>,
    asked: Vec<String>,
}

/// Where a request came to its end.
#[derive(Debug)]
enum End {
    Sent { target: String, until: u64, relay: Option<(Record, u64, Why)>, head: String },
    Sessions(Call),
}

impl World {
    fn new() -> Self {
        let features = Features { sessions: true, ..Features::default() };
        let config = Config { features, ..config() };
        let gateway = Gateway::new(Ok(config), MAP, Guards::parse(GUARDS), true);
        Self { gateway, stored: None, allowed: Some(true), asked: Vec::new() }
    }

    fn ask(&mut self, who: &str, request: &str, headers: &str) -> Result<End, Refusal> {
        self.ask_on(&mut Journey::default(), who, request, headers, 0)
    }

    fn ask_on<'a>(
        &mut self,
        journey: &mut Journey<'a>,
        who: &str,
        request: &str,
        headers: &str,
        after: u64,
    ) -> Result<End, Refusal> {
        let (method, target) = request.split_once(' ').unwrap();
        let now = (NOW + after) * 1000;
        let text = format!(
            "{method}\nhttps://kube.example.com{target}\n{now}\nid-1\ncf-access-jwt-assertion:{}{headers}",
            token(&json!({ "email": format!("{who}@example.com") }))
        );
        // A test's text may live for ever.
        let request: &'a Request<'a> = Box::leak(Box::new(Request::read(Box::leak(text.into_boxed_str()))));
        loop {
            let question = match self.gateway.step(request, journey) {
                Step::Send(plan) => return Ok(End::of(&plan)),
                Step::Own(reply) => match *reply {
                    Reply::Sessions(call) => return Ok(End::Sessions(call)),
                    reply => unreachable!("{reply:?}"),
                },
                Step::Refuse(refusal) => return Err(refusal),
                Step::Ask(question) => question,
            };
            self.asked.push(format!("{question:?}").split([' ', '(']).next().unwrap().to_owned());
            journey.learn(match question {
                Question::Entries(_) => Answer::Entries(Ok(vec![self.stored.as_ref().map(Value::to_string)])),
                Question::Membership(..) => Answer::Membership,
                Question::Reviews(reviews) => {
                    self.asked.extend(reviews.iter().map(|review| review.body.clone()));
                    let answer = self.allowed.map(|is| format!(r#"{{"status":{{"allowed":{is}}}}}"#));
                    Answer::Reviews(reviews.iter().map(|_| answer.clone()).collect())
                }
                question => team::answer(&mut self.gateway, question, &jwks(&[Signer::team().jwk("team-1")])),
            });
        }
    }
}

impl End {
    fn of(plan: &Plan<'_>) -> Self {
        let relay = plan.relay.as_ref().map(|relay| {
            let deadline = &relay.deadline;
            (relay.stay.record, deadline.at - NOW, deadline.why.clone())
        });
        Self::Sent { target: plan.target.to_string(), until: plan.until, relay, head: plan.head.lines.clone() }
    }

    fn relay(self) -> Option<(Record, u64, Why)> {
        match self {
            Self::Sent { relay, .. } => relay,
            Self::Sessions(_) => None,
        }
    }

    fn target(self) -> String {
        match self {
            Self::Sent { target, .. } => target,
            Self::Sessions(_) => String::new(),
        }
    }
}

#[test]
fn case_125_a_stream_is_recorded_by_its_target_whatever_its_client_says_of_itself() {
    let pod = "/api/v1/namespaces/default/pods/web";
    let odd = UPGRADE.replace("upgrade:websocket", "upgrade:WebSocket");
    for (target, headers) in [
        (format!("{pod}/exec?command=sh&stdin=true&tty=true"), [UPGRADE, OFFER].concat()),
        (format!("{pod}/exec?command=tar&command=cf"), [UPGRADE, OFFER, "\nkubectl-command:kubectl cp"].concat()),
        (format!("{pod}/exec"), [UPGRADE, "\nsec-websocket-protocol:v4.channel.k8s.io"].concat()),
        (format!("{pod}/exec"), [UPGRADE, "\nsec-websocket-protocol:channel.k8s.io, v4.channel.k8s.io"].concat()),
        (format!("{pod}/exec"), [&odd, OFFER].concat()),
        (format!("{pod}/exec/"), [UPGRADE, OFFER].concat()),
        (format!("{pod}/%65xec"), [UPGRADE, OFFER].concat()),
        (format!("{pod}/attach?container=debugger-1"), [UPGRADE, OFFER].concat()),
        (format!("{pod}/portforward"), [UPGRADE, "\nsec-websocket-protocol:SPDY/3.1+portforward.k8s.io"].concat()),
    ] {
        let end = World::new().ask("bob", &format!("GET {target}"), &headers).unwrap();
        assert_eq!(end.relay().map(|(record, ..)| record), Some(Record::Output), "{target} {headers}");
        let end = World::new().ask("alice", &format!("GET {target}"), &headers).unwrap();
        assert_eq!(end.relay(), None, "no guard is for her");
    }
}

#[test]
fn case_125_what_cannot_be_told_apart_is_not_opened() {
    for offer in [
        "",
        "\nsec-websocket-protocol:channel.k8s.io",
        "\nsec-websocket-protocol:base64.channel.k8s.io, v4.base64.channel.k8s.io, v3.channel.k8s.io",
        "\nsec-websocket-protocol:V5.CHANNEL.K8S.IO",
    ] {
        let refusal = World::new().ask("bob", &format!("GET {EXEC}"), &[UPGRADE, offer].concat()).unwrap_err();
        assert_eq!(refusal.status(), 400);
        assert!(refusal.to_string().contains("v5.channel.k8s.io"), "{refusal}");
    }
    let offer = "\nsec-websocket-protocol:channel.k8s.io, v4.channel.k8s.io, v5.channel.k8s.io\nsec-websocket-extensions:permessage-deflate";
    let End::Sent { head, .. } = World::new().ask("bob", &format!("GET {EXEC}"), &[UPGRADE, offer].concat()).unwrap()
    else {
        unreachable!("sent")
    };
    assert!(head.contains("Sec-WebSocket-Protocol:v4.channel.k8s.io, v5.channel.k8s.io\n"), "{head}");
    assert!(!head.contains("Extensions"), "{head}");
}

#[test]
fn case_125_kubectls_second_attempt_and_a_plain_request_open_nothing() {
    let spdy = "\nconnection:upgrade\nupgrade:SPDY/3.1";
    let end = World::new().ask("bob", &format!("POST {EXEC}"), spdy).unwrap();
    assert!(end.relay().is_some(), "so that it is answered like the first");
    assert_eq!(World::new().ask("bob", &format!("GET {EXEC}"), "").unwrap().relay(), None);
}

#[test]
fn case_30_a_stream_ends_at_the_earliest_of_what_lets_its_caller_in() {
    let stream = |world: &mut World, who: &str, headers: &str| {
        let headers = [UPGRADE, OFFER, headers].concat();
        world.ask(who, &format!("GET {EXEC}"), &headers).unwrap().relay().unwrap()
    };
    let mut world = World::new();
    assert_eq!(stream(&mut world, "bob", ""), (Record::Output, 600, Why::Token));
    world.stored = Some(json!({ "grants": [{ "groups": ["guests"], "expires": "2027-01-15T08:05:00Z" }] }));
    let mut granted = World { stored: world.stored.clone(), ..World::new() };
    assert_eq!(stream(&mut granted, "bob", ""), (Record::Output, 300, Why::Policy));
    granted = World { stored: world.stored, ..World::new() };
    assert_eq!(stream(&mut granted, "alice", ""), (Record::Nothing, 300, Why::Policy));
    assert_eq!(
        stream(&mut World::new(), "alice", "\nimpersonate-user:breakglass"),
        (Record::Nothing, 300, Why::Guard(300)),
        "guards of whom they act as hold too"
    );
}

#[test]
fn a_watch_is_told_to_end_with_its_callers_time_and_never_later() {
    let pods = "/api/v1/namespaces/default/pods";
    for (query, expected) in [
        ("watch=1", "watch=1&timeoutSeconds=600"),
        ("watch=1&timeoutSeconds=599", "watch=1&timeoutSeconds=599"),
        ("watch=1&timeoutSeconds=600", "watch=1&timeoutSeconds=600"),
        ("watch=1&timeoutSeconds=601", "watch=1&timeoutSeconds=600"),
        ("timeoutSeconds=86400&watch=1&timeoutSeconds=5", "watch=1&timeoutSeconds=600"),
        ("watch=1&timeout%53econds=86400", "watch=1&timeoutSeconds=600"),
        ("watch=1&timeoutSeconds=0", "watch=1&timeoutSeconds=600"),
        ("watch=1&timeoutSeconds=", "watch=1&timeoutSeconds="),
        ("watch=1&timeoutSeconds=x", "watch=1&timeoutSeconds=x"),
        ("watch=1&timeoutSeconds=-1", "watch=1&timeoutSeconds=-1"),
        ("timeoutSeconds=86400", "timeoutSeconds=86400"),
        (
            "labelSelector=a%3Db&watch=true&resourceVersion=5",
            "labelSelector=a%3Db&watch=true&resourceVersion=5&timeoutSeconds=600",
        ),
    ] {
        let end = World::new().ask("bob", &format!("GET {pods}?{query}"), "").unwrap();
        assert_eq!(end.target(), format!("{pods}?{expected}"));
    }
    let old = World::new().ask("bob", "GET /api/v1/watch/namespaces/default/pods", "").unwrap();
    assert_eq!(old.target(), "/api/v1/watch/namespaces/default/pods?timeoutSeconds=600");
}

#[test]
fn case_30_what_stays_open_otherwise_is_cut_off_and_what_does_not_is_left_alone() {
    let until = |request: &str, headers: &str| match World::new().ask("bob", request, headers).unwrap() {
        End::Sent { until, .. } => until,
        End::Sessions(_) => unreachable!("sent"),
    };
    let pod = "/api/v1/namespaces/default/pods/web";
    assert_eq!(until(&format!("GET {pod}/log?follow=true"), ""), (NOW + 600) * 1000);
    assert_eq!(until("GET /api/v1/namespaces/default/services/web/proxy/events", ""), (NOW + 600) * 1000);
    let watch = "GET /api/v1/namespaces/default/pods?watch=1".to_owned();
    for request in [format!("GET {pod}"), watch, format!("DELETE {pod}"), "GET /version".into()] {
        assert_eq!(until(&request, ""), 0, "{request}");
    }
}

#[test]
fn case_30_a_websocket_that_is_no_stream_is_cut_off_as_http_is_where_there_is_an_object_to_do_it() {
    let until = |world: &mut World, who: &str, path: &str, as_other: &str| {
        let headers = [UPGRADE, "\nsec-websocket-protocol:base64.binary.k8s.io", as_other].concat();
        match world.ask(who, &format!("GET /api/v1/{path}"), &headers).unwrap() {
            End::Sent { until, .. } => until.checked_sub(NOW * 1000).map(|left| left / 1000),
            End::Sessions(_) => unreachable!("sent"),
        }
    };
    let (bounded, log) = ("\nimpersonate-user:breakglass", "namespaces/default/pods/web/log?follow=true");
    for (who, path, as_other, expected) in [
        ("alice", log, "", Some(600)),
        ("alice", log, bounded, Some(300)),
        ("alice", "namespaces/default/services/web/proxy/socket", bounded, Some(300)),
        ("alice", "proxy/namespaces/default/services/web/socket", bounded, Some(300)),
        ("alice", "nodes/n/proxy/exec/default/web/c?command=sh", bounded, Some(300)),
        ("alice", "namespaces/default/services/web/proxy/socket", "", None),
        ("bob", "namespaces/default/services/web/proxy/socket", "", None),
        ("alice", "namespaces/default/pods?watch=1", bounded, None),
        ("alice", "namespaces/default/pods/web", bounded, None),
    ] {
        assert_eq!(until(&mut World::new(), who, path, as_other), expected, "{who} {path} {as_other}");
    }
    let gateway = Gateway::new(Ok(config()), MAP, Guards::default(), true);
    assert_eq!(until(&mut World { gateway, ..World::new() }, "alice", log, ""), None, "there is no object");
}

#[test]
fn ones_own_sessions_are_ones_own_and_those_of_others_are_for_whom_rbac_lets() {
    let mut world = World::new();
    let own = own_session("bob");
    let others = own_session("alice");
    for (path, verb) in [("", "list"), ("/", "get"), ("/cast", "get"), ("/chunks", "get")] {
        let path = match path {
            "" => "/.kube-access/sessions".to_owned(),
            "/" => format!("/.kube-access/sessions/{others}"),
            rest => format!("/.kube-access/sessions/{others}{rest}"),
        };
        world.asked.clear();
        assert!(matches!(world.ask("bob", &format!("GET {path}"), "").unwrap(), End::Sessions(_)));
        let review = world.asked.last().unwrap();
        assert!(
            review.contains(&format!(r#""verb":"{verb}","group":"kube-access.dev","resource":"sessions""#)),
            "{review}"
        );
    }
    world.ask("bob", &format!("DELETE /.kube-access/sessions/{others}?reason=a%0Ab"), "").unwrap();
    assert!(
        world.asked.last().unwrap().contains(r#""verb":"delete""#) && world.asked.last().unwrap().contains(&others)
    );

    world.allowed = Some(false);
    for (request, is_refused) in [
        (format!("GET /.kube-access/sessions/{own}"), false),
        (format!("GET /.kube-access/sessions/{own}/cast"), false),
        (format!("DELETE /.kube-access/sessions/{own}"), false),
        ("GET /.kube-access/sessions?user=bob".into(), false),
        ("GET /.kube-access/sessions".into(), false),
        ("GET /.kube-access/sessions?user=alice".into(), true),
        (format!("GET /.kube-access/sessions/{others}"), true),
        (format!("GET /.kube-access/sessions/{others}/chunks"), true),
        (format!("GET /.kube-access/sessions/{others}/cast"), true),
        (format!("DELETE /.kube-access/sessions/{others}"), true),
    ] {
        let end = world.ask("bob", &request, "");
        assert_eq!(end.as_ref().is_err_and(|refusal| refusal.status() == 403), is_refused, "{request}: {end:?}");
    }
    let End::Sessions(Call::List(query)) = world.ask("bob", "GET /.kube-access/sessions", "").unwrap() else {
        unreachable!("a list")
    };
    assert_eq!(query.user.as_deref(), Some("bob"), "it is narrowed to their own");
    world.allowed = None;
    assert_eq!(world.ask("bob", "GET /.kube-access/sessions", "").unwrap_err().status(), 503);
}

#[test]
fn what_asks_for_no_session_is_refused_in_words() {
    let own = own_session("bob");
    for (request, status) in [
        ("GET /.kube-access/sessions?limit=0".to_owned(), 400),
        ("GET /.kube-access/sessions?limit=101".into(), 400),
        ("GET /.kube-access/sessions?cursor=x".into(), 400),
        ("GET /.kube-access/sessions?day=2026-13-01".into(), 400),
        ("GET /.kube-access/sessions?day=2026-1-1".into(), 400),
        ("GET /.kube-access/sessions?state=dead".into(), 400),
        ("POST /.kube-access/sessions".into(), 404),
        ("GET /.kube-access/sessions/".into(), 404),
        ("GET /.kube-access/sessions/../x".into(), 404),
        ("GET /.kube-access/sessionsx".into(), 404),
        (format!("PUT /.kube-access/sessions/{own}"), 404),
        (format!("GET /.kube-access/sessions/{own}/other"), 404),
        (format!("GET /.kube-access/sessions/{own}/cast/x"), 404),
        (format!("GET /.kube-access/sessions/{own}/chunks/1"), 404),
        (format!("POST /.kube-access/sessions/{own}/end"), 400),
    ] {
        let refusal = World::new().ask("bob", &request, "").unwrap_err();
        assert_eq!(refusal.status(), status, "{request}: {refusal}");
    }
    for headers in ["\nsec-fetch-site:same-site", "\nsec-fetch-site:cross-site", "\norigin:https://evil.test"] {
        let page = World::new().ask("bob", "GET /.kube-access/sessions", headers).unwrap_err();
        assert_eq!(page.status(), 403, "no page but the gateway's own may: {headers}");
    }
    let mut off = World { gateway: Gateway::new(Ok(config()), MAP, Guards::default(), true), ..World::new() };
    assert!(off.ask("bob", "GET /.kube-access/sessions", "").unwrap_err().to_string().contains("sessions = true"));
}

#[test]
fn case_123_whoever_entered_is_asked_about_afresh() {
    let mut world = World::new();
    let stream = [UPGRADE, OFFER].concat();
    let request = format!("GET {EXEC}");
    world.ask("bob", &request, &stream).unwrap();
    world.asked.clear();
    world.ask("bob", &request, &stream).unwrap();
    assert_eq!(world.asked, [""; 0], "who came a moment ago is known");
    world.stored = Some(json!({ "deny": true }));
    world.ask("bob", &request, &stream).unwrap();
    let refusal = world.ask_on(&mut Journey::afresh(), "bob", &request, &stream, 1).unwrap_err();
    assert!(refusal.to_string().contains("withdrawn the access of bob@example.com"));
    world.stored = None;
    let expired = world.ask_on(&mut Journey::afresh(), "bob", &request, &stream, 600).unwrap_err();
    assert_eq!(expired.status(), 401);
    world.ask("carol", &request, &stream).unwrap();
    let ended = world.ask_on(&mut Journey::afresh(), "carol", &request, &stream, 301).unwrap_err();
    assert_eq!(ended.status(), 403, "her entry has ended");
}

fn own_session(user: &str) -> String {
    kube_access::session::id::make(user, NOW * 1000, "0fa34567-89ab-4def-8123-456789abcdef")
}
