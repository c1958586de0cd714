//! Every "no": its reason, its status, its words, and the form in which kubectl prints them.
//!
//! kubectl shows the message of a `metav1.Status` where it asked for a resource or an upgrade, but on discovery
//! (`/api`, `/apis`, `/version`, `/openapi/…`) it prints "unknown" for JSON and the body for `text/plain`.

use serde::Serialize;
use thiserror::Error;

use crate::config::ConfigError;
use crate::head::Head;
use crate::keys::KeysError;
use crate::target::{Protocol, Target};
use crate::token;

mod upstream;

pub use upstream::Upstream;

/// Why a request is not served. `Display` is the sentence for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No valid token. Which check failed is for the log alone.
    #[error(
        "no valid Cloudflare Access token came with this request: log in to Access, or connect the WARP client, and try again"
    )]
    Unauthenticated(token::Reason),
    /// The token is valid, but in no entry of the map.
    #[error(
        "Cloudflare Access let you in, but {0} is in no entry of this gateway's identity map: ask its administrator for one"
    )]
    NotMapped(String),
    /// An entry of Workers KV keeps the caller out.
    #[error(
        "Cloudflare Access let you in, but this gateway's administrator has withdrawn the access of {0}"
    )]
    Denied(String),
    /// Workers KV cannot be asked about the caller, or its entry cannot be read. What is wrong is for the log.
    #[error("who you are to the cluster cannot be told right now: the identity store failed")]
    IdentityUnavailable(String),
    /// The caller brought an impersonation header.
    #[error(
        "this gateway does not take impersonation from its callers: leave out --as, --as-group, --as-uid and --as-user-extra (you act as the user that your Access login maps to)"
    )]
    Impersonation,
    /// A web page sent the request.
    #[error(
        "this gateway serves command line tools, not web pages: requests with an Origin or from another site are refused"
    )]
    CrossSite,
    /// The path can be read in two ways.
    #[error(
        "the URL is ambiguous: empty, \".\" and \"..\" segments, encoded separators and characters that a URL cannot hold are refused"
    )]
    AmbiguousPath,
    /// A method that the Kubernetes API does not have.
    #[error("the Kubernetes API has no such method: use GET, HEAD, POST, PUT, PATCH or DELETE")]
    MethodNotAllowed,
    /// Path and query are too long.
    #[error("path and query are too long: at most 16 KiB")]
    TargetTooLong,
    /// The headers are too large.
    #[error("the request's headers are too large: at most 128 KiB")]
    HeadTooLarge,
    /// kubectl's SPDY upgrade.
    #[error(
        "this gateway carries WebSockets, not SPDY: use kubectl 1.31 or newer, or set KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true (kubectl 1.29 and 1.30; for port-forward KUBECTL_PORT_FORWARD_WEBSOCKETS=true with kubectl 1.30)"
    )]
    Spdy,
    /// An `Upgrade` that is neither.
    #[error("the only upgrade that this gateway knows is a WebSocket, by GET")]
    UnknownUpgrade,
    /// A WebSocket that offers no subprotocol but credentials, or a malformed one.
    #[error(
        "the WebSocket offers no usable subprotocol: bearer tokens are not taken here, Cloudflare Access says who you are"
    )]
    Subprotocol,
    /// A path that the gateway keeps for itself.
    #[error("the gateway itself has nothing at this path")]
    Reserved,
    /// The configuration is incomplete.
    #[error("this gateway is not configured: {0}")]
    Misconfigured(ConfigError),
    /// The team's keys cannot be had.
    #[error("the keys of Cloudflare Access cannot be had, so nobody can be recognised: {0}")]
    KeysUnavailable(KeysError),
    /// The cluster cannot be reached.
    #[error("{0}")]
    Upstream(Upstream),
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

/// `metav1.Status`, as kubectl reads it: without `kind` and `apiVersion` it would print "unknown".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    #[serde(rename = "status")]
    outcome: &'static str,
    message: String,
    reason: &'static str,
    details: Empty,
    code: u16,
}

