//! `Cf-Access-Jwt-Assertion` -> [`Untrusted`] -> [`Signed`] -> [`Claims`], a type for each proof.
//!
//! No I/O, no clock, no cryptography: `edge` has the signature verified, `keys` chooses by whom. RFC 7515 (JWS),
//! RFC 7519 (JWT); which claims Access sets: Cloudflare One, "Application token".

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::UntrustedToken;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::config::Config;
use crate::json::{self, Malformed, Object};

/// The longest token that is looked at, in bytes. Access tokens have about 1 KiB; custom claims can make them larger.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// How far the clocks of Access and of this isolate may differ, in seconds. `exp` has no such slack: Access itself
/// refuses an expired token, so slack would only lengthen the life of a stolen one.
pub const LEEWAY_SECONDS: u64 = 60;

/// Which check a token failed. For logs: the caller learns only that the token is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Reason {
    /// There is no `Cf-Access-Jwt-Assertion` header.
    #[error("no token")]
    Absent,
    /// The token exceeds [`MAX_TOKEN_BYTES`].
    #[error("token too large")]
    TooLarge,
    /// It is not a compact JWS of three base64url segments with JSON in the first two.
    #[error("malformed token")]
    Malformed,
    /// `alg` is not RS256, the only algorithm that Access signs with.
    #[error("algorithm is not RS256")]
    Algorithm,
    /// The header has `crit`: an extension that must be understood, and none is.
    #[error("critical extension")]
    Critical,
    /// The header has no `kid`.
    #[error("no key id")]
    NoKeyId,
    /// The team publishes no key of that `kid`.
    #[error("unknown key id")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("wrong signature")]
    Signature,
    /// The claims are not those of an Access token: a missing, repeated or mistyped member.
    #[error("malformed claims")]
    MalformedClaims,
    /// `iss` is another team.
    #[error("wrong issuer")]
    Issuer,
    /// `aud` names none of the configured applications.
    #[error("wrong audience")]
    Audience,
    /// `type` is not `app`.
    #[error("not an application token")]
    Type,
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("not valid yet")]
    NotYetValid,
}

/// A well-formed token that nobody has vouched for.
#[derive(Debug)]
pub struct Untrusted<'a> {
    text: &'a str,
    token: UntrustedToken<'a, Extensions>,
}

/// A token whose signature is its key's. What it says may still be expired, or meant for somebody else.
#[derive(Debug)]
pub struct Signed<'a>(Untrusted<'a>);

/// The claims of a valid token, issued by the team for this application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    subject: Subject,
    issued: u64,
    expires: u64,
    nonce: String,
    custom: Option<String>,
}

/// Whom a token speaks of. A person and a service token are never confused: a person has both an email address and a
/// subject, a service token has a client ID and neither of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A person.
    User {
        /// The address that the identity provider verified, in lower case (ASCII letters only).
        email: String,
        /// `sub`: the person's identifier in the Access organisation.
        id: String,
    },
    /// An Access service token.
    ServiceToken {
        /// `common_name`: the token's client ID.
        client_id: String,
    },
    /// Neither: a token that names nobody.
    Nobody,
}

/// The header's members that matter and that `jwt-compact` has no field for.
#[derive(Debug, Clone, Deserialize)]
struct Extensions {
    #[serde(rename = "crit", default, deserialize_with = "is_present")]
    has_critical: bool,
}

impl<'a> Untrusted<'a> {
    /// Reads the value of `Cf-Access-Jwt-Assertion`.
    pub fn parse(text: &'a str) -> Result<Self, Reason> {
        if text.is_empty() {
            return Err(Reason::Absent);
        }
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Reason::TooLarge);
        }
        let token = UntrustedToken::try_from(text).map_err(|_| Reason::Malformed)?;
        let untrusted = Self { text, token };
        if untrusted.token.algorithm() != "RS256" {
            return Err(Reason::Algorithm);
        }
        if untrusted.token.header().other_fields.has_critical {
            return Err(Reason::Critical);
        }
        if untrusted.key_id().is_empty() {
            return Err(Reason::NoKeyId);
        }
        Ok(untrusted)
    }

    /// `kid`: the name of the key that is said to have signed. `jku`, `x5u` and `jwk` are never looked at.
    #[must_use]
    pub fn key_id(&self) -> &str {
        self.token.header().key_id.as_deref().unwrap_or_default()
    }

    /// What was signed: the first two segments, as sent.
    #[must_use]
    pub fn signing_input(&self) -> &'a str {
        self.text.rsplit_once('.').map_or("", |(input, _)| input)
    }

    /// The signature's bytes.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.token.signature_bytes()
    }

    /// Takes the verdict of RSASSA-PKCS1-v1_5 with SHA-256 over [`Self::signing_input`] and [`Self::signature`].
    pub fn confirm(self, is_authentic: bool) -> Result<Signed<'a>, Reason> {
        if is_authentic { Ok(Signed(self)) } else { Err(Reason::Signature) }
    }
}

