//! The signature of what is sent, for a last hop that takes only what this Worker signed. Its other half is `faultOf` of
//! `terraform/modules/k8s/last-hop.mjs`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac_sha256::HMAC;

/// The header of the signature: `SECONDS MAC`.
pub const HEADER: &str = "Kube-Access-Signature";

/// The fewest characters of a key: fewer could be guessed.
const MIN_CHARACTERS: usize = 32;

/// What this Worker and the last hop know, and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key of at least 32 characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() >= MIN_CHARACTERS).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(..)")
    }
}

/// The value of [`HEADER`] for a request that goes to this path and query with these lines of the caller's,
/// [`Caller::lines`](crate::caller::Caller::lines).
///
/// The MAC is HMAC-SHA-256 (RFC 2104), in base64url without padding, over lines: the time of arrival in seconds since the Unix
/// epoch, method, target, Audit-ID, and the caller's as `name:value`, names in lower case: the user, the groups as they are ordered,
/// the extras by name. The Audit-ID differs with each request, so the last hop can tell one that comes again.
#[must_use]
pub fn sign(key: &Key, seconds: u64, method: &str, target: &str, audit_id: &str, lines: &str) -> String {
    let mut text = format!("{seconds}\n{method}\n{target}\n{audit_id}");
    for (name, value) in lines.lines().filter_map(|line| line.split_once(':')) {
        text.extend(["\n", &name.to_ascii_lowercase(), ":", value]);
    }
    format!("{seconds} {}", URL_SAFE_NO_PAD.encode(HMAC::mac(text, &key.0)))
}
