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
pub enum Error {
    /// For the cluster.
    #[error(
        "this gateway serves programs, not web pages: a browser sent this request. A dashboard works through a proxy on its user's own machine, such as `kubectl proxy`"
    )]
    Page,
    /// For the gateway itself, by another page than its own.
    #[error(
        "the gateway's own paths serve its own page alone: another page sent this request. Open /.kube-access/ by its address"
    )]
    OtherPage,
}

/// What a browser may do with one of the gateway's own paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Open it, from wherever: it is the same for everybody who enters.
    Document,
    /// Read it, from the gateway's own page.
    Data,
    /// Change something, from there, by POST and JSON.
    Change,
}

/// Lets a request for the gateway itself pass: a program's, that of its own page, and whoever opens the page.
///
/// `Sec-Fetch-Site` says where a request comes from (Fetch Metadata): `none` is the address bar. What a workload shows through
/// `…/proxy/` has an origin of its own, and so comes from another site; but where a proxy on the caller's own machine shows it, it shares
/// that proxy's origin with whatever else comes that way, so no browser is served there.
pub fn check_own(request: &Request<'_>, reach: Reach) -> Result<(), Error> {
    let head = &request.head;
    let site = head.header("sec-fetch-site");
    let is_from_own = match site {
        None if is_by_local_proxy(head) => !is_marked(head) && !has_habits(head),
        None => !is_marked(head),
        Some(_) if is_by_local_proxy(head) => false,
        Some("same-origin") => true,
        Some("none") => reach != Reach::Change,
        Some(_) => false,
    };
    let is_opened = || {
        let of = |name| head.header(name).unwrap_or_default();
        let is_page = of("sec-fetch-mode") == "navigate" && of("sec-fetch-dest") == "document";
        reach == Reach::Document && is_page && !is_by_local_proxy(head)
    };
    let is_asked_before = head.headers().iter().any(|(name, _)| name.starts_with("access-control-request-"));
    let is_foreign = head.header("origin").is_some_and(|origin| !is_own(origin, head));
    let is_served = (is_from_own || is_opened()) && !is_asked_before && !is_foreign && !request.is_upgrade();
    // Chromium, Firefox and Safari name the origin with every POST.
    let is_named =
        reach != Reach::Change || !is_marked(head) || (head.method == "POST" && head.header("origin").is_some());
    (is_served && is_named).then_some(()).ok_or(Error::OtherPage)
}

/// Lets a program's request pass, and a browser's that came through a proxy on the caller's own machine: that one is served as
/// the proxy serves it.
pub fn check(request: &Request<'_>) -> Result<(), Error> {
    let head = &request.head;
    let has_cookie = head.header("cookie").is_some() && request.protocol == Ok(Protocol::WebSocket);
    let is_foreign = head.header("origin").is_some_and(|origin| !is_own(origin, head));
    if (is_marked(head) || has_cookie || is_foreign) && !is_by_local_proxy(head) {
        return Err(Error::Page);
    }
    Ok(())
}

/// Whether a head has what browsers alone send.
fn is_marked(head: &Head<'_>) -> bool {
    let is_mark = |name: &str| {
        name.starts_with("sec-fetch-")
            || name.starts_with("access-control-request-")
            || matches!(name, "sec-purpose" | "purpose")
    };
    head.headers().iter().any(|(name, _)| is_mark(name))
}

/// Whether a head has what browsers send with each request, also those that mark none: an old one, and every one that has reached a
/// proxy on its machine by a name that is not the loopback's, over http. No page can have its browser leave out the languages.
fn has_habits(head: &Head<'_>) -> bool {
    ["accept-language", "cookie", "referer"].iter().any(|name| head.header(name).is_some())
}

/// Whether the first hop was on the caller's own machine. Go's `ReverseProxy`, in `kubectl proxy` and in the back ends of Lens
/// and Headlamp, appends its client's address to `X-Forwarded-For`; Cloudflare keeps what is there and appends. A page cannot
/// have its browser send that header without a preflight, which is refused.
#[must_use]
pub fn is_by_local_proxy(head: &Head<'_>) -> bool {
    let first = head.header("x-forwarded-for").and_then(|list| list.split(',').next()).map(str::trim);
    first.and_then(|address| address.parse::<IpAddr>().ok()).is_some_and(|address| address.to_canonical().is_loopback())
}

