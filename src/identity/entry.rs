//! One entry of Workers KV: gives or takes an identity without a deploy.
//!
//! The key is `email:alice@example.com` (lower case) or `service-token:<client ID>`; the value is JSON with the fields of
//! `identities.yaml`, and `expires` (RFC 3339) and `deny`. An entry wins over the compiled map until it expires. One that
//! cannot be read refuses its caller: a guess could give what was meant to be taken.

use chrono::DateTime;
use serde::Deserialize;
use thiserror::Error;

use super::{Identity, Rule, extras, name};
use crate::json;
use crate::token::{Claims, Subject};

/// The longest entry that is read, in bytes.
pub const MAX_ENTRY_BYTES: usize = 128 * 1024;

/// What an entry says of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is no entry, or it has expired: the map decides.
    Absent,
    /// The caller does not enter, whatever the map says.
    Denied,
    /// The caller enters as this, until then (in seconds since the Unix epoch) if there is an end.
    Granted(Identity, Option<u64>),
}

/// An entry that cannot be read. It says what is wrong, and quotes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct EntryError(&'static str);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    allow_system_masters: bool,
    expires: Option<String>,
    #[serde(default)]
    deny: bool,
}

/// The key of the entry for these claims.
#[must_use]
pub fn key(claims: &Claims) -> Option<String> {
    let key = match claims.subject() {
        Subject::User { email, .. } => format!("email:{email}"),
        Subject::ServiceToken { client_id } => format!("service-token:{client_id}"),
        Subject::Nobody => return None,
    };
    // What Workers KV takes for a key at most. Nobody can have written a longer one.
    (key.len() <= 512).then_some(key)
}

/// Reads the entry for these claims. `now` is in seconds since the Unix epoch.
pub fn read(text: &str, claims: &Claims, now: u64) -> Result<Verdict, EntryError> {
    if text.len() > MAX_ENTRY_BYTES {
        return Err(EntryError("it is too long"));
    }
    let entry: Entry = json::object(text)
        .ok_or(EntryError("it is no JSON object of user, groups, allow_system_masters, expires and deny"))?;
    let expires = entry.expires.as_deref().map(moment).transpose()?;
    if expires.is_some_and(|expires| expires <= now) {
        return Ok(Verdict::Absent);
    }
    if entry.deny {
        return Ok(Verdict::Denied);
    }
    let identity = identity(entry, claims)?;
    Ok(Verdict::Granted(identity, expires))
}

