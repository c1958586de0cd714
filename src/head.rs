//! The head of a request, as `edge` hands it over: method, URL and header lines, without the body.

use std::borrow::Cow;

use thiserror::Error;

/// The longest path and query that are read, in bytes: Cloudflare's own limit for a URL.
pub const MAX_TARGET_BYTES: usize = 16 * 1024;

/// The largest head that is read, in bytes: Cloudflare's own limit for the headers of a request.
pub const MAX_HEAD_BYTES: usize = 128 * 1024;

/// A head that is too large to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// Path and query exceed [`MAX_TARGET_BYTES`].
    #[error("path and query are too long: at most 16 KiB")]
    TargetTooLong,
    /// The head exceeds [`MAX_HEAD_BYTES`].
    #[error("the request's headers are too large: at most 128 KiB")]
    TooLarge,
}

/// One request, less its body. Borrowed from the text that [`Head::read`] was given.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// Scheme and authority of the URL: `https://kube.example.com`.
    pub origin: &'a str,
    /// Path and query, as sent.
    pub target: &'a str,
    /// When the request arrived, in milliseconds since the Unix epoch.
    pub received: u64,
    /// A fresh UUID, which will be the request's `Audit-ID`.
    pub audit_id: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Head<'a> {
    /// Reads lines: method, URL, milliseconds since the Unix epoch, UUID, then one `name:value` for each header, the name in
    /// lower case and repeated headers joined by ", ", as the runtime's `Headers` gives them. No part can hold a line feed:
    /// HTTP allows none.
    ///
    /// Of what is too large nothing is read but what a log line needs.
    #[must_use]
    pub fn read(text: &'a str) -> (Self, Option<Error>) {
        let mut lines = text.split('\n');
        let method = lines.next().unwrap_or_default();
        let (origin, target) = split_url(lines.next().unwrap_or_default());
        let received = lines.next().and_then(|time| time.parse().ok()).unwrap_or_default();
        let audit_id = lines.next().unwrap_or_default();
        let mut head = Self { method, origin, target, received, audit_id, headers: Vec::new() };
        if target.len() > MAX_TARGET_BYTES {
            head.target = target.get(..target.floor_char_boundary(256)).unwrap_or("/");
            return (head, Some(Error::TargetTooLong));
        }
        if text.len() > MAX_HEAD_BYTES {
            return (head, Some(Error::TooLarge));
        }
        head.headers.reserve(32);
        head.headers.extend(lines.filter_map(|line| line.split_once(':')));
        (head, None)
    }

    /// The same text for a request that is made again at another time, with an `Audit-ID` of its own.
    #[must_use]
    pub fn restamped(text: &str, received: u64, times: u32) -> String {
        let mut lines: Vec<Cow<'_, str>> = text.split('\n').map(Cow::Borrowed).collect();
        if let [_, _, time, uuid, ..] = lines.as_mut_slice() {
            *time = Cow::Owned(received.to_string());
            *uuid = Cow::Owned(format!("{uuid}-{times}"));
        }
        lines.join("\n")
    }

    /// All header lines.
    #[must_use]
    pub fn headers(&self) -> &[(&'a str, &'a str)] {
        &self.headers
    }

    /// The value of a header, `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// Scheme and authority by which the client reached the gateway. Where TLS ended before the Worker, `X-Forwarded-Proto` says so.
    #[must_use]
    pub fn reached(&self) -> (&'a str, &'a str) {
        let (scheme, authority) = self.origin.split_once("://").unwrap_or_default();
        (self.header("x-forwarded-proto").unwrap_or(scheme), authority)
    }

    /// The time of arrival, in whole seconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.received / 1000
    }

    /// Whether a body follows (RFC 9112 section 6).
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.header("transfer-encoding").is_some() || self.header("content-length").is_some_and(|length| length != "0")
    }

    /// `Cf-Ray`: Cloudflare's name for this request.
    #[must_use]
    pub fn ray(&self) -> Option<&'a str> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        self.header("cf-ray").filter(|ray| (1..=64).contains(&ray.len()) && ray.bytes().all(is_plain))
    }

    /// `CF-Connecting-IP`: the client's address, as Cloudflare saw it.
    #[must_use]
    pub fn client_address(&self) -> Option<&'a str> {
        self.header("cf-connecting-ip").filter(|address| address.parse::<std::net::IpAddr>().is_ok())
    }
}

/// Scheme and authority of an absolute URL, and what follows them.
fn split_url(url: &str) -> (&str, &str) {
    let authority = url.find("://").map_or(0, |colon| colon + 3);
    let rest = url.get(authority..).unwrap_or_default();
    let end = rest.find(['/', '?']).map_or(url.len(), |index| authority + index);
    match url.split_at_checked(end) {
        Some((origin, target)) if !target.is_empty() => (origin, target),
        _ => (url, "/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_from_its_lines() {
        let text = "GET\nhttps://kube.example.com/api/v1/pods?watch=1\n1800000000123\nid-1\naccept:a, b\nhost:kube:443\nempty:";
        let (head, error) = Head::read(text);
        assert!(error.is_none());
        assert_eq!(
            (head.method, head.origin, head.target),
            ("GET", "https://kube.example.com", "/api/v1/pods?watch=1")
        );
        assert_eq!((head.now(), head.audit_id), (1_800_000_000, "id-1"));
        assert_eq!(head.header("accept"), Some("a, b"));
        assert_eq!((head.header("host"), head.header("empty"), head.header("x")), (Some("kube:443"), Some(""), None));
    }

    #[test]
    fn case_97_the_host_that_a_caller_names_is_no_part_of_the_target() {
        for (url, target) in [
            ("https://kube.example.com", "/"),
            ("https://kube.example.com/@evil.test/x", "/@evil.test/x"),
            ("https://evil.test@kube.example.com/api", "/api"),
            ("https://kube.example.com?x=http://evil.test/", "?x=http://evil.test/"),
            ("https://kube.example.com//evil.test/x", "//evil.test/x"),
            ("", "/"),
        ] {
            assert_eq!(split_url(url).1, target, "{url}");
        }
    }

    #[test]
    fn case_96_150_what_is_too_large_is_refused_before_it_is_read() {
        let long = format!("GET\nhttps://k/{}\n1\nid\na:b", "x".repeat(MAX_TARGET_BYTES));
        assert_eq!(Head::read(&long).1, Some(Error::TargetTooLong));
        let bomb = format!("GET\nhttps://k/api\n1\nid{}", "\na:b".repeat(MAX_HEAD_BYTES / 4));
        let (head, error) = Head::read(&bomb);
        assert_eq!((error, head.headers().len()), (Some(Error::TooLarge), 0));
    }
}