/// Whether an `Origin` is the one that the request went to.
fn is_own(origin: &str, head: &Head<'_>) -> bool {
    let (scheme, authority) = head.reached();
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
    use Reach::{Change, Data, Document};

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

    fn is_served(method: &str, reach: Reach, headers: &str) -> bool {
        let text = format!("{method}\nhttps://kube.example.com/.kube-access/x\n0\nid{headers}");
        check_own(&Request::read(&text), reach).is_ok()
    }

    #[test]
    fn case_151_the_gateways_own_paths_serve_its_own_page_and_whoever_opens_it() {
        let opened = "\nsec-fetch-mode:navigate\nsec-fetch-dest:document";
        let framed = "\nsec-fetch-mode:navigate\nsec-fetch-dest:iframe";
        let own = "\norigin:https://kube.example.com";
        for (method, reach, headers, expected) in [
            ("GET", Document, String::new(), true),
            ("GET", Document, format!("\nsec-fetch-site:none{opened}"), true),
            ("GET", Document, format!("\nsec-fetch-site:cross-site{opened}"), true),
            ("GET", Document, format!("\nsec-fetch-site:same-site{opened}"), true),
            ("GET", Document, format!("\nsec-fetch-site:cross-site{framed}"), false),
            (
                "GET",
                Document,
                "\nsec-fetch-site:cross-site\nsec-fetch-mode:no-cors\nsec-fetch-dest:script".into(),
                false,
            ),
            ("GET", Document, "\nsec-purpose:prefetch".into(), false),
            ("GET", Data, String::new(), true),
            ("GET", Data, "\nsec-fetch-site:same-origin".into(), true),
            ("GET", Data, format!("\nsec-fetch-site:none{opened}"), true),
            ("GET", Data, format!("\nsec-fetch-site:cross-site{opened}"), false),
            ("GET", Data, "\nsec-fetch-site:same-site".into(), false),
            ("GET", Data, "\nsec-fetch-site:Same-Origin".into(), false),
            ("GET", Data, "\nsec-fetch-site:same-origin, cross-site".into(), false),
            ("GET", Data, "\nsec-fetch-mode:cors".into(), false),
            ("GET", Data, "\norigin:null".into(), false),
            ("GET", Data, "\norigin:https://evil.test\nsec-fetch-site:same-origin".into(), false),
            ("OPTIONS", Change, format!("{own}\naccess-control-request-method:POST"), false),
            ("POST", Change, String::new(), true),
            ("POST", Change, format!("{own}\nsec-fetch-site:same-origin"), true),
            ("POST", Change, "\nsec-fetch-site:same-origin".into(), false),
            ("POST", Change, format!("{own}\nsec-fetch-site:none"), false),
            ("POST", Change, format!("{own}\nsec-fetch-site:same-site"), false),
            ("POST", Change, "\norigin:null\nsec-fetch-site:same-origin".into(), false),
            ("DELETE", Change, String::new(), true),
            ("DELETE", Change, format!("{own}\nsec-fetch-site:same-origin"), false),
            ("GET", Data, UPGRADE.into(), false),
        ] {
            assert_eq!(is_served(method, reach, &headers), expected, "{method} {reach:?} {headers}");
        }
    }

    #[test]
    fn case_154_what_a_proxy_on_the_callers_machine_shows_has_nothing_of_the_gateways_own() {
        let by_proxy = |more: &str| format!("\nx-forwarded-for:127.0.0.1, 192.0.2.7{more}");
        let opened = "\nsec-fetch-site:none\nsec-fetch-mode:navigate\nsec-fetch-dest:document";
        for (method, reach, headers, expected) in [
            ("GET", Data, "", true),
            ("POST", Change, "", true),
            ("GET", Data, "\naccept-language:", false),
            ("GET", Data, "\ncookie:a=b", false),
            ("GET", Data, "\nreferer:http://dashboard.internal:8001/api", false),
            ("GET", Document, "\naccept-language:de\naccept:text/html", false),
            ("POST", Change, "\naccept-language:de", false),
            ("GET", Document, opened, false),
            ("GET", Data, "\nsec-fetch-site:same-origin", false),
            ("POST", Change, "\nsec-fetch-site:same-origin\norigin:http://127.0.0.1:8001", false),
            ("POST", Change, "\nsec-fetch-site:same-origin\norigin:https://kube.example.com", false),
            ("POST", Change, "\norigin:http://127.0.0.1:8001", false),
        ] {
            assert_eq!(is_served(method, reach, &by_proxy(headers)), expected, "{method} {reach:?} {headers}");
        }
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
