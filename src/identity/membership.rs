//! What groups a person is in at the identity provider, as far as the map names them: from the token, or from Access.
//!
//! The token has them where Access is told to put the claim `groups` into it, and leaves the claim out without a word where it would
//! be too long. Access's `get-identity` tells them whole (Cloudflare One, "Application token"). Each is believed for as long, the token
//! from when it was issued. What neither tells is unknown, and never "none": a guard may hang on a group. No name of the provider's
//! reaches the cluster.

use std::rc::Rc;

use thiserror::Error;

use super::IdentityMap;
use crate::json::{self, Malformed, Object};
use crate::token::{Claims, Subject};

/// The longest identity that is read, in bytes: thousands of groups.
pub const MAX_BYTES: usize = 512 * 1024;

/// How long Access may take to tell it, in milliseconds.
pub const MILLISECONDS: u32 = 5_000;

/// How long what was told is believed, in seconds.
pub const SECONDS: u64 = 300;

/// The most people that are remembered, each with the few groups that the map names. A list is looked through, but seldom: who is
/// recognised is remembered with their token.
const MAX_PEOPLE: usize = 4096;

/// The groups of one person that the map names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    groups: Vec<String>,
    /// The login method in Access; empty where the token told the groups, which does not tell it.
    idp: String,
}

/// A person in one session, by which Access knows their identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The email address, in lower case.
    pub email: String,
    /// `sub`.
    pub id: String,
    /// `identity_nonce`, which changes with each login.
    pub nonce: String,
}

/// An identity that cannot be taken. It quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// No answer in time, or none with status 200.
    #[error("get-identity did not answer")]
    Unreachable,
    /// The answer exceeds [`MAX_BYTES`].
    #[error("get-identity answered too much")]
    TooLarge,
    /// No JSON object that names this person.
    #[error("get-identity did not answer with this person's identity")]
    Another,
    /// Groups that are no list of texts, or of objects with an `id`.
    #[error("get-identity answered with groups that cannot be read")]
    Groups,
    /// No login method, where the map counts one of these groups from one only.
    #[error("get-identity did not tell the login method, on which a group hangs")]
    LoginMethod,
}

/// What is known of a person, and until when it is believed.
pub type Known = (Rc<Membership>, u64);

/// Who is remembered, and when it was learnt.
#[derive(Debug, Default)]
pub struct Memberships(Vec<(Person, Rc<Membership>, u64)>);

impl Membership {
    /// What the token tells, if it was issued since then. Nothing, where it does not tell it, or not from where: then Access has to be
    /// asked.
    #[must_use]
    pub fn of_token(claims: &Claims, map: &IdentityMap<'_>, since: u64, now: u64) -> Option<Known> {
        let until = believed_until(claims.issued(), since, now)?;
        let custom = Object::read(claims.custom()?).ok()?;
        let groups = groups(custom.raw("groups").ok()??).ok()?;
        (!asks_from_where(&groups, map)).then(|| (Rc::new(Self::named(groups, String::new(), map)), until))
    }

    /// Reads what `get-identity` answered for this person.
    pub fn read(text: &str, person: &Person, map: &IdentityMap<'_>) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::TooLarge);
        }
        let answer = Object::read(text).map_err(|_| Error::Another)?;
        let email: String = answer.need("email").map_err(|_| Error::Another)?;
        if email.to_ascii_lowercase() != person.email {
            return Err(Error::Another);
        }
        let groups = groups_of(&answer).map_err(|Malformed| Error::Groups)?;
        let idp = answer.need::<Object<'_>>("idp").and_then(|idp| idp.need::<String>("id")).unwrap_or_default();
        if idp.is_empty() && asks_from_where(&groups, map) {
            return Err(Error::LoginMethod);
        }
        Ok(Self::named(groups, idp, map))
    }

    fn named(mut groups: Vec<String>, idp: String, map: &IdentityMap<'_>) -> Self {
        groups.retain(|group| map.names_group(group).0);
        Self { groups, idp }
    }

    /// Whether the person is in this group, by this login method if one is named.
    pub(super) fn has(&self, group: &str, idp: &str) -> bool {
        (idp.is_empty() || idp == self.idp) && self.groups.iter().any(|own| own == group)
    }
}

