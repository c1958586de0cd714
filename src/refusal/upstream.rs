//! How the way to the cluster fails, told from what `fetch` throws, from a status, or from the words of an answer.

use thiserror::Error;

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
    use super::*;
    use crate::refusal::Refusal;

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