impl Signed<'_> {
    /// Checks who issued the token, for whom and for when. `now` is in seconds since the Unix epoch.
    pub fn claims(&self, config: &Config, now: u64) -> Result<Claims, Reason> {
        let segment = self.0.text.split('.').nth(1).unwrap_or_default();
        let payload = URL_SAFE_NO_PAD.decode(segment).map_err(|_| Reason::Malformed)?;
        let payload = std::str::from_utf8(&payload).map_err(|_| Reason::Malformed)?;
        let payload = Object::read(payload).map_err(malformed)?;
        let text = |name| payload.need::<String>(name).map_err(malformed);
        if text("iss")? != config.issuer {
            return Err(Reason::Issuer);
        }
        let audience = payload.raw("aud").map_err(malformed)?.unwrap_or_default();
        let audiences: Vec<String> = match json::value(audience) {
            Ok(one) => vec![one],
            Err(_) => json::value(audience).map_err(malformed)?,
        };
        if !audiences.iter().any(|audience| config.audiences.contains(audience)) {
            return Err(Reason::Audience);
        }
        if text("type")? != "app" {
            return Err(Reason::Type);
        }
        let claims = Claims::read(&payload)?;
        if claims.expires <= now {
            return Err(Reason::Expired);
        }
        let latest = now.saturating_add(LEEWAY_SECONDS);
        for name in ["nbf", "iat"] {
            let moment: Option<u64> = payload.get(name).map_err(malformed)?.flatten();
            if moment.is_some_and(|moment| moment > latest) {
                return Err(Reason::NotYetValid);
            }
        }
        Ok(claims)
    }
}

impl Claims {
    /// Who is meant, and until when.
    fn read(payload: &Object<'_>) -> Result<Self, Reason> {
        let text = |name| payload.get::<String>(name).map_err(malformed).map(Option::unwrap_or_default);
        let nonce = text("identity_nonce")?;
        if nonce.len() > 256 {
            return Err(Reason::MalformedClaims);
        }
        let issued = payload.get::<Option<u64>>("iat").map_err(malformed)?.flatten();
        Ok(Self {
            issued: issued.unwrap_or_default(),
            subject: subject(text("sub")?, &text("email")?, text("common_name")?)?,
            expires: payload.need("exp").map_err(malformed)?,
            nonce,
            custom: payload.raw("custom").map_err(malformed)?.map(str::to_owned),
        })
    }

    /// Whom the token speaks of.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// How people and log lines call whom the token speaks of.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.subject {
            Subject::User { email, .. } => email.clone(),
            Subject::ServiceToken { client_id } => format!("service token {client_id}"),
            Subject::Nobody => "a token that names nobody".to_owned(),
        }
    }

    /// `identity_nonce`: by it and the subject Access knows the session's identity. Empty where the token has none.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// `custom`: the JSON of the claims of the identity provider that Access was told to put into its tokens.
    #[must_use]
    pub fn custom(&self) -> Option<&str> {
        self.custom.as_deref()
    }

    /// `iat`, in seconds since the Unix epoch; 0 where the token does not tell it.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.issued
    }

    /// `exp`, in seconds since the Unix epoch: the first second in which the token is no longer valid.
    #[must_use]
    pub fn expires(&self) -> u64 {
        self.expires
    }
}

fn subject(sub: String, email: &str, common_name: String) -> Result<Subject, Reason> {
    let is_plain = |text: &str| text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain(&sub) {
        return Err(Reason::MalformedClaims);
    }
    match (sub.is_empty(), email.is_empty(), common_name.is_empty()) {
        (false, false, true) => Ok(Subject::User { email: email.to_ascii_lowercase(), id: sub }),
        (true, true, false) => Ok(Subject::ServiceToken { client_id: common_name }),
        (_, true, true) => Ok(Subject::Nobody),
        _ => Err(Reason::MalformedClaims),
    }
}

fn malformed(_: Malformed) -> Reason {
    Reason::MalformedClaims
}

/// Whether a member is there at all, even as `null`.
fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::{Claims, Config, Object};

    /// Claims for `about` (`email`, `sub`, `common_name`) that every other check lets through.
    pub(crate) fn claims(config: &Config, about: &serde_json::Value) -> Claims {
        let mut payload = serde_json::json!({"iss": config.issuer, "aud": config.audiences, "exp": 253_402_300_799_u64, "type": "app"});
        payload.as_object_mut().unwrap().extend(about.as_object().unwrap().clone());
        Claims::read(&Object::read(&payload.to_string()).unwrap()).unwrap()
    }
}

#[cfg(test)]
mod tests;
