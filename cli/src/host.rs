//! Where a gateway is: the origin that kubectl calls.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use hyper::http::uri::Authority;

/// The port that is not written.
const HTTPS: u16 = 443;

/// The longest label of a host name, and the longest name, in bytes (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

/// An origin such as `https://kube.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    authority: String,
}

impl Host {
    /// Host name and, where it is not 443, port.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// A name that can be a file's.
    pub(crate) fn file_name(&self) -> String {
        self.authority.replace([':', '[', ']'], "_")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority)
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?}: expected the gateway's origin, such as https://kube.example.com");
        let text = text.strip_suffix('/').unwrap_or(text);
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
            Some(_) => {
                return Err(format!("{text:?}: the gateway is reached by https, as in https://kube.example.com"));
            }
            None => text,
        };
        let authority: Authority = rest.parse().map_err(|_| expected())?;
        let (name, port) = (authority.host().to_ascii_lowercase(), authority.port_u16());
        // Whatever else is there is neither.
        let given = port.map(|port| format!(":{port}")).unwrap_or_default();
        if !is_name(&name) || port == Some(0) || format!("{name}{given}") != rest.to_ascii_lowercase() {
            return Err(expected());
        }
        let port = if port == Some(HTTPS) { "" } else { &given };
        Ok(Self { authority: format!("{name}{port}") })
    }
}

/// Whether it is a host name (RFC 1123 section 2.1), or an address.
fn is_name(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let is_plain = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        is_plain && bytes.len() <= MAX_LABEL && is_edge(bytes.first()) && is_edge(bytes.last())
    };
    text.len() <= MAX_NAME && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_an_https_origin_and_nothing_more() {
        for (text, origin) in [
            ("https://kube.example.com", "https://kube.example.com"),
            ("https://Kube.Example.com:443/", "https://kube.example.com"),
            ("kube.example.com", "https://kube.example.com"),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
            ("https://[::1]:8443", "https://[::1]:8443"),
            ("HTTPS://kube.example.com", "https://kube.example.com"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), origin);
        }
        for text in [
            "",
            "http://kube.example.com",
            "https://",
            "https://a/b",
            "https://a?x",
            "https://u@a",
            "a b",
            "a\nb",
            "-x;y",
            "https://..",
            "https://a..b",
            "https://a.",
            "https://-a",
            "https://a-.b",
            "https://:443",
            "https://a:",
            "https://a:0",
            "https://a:99999",
            "https://[zz]",
            "https://::1",
            &"a".repeat(64),
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }
}
