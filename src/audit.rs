//! One structured line for each request: what was asked, by whom, and what became of it.
//!
//! Never in any line: tokens, cookies, `Authorization`, bodies, the arguments of exec, and any query parameter that is
//! not known to be harmless. All text is JSON-escaped, so that no caller can forge a line.

use std::borrow::Cow;

use serde::Serialize;

use crate::caller::Caller;
use crate::config::Level;
use crate::head::Head;
use crate::refusal::Refusal;
use crate::target::Target;
use crate::upstream;

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

/// What became of a request.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What was asked.
    pub head: &'a Head<'a>,
    /// Who asked, once that was known.
    pub caller: Option<&'a Caller>,
    /// Why it was refused, if it was.
    pub refusal: Option<&'a Refusal>,
    /// The status of the answer.
    pub status: u16,
    /// When the head of the answer was known, in milliseconds since the Unix epoch.
    pub answered: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    message: &'a str,
    time: String,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    method: &'a str,
    uri: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    milliseconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ray: Option<&'a str>,
}

impl Entry<'_> {
    /// How severe this is: a served request is `debug`, a refused one `warn`, a failure of ours or of the way `error`.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.refusal {
            None => Level::Debug,
            Some(refusal) if refusal.is_ours() => Level::Error,
            Some(_) => Level::Warn,
        }
    }

    /// The log line.
    #[must_use]
    pub fn line(&self) -> String {
        let line = Line {
            level: self.level().name(),
            message: if self.refusal.is_some() {
                "request refused"
            } else {
                "request served"
            },
            time: timestamp(self.answered),
            audit_id: self.head.audit_id,
            method: self.head.method,
            uri: redact(self.head),
            user: self.caller.map(|caller| caller.identity().user()),
            status: self.status,
            reason: self.refusal.map(Refusal::reason),
            detail: self.refusal.map(Refusal::detail),
            milliseconds: self.answered.saturating_sub(self.head.received),
            ray: upstream::ray(self.head),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// The request as an `audit.k8s.io/v1` Event of level `Metadata`. A long-running request is written when its answer
    /// begins (`ResponseStarted`), since what follows passes through the Worker unseen; every other as `ResponseComplete`.
    #[must_use]
    pub fn event(&self) -> String {
        serde_json::to_string(&Event::of(self)).unwrap_or_default()
    }
}

/// The first 1024 bytes of what a client says of itself, as kube-apiserver cuts it.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(1024))
        .unwrap_or_default()
}

/// Path and query with every parameter that is not known to be harmless replaced. A path that could not be read keeps
/// no query at all.
fn redact<'a>(head: &Head<'a>) -> Cow<'a, str> {
    if head.query().is_empty() {
        return Cow::Borrowed(head.path());
    }
    if Target::parse(head).map_or(true, |target| target.is_proxy()) {
        return Cow::Owned(format!("{}?REDACTED", head.path()));
    }
    let is_harmless = |pair: &str| {
        !pair.contains(';') && HARMLESS.contains(&pair.split('=').next().unwrap_or_default())
    };
    let pairs: Vec<&str> = head
        .query()
        .split('&')
        .map(|pair| if is_harmless(pair) { pair } else { "REDACTED" })
        .collect();
    Cow::Owned(format!("{}?{}", head.path(), pairs.join("&")))
}

/// RFC 3339 in UTC, with microseconds as Kubernetes writes them. The calendar is Howard Hinnant's `civil_from_days`.
fn timestamp(milliseconds: u64) -> String {
    let (days, of_day) = (milliseconds / 86_400_000, milliseconds % 86_400_000);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}000Z",
        of_day % 1000
    )
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
