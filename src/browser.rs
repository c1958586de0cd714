//! What a browser sends is a page's, and a page is a stranger: only the gateway's own paths serve it.
//!
//! Chromium, Firefox and Safari put `Sec-Fetch-…` on every request (Fetch Metadata), `Sec-Purpose` or `Purpose` on what is
//! fetched ahead, and neither on the handshake of a WebSocket, which has the visitor's cookies instead. No page can take them
//! off. Programs send none of them; some name their own server's `Origin`.

use std::net::IpAddr;

use thiserror::Error;

use crate::head::Head;
use crate::protocol::Protocol;
use crate::request::Request;

/// The request was made by a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "this gateway serves programs, not web pages: a browser sent this request. A dashboard works through a proxy on its user's own machine, such as `kubectl proxy`"
)]
pub struct Error;

/// Lets a program's request pass, and a browser's that came through a proxy on the caller's own machine: that one is served as
/// the proxy serves it.
pub fn check(request: &Request<'_>) -> Result<(), Error> {
    let head = &request.head;
    let is_marked = |name: &str| {
        name.starts_with("sec-fetch-")
            || name.starts_with("access-control-request-")
            || matches!(name, "sec-purpose" | "purpose")
    };
    let is_marked = head.headers().iter().any(|(name, _)| is_marked(name));
    let has_cookie = head.header("cookie").is_some() && request.protocol == Ok(Protocol::WebSocket);
    let is_foreign = head.header("origin").is_some_and(|origin| !is_own(origin, head));
    if (is_marked || has_cookie || is_foreign) && !is_by_local_proxy(head) {
        return Err(Error);
    }
    Ok(())
}

/// Whether the first hop was on the caller's own machine. Go's `ReverseProxy`, in `kubectl proxy` and in the back ends of Lens
/// and Headlamp, appends its client's address to `X-Forwarded-For`; Cloudflare keeps what is there and appends. A page cannot
/// have its browser send that header without a preflight, which is refused.
#[must_use]
pub fn is_by_local_proxy(head: &Head<'_>) -> bool {
    let first = head.header("x-forwarded-for").and_then(|list| list.split(',').next()).map(str::trim);
    first.and_then(|address| address.parse::<IpAddr>().ok()).is_some_and(|address| address.to_canonical().is_loopback())
}

/// Whether an `Origin` is the one that the request went to. Where TLS ended before the Worker, `X-Forwarded-Proto` says so.
fn is_own(origin: &str, head: &Head<'_>) -> bool {
    let (scheme, authority) = head.origin.split_once("://").unwrap_or_default();
    let scheme = head.header("x-forwarded-proto").unwrap_or(scheme);
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let named = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    named.is_some_and(|named| bare(named, default_port) == bare(authority, default_port))
}

fn bare<'a>(authority: &'a str, default_port: &str) -> &'a str {
    authority.strip_suffix(default_port).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "\nupgrade:websocket\nsec-websocket-version:13\nsec-websocket-key:yPc6qyEdVivBFTmdg5VfRA==";

    fn passes(url: &str, headers: &str) -> bool {
        let text = format!("GET\n{url}\n0\nid{headers}");
        check(&Request::read(&text)).is_ok()
    }

    #[test]
    fn case_151_whatever_a_browser_marks_as_its_own_is_refused() {
        let url = "https://kube.example.com/api/v1/secrets";
        for headers in [
            "\nsec-fetch-site:none",
            "\nsec-fetch-site:same-origin",
            "\nsec-fetch-site:cross-site",
            "\nsec-fetch-mode:navigate",
            "\nsec-fetch-dest:",
            "\nsec-fetch-user:?1",
            "\nsec-fetch-storage-access:none",
            "\nsec-purpose:prefetch",
            "\nsec-purpose:prefetch;prerender",
            "\npurpose:prefetch",
            "\naccess-control-request-headers:x-forwarded-for",
            "\nsec-fetch-site:none\nx-forwarded-for:192.0.2.7",
            "\nsec-fetch-site:none\nx-forwarded-for:192.0.2.7, 127.0.0.1",
            "\nsec-fetch-site:none\nx-forwarded-for:",
            "\nsec-fetch-site:none\nx-forwarded-for:127.0.0.1.evil.test",
        ] {
            assert!(!passes(url, headers), "{headers}");
            assert!(!passes(url, &format!("{headers}{UPGRADE}")), "{headers}");
        }
        assert!(!passes(url, &format!("{UPGRADE}\ncookie:CF_Authorization=x")));
        assert!(passes(url, "\ncookie:CF_Authorization=x"));
        assert!(passes(url, UPGRADE));
    }

    #[test]
    fn case_153_an_origin_must_be_the_requests_own() {
        for (url, origin, is_own) in [
            ("https://kube.example.com/api", "https://kube.example.com", true),
            ("https://kube.example.com/api", "https://kube.example.com:443", true),
            ("https://kube.example.com:8443/api", "https://kube.example.com:8443", true),
            ("http://127.0.0.1:80/api", "http://127.0.0.1", true),
            ("https://[::1]:8443/api", "https://[::1]:8443", true),
            ("https://kube.example.com/api", "null", false),
            ("https://kube.example.com/api", "", false),
            ("https://kube.example.com/api", "http://kube.example.com", false),
            ("https://kube.example.com/api", "https://kube.example.com:8443", false),
            ("https://kube.example.com/api", "https://kube.example.com:80", false),
            ("https://kube.example.com/api", "https://evil.test", false),
            ("https://kube.example.com/api", "https://kube.example.com.evil.test", false),
            ("https://kube.example.com/api", "https://evil-kube.example.com", false),
            ("https://kube.example.com/api", "https://KUBE.example.com", false),
            ("https://kube.example.com/api", "https://kube.example.com/", false),
            ("https://kube.example.com/api", "https://kube.example.com, https://kube.example.com", false),
        ] {
            for headers in ["", UPGRADE] {
                assert_eq!(passes(url, &format!("\norigin:{origin}{headers}")), is_own, "{origin}");
            }
        }
        let secured = "\norigin:https://k:8443\nx-forwarded-proto:https";
        assert!(passes("http://k:8443/api", secured));
        assert!(!passes("http://k:8443/api", "\norigin:https://k:8443"));
        assert!(!passes("http://k:8443/api", "\norigin:http://k:8443\nx-forwarded-proto:https"));
    }

    #[test]
    fn case_154_a_proxy_on_the_callers_machine_vouches_for_its_browser() {
        let page = "\nsec-fetch-site:same-origin\norigin:http://127.0.0.1:8001\ncookie:a=b";
        for first in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", " 127.0.0.1 , 192.0.2.7"] {
            let headers = format!("{page}\nx-forwarded-for:{first}{UPGRADE}");
            assert!(passes("https://k/api", &headers), "{first}");
        }
        for first in ["", "192.0.2.7, 127.0.0.1", "localhost", "128.0.0.1", "::2", "unknown, 127.0.0.1"] {
            let headers = format!("{page}\nx-forwarded-for:{first}");
            assert!(!passes("https://k/api", &headers), "{first}");
        }
    }
}
