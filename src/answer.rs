//! What came back from the cluster -> what the caller gets of it: passed through, changed, or a failure of the way instead.

use crate::browser;
use crate::head::Head;
use crate::protocol::{self, Protocol};
use crate::request::Request;

mod error;

pub use error::{Error, GONE};

/// What the review of an answer needs to know of it, packed by `outline` of `edge/rim.js`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline(pub u32);

/// What is changed in an answer that is passed through, as `dress` of `edge/rim.js` reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// The headers that a workload could set for the gateway's own origin are taken off.
    pub strips: bool,
    /// A browser that shows it gives it an origin of its own, in which it is nobody.
    pub sandboxes: bool,
    /// What the caller is told by a `Warning` header, which kubectl prints.
    pub warning: Option<&'static str>,
}

/// The most of an answer's beginning that is looked at, in bytes.
pub const BEGINNING_BYTES: u32 = 1024;

/// Whoever brings a token may mean it, and acts as the user of the login all the same (RFC 9111, `Warning` 299).
const UNUSED_TOKEN: &str =
    "299 - \"the bearer token was not used: you act as the user that your Cloudflare Access login maps to\"";

/// What kubeconfigs of this gateway have for a token, since kubectl wants one.
const PLACEHOLDER: &str = "Bearer access";

/// The flags of an [`Outline`]; its low 16 bits are the status.
const WEBSOCKET: u32 = 1 << 16;
const STRIPPED: u32 = 1 << 17;
const HTML_ERROR: u32 = 1 << 18;
const TEXT_ERROR: u32 = 1 << 19;

impl Outline {
    fn status(self) -> u32 {
        self.0 & 0xffff
    }

    fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

/// Whether even a plain answer to this request must be reviewed.
#[must_use]
pub fn is_reviewed(request: &Request<'_>) -> bool {
    request.is_proxied() || request.protocol == Ok(Protocol::Spdy) || has_token(&request.head)
}

/// Whether the review needs the beginning of the answer's text.
#[must_use]
pub fn needs_beginning(request: &Request<'_>, outline: Outline) -> bool {
    let is_refused_stream = request.protocol == Ok(Protocol::Spdy) && outline.status() == 400;
    let may_be_the_ways = !request.is_proxied() && outline.status() == 500 && outline.has(TEXT_ERROR);
    is_refused_stream || may_be_the_ways
}

/// Passes the cluster's answer through, unless it is not the cluster's. `beginning` is its text's, where that was needed.
pub fn review(request: &Request<'_>, outline: Outline, beginning: &str) -> Result<Changes, Error> {
    match outline.status() {
        101 if outline.has(WEBSOCKET) && request.protocol == Ok(Protocol::WebSocket) => {}
        101 => return Err(Error::Garbled("status 101 without a WebSocket".into())),
        200..=599 => {}
        status => return Err(Error::Garbled(format!("status {status}"))),
    }
    // A stream that was asked for without SPDY would have been opened with it where the API server misses the upgrade.
    if request.protocol == Ok(Protocol::Spdy) {
        let misses_upgrade = match outline.status() {
            400 => beginning.contains("Upgrade request required"),
            status => status < 400,
        };
        if misses_upgrade {
            return Err(protocol::Error::Spdy.into());
        }
    }
    // What a workload answers is the workload's, whatever it looks like.
    if !request.is_proxied() {
        let failure = Error::of_text(beginning).or_else(|| Error::of_status(outline.status(), outline.has(HTML_ERROR)));
        failure.map_or(Ok(()), Err)?;
    }
    Ok(Changes {
        strips: outline.has(STRIPPED),
        sandboxes: request.is_proxied() && !browser::is_by_local_proxy(&request.head),
        warning: has_token(&request.head).then_some(UNUSED_TOKEN),
    })
}

/// Whether the caller brought a bearer token that may be meant.
fn has_token(head: &Head<'_>) -> bool {
    head.header("authorization").is_some_and(|value| {
        value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer ")) && value != PLACEHOLDER
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIED: &str = "/api/v1/namespaces/n/services/s/proxy/x";
    const HTML: u32 = HTML_ERROR;
    const TEXT: u32 = TEXT_ERROR;
    const UPGRADE: &str = "\nupgrade:websocket\nsec-websocket-version:13\nsec-websocket-key:yPc6qyEdVivBFTmdg5VfRA==";

    fn reviewed(target: &str, headers: &str, outline: u32, text: &str) -> Result<Changes, Error> {
        let head = format!("GET\nhttps://k{target}\n0\nid{headers}");
        review(&Request::read(&head), Outline(outline), text)
    }

    #[test]
    fn case_157_a_status_that_no_server_answers_is_a_failure_whoever_answers_it() {
        for target in [PROXIED, "/api/v1/pods"] {
            for status in [0, 100, 102, 103, 150, 199, 600, 999, 65535] {
                for flags in [0, STRIPPED, HTML, TEXT] {
                    let answer = reviewed(target, "", status + flags, "");
                    assert!(matches!(answer, Err(Error::Garbled(_))), "{status}");
                }
            }
            for status in [200, 204, 302, 404, 418, 501, 599] {
                assert!(reviewed(target, "", status, "").is_ok() || status == 599 || status == 501);
            }
        }
        assert!(reviewed(PROXIED, "", 599, "").is_ok());
    }

    #[test]
    fn case_106_a_101_needs_a_websocket_at_both_ends() {
        let pod = "/api/v1/namespaces/n/pods/p/exec";
        assert!(reviewed(pod, UPGRADE, 101 + WEBSOCKET, "").is_ok());
        assert!(reviewed(pod, UPGRADE, 101, "").is_err());
        assert!(reviewed(pod, "", 101 + WEBSOCKET, "").is_err());
    }

    #[test]
    fn case_155_what_a_workload_answers_is_sandboxed_but_for_a_proxy_on_the_callers_machine() {
        let sandboxes = |target, headers, status| {
            let changes = reviewed(target, headers, status, "").unwrap();
            changes.sandboxes
        };
        for status in [200, 302, 404, 500, 530] {
            assert!(sandboxes(PROXIED, "", status));
            assert!(sandboxes(PROXIED, "\nx-forwarded-for:192.0.2.7", status));
            assert!(!sandboxes(PROXIED, "\nx-forwarded-for:127.0.0.1", status));
        }
        assert!(sandboxes(PROXIED, UPGRADE, 101 + WEBSOCKET));
        assert!(!sandboxes("/api/v1/pods", "", 200));
    }

    #[test]
    fn case_169_whoever_brings_a_token_is_told_that_it_was_not_used() {
        for (value, warns) in [
            ("Bearer access", false),
            ("Basic YTpi", false),
            ("", false),
            ("Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln", true),
            ("bearer x", true),
            ("Bearer access2", true),
        ] {
            let headers = format!("\nauthorization:{value}");
            let changes = reviewed("/api/v1/pods", &headers, 200, "").unwrap();
            assert_eq!(changes.warning.is_some(), warns, "{value}");
        }
    }

    #[test]
    fn case_68_a_stream_by_spdy_gets_the_api_servers_reason_or_the_way_out() {
        let pod = "/api/v1/namespaces/n/pods/p/exec";
        let spdy = |status, text| reviewed(pod, "\nupgrade:SPDY/3.1", status, text);
        assert_eq!(spdy(400, "Upgrade request required"), Err(protocol::Error::Spdy.into()));
        assert_eq!(spdy(200, ""), Err(protocol::Error::Spdy.into()));
        assert!(spdy(400, "container not found").is_ok());
        assert!(spdy(403, "").is_ok());
    }

    #[test]
    fn a_workloads_answer_is_never_taken_for_a_failure_of_the_way() {
        let text = "ProxyError: connection_refused";
        assert!(reviewed(PROXIED, "", 500 + TEXT, text).is_ok());
        assert!(reviewed(PROXIED, "", 530 + HTML, "").is_ok());
        assert!(reviewed("/api/v1/pods", "", 500 + TEXT, text).is_err());
        assert!(reviewed("/api/v1/pods", "", 530 + HTML, "").is_err());
    }
}
