//! The team's public keys: JWKS text -> [`Keys`], which key fits a token, and when to fetch again.
//!
//! Rules only: `edge` fetches, and imports the keys into `WebCrypto`. RFC 7517 (JWK), RFC 7518 section 6.3 (RSA).

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::json::{self, Object};

/// The longest JWKS that is read, in bytes. Access publishes two keys, about 6 KB with their certificates.
pub const MAX_JWKS_BYTES: usize = 64 * 1024;

/// How long one fetch may take, in seconds.
pub const FETCH_SECONDS: u32 = 5;

/// How long fetched keys are used without asking again, in seconds: what a key that Access withdrew lives on here.
const FRESH_SECONDS: u64 = 300;

/// How long keys are used while Access cannot be asked, in seconds. That is safe as far as the keys are: Access
/// announces a new key six weeks ahead and withdraws an old one a week late.
const STALE_SECONDS: u64 = 6 * 3600;

/// The least time between two fetches, in seconds, so that made-up key IDs cannot turn this isolate on Access.
const COOL_DOWN_SECONDS: u64 = 30;

/// The same while no keys are at hand, and so nobody can enter.
const EMPTY_COOL_DOWN_SECONDS: u64 = 5;

/// The shortest modulus that is trusted, in bits (RFC 7518 section 3.3).
const MIN_MODULUS_BITS: usize = 2048;

/// The longest modulus that is imported, in bits: verification time grows with it.
const MAX_MODULUS_BITS: usize = 8192;

/// One RSA public key. Equal keys have equal members, and only equal keys do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    id: String,
    modulus: String,
    exponent: String,
}

/// The usable keys of one JWKS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<Rc<Key>>);

/// Why a fetched JWKS was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeysError {
    /// The fetch failed, or the answer was not 200.
    #[error("the certs endpoint did not answer")]
    Unreachable,
    /// The answer exceeds [`MAX_JWKS_BYTES`].
    #[error("the certs endpoint answered too much")]
    TooLarge,
    /// The answer is not a JWKS.
    #[error("the certs endpoint did not answer a JWKS")]
    Malformed,
    /// The JWKS has no key that can have signed a token.
    #[error("the certs endpoint published no usable key")]
    Empty,
}

/// What to do about a token's key, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Verify with this key.
    Use(Rc<Key>),
    /// Fetch, or wait for the fetch that is under way; then ask [`KeyRing::key`].
    Fetch,
    /// The team has no such key.
    Unknown,
    /// No keys are at hand, and Access was asked too recently to ask again.
    Unavailable,
}

/// The keys of one isolate, with their age. Times are in seconds since the Unix epoch.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: Keys,
    fetched: Option<u64>,
    asked: Option<u64>,
    outcome: Option<Result<(), KeysError>>,
}

impl Key {
    /// `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key as a JWK that `WebCrypto` imports: nothing but what this file has checked.
    #[must_use]
    pub fn to_jwk(&self) -> String {
        format!(r#"{{"kty":"RSA","alg":"RS256","n":"{}","e":"{}"}}"#, self.modulus, self.exponent)
    }

    /// The key, if it can be one that Access signs with. Each is read by itself, so that one of another kind spoils none.
    fn parse(jwk: &str) -> Option<Self> {
        let jwk = Object::read(jwk).ok()?;
        let text = |name| jwk.need::<String>(name).ok();
        let is_or_lacks = |name, value| {
            let found = jwk.get::<Option<String>>(name).ok()?.flatten();
            Some(found.is_none_or(|found| found == value))
        };
        let operations = jwk.get::<Option<Vec<String>>>("key_ops").ok()?.flatten();
        let is_for_signatures = text("kty")? == "RSA"
            && is_or_lacks("alg", "RS256")?
            && is_or_lacks("use", "sig")?
            && operations.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        let (id, n, e) = (text("kid")?, text("n")?, text("e")?);
        let modulus = URL_SAFE_NO_PAD.decode(&n).ok()?;
        let exponent = URL_SAFE_NO_PAD.decode(&e).ok()?;
        let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
        // No leading zero (RFC 7518 section 6.3.1.1): it would make a short key look long. A modulus of two odd primes is odd.
        let is_minimal_and_odd =
            |bytes: &[u8]| bytes.first() != Some(&0) && bytes.last().is_some_and(|last| last % 2 == 1);
        let is_sound = is_minimal_and_odd(&modulus)
            && is_minimal_and_odd(&exponent)
            && (MIN_MODULUS_BITS..=MAX_MODULUS_BITS).contains(&bits)
            && (1..=4).contains(&exponent.len())
            && exponent != [1];
        let is_named = (1..=256).contains(&id.len());
        (is_for_signatures && is_sound && is_named).then_some(Self { id, modulus: n, exponent: e })
    }
}

impl Keys {
    /// Reads a JWKS. Keys that cannot have signed a token are left out, and so are two different keys of one `kid`.
    pub fn parse(jwks: &str) -> Result<Self, KeysError> {
        if jwks.len() > MAX_JWKS_BYTES {
            return Err(KeysError::TooLarge);
        }
        let jwks = Object::read(jwks).and_then(|jwks| jwks.raw("keys")?.map(json::items).transpose());
        let jwks = jwks.ok().flatten().ok_or(KeysError::Malformed)?;
        let mut keys: Vec<Rc<Key>> = jwks.into_iter().filter_map(Key::parse).map(Rc::new).collect();
        let all = keys.clone();
        keys.retain(|key| all.iter().all(|other| other.id != key.id || other == key));
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(Self(keys)) }
    }

