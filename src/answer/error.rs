//! How the way to the cluster fails, told from what `fetch` throws, from a status, or from the words of an answer.

use thiserror::Error;

use crate::protocol;

/// What `within` of `edge/rim.js` says of a client that went away.
pub const GONE: &str = "gone";

/// How the way to the cluster failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The tunnel has no connection, or does not know the way: the request went nowhere.
    #[error("the tunnel to the cluster is down ({0}): is cloudflared running, and connected over QUIC?")]
    TunnelDown(String),
    /// A limit of Workers VPC is reached: the request went nowhere.
    #[error("a limit of Workers VPC is reached ({0}), the request went nowhere: try again later")]
    Limited(String),
    /// Workers VPC will not carry the request, now or later: it went nowhere.
    #[error(
        "Workers VPC refuses to carry this request ({0}): look at the VPC service's host and at the tunnel's rules"
    )]
    Denied(String),
    /// Nothing answers at the tunnel's end: the request went nowhere.
    #[error("the last hop does not answer behind the tunnel ({0}): is its container running?")]
    ProxyDown(String),
    /// Nothing took the connection in time: the request went nowhere.
    #[error("the last hop took no connection in time ({0}): is its container running?")]
    Unreachable(String),
    /// `kubectl proxy` finds no API server: the request went nowhere.
    #[error("kube-apiserver does not answer kubectl proxy: is the API server running, and reachable from the pod?")]
    ApiServerDown,
    /// The connection broke: the request may or may not have been carried out.
    #[error("the connection to the cluster broke ({0}): the request may have been carried out")]
    Broken(String),
    /// An error that says nothing of how far the request came.
    #[error("the way to the cluster failed ({0}): the request may have been carried out")]
    Unknown(String),
    /// No answer in time.
    #[error("the cluster did not answer in time ({0}): the request may have been carried out")]
    TimedOut(String),
    /// The answer is none that an API server gives.
    #[error("the way to the cluster answered what no API server answers ({0})")]
    Garbled(String),
    /// A stream that only another protocol would have opened.
    #[error(transparent)]
    Protocol(#[from] protocol::Error),
    /// The client did not wait for the answer. Only logs say so.
    #[error("the client went away before the answer came")]
    Gone,
}

impl Error {
    /// Reads the text of a failed `fetch`: Workers VPC's `ProxyError: <code>`, the runtime's own words, or those of `within` in
    /// `edge/rim.js`. The codes are those of Cloudflare's "Workers VPC, Troubleshooting"; one that is not known here may
    /// mean that the request was carried out.
    #[must_use]
    pub fn parse(error: &str) -> Self {
        let code = error
            .split_once("ProxyError: ")
            .map(|(_, code)| code.trim())
            .and_then(|code| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next());
        let owned = code.unwrap_or_default().to_owned();
        match code {
            Some("connection_refused") => Self::ProxyDown(owned),
            Some("connection_timeout") => Self::Unreachable(owned),
            Some("rate_limited" | "connection_limit_reached") => Self::Limited(owned),
            Some("http_request_denied" | "destination_ip_prohibited" | "proxy_loop_detected") => Self::Denied(owned),
            Some(
                "dns_error"
                | "dns_timeout"
                | "destination_unavailable"
                | "destination_not_found"
                | "destination_ip_unroutable",
            ) => Self::TunnelDown(owned),
            Some("connection_read_timeout" | "connection_write_timeout") => Self::TimedOut(owned),
            Some("connection_terminated" | "http_response_incomplete" | "http_request_error") => Self::Broken(owned),
            Some("http_upgrade_failed" | "http_protocol_error" | "tls_protocol_error" | "tls_certificate_error") => {
                Self::Garbled(owned)
            }
            Some(_) => Self::Unknown(owned),
            None if error == GONE => Self::Gone,
            None if error.to_ascii_lowercase().contains("timeout") => Self::TimedOut("no answer".into()),
            None if error.to_ascii_lowercase().contains("refused") => Self::ProxyDown("connection refused".into()),
            None => Self::Broken("connection lost".into()),
        }
    }

    /// Whether the request surely was not carried out, so that any may be repeated.
    #[must_use]
    pub fn went_nowhere(&self) -> bool {
        matches!(
            self,
            Self::TunnelDown(_) | Self::Limited(_) | Self::ProxyDown(_) | Self::Unreachable(_) | Self::ApiServerDown
        )
    }