impl Person {
    /// The person whom a token speaks of.
    #[must_use]
    pub fn of(claims: &Claims) -> Option<Self> {
        let Subject::User { email, id } = claims.subject() else {
            return None;
        };
        Some(Self { email: email.clone(), id: id.clone(), nonce: claims.nonce().to_owned() })
    }
}

impl Memberships {
    /// What Access told of a person, if it was learnt since then. Times are in seconds since the Unix epoch.
    #[must_use]
    pub fn recall(&self, person: &Person, since: u64, now: u64) -> Option<Known> {
        let (_, membership, learnt) = self.0.iter().find(|(known, ..)| known == person)?;
        Some((Rc::clone(membership), believed_until(*learnt, since, now)?))
    }

    /// Remembers what Access told.
    pub fn remember(&mut self, person: Person, membership: Membership, now: u64) {
        self.0.retain(|(known, _, learnt)| *known != person && believed_until(*learnt, 0, now).is_some());
        if self.0.len() >= MAX_PEOPLE {
            self.0.clear();
        }
        self.0.push((person, Rc::new(membership), now));
    }
}

/// Until when what was learnt at a time is believed, if it is now, and was learnt since another.
fn believed_until(learnt: u64, since: u64, now: u64) -> Option<u64> {
    let until = learnt.saturating_add(SECONDS);
    (learnt >= since && now < until).then_some(until)
}

/// Whether one of these groups counts from some login method only.
fn asks_from_where(groups: &[String], map: &IdentityMap<'_>) -> bool {
    groups.iter().any(|group| map.names_group(group).1)
}

/// The groups of an identity: its own, or those that the provider told beside it. Whoever is in none has no such member, or null: other
/// members without a value are there as zero values too.
fn groups_of(identity: &Object<'_>) -> Result<Vec<String>, Malformed> {
    if let Some(own) = set(identity, "groups")? {
        return groups(own);
    }
    for kept in ["oidc_fields", "saml_attributes"] {
        let beside = set(identity, kept)?.map(Object::read).transpose()?;
        if let Some(list) = beside.map_or(Ok(None), |beside| set(&beside, "groups"))? {
            return groups(list);
        }
    }
    Ok(Vec::new())
}

/// The JSON of a member that is there, and not null.
fn set<'a>(object: &Object<'a>, name: &str) -> Result<Option<&'a str>, Malformed> {
    Ok(object.raw(name)?.filter(|value| *value != "null"))
}

