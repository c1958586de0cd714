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

/// How the way to the cluster failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Upstream {
    /// The tunnel has no connection, or does not know the way: the request went nowhere.
    #[error(
        "the tunnel to the cluster is down ({0}): is cloudflared running, and connected over QUIC?"
    )]
    TunnelDown(String),
    /// Nothing answers at the tunnel's end: the request went nowhere.
    #[error("kubectl proxy does not answer behind the tunnel ({0}): is its container running?")]
    ProxyDown(String),
    /// `kubectl proxy` finds no API server: the request went nowhere.
    #[error(
        "kube-apiserver does not answer kubectl proxy: is the API server running, and reachable from the pod?"
    )]
    ApiServerDown,
    /// The connection broke: the request may or may not have been carried out.
    #[error("the connection to the cluster broke ({0}): the request may have been carried out")]
    Broken(String),
    /// No answer in time.
    #[error("the cluster did not answer in time ({0}): the request may have been carried out")]
    TimedOut(String),
    /// The answer is none that an API server gives.
    #[error("the way to the cluster answered what no API server answers ({0})")]
    Garbled(String),
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

impl Upstream {
    /// Reads the text of a failed `fetch`: Workers VPC's `ProxyError: <code>`, or the runtime's own words.
    #[must_use]
    pub fn parse(error: &str) -> Self {
        let code = error
            .find("ProxyError: ")
            .and_then(|at| error.get(at + 12..))
            .map(str::trim);
        let code = code.map(|code| {
            code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default()
        });
        let owned = code.unwrap_or_default().to_owned();
        match code {
            Some("connection_refused") => Self::ProxyDown(owned),
            Some(
                "connection_timeout"
                | "connection_read_timeout"
                | "connection_write_timeout"
                | "dns_timeout",
            ) => Self::TimedOut(owned),
            Some("connection_terminated" | "http_response_incomplete" | "http_request_error") => {
                Self::Broken(owned)
            }
            Some(
                "http_upgrade_failed"
                | "http_protocol_error"
                | "tls_protocol_error"
                | "tls_certificate_error",
            ) => Self::Garbled(owned),
            Some(_) => Self::TunnelDown(owned),
            None if error.to_ascii_lowercase().contains("timeout") => {
                Self::TimedOut("no answer".into())
            }
            None if error.to_ascii_lowercase().contains("refused") => {
                Self::ProxyDown("connection refused".into())
            }
            None => Self::Broken("connection lost".into()),
        }
    }

    /// Reads the beginning of a `500 text/plain`: Workers VPC's error as an answer, or that of `kubectl proxy`, which
    /// gives the bare words of Go's network library when it cannot reach kube-apiserver. `None` for everything else.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        let starts_with = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
        if starts_with(&["ProxyError: "]) {
            Some(Self::parse(text))
        } else if starts_with(&["dial tcp ", "dial: "]) {
            Some(Self::ApiServerDown)
        } else if starts_with(&[
            "read tcp ",
            "write tcp ",
            "EOF",
            "unexpected EOF",
            "http2: ",
            "net/http: ",
        ]) {
            Some(Self::Broken(
                "between kubectl proxy and kube-apiserver".into(),
            ))
        } else {
            None
        }
    }

    /// Reads an answer that no API server gives: Cloudflare's own error pages (520 to 530), and HTML errors from a hop
    /// between. `None` for everything else, which is passed through.
    #[must_use]
    pub fn of_answer(status: u16, is_html: bool) -> Option<Self> {
        match status {
            530 => Some(Self::TunnelDown("Cloudflare error 530".into())),
            522 | 524 => Some(Self::TimedOut(format!("Cloudflare error {status}"))),
            520..=529 => Some(Self::Garbled(format!("Cloudflare error {status}"))),
            503 if is_html => Some(Self::TunnelDown("HTML, status 503".into())),
            504 if is_html => Some(Self::TimedOut("HTML, status 504".into())),
            500.. if is_html => Some(Self::Garbled(format!("HTML, status {status}"))),
            _ => None,
        }
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

    #[test]
    fn case_109_a_failure_of_the_way_is_told_from_its_words_or_its_status() {
        for (error, status) in [
            ("ProxyError: connection_refused", 502),
            ("Error: ProxyError: destination_unavailable", 503),
            ("ProxyError: dns_error", 503),
            ("ProxyError: connection_timeout", 504),
            ("ProxyError: connection_terminated\n", 502),
            ("ProxyError: something_new", 503),
            ("Network connection lost.", 502),
            (
                "TimeoutError: The operation was aborted due to timeout",
                504,
            ),
            ("connect(): Connection refused", 502),
            ("", 502),
        ] {
            assert_eq!(
                Refusal::Upstream(Upstream::parse(error)).status(),
                status,
                "{error}"
            );
        }
        for (text, status) in [
            ("ProxyError: connection_refused", Some(502)),
            (
                "dial tcp 10.0.0.1:443: connect: connection refused",
                Some(503),
            ),
            ("EOF", Some(502)),
            (
                "read tcp 10.0.0.2:1->10.0.0.1:443: read: connection reset by peer",
                Some(502),
            ),
            ("Internal Server Error: \"/api\"", None),
            ("", None),
        ] {
            let found = Upstream::of_text(text).map(|failure| Refusal::Upstream(failure).status());
            assert_eq!(found, status, "{text}");
        }
        for (status, is_html, ours) in [
            (530, true, Some(503)),
            (530, false, Some(503)),
            (524, false, Some(504)),
            (520, false, Some(502)),
            (502, true, Some(502)),
            (503, true, Some(503)),
            (503, false, None),
            (500, false, None),
            (404, true, None),
            (200, true, None),
        ] {
            let found = Upstream::of_answer(status, is_html)
                .map(|failure| Refusal::Upstream(failure).status());
            assert_eq!(found, ours, "{status}");
        }
    }
}