    fn find(&self, id: &str) -> Option<&Rc<Key>> {
        self.0.iter().find(|key| key.id == id)
    }

    /// Whether `key` is still published.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.find(&key.id).is_some_and(|found| **found == *key)
    }
}

impl KeyRing {
    /// Whether what was verified with these keys may be relied on without asking Access: they are fresh, or Access was
    /// asked a moment ago and they are not too old.
    #[must_use]
    pub fn is_reliable(&self, now: u64) -> bool {
        self.is_younger_than(FRESH_SECONDS, now) || (self.is_younger_than(STALE_SECONDS, now) && !self.may_ask(now))
    }

    /// What to do about a token of this `kid`.
    #[must_use]
    pub fn plan(&self, id: &str, now: u64) -> Plan {
        let is_settled = self.is_younger_than(FRESH_SECONDS, now) && self.keys.find(id).is_some();
        let is_at_hand = matches!(self.key(id, now), Plan::Use(_));
        let may_wait = self.is_asking(now) && !is_at_hand;
        if may_wait || (self.may_ask(now) && !is_settled) { Plan::Fetch } else { self.key(id, now) }
    }

    /// The key of this `kid`, if the keys at hand can still be relied on. Never asks for a fetch.
    #[must_use]
    pub fn key(&self, id: &str, now: u64) -> Plan {
        if !self.is_younger_than(STALE_SECONDS, now) {
            return Plan::Unavailable;
        }
        self.keys.find(id).map_or(Plan::Unknown, |key| Plan::Use(Rc::clone(key)))
    }

    /// Notes that Access is being asked, unless it already is. Whether it has to be.
    pub fn ask(&mut self, now: u64) -> bool {
        let begins = !self.is_asking(now);
        if begins {
            self.asked = Some(now);
            self.outcome = None;
        }
        begins
    }

    /// Takes what a fetch brought, if it brought keys.
    pub fn renew(&mut self, keys: Result<Keys, KeysError>, now: u64) {
        self.outcome = Some(keys.as_ref().map_or_else(|error| Err(*error), |_| Ok(())));
        if let Ok(keys) = keys {
            self.keys = keys;
            self.fetched = Some(now);
        }
    }

    /// Why the last fetch brought no keys.
    #[must_use]
    pub fn failure(&self) -> KeysError {
        self.outcome.and_then(Result::err).unwrap_or(KeysError::Unreachable)
    }

    /// Whether a fetch is under way. One that says nothing for longer than it may take is none any more.
    fn is_asking(&self, now: u64) -> bool {
        let is_recent = |asked: u64| now <= asked.saturating_add(FETCH_SECONDS.into());
        self.outcome.is_none() && self.asked.is_some_and(is_recent)
    }

    /// The keys at hand.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    fn is_younger_than(&self, seconds: u64, now: u64) -> bool {
        self.fetched.is_some_and(|fetched| now < fetched.saturating_add(seconds))
    }

    fn may_ask(&self, now: u64) -> bool {
        let has_keys = self.is_younger_than(STALE_SECONDS, now);
        let cool_down = if has_keys { COOL_DOWN_SECONDS } else { EMPTY_COOL_DOWN_SECONDS };
        self.asked.is_none_or(|asked| now >= asked.saturating_add(cool_down))
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::{Key, Keys, Rc};

    /// A key of this ID.
    pub(crate) fn key(id: &str) -> Rc<Key> {
        Rc::new(Key { id: id.to_owned(), modulus: "n".to_owned(), exponent: "AQAB".to_owned() })
    }

    /// A set of such keys.
    pub(crate) fn keys(ids: &[&str]) -> Keys {
        Keys(ids.iter().map(|id| key(id)).collect())
    }
}

#[cfg(test)]
mod tests;