/// A list of groups, each the text of its ID or an object that has it.
fn groups(list: &str) -> Result<Vec<String>, Malformed> {
    let id = |item| json::value(item).or_else(|_| Object::read(item)?.need("id"));
    json::items(list)?.into_iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::tests_support::config;
    use crate::token::tests_support;

    const MAP: IdentityMap<'static> = IdentityMap {
        emails: "",
        email_domains: "",
        service_tokens: "",
        idp_groups: "g-1\t\t\ton-call\ng-2\tidp-1\tguest\n",
        granted: "",
    };

    fn person() -> Person {
        Person { email: "alice@example.com".into(), id: "id-1".into(), nonce: "n".into() }
    }

    fn read(changes: &Value) -> Result<Membership, Error> {
        let mut identity = json!({"email": "Alice@Example.com", "name": "A", "idp": {"id": "idp-1", "type": "oidc"}});
        identity.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Membership::read(&identity.to_string(), &person(), &MAP)
    }

    fn of_token(custom: &Value) -> Option<Membership> {
        let claims = json!({"email": "alice@example.com", "sub": "id-1", "custom": custom});
        let claims = tests_support::claims(&config(), &claims);
        Membership::of_token(&claims, &MAP, 0, 0).map(|(membership, _)| Membership::clone(&membership))
    }

    #[test]
    fn case_179_objects_and_texts_are_groups_and_of_them_what_the_map_names_is_kept() {
        let known = Membership { groups: vec!["g-1".into()], idp: "idp-1".into() };
        for groups in [
            json!(["g-1", "other", "system:masters"]),
            json!([{"id": "g-1", "name": "On call", "email": "on-call@example.com"}, {"id": "other"}]),
            json!([{"id": "g-1"}, "g-1x", {"id": "x", "name": "g-1"}]),
        ] {
            let mut found = read(&json!({ "groups": groups })).unwrap();
            found.groups.dedup();
            assert_eq!(found, known, "{groups}");
        }
        let many: Vec<String> = (0..500).map(|number| format!("g-{number}")).collect();
        assert_eq!(read(&json!({ "groups": many })).unwrap().groups, ["g-1", "g-2"]);
        for none in
            [json!({}), json!({"groups": null}), json!({"groups": []}), json!({"groups": ["G-1", " g-1", "g-1 ", "g"]})]
        {
            assert_eq!(read(&none).unwrap().groups, [""; 0], "{none}");
        }
    }

    #[test]
    fn case_179_groups_may_stand_among_the_claims_or_attributes_of_the_provider() {
        let none =
            [json!({}), json!({"groups": null}), json!({"oidc_fields": null, "saml_attributes": {"groups": null}})];
        for (told, beside) in none.into_iter().zip(["oidc_fields", "saml_attributes", "oidc_fields"]) {
            let told_with = |groups: &Value| {
                let mut told = told.clone();
                told[beside] = json!({"groups": groups, "department": "x"});
                read(&told)
            };
            for groups in [json!(["g-1", "other"]), json!([{"id": "g-1"}])] {
                assert_eq!(told_with(&groups).unwrap().groups, ["g-1"], "{told} {beside} {groups}");
            }
            for groups in [json!("g-1"), json!([1]), json!({"id": "g-1"}), json!([{"name": "g-1"}])] {
                assert_eq!(told_with(&groups), Err(Error::Groups), "{told} {beside} {groups}");
            }
            assert_eq!(told_with(&json!(null)).unwrap().groups, [""; 0]);
        }
        let all = json!({"oidc_fields": {"groups": ["g-1"]}, "saml_attributes": {"groups": ["g-2"]}, "groups": []});
        assert_eq!(read(&all).unwrap().groups, [""; 0], "the identity's own come first, and are all");
        let two = json!({"oidc_fields": {"groups": ["g-1"]}, "saml_attributes": {"groups": ["g-2"]}});
        assert_eq!(read(&two).unwrap().groups, ["g-1"]);
        let three = json!({"oidc_fields": {"department": "x"}, "saml_attributes": {"groups": ["g-2"]}});
        assert_eq!(read(&three).unwrap().groups, ["g-2"]);
        for beside in [json!([]), json!("x"), json!(7)] {
            assert_eq!(read(&json!({"oidc_fields": beside})), Err(Error::Groups), "{beside}");
        }
    }

    #[test]
    fn case_179_what_cannot_be_read_is_unknown_and_never_none() {
        for groups in [
            json!("g-1"),
            json!({}),
            json!({"id": "g-1"}),
            json!([1]),
            json!([null]),
            json!([["g-1"]]),
            json!([{"name": "g-1"}]),
            json!([{"id": 1}]),
            json!(["g-1", {}]),
        ] {
            assert_eq!(read(&json!({ "groups": groups })), Err(Error::Groups), "{groups}");
        }
        for text in [
            "",
            "null",
            "[]",
            "{",
            r#"{"err":"no session"}"#,
            r#"{"email":"eve@example.com","groups":[]}"#,
            "<html>",
            r#"{"groups":[]}"#,
        ] {
            assert_eq!(Membership::read(text, &person(), &MAP), Err(Error::Another), "{text}");
        }
        let twice = r#"{"email":"alice@example.com","groups":[],"groups":["g-1"]}"#;
        assert_eq!(Membership::read(twice, &person(), &MAP), Err(Error::Groups));
        let large = format!(r#"{{"email":"alice@example.com","x":"{}"}}"#, "x".repeat(MAX_BYTES));
        assert_eq!(Membership::read(&large, &person(), &MAP), Err(Error::TooLarge));
    }

    #[test]
    fn case_179_a_token_without_the_claim_or_with_another_kind_of_it_tells_nothing() {
        assert_eq!(of_token(&json!({"groups": ["g-1", {"id": "x"}]})).unwrap().groups, ["g-1"]);
        assert_eq!(of_token(&json!({"groups": []})).unwrap().groups, [""; 0]);
        for custom in [
            json!(null),
            json!({}),
            json!([]),
            json!("g-1"),
            json!({"groups": "g-1"}),
            json!({"groups": null}),
            json!({"groups": [1]}),
            json!({"employeeID": "7"}),
        ] {
            assert_eq!(of_token(&custom), None, "{custom}");
        }
        assert_eq!(of_token(&json!({"groups": ["g-2"]})), None, "the token does not tell the login method");
    }

    #[test]
    fn a_group_counts_from_the_login_method_that_its_entry_names() {
        let found = read(&json!({"groups": ["g-2"]})).unwrap();
        assert!(found.has("g-2", "idp-1") && found.has("g-2", "") && !found.has("g-2", "idp-2"));
        let another = read(&json!({"groups": ["g-2"], "idp": {"id": "idp-2"}})).unwrap();
        assert!(!another.has("g-2", "idp-1"));
        for idp in [json!(null), json!("idp-1"), json!({}), json!({"id": 1}), json!({"id": ""})] {
            assert_eq!(read(&json!({"groups": ["g-2"], "idp": idp})), Err(Error::LoginMethod), "{idp}");
            assert!(read(&json!({"groups": ["g-1"], "idp": idp})).unwrap().has("g-1", ""), "{idp}");
        }
    }

    #[test]
    fn case_179_a_token_is_believed_for_five_minutes_from_its_issue() {
        let of = |iat: Value| {
            let about = json!({"email": "alice@example.com", "sub": "id-1", "iat": iat, "custom": {"groups": ["g-1"]}});
            tests_support::claims(&config(), &about)
        };
        let until =
            |claims: &Claims, since, now| Membership::of_token(claims, &MAP, since, now).map(|(_, until)| until);
        let issued = of(json!(1000));
        assert_eq!((until(&issued, 0, 1299), until(&issued, 0, 1300)), (Some(1300), None));
        assert_eq!((until(&issued, 1000, 1015), until(&issued, 1001, 1016)), (Some(1300), None));
        assert_eq!(until(&of(json!(null)), 0, 1000), None, "nobody knows how old it is");
        assert_eq!(until(&of(json!(u64::MAX)), 0, 1000), Some(u64::MAX));
    }

    #[test]
    fn people_are_remembered_for_five_minutes_and_not_without_end() {
        let mut memberships = Memberships::default();
        memberships.remember(person(), Membership::default(), 100);
        assert!(memberships.recall(&person(), 100, 399).is_some() && memberships.recall(&person(), 100, 400).is_none());
        let another = Person { nonce: "another login".into(), ..person() };
        assert!(memberships.recall(&another, 0, 100).is_none());
        for number in 0..3 * MAX_PEOPLE {
            memberships.remember(Person { id: number.to_string(), ..person() }, Membership::default(), 100);
        }
        assert!(memberships.0.len() <= MAX_PEOPLE);
    }
}
