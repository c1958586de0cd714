//! One structured line for each request: what was asked, by whom, and what became of it.
//!
//! Never in any line: tokens, cookies, `Authorization`, bodies, the arguments of exec, what a workload was asked for, and any
//! query parameter that is not known to be harmless. All text is escaped, so that no caller can forge a line.
//!
//! A line is written before its request is sent, with holes for what only the answer tells; [`fill`] fills them. So whoever
//! waits for the answer needs nothing of the request any more.

use std::borrow::Cow;

use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::answer;
use crate::caller::Caller;
use crate::config::Level;
use crate::record::{Record, open, timestamp};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::target::{self, Target};

mod event;

use event::Event;

/// Query parameters whose values may be logged: those of the Kubernetes API that carry no secret.
#[rustfmt::skip]
const HARMLESS: [&str; 31] = [
    "allowWatchBookmarks", "container", "dryRun", "fieldManager", "fieldSelector", "fieldValidation", "follow",
    "force", "gracePeriodSeconds", "hash", "labelSelector", "limit", "limitBytes", "orphanDependents", "pretty",
    "previous", "propagationPolicy", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "sinceSeconds",
    "sinceTime", "stderr", "stdin", "stdout", "tailLines", "timeout", "timeoutSeconds", "timestamps", "tty", "watch",
];

/// What is known of a request when it is sent or refused.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What was asked.
    pub request: &'a Request<'a>,
    /// Who asked, once that was known.
    pub caller: Option<&'a Caller>,
    /// Why it was refused, if it was.
    pub refusal: Option<&'a Refusal>,
}

/// What stands for the status of the answer, then for the time when its head was known, then for the milliseconds until then.
/// JSON holds no such character.
const HOLE: &str = "\u{1}";

/// Where the answer's status begins in an event, with the hole for its code; and how an event ends, with that for the time.
const STATUS: &str = ",\"responseStatus\":{\"metadata\":{},\"code\":\u{1}";
const END: &str = "},\"stageTimestamp\":\"\u{1}000Z\"}";

#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    message: &'a str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    method: &'a str,
    uri: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    acts_as: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ray: Option<&'a str>,
}

#[derive(Serialize)]
struct Change<'a> {
    level: &'static str,
    message: &'static str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    grant: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ray: Option<&'a str>,
}

