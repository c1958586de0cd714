//! What must be true of every token and of every JWKS.

use kube_access::keys::{KeyRing, Keys, MAX_JWKS_BYTES, Plan};
use kube_access::token::{LEEWAY_SECONDS, MAX_TOKEN_BYTES, Reason, Subject, Untrusted};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

use crate::team::{NOW, config, decode, encode};

/// A text that is read as a token is one, in its only spelling, and asks for RS256 and nothing else.
pub(crate) fn token(text: &str) -> Result<(), TestCaseError> {
    let Ok(untrusted) = Untrusted::parse(text) else {
        return Ok(());
    };
    prop_assert!(text.len() <= MAX_TOKEN_BYTES);
    let segments: Vec<&str> = text.split('.').collect();
    prop_assert_eq!(segments.len(), 3);
    prop_assert_eq!(encode(decode(segments[0])), segments[0]);
    prop_assert_eq!(encode(untrusted.signature()), segments[2]);
    prop_assert_eq!(untrusted.signing_input(), format!("{}.{}", segments[0], segments[1]));
    let Some(header) = read(&decode(segments[0])) else {
        return Ok(());
    };
    prop_assert_eq!(&header["alg"], "RS256");
    prop_assert_eq!(&header["kid"], untrusted.key_id());
    prop_assert!(!untrusted.key_id().is_empty());
    prop_assert!(header.get("crit").is_none());
    let again = Untrusted::parse(text).unwrap();
    prop_assert_eq!(again.confirm(false).unwrap_err(), Reason::Signature);
    if let Ok(signed) = untrusted.confirm(true) {
        let _ = signed.claims(&config(), NOW);
    }
    Ok(())
}

/// A token is accepted only with valid claims. The text is the header and the claims, each on a line.
pub(crate) fn claims(text: &str) -> Result<(), TestCaseError> {
    let (header, payload) = text.split_once('\n').unwrap_or((text, ""));
    let text = format!("{}.{}.{}", encode(header), encode(payload), encode("s"));
    token(&text)?;
    let config = config();
    let at = |now| Untrusted::parse(&text)?.confirm(true)?.claims(&config, now);
    let Ok(claims) = at(NOW) else {
        return Ok(());
    };
    let Some(members) = read(payload.as_bytes()) else {
        return Ok(());
    };
    prop_assert_eq!(&members["iss"], "https://team.cloudflareaccess.com");
    prop_assert_eq!(&members["type"], "app");
    let audiences = members["aud"].as_array().cloned().unwrap_or_else(|| vec![members["aud"].clone()]);
    prop_assert!(audiences.iter().any(|audience| audience == "aud-1" || audience == "aud-2"));
    prop_assert_eq!(members["exp"].as_u64(), Some(claims.expires()));
    prop_assert!(claims.expires() > NOW);
    for member in ["nbf", "iat"] {
        prop_assert!(members[member].is_null() || members[member].as_u64() <= Some(NOW + LEEWAY_SECONDS));
    }
    prop_assert_eq!(at(claims.expires()).unwrap_err(), Reason::Expired);
    match claims.subject() {
        Subject::User { email, id } => {
            prop_assert!(members["email"].as_str().unwrap().eq_ignore_ascii_case(email));
            prop_assert_eq!(&members["sub"], id);
            prop_assert!(!email.is_empty() && !id.is_empty());
            prop_assert!(members.get("common_name").is_none_or(|name| name == ""));
        }
        Subject::ServiceToken { client_id } => {
            prop_assert_eq!(&members["common_name"], client_id);
            prop_assert!(members.get("email").is_none_or(|email| email == ""));
            prop_assert!(members.get("sub").is_none_or(|sub| sub == ""));
        }
        Subject::Nobody => prop_assert!(members.get("common_name").is_none_or(|name| name == "")),
    }
    Ok(())
}

/// A key that is used is an RSA key of at least 2048 bits that is published under this `kid`, and under it alone.
pub(crate) fn jwks(text: &str) -> Result<(), TestCaseError> {
    let Ok(keys) = Keys::parse(text) else {
        return Ok(());
    };
    prop_assert!(text.len() <= MAX_JWKS_BYTES);
    let Some(document) = read(text.as_bytes()) else {
        return Ok(());
    };
    let jwks = document["keys"].as_array().unwrap();
    let mut ring = KeyRing::default();
    ring.ask(NOW);
    ring.renew(Ok(keys), NOW);
    let mut usable = 0;
    for jwk in jwks {
        let Some(kid) = jwk["kid"].as_str() else {
            continue;
        };
        let Plan::Use(key) = ring.key(kid, NOW) else {
            continue;
        };
        usable += 1;
        prop_assert_eq!(key.id(), kid);
        let used: Value = serde_json::from_str(&key.to_jwk()).unwrap();
        let is_published = jwks
            .iter()
            .any(|jwk| jwk["kid"] == kid && jwk["kty"] == "RSA" && jwk["n"] == used["n"] && jwk["e"] == used["e"]);
        prop_assert!(is_published, "{}", kid);
        let modulus = decode(used["n"].as_str().unwrap());
        let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
        prop_assert!(significant >= 256);
        prop_assert_eq!(used.as_object().unwrap().len(), 4);
    }
    prop_assert!(usable > 0);
    Ok(())
}

/// JSON that was accepted, to compare with. None for what `Value` cannot hold, though it is JSON: a number such as 1e999.
fn read(json: &[u8]) -> Option<Value> {
    let read = serde_json::from_slice(json);
    let is_too_large = |error: &serde_json::Error| error.to_string().starts_with("number out of");
    match read {
        Err(error) if is_too_large(&error) => None,
        read => Some(read.unwrap()),
    }
}
