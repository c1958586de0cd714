//! [`Claims`] -> [`Identity`]: who enters, and as whom.
//!
//! The map is compiled from `identities.yaml` by `build.rs`. It stays text, sorted by key, and is searched where it
//! lies: a map of 100,000 entries costs nothing at start. Workers KV, where it is bound, is asked first: see [`entry`].

use thiserror::Error;

use crate::token::{Claims, Subject};

pub mod entry;
pub mod name;
#[cfg(test)]
#[path = "../policy/identities.rs"]
mod source;

/// Who the caller is to the API server. Only [`IdentityMap::identify`] and [`entry::read`] make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: String,
    groups: Vec<String>,
    rule: Rule,
    extras: Vec<(Extra, String)>,
}

/// The kind of entry that let a caller in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// `email`.
    Email,
    /// `email_domain`.
    EmailDomain,
    /// `service_token`.
    ServiceToken,
    /// An entry of Workers KV.
    Kv,
}

/// What the cluster's audit log is told beside user and groups, as keys of `user.extra`. They have a domain as prefix
/// and no upper case, as Kubernetes asks of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// The caller's email address, as Access verified it.
    Email,
    /// The caller's subject in Access, or the service token's client ID.
    Subject,
}

/// Somebody who does not enter, by the name that Access gives them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// In no entry.
    #[error(
        "Cloudflare Access let you in, but {0} is in no entry of this gateway's identity map: ask its administrator for one"
    )]
    NotMapped(String),
    /// An address that no entry can hold, or that would make a user name which is not to be sent.
    #[error(
        "Cloudflare Access let you in, but the address {0} cannot become a Kubernetes user name, which is printable ASCII without blanks and commas, and not of the system: have an address of that kind, such as an alias, sent by the identity provider"
    )]
    Unnameable(String),
    /// An entry of Workers KV keeps the caller out.
    #[error("Cloudflare Access let you in, but this gateway's administrator has withdrawn the access of {0}")]
    Denied(String),
    /// Workers KV cannot be asked about the caller, or its entry cannot be read. What is wrong is for the log.
    #[error("who you are to the cluster cannot be told right now: the identity store failed")]
    Unavailable(String),
}

/// The compiled map: three tables, lines of `key TAB user TAB group…`, sorted by key.
#[derive(Debug, Clone, Copy)]
pub struct IdentityMap<'a> {
    emails: &'a str,
    email_domains: &'a str,
    service_tokens: &'a str,
}

/// The map of this build.
pub const COMPILED: IdentityMap<'static> = IdentityMap {
    emails: include_str!(concat!(env!("OUT_DIR"), "/emails.tsv")),
    email_domains: include_str!(concat!(env!("OUT_DIR"), "/email_domains.tsv")),
    service_tokens: include_str!(concat!(env!("OUT_DIR"), "/service_tokens.tsv")),
};

impl Rule {
    /// The name, as in `identities.yaml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::EmailDomain => "email_domain",
            Self::ServiceToken => "service_token",
            Self::Kv => "kv",
        }
    }
}

impl Extra {
    /// The key, as the API server shows it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Email => "kube-access.dev/email",
            Self::Subject => "kube-access.dev/subject",
        }
    }
}

impl Identity {
    /// The user name: never empty, never reserved.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The groups, in the map's order, each once.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Which entry let the caller in.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What the audit log is told beside.
    #[must_use]
    pub fn extras(&self) -> &[(Extra, String)] {
        &self.extras
    }
}

impl<'a> IdentityMap<'a> {
    /// The identity of these claims: whoever is in no entry does not enter.
    pub fn identify(&self, claims: &Claims) -> Result<Identity, Error> {
        let (rule, row, email) = match claims.subject() {
            Subject::User { email, .. } if !name::is_key(email) => {
                return Err(Error::Unnameable(email.clone()));
            }
            Subject::User { email, .. } => {
                let of_domain = || find(self.email_domains, domain(email)?);
                find(self.emails, email).map_or_else(
                    || (Rule::EmailDomain, of_domain(), email.as_str()),
                    |row| (Rule::Email, Some(row), email.as_str()),
                )
            }
            Subject::ServiceToken { client_id } => (Rule::ServiceToken, find(self.service_tokens, client_id), ""),
            Subject::Nobody => (Rule::Email, None, ""),
        };
        let row = row.ok_or_else(|| Error::NotMapped(claims.name()))?;
        Identity::new(rule, row, email, extras(claims)).ok_or_else(|| Error::Unnameable(claims.name()))
    }

