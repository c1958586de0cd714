//! One structured line for each request: what was asked, by whom, and what became of it.
//!
//! Never in any line: tokens, cookies, `Authorization`, bodies, the arguments of exec, what a workload was asked for, and any
//! query parameter that is not known to be harmless. All text is escaped, so that no caller can forge a line.
//!
//! A line is written before its request is sent, with holes for what only the answer tells; [`fill`] fills them. So whoever
//! waits for the answer needs nothing of the request any more.

use std::borrow::Cow;
use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::answer;
use crate::caller::Caller;
use crate::config::Level;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::target::{self, Target};

mod event;

use event::Event;

/// Query parameters whose values may be logged: those of the Kubernetes API that carry no secret.
const HARMLESS: [&str; 31] = [
    "allowWatchBookmarks",
    "container",
    "dryRun",
    "fieldManager",
    "fieldSelector",
    "fieldValidation",
    "follow",
    "force",
    "gracePeriodSeconds",
    "hash",
    "labelSelector",
    "limit",
    "limitBytes",
    "orphanDependents",
    "pretty",
    "previous",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "sinceSeconds",
    "sinceTime",
    "stderr",
    "stdin",
    "stdout",
    "tailLines",
    "timeout",
    "timeoutSeconds",
    "timestamps",
    "tty",
    "watch",
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

/// A line or an event, whose holes [`fill`] fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How severe it is.
    pub level: Level,
    /// JSON with holes.
    pub template: String,
}

/// What stands for the status of the answer, the time when its head was known, and the milliseconds until then. JSON holds no
/// such character.
const HOLES: [&str; 3] = ["\u{1}", "\u{2}", "\u{3}"];

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
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
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
        let line = (level >= least).then(|| Record {
            level,
            template: self.line(),
        });
        // Whoever reads one kind tells it from the other by its `kind`; all events have one severity.
        let event = is_audited.then(|| Record {
            level: Level::Info,
            template: self.event(),
        });
        line.into_iter().chain(event).collect()
    }

    /// The log line.
    #[must_use]
    pub fn line(&self) -> String {
        let head = &self.request.head;
        let line = Line {
            level: self.level().name(),
            message: if self.refusal.is_some() {
                "request refused"
            } else {
                "request served"
            },
            audit_id: head.audit_id,
            method: head.method,
            uri: redact(self.request),
            user: self.caller.map(|caller| caller.identity().user()),
            reason: self.refusal.map(Refusal::reason),
            detail: self.refusal.map(Refusal::detail),
            ray: head.ray(),
        };
        let [status, time, milliseconds] = HOLES;
        let rest = format!(
            r#","status":{status},"time":"{time}000Z","milliseconds":{milliseconds}}}"#
        );
        open(&line) + &rest
    }

    /// The request as an `audit.k8s.io/v1` Event of level `Metadata`. A long-running request is written when its answer
    /// begins (`ResponseStarted`), since what follows passes through the Worker unseen; every other as `ResponseComplete`.
    #[must_use]
    pub fn event(&self) -> String {
        let [status, time, _] = HOLES;
        let refusal = self.refusal.map(event::Refused::of);
        let refusal = refusal.map_or_else(String::new, |refused| {
            let members = open(&refused);
            format!(",{}", members.trim_start_matches('{'))
        });
        let rest = format!(
            r#","responseStatus":{{"metadata":{{}},"code":{status}{refusal}}},"stageTimestamp":"{time}000Z"}}"#
        );
        open(&Event::of(self)) + &rest
    }
}

/// A record with its holes filled: the status of the answer, and when its head was known and the request came, both in
/// milliseconds since the Unix epoch. `edge/rim.js` fills those of plain answers.
#[must_use]
pub fn fill(template: &str, status: u16, answered: u64, received: u64) -> String {
    let [at_status, at_time, at_milliseconds] = HOLES;
    let time = timestamp(answered, SecondsFormat::Millis);
    let milliseconds = answered.saturating_sub(received);
    template
        .replace(at_status, &status.to_string())
        .replace(at_time, time.trim_end_matches('Z'))
        .replace(at_milliseconds, &milliseconds.to_string())
}