impl Entry<'_> {
    /// How severe this is: a served request is `debug`, a refused one `warn`, a failure of ours or of the way `error`.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.refusal {
            None | Some(Refusal::Answer(answer::Error::Gone)) => Level::Debug,
            Some(refusal) if refusal.is_ours() => Level::Error,
            Some(_) => Level::Warn,
        }
    }

    /// What is to be written of this: a line from this level on, and an event where those are wanted.
    #[must_use]
    pub fn records(&self, least: Level, is_audited: bool) -> Vec<Record> {
        let level = self.level();
        let line = (level >= least).then(|| Record { level, template: self.line() });
        // All events have one severity.
        let event = is_audited.then(|| Record { level: Level::Info, template: self.event() });
        line.into_iter().chain(event).collect()
    }

    /// The log line.
    #[must_use]
    pub fn line(&self) -> String {
        let head = &self.request.head;
        let line = Line {
            level: self.level().name(),
            message: if self.refusal.is_some() { "request refused" } else { "request served" },
            audit_id: head.audit_id,
            method: head.method,
            uri: redact(self.request),
            user: self.caller.map(|caller| caller.identity().user()),
            acts_as: self.caller.and_then(Caller::acts_as).map(|other| other.user.as_str()),
            reason: self.refusal.map(Refusal::reason),
            detail: self.refusal.map(Refusal::detail),
            ray: head.ray(),
        };
        with_holes(&line)
    }

    /// The request as an `audit.k8s.io/v1` Event of level `Metadata`. A long-running request is written when its answer
    /// begins (`ResponseStarted`), since what follows passes through the Worker unseen; every other as `ResponseComplete`.
    #[must_use]
    pub fn event(&self) -> String {
        let mut text = open(&Event::of(self));
        text.push_str(STATUS);
        if let Some(refusal) = self.refusal {
            // A text without its closing quotation mark.
            let message = open(&refusal.to_string());
            text.extend([r#","status":"Failure","reason":""#, refusal.reason(), r#"","message":"#, &message, "\""]);
        }
        text.push_str(END);
        text
    }
}

/// A line, with the holes of one.
fn with_holes(line: &impl Serialize) -> String {
    let mut text = open(line);
    text.extend([r#","status":"#, HOLE, r#","time":""#, HOLE, r#"000Z","milliseconds":"#, HOLE, "}"]);
    text
}

/// What is written of a grant that was given (`create`) or taken back (`delete`), whatever is logged otherwise: a line, and an event of
/// level `Request`. `grant` is all of it, in JSON.
#[must_use]
pub fn change(entry: &Entry<'_>, verb: &'static str, id: &str, grant: &str) -> Vec<Record> {
    let head = &entry.request.head;
    let line = Change {
        level: Level::Info.name(),
        message: if verb == "create" { "grant given" } else { "grant taken back" },
        audit_id: head.audit_id,
        user: entry.caller.map(|caller| caller.identity().user()),
        grant: serde_json::from_str(grant).ok(),
        ray: head.ray(),
    };
    let event = [&open(&Event::of_change(entry, verb, id)), r#","requestObject":"#, grant, STATUS, END].concat();
    [with_holes(&line), event].map(|template| Record { level: Level::Info, template }).into()
}

/// A record with its holes filled: the status of the answer, and when its head was known and the request came, both in
/// milliseconds since the Unix epoch. `edge/rim.js` fills those of plain answers.
#[must_use]
pub fn fill(template: &str, status: u16, answered: u64, received: u64) -> String {
    let time = timestamp(answered, SecondsFormat::Millis);
    let milliseconds = answered.saturating_sub(received).to_string();
    let values = [&status.to_string(), time.trim_end_matches('Z'), &milliseconds];
    values.iter().fold(template.to_owned(), |text, value| text.replacen(HOLE, value, 1))
}

/// What a client says of itself is cut to so many bytes, as kube-apiserver cuts it.
const MAX_OF_CLIENT: usize = 1024;

/// Path and query as they may be logged. What lies behind `proxy/` is a workload's, and may be a secret. A path that could not
/// be read may be anything: no more is shown of it than comes before the shortest `proxy/`.
fn redact<'a>(request: &'a Request<'_>) -> Cow<'a, str> {
    let Ok(target) = &request.target else {
        let (path, query) = target::split(request.head.target);
        return redacted(path, 5, query.is_empty());
    };
    if target.is_proxy() {
        let prefix = if target.group.is_empty() { 2 } else { 3 };
        let namespace = if target.namespace.is_empty() { 0 } else { 2 };
        return redacted(target.path(), prefix + namespace + 3, target.query().is_empty());
    }
    if target.query().is_empty() {
        return Cow::Borrowed(target.path());
    }
    if !is_known(target) {
        return redacted(target.path(), usize::MAX, false);
    }
    let is_harmless =
        |pair: &str| !pair.contains(';') && HARMLESS.contains(&pair.split('=').next().unwrap_or_default());
    let pairs: Vec<&str> =
        target.query().split('&').map(|pair| if is_harmless(pair) { pair } else { "REDACTED" }).collect();
    Cow::Owned(format!("{}?{}", target.path(), pairs.join("&")))
}

/// So many segments of a path, and that there was more.
fn redacted(path: &str, segments: usize, has_no_query: bool) -> Cow<'_, str> {
    let end = path.match_indices('/').nth(segments).map_or(path.len(), |(index, _)| index);
    let (shown, rest) = path.split_at_checked(end).unwrap_or((path, ""));
    let rest = if rest.len() > 1 { "/REDACTED" } else { rest };
    let query = if has_no_query { "" } else { "?REDACTED" };
    if rest.len() <= 1 && has_no_query { Cow::Borrowed(path) } else { Cow::Owned([shown, rest, query].concat()) }
}

/// Whether the parameters of a query mean what they mean to Kubernetes' own groups. A group of somebody else's may give the
/// same names another meaning.
fn is_known(target: &Target<'_>) -> bool {
    if !target.is_resource {
        let first = target.path().split('/').nth(1).unwrap_or_default();
        return matches!(first, "api" | "apis" | "openapi" | "version");
    }
    target.group.ends_with(".k8s.io")
        || matches!(&*target.group, "" | "apps" | "autoscaling" | "batch" | "extensions" | "policy")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::guard::Held;
    use crate::identity::tests_support::{identity, stored};
    use crate::impersonation::Impersonated;
    use crate::keys::KeysError;
    use crate::{identity, protocol, token};

    const EXEC: &str = "GET\nhttps://k/api/v1/namespaces/n/pods/p/exec?command=sh&command=SECRET&%63ommand=SECRET&container=c&stdin=true\n\
        1800000000123\nid-1\ncf-ray:8f-FRA\ncf-connecting-ip:192.0.2.7\nuser-agent:kubectl/v1.37\nkubectl-command:kubectl exec\n\
        cf-access-jwt-assertion:SECRET\ncookie:CF_Authorization=SECRET\nauthorization:Bearer SECRET\n\
        sec-websocket-protocol:base64url.bearer.authorization.k8s.io.SECRET";

    fn entry<'a>(request: &'a Request<'a>, caller: Option<&'a Caller>, refusal: Option<&'a Refusal>) -> Entry<'a> {
        Entry { request, caller, refusal }
    }

    fn filled(template: &str) -> String {
        fill(template, 403, 1_800_000_000_128, 1_800_000_000_123)
    }

    fn event(text: &str, caller: Option<&Caller>, refusal: Option<&Refusal>) -> Value {
        let template = entry(&Request::read(text), caller, refusal).event();
        serde_json::from_str(&filled(&template)).unwrap()
    }

    #[test]
    fn case_137_180_an_event_tells_all_grants_by_which_somebody_is_who_they_are() {
        let entry = r#"{"user":"alice","grants":[{"groups":["b"],"id":"g-2","expires":"2100-01-01T00:00:00Z"},{"groups":["a"],"id":"g-1","expires":"2100-01-01T00:00:00Z"}]}"#;
        let caller = Caller::new(stored(entry), Held::default());
        let text = filled(&Entry { request: &Request::read(EXEC), caller: Some(&caller), refusal: None }.event());
        assert_eq!(text.matches("kube-access.dev/grant").count(), 1, "no member comes twice");
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["user"]["extra"]["kube-access.dev/grant"], json!(["g-2", "g-1"]));
    }

    #[test]
    fn case_88_137_an_event_tells_whom_a_caller_acts_as_with_all_that_the_cluster_is_told() {
        let extras = [("b/z", "2"), ("a/y", "1"), ("b/z", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let (user, groups) = ("breakglass".to_owned(), vec!["sre".to_owned()]);
        let other = Impersonated { user, groups, uid: Some("u-1".into()), extras: extras.into() };
        let caller = Caller::new(identity(), Held::default()).acting_as(other);
        let event = event(EXEC, Some(&caller), None);
        assert_eq!(event["user"]["username"], "alice");
        let told = json!({"username": "breakglass", "uid": "u-1", "groups": ["sre"], "extra": {"a/y": ["1"], "b/z": ["2", "3"]}});
        assert_eq!(event["impersonatedUser"], told);
    }

    #[test]
    fn case_137_an_event_says_who_asked_what_and_what_became_of_it() {
        let caller = Caller::new(identity(), Held::default());
        let event = event(EXEC, Some(&caller), None);
        assert_eq!(event["apiVersion"], "audit.k8s.io/v1");
        assert_eq!(event["auditID"], "id-1");
        assert_eq!(event["stage"], "ResponseStarted");
        assert_eq!(event["verb"], "get");
        assert_eq!(event["user"]["username"], "alice");
        assert_eq!(event["user"]["groups"], json!(["admins", "devs"]));
        assert_eq!(event["user"]["extra"]["kube-access.dev/subject"], json!(["id-1"]));
        assert_eq!(event["annotations"]["kube-access.dev/ray"], "8f-FRA");
        assert_eq!(event["stageTimestamp"], "2027-01-15T08:00:00.128000Z");
        assert_eq!(event["sourceIPs"], json!(["192.0.2.7"]));
        let reference =
            json!({"resource": "pods", "namespace": "n", "name": "p", "apiVersion": "v1", "subresource": "exec"});
        assert_eq!(event["objectRef"], reference);
        assert_eq!(event["requestReceivedTimestamp"], "2027-01-15T08:00:00.123000Z");
        assert_eq!(event["annotations"]["kube-access.dev/rule"], "email");
        assert_eq!(event["annotations"]["kube-access.dev/client-kubectl-command"], "kubectl exec");
    }

    #[test]
    fn case_137_a_refused_request_leaves_an_event_too() {
        let refusal = Refusal::Unauthenticated(token::Reason::Expired);
        let event = event(EXEC, None, Some(&refusal));
        assert_eq!((&event["stage"], &event["user"]), (&json!("ResponseComplete"), &json!({})));
        assert_eq!(event["responseStatus"]["code"], 403);
        assert_eq!(event["responseStatus"]["reason"], "Unauthorized");
        assert_eq!(event["annotations"]["kube-access.dev/decision"], "refuse");
        assert_eq!(event["annotations"]["kube-access.dev/detail"], "expired");
    }

    #[test]
    fn case_138_no_secret_is_in_any_line() {
        let caller = Caller::new(identity(), Held::default());
        let spdy = Refusal::from(protocol::Error::Spdy);
        for refusal in [None, Some(&spdy)] {
            for path in ["/exec?", "//exec?", "/proxy/x?command=SECRET&", "?access_token=SECRET&SECRET&"] {
                let text = EXEC.replace("/exec?", path);
                let request = Request::read(&text);
                let entry = entry(&request, Some(&caller), refusal);
                assert!(
                    !entry.line().contains("SECRET") && !entry.event().contains("SECRET"),
                    "{path}: {}",
                    entry.event()
                );
            }
        }
        let kept = "/api/v1/namespaces/n/pods/p/exec?REDACTED&REDACTED&REDACTED&container=c&stdin=true";
        assert_eq!(redact(&Request::read(EXEC)), kept);
    }

    #[test]
    fn case_175_what_a_workload_is_asked_for_is_not_logged_nor_values_that_others_define() {
        let proxy = "/api/v1/namespaces/n/services/s/proxy";
        for (target, logged) in [
            (format!("{proxy}/hooks/SECRET"), format!("{proxy}/REDACTED")),
            (format!("{proxy}/hooks/SECRET?a=SECRET"), format!("{proxy}/REDACTED?REDACTED")),
            (format!("{proxy}/"), format!("{proxy}/")),
            (proxy.to_owned(), proxy.to_owned()),
            (format!("{proxy}?SECRET"), format!("{proxy}?REDACTED")),
            ("/api/v1/nodes/n/pr%6Fxy/SECRET".into(), "/api/v1/nodes/n/pr%6Fxy/REDACTED".into()),
            ("/api/v1/proxy/namespaces/n/pods/p/SECRET/x".into(), "/api/v1/proxy/namespaces/n/pods/p/REDACTED".into()),
            (format!("{proxy}/../SECRET"), "/api/v1/namespaces/n/services/REDACTED".into()),
            ("//api/v1/nodes/n/proxy/SECRET".into(), "//api/v1/nodes/n/REDACTED".into()),
            (
                "/apis/acme.example.com/v1/things?limit=SECRET".into(),
                "/apis/acme.example.com/v1/things?REDACTED".into(),
            ),
            ("/logs/x?limit=SECRET".into(), "/logs/x?REDACTED".into()),
            ("/apis/apps/v1/deployments?limit=5".into(), "/apis/apps/v1/deployments?limit=5".into()),
            ("/apis/x.k8s.io/v1/y?limit=5&a=b".into(), "/apis/x.k8s.io/v1/y?limit=5&REDACTED".into()),
            ("/version?timeout=32s".into(), "/version?timeout=32s".into()),
        ] {
            let text = format!("GET\nhttps://k{target}\n0\nid");
            assert_eq!(redact(&Request::read(&text)), logged, "{target}");
        }
    }

    #[test]
    fn case_140_174_no_caller_can_forge_a_line_or_hide_in_one() {
        let odd = "x\"}\u{1b}[31m\r\u{1}\u{7f}\u{85}\u{9b}\u{200e}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\u{e0041}";
        let text = format!("GET\nhttps://k/api/v1/pods\n0\nid\nuser-agent:{odd}");
        let refusal = Refusal::from(identity::Error::NotMapped(odd.to_owned()));
        for refusal in [None, Some(&refusal)] {
            let request = Request::read(&text);
            let entry = entry(&request, None, refusal);
            for line in [filled(&entry.line()), filled(&entry.event())] {
                let is_plain = |byte: u8| (0x20..0x7f).contains(&byte);
                assert!(line.bytes().all(is_plain), "{line}");
                assert!(serde_json::from_str::<Value>(&line).is_ok());
            }
        }
        assert_eq!(event(&text, None, None)["userAgent"], odd, "nothing is lost");
        let text = text.replace(odd, "bär 日本");
        let request = Request::read(&text);
        let line = entry(&request, None, None).event();
        assert!(line.contains("bär 日本"), "what can be read stays readable");
    }

    #[test]
    fn a_line_has_the_severity_of_what_happened() {
        let head = Request::read("GET\nhttps://k/api\n0\nid");
        let spdy = Refusal::from(protocol::Error::Spdy);
        let gone = Refusal::from(answer::Error::Gone);
        assert_eq!(entry(&head, None, Some(&gone)).level(), Level::Debug);
        assert_eq!(entry(&head, None, None).level(), Level::Debug);
        assert_eq!(entry(&head, None, Some(&spdy)).level(), Level::Warn);
        assert_eq!(entry(&head, None, Some(&Refusal::KeysUnavailable(KeysError::Empty))).level(), Level::Error);
        assert!(entry(&head, None, Some(&spdy)).line().contains(r#""level":"warn","message":"request refused""#));
    }

    #[test]
    fn case_160_a_client_that_leaves_after_its_request_was_sent_leaves_an_event() {
        let gone = Refusal::from(answer::Error::Gone);
        let event = event(EXEC, None, Some(&gone));
        assert_eq!(event["annotations"]["kube-access.dev/decision"], "forward");
        assert_eq!(event["responseStatus"]["reason"], "ClientClosedRequest");
    }
}