    /// A map of other tables than the compiled ones.
    #[must_use]
    pub fn new(emails: &'a str, email_domains: &'a str, service_tokens: &'a str) -> Self {
        Self { emails, email_domains, service_tokens }
    }
}

impl Identity {
    /// `row` is `user TAB group…`. What an address made of the user name is held to the map's own rules.
    fn new(rule: Rule, row: &str, email: &str, extras: Vec<(Extra, String)>) -> Option<Self> {
        let (user, groups) = row.split_once('\t').unwrap_or((row, ""));
        let user = user.replace("{email}", email);
        let groups = groups.split('\t').filter(|group| !group.is_empty()).map(str::to_owned).collect();
        Self::checked(Self { user, groups, rule, extras })
    }

    /// The identity, if each of its parts can be a header line of its own.
    fn checked(self) -> Option<Self> {
        let is_sendable = |value: &str| value.len() <= 512 && value.bytes().all(|byte| byte.is_ascii_graphic());
        let may_enter = name::is_well_formed(&self.user)
            && !name::is_reserved(&self.user)
            && self.groups.iter().all(|group| name::is_well_formed(group))
            && self.extras.iter().all(|(_, value)| is_sendable(value));
        may_enter.then_some(self)
    }
}

/// What the audit log is told beside user and groups.
fn extras(claims: &Claims) -> Vec<(Extra, String)> {
    match claims.subject() {
        Subject::User { email, id } => {
            vec![(Extra::Email, email.clone()), (Extra::Subject, id.clone())]
        }
        Subject::ServiceToken { client_id } => vec![(Extra::Subject, client_id.clone())],
        Subject::Nobody => Vec::new(),
    }
}

/// What stands after the last `@`, if what stands before it can be a mailbox.
fn domain(email: &str) -> Option<&str> {
    let (local, domain) = email.rsplit_once('@')?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'@' | b',' | b'"' | b'<' | b'>');
    (!local.is_empty() && local.bytes().all(is_plain)).then_some(domain)
}

/// Bisects a sorted table; the row without its key.
fn find<'a>(mut table: &'a str, key: &str) -> Option<&'a str> {
    if key.contains(['\t', '\n']) {
        return None;
    }
    while !table.is_empty() {
        let (before, from_middle) = table.split_at_checked(line_start(table, table.len() / 2))?;
        let (line, after) = from_middle.split_once('\n')?;
        let (found, row) = line.split_once('\t')?;
        match key.cmp(found) {
            std::cmp::Ordering::Equal => return Some(row),
            std::cmp::Ordering::Less => table = before,
            std::cmp::Ordering::Greater => table = after,
        }
    }
    None
}

