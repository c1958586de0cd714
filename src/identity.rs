//! [`Claims`] -> [`Identity`]: who enters, and as whom.
//!
//! The map is compiled from `identities.yaml` by `build.rs`. It stays text, sorted by key, and is searched where it
//! lies: a map of 100,000 entries costs nothing at start. Workers KV, where it is bound, is asked first: see [`entry`]. Access is
//! asked for a person's groups at the identity provider, where an entry names one: see [`membership`].

use thiserror::Error;

#[cfg(test)]
use crate::guard::words;
use crate::token::{Claims, Subject};
use entry::Stored;
use membership::Membership;

pub mod entry;
pub mod membership;
pub mod name;
#[cfg(test)]
#[path = "../policy/source.rs"]
mod source;

/// Who the caller is to the API server. Only [`IdentityMap::identify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: String,
    groups: Vec<String>,
    /// Where each group comes from.
    sources: Vec<Source>,
    rule: Rule,
    extras: Vec<(Extra, String)>,
    act_as: ActAs,
}

/// Where a group comes from: the first that gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The kind of entry; nothing for a grant.
    pub rule: Option<Rule>,
    /// The ID of the grant, where it has one.
    pub grant: Option<String>,
    /// The first second in which it gives nothing any more, since the Unix epoch.
    pub expires: Option<u64>,
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
    /// `idp_group`.
    IdpGroup,
    /// An entry of Workers KV.
    Kv,
}

/// What the cluster's audit log is told beside user and groups, as keys of `user.extra`. They have a domain as prefix
/// and no upper case, as Kubernetes asks of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// The caller's email address, as Access verified it.
    Email,
    /// The ID of a grant that holds.
    Grant,
    /// The caller's subject in Access, or the service token's client ID.
    Subject,
}

/// Whom a caller may name with `--as`, if the cluster's RBAC lets them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActAs {
    /// User names.
    pub users: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// UIDs.
    pub uids: Vec<String>,
    /// Keys of extras, which may have any value.
    pub extras: Vec<String>,
    /// Whether that takes a reason.
    pub needs_reason: bool,
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
    /// More groups than are sent, from all entries and grants together.
    #[error(
        "Cloudflare Access let you in, but the entries and grants of {0} give more than {max} groups together: ask this gateway's administrator to give fewer",
        max = name::MAX_GROUPS
    )]
    TooManyGroups(String),
    /// An entry of Workers KV keeps the caller out.
    #[error("Cloudflare Access let you in, but this gateway's administrator has withdrawn the access of {0}")]
    Denied(String),
    /// Workers KV cannot be asked about the caller, or its entry cannot be read. What is wrong is for the log.
    #[error("who you are to the cluster cannot be told right now: the identity store failed")]
    Unavailable(String),
    /// The caller's groups at the identity provider cannot be learnt. Nobody knows then which guards hold. Why is for the log.
    #[error(
        "which groups you are in cannot be told right now: Cloudflare Access does not say it. Try again in a moment; if it stays so, tell this gateway's administrator"
    )]
    GroupsUnknown,
}

/// The compiled map: tables of rows, one for each kind of entry. Three are sorted by their key, which begins the line.
#[derive(Debug, Clone, Copy, Default)]
pub struct IdentityMap<'a> {
    /// By exact address.
    pub emails: &'a str,
    /// By domain.
    pub email_domains: &'a str,
    /// By client ID.
    pub service_tokens: &'a str,
    /// By group of the identity provider and login method, in the order of the file.
    pub idp_groups: &'a str,
    /// The names that Workers KV may hand out beside those of the entries: users TAB groups.
    pub granted: &'a str,
}

/// The map of this build.
pub const COMPILED: IdentityMap<'static> = IdentityMap {
    emails: include_str!(concat!(env!("OUT_DIR"), "/emails.tsv")),
    email_domains: include_str!(concat!(env!("OUT_DIR"), "/email_domains.tsv")),
    service_tokens: include_str!(concat!(env!("OUT_DIR"), "/service_tokens.tsv")),
    idp_groups: include_str!(concat!(env!("OUT_DIR"), "/idp_groups.tsv")),
    granted: include_str!(concat!(env!("OUT_DIR"), "/granted.tsv")),
};

/// What one entry gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    rule: Rule,
    /// Empty where membership alone does not let in.
    user: String,
    groups: Vec<String>,
    act_as: ActAs,
    /// The first second in which it gives nothing any more, since the Unix epoch.
    expires: Option<u64>,
}

