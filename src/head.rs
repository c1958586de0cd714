//! The head of a request, as `edge` hands it over: method, URL and header lines, without the body.

use crate::refusal::Refusal;

/// The longest path and query that are read, in bytes: Cloudflare's own limit for a URL.
pub const MAX_TARGET_BYTES: usize = 16 * 1024;

/// The largest head that is read, in bytes: Cloudflare's own limit for the headers of a request.
pub const MAX_HEAD_BYTES: usize = 128 * 1024;

/// One request, less its body. Borrowed from the text that [`Head::read`] was given.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// Path and query, byte for byte what will be sent upstream.
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
    /// What is too large is refused here, before anything else looks at it.
    #[must_use]
    pub fn read(text: &'a str) -> (Self, Option<Refusal>) {
        let mut lines = text.split('\n');
        let method = lines.next().unwrap_or_default();
        let url = lines.next().unwrap_or_default();
        let received = lines
            .next()
            .and_then(|time| time.parse().ok())
            .unwrap_or_default();
        let audit_id = lines.next().unwrap_or_default();
        let target = path_and_query(url);
        if target.len() > MAX_TARGET_BYTES {
            let shown = target.get(..256).unwrap_or_default();
            return (
                Self {
                    method,
                    target: shown,
                    received,
                    audit_id,
                    headers: Vec::new(),
                },
                Some(Refusal::TargetTooLong),
            );
        }
        if text.len() > MAX_HEAD_BYTES {
            return (
                Self {
                    method,
                    target,
                    received,
                    audit_id,
                    headers: Vec::new(),
                },
                Some(Refusal::HeadTooLarge),
            );
        }
        let mut headers = Vec::with_capacity(32);
        headers.extend(lines.filter_map(|line| line.split_once(':')));
        (
            Self {
                method,
                target,
                received,
                audit_id,
                headers,
            },
            None,
        )
    }

    /// All header lines.
    #[must_use]
    pub fn headers(&self) -> &[(&'a str, &'a str)] {
        &self.headers
    }

    /// The value of a header, `name` in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// The time of arrival, in whole seconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.received / 1000
    }

    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.target
            .split_once('?')
            .map_or(self.target, |(path, _)| path)
    }

    /// The query, without its question mark.
    #[must_use]
    pub fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// What follows the authority of an absolute URL.
fn path_and_query(url: &str) -> &str {
    let rest = url
        .split_once(':')
        .and_then(|(_, rest)| rest.strip_prefix("//"))
        .unwrap_or(url);
    rest.find(['/', '?'])
        .and_then(|index| rest.get(index..))
        .unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_from_its_lines() {
        let text = "GET\nhttps://kube.example.com/api/v1/pods?watch=1\n1800000000123\nid-1\naccept:a, b\nhost:kube:443\nempty:";
        let (head, refusal) = Head::read(text);
        assert!(refusal.is_none());
        assert_eq!(
            (head.method, head.path(), head.query()),
            ("GET", "/api/v1/pods", "watch=1")
        );
        assert_eq!((head.now(), head.audit_id), (1_800_000_000, "id-1"));
        assert_eq!(head.header("Accept"), Some("a, b"));
        assert_eq!(
            (head.header("HOST"), head.header("empty"), head.header("x")),
            (Some("kube:443"), Some(""), None)
        );
    }

    #[test]
    fn case_97_the_host_that_a_caller_names_is_no_part_of_the_target() {
        for (url, target) in [
            ("https://kube.example.com", "/"),
            ("https://kube.example.com/@evil.test/x", "/@evil.test/x"),
            ("https://evil.test@kube.example.com/api", "/api"),
            (
                "https://kube.example.com?x=http://evil.test/",
                "?x=http://evil.test/",
            ),
            ("https://kube.example.com//evil.test/x", "//evil.test/x"),
            ("", "/"),
        ] {
            assert_eq!(path_and_query(url), target, "{url}");
        }
    }

    #[test]
    fn case_96_150_what_is_too_large_is_refused_before_it_is_read() {
        let long = format!(
            "GET\nhttps://k/{}\n1\nid\na:b",
            "x".repeat(MAX_TARGET_BYTES)
        );
        assert_eq!(Head::read(&long).1, Some(Refusal::TargetTooLong));
        let bomb = format!(
            "GET\nhttps://k/api\n1\nid{}",
            "\na:b".repeat(MAX_HEAD_BYTES / 4)
        );
        let (head, refusal) = Head::read(&bomb);
        assert_eq!(
            (refusal, head.headers().len()),
            (Some(Refusal::HeadTooLarge), 0)
        );
    }
}