/// Where the line that holds byte `index` begins.
fn line_start(table: &str, index: usize) -> usize {
    let before = table.as_bytes().get(..index).unwrap_or_default();
    before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::{Extra, Identity, Rule};

    /// A person in two groups.
    pub(crate) fn identity() -> Identity {
        let extras = vec![(Extra::Email, "alice@example.com".to_owned()), (Extra::Subject, "id-1".to_owned())];
        Identity::new(Rule::Email, "alice\tadmins\tdevs", "alice@example.com", extras).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::tests_support::config;
    use crate::token::tests_support::claims;

    const MAP: &str = "identities:\n\
        - {email: alice@example.com, user: alice, groups: [admins, devs]}\n\
        - {email_domain: example.com, user: '{email}', groups: [devs]}\n\
        - {service_token: 0f.access, user: ci}\n";

    fn identify(subject: &serde_json::Value) -> Option<Identity> {
        let tables = source::compile(MAP).unwrap();
        let claims = claims(&config(), subject);
        IdentityMap::new(&tables.emails, &tables.email_domains, &tables.service_tokens).identify(&claims).ok()
    }

    fn person(email: &str) -> Option<Identity> {
        identify(&serde_json::json!({"email": email, "sub": "id-1"}))
    }

    fn service(client_id: &str) -> Option<Identity> {
        identify(&serde_json::json!({"common_name": client_id, "sub": ""}))
    }

    #[test]
    fn an_exact_address_wins_over_its_domain() {
        let alice = person("alice@example.com").unwrap();
        assert_eq!(
            (alice.user(), alice.groups(), alice.rule()),
            ("alice", &["admins".into(), "devs".into()][..], Rule::Email)
        );
        assert_eq!(alice.extras(), [(Extra::Email, "alice@example.com".into()), (Extra::Subject, "id-1".into())]);
        let bob = person("bob@example.com").unwrap();
        assert_eq!(
            (bob.user(), bob.groups(), bob.rule()),
            ("bob@example.com", &["devs".into()][..], Rule::EmailDomain)
        );
        let ci = service("0f.access").unwrap();
        assert_eq!((ci.user(), ci.groups(), ci.rule()), ("ci", &[][..], Rule::ServiceToken));
    }

    #[test]
    fn case_27_addresses_compare_in_lower_case_and_whole() {
        assert_eq!(person("ALICE@Example.Com").unwrap().user(), "alice");
        for email in [
            "alice@example.com.evil",
            "alice@sub.example.com",
            "alice@notexample.com",
            "evil+alice@corp.com",
            "alice@example.com ",
            " alice@example.com",
            "alice@example.com\n",
            "аlice@example.com",
            "alice@exаmple.com",
            "alice@ｅxample.com",
            "@example.com",
            "example.com",
            "x@evil.com@example.com",
            "\"x,y\"@example.com",
            "a b@example.com",
            "system:admin@example.com",
        ] {
            assert_eq!(person(email), None, "{email:?}");
        }
        assert_eq!(person("evil+alice@example.com").unwrap().user(), "evil+alice@example.com");
    }

    #[test]
    fn case_24_25_a_service_token_never_matches_a_rule_for_people_nor_the_reverse() {
        assert_eq!(service("alice@example.com"), None);
        assert_eq!(service("x@example.com"), None);
        assert_eq!(person("0f.access"), None);
        assert_eq!(service("0F.ACCESS"), None);
    }

    #[test]
    fn case_31_43_whoever_is_in_no_entry_does_not_enter() {
        for key in
            ["__proto__", "constructor", "toString", "", "*", "{email}", "alice", "a\tb", "alice@example.com\talice"]
        {
            assert_eq!(person(&format!("{key}@corp.com")), None, "{key}");
            assert_eq!(service(&format!("{key}x")), None, "{key}");
        }
        assert_eq!(identify(&serde_json::json!({"sub": "id-1"})), None);
    }

    #[test]
    fn case_38_41_groups_may_be_none_and_come_once() {
        assert!(service("0f.access").unwrap().groups().is_empty());
        let tables = source::compile("identities: [{email: a@b.c, user: a, groups: [x, z, x]}]").unwrap();
        assert_eq!(tables.emails, "a@b.c\ta\tx\tz\n");
    }

    #[test]
    fn case_42_the_keys_of_extras_are_lower_case_and_never_empty() {
        for extra in [Extra::Email, Extra::Subject] {
            assert!(extra.key().starts_with("kube-access.dev/") && extra.key() == extra.key().to_lowercase());
        }
    }

    #[test]
    fn every_line_of_a_large_table_is_found_and_nothing_else_is() {
        for count in [1, 2, 3, 1000] {
            let keys: Vec<String> = (0..count).map(|i| format!("u{i:04}@x.y")).collect();
            let rows: Vec<String> = keys.iter().map(|key| format!("{key}\tuser-of-{key}\n")).collect();
            let table = rows.concat();
            for key in &keys {
                assert_eq!(find(&table, key), Some(&*format!("user-of-{key}")));
            }
            for key in ["", "a", "u0000@x.", "u0000@x.y\tuser", "u0000@x.y\n", "zzz"] {
                assert_eq!(find(&table, key), None);
            }
        }
    }

    proptest! {
        #[test]
        fn no_address_panics_or_becomes_a_reserved_name(email in "\\PC{0,20}@(example.com|corp.com)?") {
            if let Some(identity) = person(&email) {
                prop_assert!(!name::is_reserved(identity.user()) && name::is_well_formed(identity.user()));
            }
        }
    }
}