/// An object without its closing brace, safe to be shown: what could break a line, hide text or turn it around is escaped.
fn open(value: &impl Serialize) -> String {
    let mut json = serde_json::to_string(value).unwrap_or_default();
    json.pop();
    let is_unsafe = |character: char| {
        matches!(
            character,
            '\u{7f}'..='\u{9f}'
                | '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
    };
    if !json.contains(is_unsafe) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 32);
    for character in json.chars() {
        if is_unsafe(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

/// The first 1024 bytes of what a client says of itself, as kube-apiserver cuts it.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(1024))
        .unwrap_or_default()
}

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
    let is_harmless = |pair: &str| {
        !pair.contains(';') && HARMLESS.contains(&pair.split('=').next().unwrap_or_default())
    };
    let pairs: Vec<&str> = target
        .query()
        .split('&')
        .map(|pair| if is_harmless(pair) { pair } else { "REDACTED" })
        .collect();
    Cow::Owned(format!("{}?{}", target.path(), pairs.join("&")))
}

/// So many segments of a path, and that there was more.
fn redacted(path: &str, segments: usize, has_no_query: bool) -> Cow<'_, str> {
    let end = path.match_indices('/').nth(segments).map_or(path.len(), |(index, _)| index);
    let (shown, rest) = path.split_at_checked(end).unwrap_or((path, ""));
    let rest = if rest.len() > 1 { "/REDACTED" } else { rest };
    let query = if has_no_query { "" } else { "?REDACTED" };
    if rest.len() <= 1 && has_no_query {
        Cow::Borrowed(path)
    } else {
        Cow::Owned([shown, rest, query].concat())
    }
}

/// Whether the parameters of a query mean what they mean to Kubernetes' own groups. A group of somebody else's may give the
/// same names another meaning.
fn is_known(target: &Target<'_>) -> bool {
    if !target.is_resource {
        let first = target.path().split('/').nth(1).unwrap_or_default();
        return matches!(first, "api" | "apis" | "openapi" | "version");
    }
    target.group.ends_with(".k8s.io")
        || matches!(
            &*target.group,
            "" | "apps" | "autoscaling" | "batch" | "extensions" | "policy"
        )
}