impl Rule {
    /// The name, as in `identities.yaml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::EmailDomain => "email_domain",
            Self::ServiceToken => "service_token",
            Self::IdpGroup => "idp_group",
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
            Self::Grant => "kube-access.dev/grant",
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

    /// The groups, each with where it comes from.
    pub fn groups_with_sources(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.groups.iter().map(String::as_str).zip(&self.sources)
    }

    /// The address that Access verified, if the caller is a person.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.extra(Extra::Email)
    }

    /// The caller's subject in Access, or the service token's client ID.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.extra(Extra::Subject)
    }

    fn extra(&self, key: Extra) -> Option<&str> {
        self.extras.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    /// Which entry let the caller in.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What the audit log is told beside, ordered by key.
    #[must_use]
    pub fn extras(&self) -> &[(Extra, String)] {
        &self.extras
    }

    /// Whom the caller may name with `--as`.
    #[must_use]
    pub fn act_as(&self) -> &ActAs {
        &self.act_as
    }

    /// Adds the groups that are not there yet.
    fn add(&mut self, groups: Vec<String>, source: &Source) {
        add(&mut self.groups, groups);
        self.sources.resize(self.groups.len(), source.clone());
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

impl IdentityMap<'_> {
    /// Whether there are names that Workers KV alone hands out.
    #[must_use]
    pub fn has_granted(&self) -> bool {
        self.granted.len() > 1
    }

    /// The groups that the policy lists for granting.
    pub fn granted_groups(&self) -> impl Iterator<Item = &str> {
        let (_, groups) = self.granted.split_once('\t').unwrap_or_default();
        groups.split(',').filter(|group| !group.is_empty())
    }

    /// The identity of these claims, and until when it may be remembered, in seconds since the Unix epoch: whoever is in no entry
    /// does not enter. `stored` is what Workers KV has of the caller, `membership` what is known of their groups at the provider.
    ///
    /// The user comes from the entry of Workers KV, the caller's own entry, their domain's, or the first that names one of their
    /// groups and has a user. Groups come from that entry, from all that name one of their groups, and from grants.
    pub fn identify(
        &self,
        claims: &Claims,
        stored: Stored,
        membership: &Membership,
        now: u64,
    ) -> Result<(Identity, u64), Error> {
        let email = match claims.subject() {
            Subject::User { email, .. } if !name::is_key(email) => return Err(Error::Unnameable(email.clone())),
            Subject::User { email, .. } => email,
            Subject::ServiceToken { .. } | Subject::Nobody => "",
        };
        let own = stored.entry.or_else(|| self.entry_of(claims, now));
        let given: Vec<Given> = own.into_iter().chain(self.given_to(membership, now)).collect();
        let first = given.iter().find(|given| !given.user.is_empty()).ok_or_else(|| Error::NotMapped(claims.name()))?;
        let mut identity = Identity {
            user: first.user.replace(name::EMAIL_PLACEHOLDER, email),
            groups: Vec::new(),
            sources: Vec::new(),
            rule: first.rule,
            extras: extras(claims),
            act_as: ActAs::default(),
        };
        let mut until = claims.expires();
        for given in given {
            let source = Source { rule: Some(given.rule), grant: None, expires: given.expires };
            identity.add(given.groups, &source);
            identity.act_as.add(given.act_as);
            until = until.min(given.expires.unwrap_or(u64::MAX));
        }
        for grant in stored.grants {
            let source = Source { rule: None, grant: grant.id.clone(), expires: Some(grant.expires) };
            identity.add(grant.groups, &source);
            identity.extras.extend(grant.id.map(|id| (Extra::Grant, id)));
            until = until.min(grant.expires);
        }
        // The last hop, which is told who somebody is line by line, has them in this order too: see `signature`.
        identity.extras.sort_by_key(|(extra, _)| extra.key());
        if identity.groups.len() > name::MAX_GROUPS {
            return Err(Error::TooManyGroups(claims.name()));
        }
        let identity = identity.checked().ok_or_else(|| Error::Unnameable(claims.name()))?;
        Ok((identity, until))
    }

    /// The caller's own entry, or that of their domain, unless it has ended.
    fn entry_of(&self, claims: &Claims, now: u64) -> Option<Given> {
        let read = |rule, row: Option<&str>| Given::read(rule, row?, now);
        match claims.subject() {
            Subject::User { email, .. } => read(Rule::Email, find(self.emails, email))
                .or_else(|| read(Rule::EmailDomain, find(self.email_domains, domain(email)?))),
            Subject::ServiceToken { client_id } => read(Rule::ServiceToken, find(self.service_tokens, client_id)),
            Subject::Nobody => None,
        }
    }

    /// Whether an entry may let in whoever has this key in Workers KV: their own, their domain's, or one for a group of the identity
    /// provider, which they may be in.
    #[must_use]
    pub fn may_let_in(&self, key: &str) -> bool {
        let lets_in = |line: &str| line.split('\t').nth(2).is_some_and(|user| !user.is_empty());
        match key.split_once(':') {
            Some(("email", email)) => {
                find(self.emails, email).is_some()
                    || domain(email).is_some_and(|domain| find(self.email_domains, domain).is_some())
                    || self.idp_groups.lines().any(lets_in)
            }
            Some((_, client_id)) => find(self.service_tokens, client_id).is_some(),
            None => false,
        }
    }

    /// What the entries give that name one of the caller's groups.
    fn given_to<'b>(&'b self, membership: &'b Membership, now: u64) -> impl Iterator<Item = Given> + 'b {
        let rows = self.idp_groups.lines().filter_map(|line| {
            let (group, rest) = line.split_once('\t')?;
            let (idp, row) = rest.split_once('\t').unwrap_or((rest, ""));
            membership.has(group, idp).then_some(row)
        });
        rows.filter_map(move |row| Given::read(Rule::IdpGroup, row, now))
    }

    /// Whether an entry names this group of the identity provider; and whether one does from a certain login method alone.
    fn names_group(&self, group: &str) -> (bool, bool) {
        let mut named = (false, false);
        for line in self.idp_groups.lines() {
            let idp = line.strip_prefix(group).and_then(|rest| rest.strip_prefix('\t'));
            named.0 |= idp.is_some();
            named.1 |= idp.is_some_and(|idp| !idp.is_empty() && !idp.starts_with('\t'));
        }
        named
    }
}

impl Given {
    /// Reads a row of the compiled map: user, groups, end, and whom the caller may act as. Nothing, if it has ended.
    fn read(rule: Rule, row: &str, now: u64) -> Option<Self> {
        let mut cells = row.split('\t');
        let mut cell = || cells.next().unwrap_or_default();
        let list = |cell: &str| cell.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let (user, groups) = (cell().to_owned(), list(cell()));
        let expires = cell().parse().ok();
        if expires.is_some_and(|expires| expires <= now) {
            return None;
        }
        let act_as = ActAs {
            users: list(cell()),
            groups: list(cell()),
            uids: list(cell()),
            extras: list(cell()),
            needs_reason: !cell().is_empty(),
        };
        Some(Self { rule, user, groups, act_as, expires })
    }
}

impl ActAs {
    fn add(&mut self, other: Self) {
        add(&mut self.users, other.users);
        add(&mut self.groups, other.groups);
        add(&mut self.uids, other.uids);
        add(&mut self.extras, other.extras);
        self.needs_reason |= other.needs_reason;
    }
}

/// Adds the names that are not there yet.
fn add(names: &mut Vec<String>, more: Vec<String>) {
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
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
    use super::entry::{self, Verdict};
    use super::{Identity, IdentityMap, Membership, Stored};
    use crate::config::tests_support::config;
    use crate::token::tests_support::claims;

    /// A person in two groups.
    pub(crate) fn identity() -> Identity {
        with_row("alice\tadmins,devs")
    }

    /// The person alice@example.com, of whom Workers KV has this.
    pub(crate) fn stored(text: &str) -> Identity {
        let claims = claims(&config(), &serde_json::json!({"email": "alice@example.com", "sub": "id-1"}));
        let Verdict::Stored(stored) = entry::read(text, &claims, 0).unwrap() else { unreachable!("denied") };
        IdentityMap::default().identify(&claims, stored, &Membership::default(), 0).unwrap().0
    }

    /// The person alice@example.com, whose entry is this row.
    pub(crate) fn with_row(row: &str) -> Identity {
        let emails = format!("alice@example.com\t{row}\n");
        let map = IdentityMap { emails: &emails, ..IdentityMap::default() };
        let claims = claims(&config(), &serde_json::json!({"email": "alice@example.com", "sub": "id-1"}));
        map.identify(&claims, Stored::default(), &Membership::default(), 0).unwrap().0
    }
}

#[cfg(test)]
mod tests;