    /// Reads the beginning of a `500 text/plain`: Workers VPC's error as an answer, or that of `kubectl proxy`, which
    /// gives the bare words of Go's network library when it cannot reach kube-apiserver. `None` for everything else.
    #[must_use]
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let starts_with = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
        if starts_with(&["ProxyError: "]) {
            Some(Self::parse(text))
        } else if starts_with(&["dial tcp ", "dial: "]) {
            Some(Self::ApiServerDown)
        } else if starts_with(&["read tcp ", "write tcp ", "EOF", "unexpected EOF", "http2: ", "net/http: "]) {
            Some(Self::Broken("between kubectl proxy and kube-apiserver".into()))
        } else {
            None
        }
    }

    /// Reads an answer that no API server gives: Cloudflare's own error pages (520 to 530), and HTML errors from a hop
    /// between. `None` for everything else, which is passed through.
    #[must_use]
    pub(super) fn of_status(status: u32, is_html: bool) -> Option<Self> {
        match status {
            530 => Some(Self::TunnelDown("Cloudflare error 530".into())),
            522 | 524 => Some(Self::TimedOut(format!("Cloudflare error {status}"))),
            520..=529 => Some(Self::Garbled(format!("Cloudflare error {status}"))),
            503 if is_html => Some(Self::Unknown("HTML, status 503".into())),
            504 if is_html => Some(Self::TimedOut("HTML, status 504".into())),
            500.. if is_html => Some(Self::Garbled(format!("HTML, status {status}"))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;

    fn status(error: Error) -> u16 {
        Refusal::Answer(error).status()
    }

    #[test]
    fn case_109_a_failure_of_the_way_is_told_from_its_words_or_its_status() {
        for (error, expected) in [
            ("ProxyError: connection_refused", 502),
            ("Error: ProxyError: destination_unavailable", 503),
            ("ProxyError: dns_error", 503),
            ("ProxyError: connection_timeout", 504),
            ("ProxyError: connection_read_timeout", 504),
            ("ProxyError: connection_terminated\n", 502),
            ("ProxyError: rate_limited", 503),
            ("ProxyError: http_request_denied", 502),
            ("ProxyError: something_new", 503),
            ("ProxyError: ", 503),
            ("Network connection lost.", 502),
            ("TimeoutError: The operation was aborted due to timeout", 504),
            ("connect(): Connection refused", 502),
            ("", 502),
            ("gone", 499),
        ] {
            assert_eq!(status(Error::parse(error)), expected, "{error}");
        }
        for (text, expected) in [
            ("ProxyError: connection_refused", Some(502)),
            ("dial tcp 10.0.0.1:443: connect: connection refused", Some(503)),
            ("EOF", Some(502)),
            ("read tcp 10.0.0.2:1->10.0.0.1:443: read: connection reset by peer", Some(502)),
            ("Internal Server Error: \"/api\"", None),
            ("", None),
        ] {
            assert_eq!(Error::of_text(text).map(status), expected, "{text}");
        }
        for (code, is_html, expected) in [
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
            assert_eq!(Error::of_status(code, is_html).map(status), expected, "{code}");
        }
    }

    #[test]
    fn case_163_only_what_surely_went_nowhere_may_be_repeated() {
        for code in [
            "dns_error",
            "dns_timeout",
            "destination_unavailable",
            "destination_not_found",
            "destination_ip_unroutable",
            "connection_limit_reached",
            "connection_timeout",
            "connection_refused",
            "rate_limited",
        ] {
            assert!(Error::parse(&format!("ProxyError: {code}")).went_nowhere(), "{code}");
        }
        // The first three went nowhere as well, but would do so again.
        for code in [
            "http_request_denied",
            "destination_ip_prohibited",
            "proxy_loop_detected",
            "proxy_internal_error",
            "connection_read_timeout",
            "connection_write_timeout",
            "connection_terminated",
            "http_response_incomplete",
            "http_request_error",
            "http_upgrade_failed",
            "http_protocol_error",
            "tls_protocol_error",
            "something_new",
            "connection_refused_later",
            "",
        ] {
            assert!(!Error::parse(&format!("ProxyError: {code}")).went_nowhere(), "{code}");
        }
    }
}
