//! Where a gateway is: the origin that kubectl calls.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

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
            Some(("https", rest)) => rest,
            Some(_) => {
                return Err(format!("{text:?}: the gateway is reached by https, as in https://kube.example.com"));
            }
            None => text,
        };
        let uri: Uri = format!("https://{rest}/").parse().map_err(|_| expected())?;
        let authority = uri.authority().map(|authority| authority.as_str().to_ascii_lowercase()).unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        if authority != rest.to_ascii_lowercase() || authority.is_empty() || !authority.bytes().all(is_plain) {
            return Err(expected());
        }
        Ok(Self { authority: authority.strip_suffix(":443").unwrap_or(&authority).to_owned() })
    }
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
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }
}
