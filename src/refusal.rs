//! Every "no": its reason, its status, its words, and the form in which kubectl prints them.
//!
//! kubectl shows the message of a `metav1.Status` where it asked for a resource or an upgrade, but on discovery
//! (`/api`, `/apis`, `/version`, `/openapi/…`) it prints "unknown" for JSON and the body for `text/plain`.

use chrono::SecondsFormat;
use thiserror::Error;

use crate::config::ConfigError;
use crate::keys::KeysError;
use crate::record::timestamp;
use crate::request::Request;
use crate::session::own as sessions;
use crate::{
    answer, browser, grant, guard, head, identity, impersonation, own, protocol, session, target, token, upstream,
};

/// Why a request is not served. `Display` is the sentence for the caller. Each step says its own no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No valid token. Which check failed is for the log alone.
    #[error(
        "no valid Cloudflare Access token came with this request: log in to Access, or connect the WARP client, and try again"
    )]
    Unauthenticated(#[from] token::Reason),
    /// The configuration is incomplete.
    #[error("this gateway is not configured: {0}")]
    Misconfigured(#[from] ConfigError),
    /// The team's keys cannot be had.
    #[error("the keys of Cloudflare Access cannot be had, so nobody can be recognised: {0}")]
    KeysUnavailable(#[from] KeysError),
    /// A defect of the gateway, or a call into the runtime that threw. What happened is for the log.
    #[error("the gateway failed")]
    Failed(String),
    /// The head is too large to be read.
    #[error(transparent)]
    Head(#[from] head::Error),
    /// Nobody that the gateway knows.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// A target that is not sent.
    #[error(transparent)]
    Target(#[from] target::Error),
    /// An upgrade that is not made.
    #[error(transparent)]
    Protocol(#[from] protocol::Error),
    /// A web page's request.
    #[error(transparent)]
    Browser(#[from] browser::Error),
    /// What a guard takes away.
    #[error(transparent)]
    Guard(#[from] guard::Error),
    /// A stream that cannot be in our hands.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// What the gateway itself does not answer.
    #[error(transparent)]
    Own(#[from] own::Error),
    /// Somebody who may not act as somebody else.
    #[error(transparent)]
    Impersonation(#[from] impersonation::Error),
    /// A head that is not sent.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    /// An answer that the caller does not get.
    #[error(transparent)]
    Answer(#[from] answer::Error),
}

impl From<sessions::Error> for Refusal {
    fn from(error: sessions::Error) -> Self {
        Self::Own(error.into())
    }
}

impl From<grant::Error> for Refusal {
    fn from(error: grant::Error) -> Self {
        Self::Own(error.into())
    }
}

/// A refusal as an HTTP response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Retry-After` in seconds, only where a retry helps and is safe.
    pub retry_after: Option<u32>,
    /// The body.
    pub body: String,
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.code().0
    }

    /// The machine-readable reason: Kubernetes' own (`metav1.StatusReason`) where it has one.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.code().1
    }

    /// The check that failed, for logs; the caller is not told more than the sentence.
    #[must_use]
    pub fn detail(&self) -> String {
        if let Self::Unauthenticated(reason) = self {
            reason.to_string()
        } else if let Self::Failed(why) | Self::Identity(identity::Error::Unavailable(why)) = self {
            why.clone()
        } else {
            self.to_string()
        }
    }

    /// Whether the gateway, or what it relies on, is at fault, and not the caller.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.status() >= 500
    }

    /// The response to a request, in the form that makes kubectl print the sentence.
    #[must_use]
    pub fn answer(&self, request: &Request<'_>) -> Answer {
        let (status, reason) = self.code();
        let is_resource = matches!(&request.target, Ok(target) if target.is_resource);
        let is_discovery = !own::is_api(&request.head);
        let is_plain = !is_resource && is_discovery && !request.is_upgrade() && request.target.is_ok();
        if is_plain {
            return Answer {
                status,
                content_type: "text/plain; charset=utf-8",
                retry_after: None,
                body: format!("{self}\n"),
            };
        }
        // `metav1.Status`, as kubectl reads it: without `kind` and `apiVersion` it would print "unknown".
        let message = serde_json::to_string(&self.to_string()).unwrap_or_default();
        let body = format!(
            r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":{message},"reason":"{reason}","details":{{}},"code":{status}}}"#
        );
        Answer {
            status,
            content_type: "application/json",
            retry_after: self.retry_after(request.head.method).filter(|_| is_resource),
            body,
        }
    }

    /// The response for people, where they asked for the page: HTML that says who is asked, and what to send them. Nothing of it
    /// can be a tag of the caller's own.
    #[must_use]
    pub fn page(&self, request: &Request<'_>, contact: &str) -> Option<Answer> {
        if !own::wants_page(&request.head) {
            return None;
        }
        let contact = if contact.is_empty() { "this gateway's administrator" } else { contact };
        let (heading, sentence, remedy) = self.in_words();
        let remedy = remedy.replace("{contact}", contact);
        let head = &request.head;
        let moment = timestamp(head.received, SecondsFormat::Secs);
        let facts = [
            ("gateway", head.reached().1),
            ("time", &moment),
            ("audit ID", head.audit_id),
            ("ray", head.ray().unwrap_or_default()),
        ];
        let facts = facts.iter().filter(|(_, fact)| !fact.is_empty()).map(|(name, fact)| format!("{name}: {fact}\n"));
        let facts: String = [format!("{self}\n")].into_iter().chain(facts).collect();
        let style = own::of_strangers();
        let parts = [
            ("heading", heading),
            ("sentence", &sentence),
            ("remedy", &remedy),
            ("facts", facts.trim_end()),
            ("style", &style),
        ];
        let body = filled(PAGE, &parts);
        Some(Answer { status: self.status(), content_type: "text/html; charset=utf-8", retry_after: None, body })
    }

    /// For people: a heading, what is the matter, and what to do.
    fn in_words(&self) -> (&'static str, String, &'static str) {
        let (heading, remedy) = if let Self::Identity(identity::Error::NotMapped(name)) = self {
            let known =
                format!("Cloudflare Access knows you as {name}, but no entry of this gateway's policy names you.");
            return ("You are in no entry", known, "Ask {contact} for one, and send them this:");
        } else if matches!(self, Self::Unauthenticated(_)) {
            (
                "Log in again",
                "Opening this page anew leads to the login. If it does not, tell {contact}, and send them this:",
            )
        } else if matches!(self, Self::Own(own::Error::NoPage)) {
            ("There is no page here", "kubectl works without it. {contact} can be sent this:")
        } else if self.is_ours() {
            ("Not right now", "If it stays so, tell {contact}, and send them this:")
        } else {
            ("Not for you", "If it should be, ask {contact}, and send them this:")
        };
        (heading, [&capitalised(&self.to_string()), "."].concat(), remedy)
    }

    fn code(&self) -> (u16, &'static str) {
        use answer::Error as Way;
        match self {
            Self::Unauthenticated(_) => (401, "Unauthorized"),
            Self::Session(session::Error::TooMany(..)) => (429, "TooManyRequests"),
            Self::Identity(identity::Error::Unavailable(_) | identity::Error::GroupsUnknown)
            | Self::Impersonation(impersonation::Error::Unanswered)
            | Self::Misconfigured(_)
            | Self::Session(session::Error::NoRoll | session::Error::NoStore | session::Error::Changed)
            | Self::Own(
                own::Error::Sessions(sessions::Error::Unanswered | sessions::Error::Unreadable)
                | own::Error::Grants(grant::Error::Unanswered | grant::Error::Unwritable),
            )
            | Self::KeysUnavailable(_)
            | Self::Answer(Way::TunnelDown(_) | Way::Limited(_) | Way::Unknown(_) | Way::ApiServerDown) => {
                (503, "ServiceUnavailable")
            }
            Self::Target(target::Error::Method) => (405, "MethodNotAllowed"),
            Self::Target(target::Error::Ambiguous)
            | Self::Protocol(_)
            | Self::Impersonation(impersonation::Error::Malformed(_))
            | Self::Upstream(_)
            | Self::Own(
                own::Error::Namespace
                | own::Error::NoJson
                | own::Error::AsAnother
                | own::Error::Sessions(sessions::Error::Option(_))
                | own::Error::Grants(grant::Error::Malformed(_) | grant::Error::NotListed(_)),
            )
            | Self::Answer(Way::Protocol(_)) => (400, "BadRequest"),
            Self::Identity(_)
            | Self::Browser(_)
            | Self::Guard(_)
            | Self::Impersonation(_)
            | Self::Own(
                own::Error::Sessions(sessions::Error::Denied(..)) | own::Error::Grants(grant::Error::Denied(..)),
            ) => (403, "Forbidden"),
            Self::Own(own::Error::Grants(grant::Error::TooMany(_))) => (409, "Conflict"),
            Self::Head(head::Error::TargetTooLong) => (414, "RequestURITooLong"),
            Self::Head(head::Error::TooLarge) => (431, "RequestHeaderFieldsTooLarge"),
            Self::Own(_) => (404, "NotFound"),
            Self::Failed(_) => (500, "InternalError"),
            // nginx's number for it, since HTTP has none: nobody is left to read it.
            Self::Answer(Way::Gone) => (499, "ClientClosedRequest"),
            Self::Answer(Way::TimedOut(_) | Way::Unreachable(_)) => (504, "Timeout"),
            Self::Answer(Way::ProxyDown(_) | Way::Denied(_) | Way::Broken(_) | Way::Garbled(_)) => {
                (502, "InternalError")
            }
        }
    }

    /// kubectl repeats a request up to ten times when it is told to. That helps while a tunnel or a pod comes back, and
    /// is safe when the request went nowhere or changes nothing.
    fn retry_after(&self, method: &str) -> Option<u32> {
        let changes_nothing = matches!(method, "GET" | "HEAD");
        let is_unsure = matches!(self, Self::Answer(answer::Error::Broken(_) | answer::Error::Unknown(_)));
        let went_nowhere = matches!(self, Self::Answer(error) if error.went_nowhere());
        let is_safe = went_nowhere || (is_unsure && changes_nothing) || matches!(self, Self::KeysUnavailable(_));
        is_safe.then_some(1)
    }
}

/// The page of refusals, with its parts in braces.
const PAGE: &str = include_str!("../page/refused.html");

/// A template with its parts, as text, each where its name stands in braces. What is filled in is not looked at again.
fn filled(template: &str, parts: &[(&str, &str)]) -> String {
    let mut page = String::new();
    for piece in template.split_inclusive(['{', '}']) {
        let name = piece.strip_suffix('}').unwrap_or_default();
        match parts.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => page.push_str(&escaped(text)),
            None => page.push_str(piece.trim_end_matches('{')),
        }
    }
    page
}

fn capitalised(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// A text as HTML shows it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(refusal: &Refusal, method: &str, target: &str, headers: &str) -> Answer {
        let text = format!("{method}\nhttps://kube.example.com{target}\n0\nid{headers}");
        refusal.answer(&Request::read(&text))
    }

    #[test]
    fn a_resource_or_an_upgrade_is_answered_with_a_status_and_discovery_with_text() {
        let refusal = Refusal::from(identity::Error::NotMapped("eve@example.com".into()));
        for (target, headers) in
            [("/api/v1/pods", ""), ("/api", "\nupgrade:websocket"), ("/api/v1//x", ""), ("/x", "\nupgrade:SPDY/3.1")]
        {
            let answer = answer(&refusal, "GET", target, headers);
            assert_eq!((answer.status, answer.content_type), (403, "application/json"), "{target}");
            let status: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(
                (&status["kind"], &status["apiVersion"], &status["code"]),
                (&json!("Status"), &json!("v1"), &json!(403))
            );
            assert_eq!((&status["reason"], &status["status"]), (&json!("Forbidden"), &json!("Failure")));
            assert!(status["message"].as_str().unwrap().contains("eve@example.com"));
        }
        for target in ["/api?timeout=32s", "/apis", "/version", "/openapi/v3", "/"] {
            let answer = answer(&refusal, "GET", target, "");
            assert_eq!((answer.status, answer.content_type), (403, "text/plain; charset=utf-8"), "{target}");
            assert!(answer.body.contains("eve@example.com") && !answer.body.starts_with('{'));
        }
    }

    #[test]
    fn what_a_token_failed_at_is_not_told_to_the_caller() {
        for reason in [token::Reason::Expired, token::Reason::Signature, token::Reason::UnknownKey] {
            let refusal = Refusal::Unauthenticated(reason);
            assert_eq!(refusal.to_string(), Refusal::Unauthenticated(token::Reason::Absent).to_string());
            assert_eq!(refusal.detail(), reason.to_string());
        }
    }

    #[test]
    fn a_retry_is_advised_only_where_it_helps_and_is_safe() {
        let retry = |refusal: Refusal, method, target| answer(&refusal, method, target, "").retry_after;
        let down = || Refusal::from(answer::Error::ProxyDown(String::new()));
        let broken = || Refusal::from(answer::Error::Broken(String::new()));
        assert_eq!(retry(down(), "POST", "/api/v1/pods"), Some(1));
        assert_eq!(retry(broken(), "GET", "/api/v1/pods"), Some(1));
        assert_eq!(retry(broken(), "POST", "/api/v1/pods"), None);
        let unknown = || Refusal::from(answer::Error::Unknown(String::new()));
        assert_eq!(retry(unknown(), "POST", "/api/v1/pods"), None);
        assert_eq!(retry(unknown(), "GET", "/api/v1/pods"), Some(1));
        assert_eq!(retry(down(), "GET", "/api"), None, "kubectl already asks five times");
        for policy in [
            Refusal::from(impersonation::Error::NoReason),
            Refusal::from(protocol::Error::Spdy),
            Refusal::from(identity::Error::NotMapped(String::new())),
        ] {
            assert_eq!(retry(policy, "GET", "/api/v1/pods"), None);
        }
    }

    #[test]
    fn case_68_spdy_is_refused_with_the_way_out() {
        let answer =
            answer(&protocol::Error::Spdy.into(), "POST", "/api/v1/namespaces/n/pods/p/exec", "\nupgrade:SPDY/3.1");
        assert_eq!(answer.status, 400);
        for part in ["1.31", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true", "KUBECTL_PORT_FORWARD_WEBSOCKETS=true"] {
            assert!(answer.body.contains(part));
        }
    }
}