/// RFC 3339 in UTC.
fn timestamp(milliseconds: u64, format: SecondsFormat) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(DateTime::from_timestamp_millis);
    time.unwrap_or_default().to_rfc3339_opts(format, true)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::identity::tests_support::identity;
    use crate::keys::KeysError;
    use crate::token;

    const EXEC: &str = "GET\nhttps://k/api/v1/namespaces/n/pods/p/exec?command=sh&command=SECRET&%63ommand=SECRET&container=c&stdin=true\n\
        1800000000123\nid-1\ncf-ray:8f-FRA\ncf-connecting-ip:192.0.2.7\nuser-agent:kubectl/v1.37\nkubectl-command:kubectl exec\n\
        cf-access-jwt-assertion:SECRET\ncookie:CF_Authorization=SECRET\nauthorization:Bearer SECRET\n\
        sec-websocket-protocol:base64url.bearer.authorization.k8s.io.SECRET";

    fn entry<'a>(
        head: &'a Head<'a>,
        caller: Option<&'a Caller>,
        refusal: Option<&'a Refusal>,
    ) -> Entry<'a> {
        let status = refusal.map_or(200, Refusal::status);
        Entry {
            head,
            caller,
            refusal,
            status,
            answered: head.received + 5,
        }
    }

    fn event(text: &str, caller: Option<&Caller>, refusal: Option<&Refusal>) -> Value {
        serde_json::from_str(&entry(&Head::read(text).0, caller, refusal).event()).unwrap()
    }

    #[test]
    fn case_137_an_event_says_who_asked_what_and_what_became_of_it() {
        let caller = Caller::new(identity());
        let event = event(EXEC, Some(&caller), None);
        assert_eq!(event["apiVersion"], "audit.k8s.io/v1");
        assert_eq!(event["auditID"], "id-1");
        assert_eq!(event["stage"], "ResponseStarted");
        assert_eq!(event["verb"], "get");
        assert_eq!(event["user"]["username"], "alice");
        assert_eq!(event["user"]["groups"], json!(["admins", "devs"]));
        assert_eq!(
            event["user"]["extra"]["kube-access.dev/ray"],
            json!(["8f-FRA"])
        );
        assert_eq!(event["sourceIPs"], json!(["192.0.2.7"]));
        let reference = json!({"resource": "pods", "namespace": "n", "name": "p", "apiVersion": "v1", "subresource": "exec"});
        assert_eq!(event["objectRef"], reference);
        assert_eq!(
            event["requestReceivedTimestamp"],
            "2027-01-15T08:00:00.123000Z"
        );
        assert_eq!(event["annotations"]["kube-access.dev/rule"], "email");
        assert_eq!(
            event["annotations"]["kube-access.dev/client-kubectl-command"],
            "kubectl exec"
        );
    }

    #[test]
    fn case_137_a_refused_request_leaves_an_event_too() {
        let refusal = Refusal::Unauthenticated(token::Reason::Expired);
        let event = event(EXEC, None, Some(&refusal));
        assert_eq!(
            (&event["stage"], &event["user"]),
            (&json!("ResponseComplete"), &json!({}))
        );
        assert_eq!(event["responseStatus"]["code"], 401);
        assert_eq!(event["annotations"]["kube-access.dev/decision"], "refuse");
        assert_eq!(event["annotations"]["kube-access.dev/detail"], "expired");
    }

    #[test]
    fn case_138_no_secret_is_in_any_line() {
        let caller = Caller::new(identity());
        let spdy = Refusal::Spdy;
        for refusal in [None, Some(&spdy)] {
            for path in [
                "/exec?",
                "//exec?",
                "/proxy/x?command=SECRET&",
                "?access_token=SECRET&SECRET&",
            ] {
                let text = EXEC.replace("/exec?", path);
                let (head, _) = Head::read(&text);
                let entry = entry(&head, Some(&caller), refusal);
                assert!(
                    !entry.line().contains("SECRET") && !entry.event().contains("SECRET"),
                    "{path}: {}",
                    entry.event()
                );
            }
        }
        let kept =
            "/api/v1/namespaces/n/pods/p/exec?REDACTED&REDACTED&REDACTED&container=c&stdin=true";
        assert_eq!(redact(&Head::read(EXEC).0), kept);
    }

    #[test]
    fn case_140_no_caller_can_forge_a_line() {
        let text = "GET\nhttps://k/api/v1/pods\n0\nid\nuser-agent:x\"}\u{1b}[31m\r\u{2028}";
        let (head, _) = Head::read(text);
        for line in [
            entry(&head, None, None).line(),
            entry(&head, None, None).event(),
        ] {
            assert!(!line.contains(['\n', '\r', '\u{1b}']));
            assert!(serde_json::from_str::<Value>(&line).is_ok());
        }
    }

    #[test]
    fn a_line_has_the_severity_of_what_happened() {
        let (head, _) = Head::read("GET\nhttps://k/api\n0\nid");
        assert_eq!(entry(&head, None, None).level(), Level::Debug);
        assert_eq!(
            entry(&head, None, Some(&Refusal::Spdy)).level(),
            Level::Warn
        );
        assert_eq!(
            entry(
                &head,
                None,
                Some(&Refusal::KeysUnavailable(KeysError::Empty))
            )
            .level(),
            Level::Error
        );
        assert!(
            entry(&head, None, Some(&Refusal::Spdy))
                .line()
                .contains(r#""level":"warn","message":"request refused""#)
        );
    }

    #[test]
    fn timestamps_are_those_of_the_calendar() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(timestamp(milliseconds), text);
        }
    }
}