#[derive(Serialize)]
struct Empty {}

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
        } else if let Self::IdentityUnavailable(error) = self {
            error.clone()
        } else {
            self.to_string()
        }
    }

    /// Whether the gateway, or what it relies on, is at fault, and not the caller.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.status() >= 500
    }

    /// The response to `head`, in the form that makes kubectl print the sentence.
    #[must_use]
    pub fn answer(&self, head: &Head<'_>) -> Answer {
        let (status, reason) = self.code();
        let is_resource = Target::parse(head).is_ok_and(|target| target.is_resource);
        let retry_after = if is_resource {
            self.retry_after(head.method)
        } else {
            None
        };
        let is_upgrade = !matches!(Protocol::parse(head), Ok(Protocol::Http));
        let is_plain = !is_resource && !is_upgrade && Target::parse(head).is_ok();
        if is_plain {
            let body = format!("{self}\n");
            return Answer {
                status,
                content_type: "text/plain; charset=utf-8",
                retry_after,
                body,
            };
        }
        let body = Status {
            kind: "Status",
            api_version: "v1",
            metadata: Empty {},
            outcome: "Failure",
            message: self.to_string(),
            reason,
            details: Empty {},
            code: status,
        };
        let body = serde_json::to_string(&body).unwrap_or_default();
        Answer {
            status,
            content_type: "application/json",
            retry_after,
            body,
        }
    }

    fn code(&self) -> (u16, &'static str) {
        match self {
            Self::Unauthenticated(_) => (401, "Unauthorized"),
            Self::NotMapped(_) | Self::Denied(_) | Self::Impersonation | Self::CrossSite => {
                (403, "Forbidden")
            }
            Self::AmbiguousPath | Self::Spdy | Self::UnknownUpgrade | Self::Subprotocol => {
                (400, "BadRequest")
            }
            Self::MethodNotAllowed => (405, "MethodNotAllowed"),
            Self::TargetTooLong => (414, "RequestURITooLong"),
            Self::HeadTooLarge => (431, "RequestHeaderFieldsTooLarge"),
            Self::Reserved => (404, "NotFound"),
            Self::Misconfigured(_)
            | Self::KeysUnavailable(_)
            | Self::IdentityUnavailable(_)
            | Self::Upstream(Upstream::TunnelDown(_) | Upstream::ApiServerDown) => {
                (503, "ServiceUnavailable")
            }
            Self::Upstream(Upstream::TimedOut(_)) => (504, "Timeout"),
            Self::Upstream(_) => (502, "InternalError"),
        }
    }

    /// kubectl repeats a request up to ten times when it is told to. That helps while a tunnel or a pod comes back, and
    /// is safe when the request went nowhere or changes nothing.
    fn retry_after(&self, method: &str) -> Option<u32> {
        let went_nowhere = matches!(
            self,
            Self::Upstream(
                Upstream::TunnelDown(_) | Upstream::ProxyDown(_) | Upstream::ApiServerDown
            ) | Self::KeysUnavailable(_)
        );
        let changes_nothing = matches!(method, "GET" | "HEAD");
        let is_broken = matches!(self, Self::Upstream(Upstream::Broken(_)));
        (went_nowhere || (is_broken && changes_nothing)).then_some(1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(refusal: &Refusal, method: &str, target: &str, headers: &str) -> Answer {
        let text = format!("{method}\nhttps://kube.example.com{target}\n0\nid{headers}");
        refusal.answer(&Head::read(&text).0)
    }

    #[test]
    fn a_resource_or_an_upgrade_is_answered_with_a_status_and_discovery_with_text() {
        let refusal = Refusal::NotMapped("eve@example.com".into());
        for (target, headers) in [
            ("/api/v1/pods", ""),
            ("/api", "\nupgrade:websocket"),
            ("/api/v1//x", ""),
            ("/x", "\nupgrade:SPDY/3.1"),
        ] {
            let answer = answer(&refusal, "GET", target, headers);
            assert_eq!(
                (answer.status, answer.content_type),
                (403, "application/json"),
                "{target}"
            );
            let status: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(
                (&status["kind"], &status["apiVersion"], &status["code"]),
                (&json!("Status"), &json!("v1"), &json!(403))
            );
            assert_eq!(
                (&status["reason"], &status["status"]),
                (&json!("Forbidden"), &json!("Failure"))
            );
            assert!(
                status["message"]
                    .as_str()
                    .unwrap()
                    .contains("eve@example.com")
            );
        }
        for target in ["/api?timeout=32s", "/apis", "/version", "/openapi/v3", "/"] {
            let answer = answer(&refusal, "GET", target, "");
            assert_eq!(
                (answer.status, answer.content_type),
                (403, "text/plain; charset=utf-8"),
                "{target}"
            );
            assert!(answer.body.contains("eve@example.com") && !answer.body.starts_with('{'));
        }
    }

    #[test]
    fn what_a_token_failed_at_is_not_told_to_the_caller() {
        for reason in [
            token::Reason::Expired,
            token::Reason::Signature,
            token::Reason::UnknownKey,
        ] {
            let refusal = Refusal::Unauthenticated(reason);
            assert_eq!(
                refusal.to_string(),
                Refusal::Unauthenticated(token::Reason::Absent).to_string()
            );
            assert_eq!(refusal.detail(), reason.to_string());
        }
    }

    #[test]
    fn a_retry_is_advised_only_where_it_helps_and_is_safe() {
        let retry =
            |refusal: Refusal, method, target| answer(&refusal, method, target, "").retry_after;
        let down = || Refusal::Upstream(Upstream::ProxyDown(String::new()));
        let broken = || Refusal::Upstream(Upstream::Broken(String::new()));
        assert_eq!(retry(down(), "POST", "/api/v1/pods"), Some(1));
        assert_eq!(retry(broken(), "GET", "/api/v1/pods"), Some(1));
        assert_eq!(retry(broken(), "POST", "/api/v1/pods"), None);
        assert_eq!(
            retry(down(), "GET", "/api"),
            None,
            "kubectl already asks five times"
        );
        for policy in [
            Refusal::Impersonation,
            Refusal::Spdy,
            Refusal::NotMapped(String::new()),
        ] {
            assert_eq!(retry(policy, "GET", "/api/v1/pods"), None);
        }
    }

    #[test]
    fn case_68_spdy_is_refused_with_the_way_out() {
        let answer = answer(
            &Refusal::Spdy,
            "POST",
            "/api/v1/namespaces/n/pods/p/exec",
            "\nupgrade:SPDY/3.1",
        );
        assert_eq!(answer.status, 400);
        for part in [
            "1.31",
            "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true",
            "KUBECTL_PORT_FORWARD_WEBSOCKETS=true",
        ] {
            assert!(answer.body.contains(part));
        }
    }
}