fn identity(entry: Entry, claims: &Claims) -> Result<Identity, EntryError> {
    let email = if let Subject::User { email, .. } = claims.subject() { email } else { "" };
    let user = entry.user.replace("{email}", email);
    if entry.groups.len() > name::MAX_GROUPS {
        return Err(EntryError("it has too many groups"));
    }
    let may_be_sent = |group: &String| {
        let is_granted = entry.allow_system_masters && group == name::MASTERS;
        name::is_well_formed(group) && (!name::is_reserved(group) || is_granted)
    };
    if !entry.groups.iter().all(may_be_sent) {
        return Err(EntryError("a group is malformed or reserved"));
    }
    let mut groups: Vec<String> = Vec::new();
    for group in entry.groups {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let identity = Identity { user, groups, rule: Rule::Kv, extras: extras(claims) };
    identity.checked().ok_or(EntryError("user is malformed or reserved"))
}

fn moment(text: &str) -> Result<u64, EntryError> {
    let moment = DateTime::parse_from_rfc3339(text).ok().and_then(|moment| u64::try_from(moment.timestamp()).ok());
    moment.ok_or(EntryError("expires is no RFC 3339 time such as 2027-01-31T12:00:00Z"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::tests_support::config;
    use crate::token::tests_support;

    const NOW: u64 = 1_800_000_000; // 2027-01-15T08:00:00Z

    fn claims(about: &serde_json::Value) -> Claims {
        tests_support::claims(&config(), about)
    }

    fn alice() -> Claims {
        claims(&json!({"email": "Alice@Example.com", "sub": "id-1"}))
    }

    fn read_for_alice(entry: &serde_json::Value) -> Result<Verdict, EntryError> {
        read(&entry.to_string(), &alice(), NOW)
    }

    #[test]
    fn the_key_names_the_caller_and_its_kind() {
        assert_eq!(key(&alice()).unwrap(), "email:alice@example.com");
        let token = claims(&json!({"common_name": "0f.access", "sub": ""}));
        assert_eq!(key(&token).unwrap(), "service-token:0f.access");
        assert_eq!(key(&claims(&json!({"sub": "id-1"}))), None);
        let long = format!("{}@example.com", "a".repeat(600));
        assert_eq!(key(&claims(&json!({"email": long, "sub": "id-1"}))), None);
    }

    #[test]
    fn an_entry_gives_an_identity_until_it_expires() {
        let entry = json!({"user": "{email}", "groups": ["a", "b", "a"], "expires": "2027-01-15T09:00:00+00:30"});
        let Ok(Verdict::Granted(identity, expires)) = read_for_alice(&entry) else { panic!("not granted") };
        assert_eq!((identity.user(), identity.groups()), ("alice@example.com", &["a".to_owned(), "b".to_owned()][..]));
        assert_eq!((identity.rule(), expires), (Rule::Kv, Some(NOW + 1800)));
        assert_eq!(read(&entry.to_string(), &alice(), NOW + 1800), Ok(Verdict::Absent));
    }

    #[test]
    fn case_45_an_entry_takes_an_identity_until_it_expires() {
        assert_eq!(read_for_alice(&json!({"deny": true})), Ok(Verdict::Denied));
        assert_eq!(read_for_alice(&json!({"deny": true, "user": "root"})), Ok(Verdict::Denied));
        assert_eq!(read_for_alice(&json!({"deny": true, "expires": "2027-01-15T07:00:00Z"})), Ok(Verdict::Absent));
    }

    #[test]
    fn case_32_33_34_35_36_an_entry_that_cannot_be_read_or_may_not_be_is_an_error() {
        for text in ["", "null", "[]", "{", "{}", "true", r#"{"user":"a","user":"b"}"#, r#"{"user":"a"}x"#] {
            assert!(read(text, &alice(), NOW).is_err(), "{text}");
        }
        for entry in [
            json!({"user": ""}),
            json!({"user": null}),
            json!({"user": "a", "group": ["x"]}),
            json!({"user": "system:admin"}),
            json!({"user": "a,b"}),
            json!({"user": "a", "groups": "x"}),
            json!({"user": "a", "groups": ["system:masters"]}),
            json!({"user": "a", "groups": ["system:nodes"], "allow_system_masters": true}),
            json!({"user": "a", "groups": ["a,b"]}),
            json!({"user": "a", "groups": ["a\nb"]}),
            json!({"user": "a", "groups": vec!["g"; 301]}),
            json!({"user": "a", "expires": "tomorrow"}),
            json!({"user": "a", "expires": "2027-01-15"}),
            json!({"user": "a", "expires": 1_900_000_000}),
            json!({"user": "a", "expires": "1900-01-01T00:00:00Z"}),
            json!({"user": "a", "deny": "no"}),
            json!({"user": "a", "groups": ["x".repeat(MAX_ENTRY_BYTES)]}),
        ] {
            assert!(read_for_alice(&entry).is_err(), "{entry}");
        }
        let masters = json!({"user": "a", "groups": ["system:masters"], "allow_system_masters": true});
        assert!(matches!(read_for_alice(&masters), Ok(Verdict::Granted(..))));
        for email in ["a\nImpersonate-Group:x@example.com", "\u{430}lice@example.com", "a b@example.com"] {
            let odd = claims(&json!({"email": email, "sub": "id-1"}));
            assert!(read(r#"{"user":"a"}"#, &odd, NOW).is_err(), "{email}");
        }
        let service = claims(&json!({"common_name": "0f.access", "sub": ""}));
        assert!(read(r#"{"user":"{email}"}"#, &service, NOW).is_err());
    }

    proptest! {
        #[test]
        fn no_entry_panics_or_gives_a_reserved_name(text in "\\PC{0,80}", user in "[ -~]{0,12}", group in "[ -~]{0,12}") {
            let _ = read(&text, &alice(), NOW);
            if let Ok(Verdict::Granted(identity, _)) = read_for_alice(&json!({"user": user, "groups": [group]})) {
                prop_assert!(!name::is_reserved(identity.user()) && name::is_well_formed(identity.user()));
                prop_assert!(identity.groups().iter().all(|group| !name::is_reserved(group)));
            }
        }
    }
}
