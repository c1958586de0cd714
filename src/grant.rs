//! Grants that are given through the gateway: groups for a time, for a reason, each on the record.
//!
//! One Durable Object keeps them all and makes one change at a time. What holds for a person stands in Workers KV too, under a key
//! that nothing else writes: so no change of the object's can undo what somebody has just written into the person's own entry, and
//! [`crate::identity`] reads both. Who may give, see and take back is for the cluster's RBAC: `create`, `list` and `delete` of the
//! resource `grants` of the API group `kube-access.dev`, which exists for that alone; the name of one is the group.

use chrono::SecondsFormat;
use serde::Serialize;

use crate::guard::words::OWN_GROUP;
use crate::head::Head;
use crate::identity::entry::{MAX_ENTRY_BYTES, MAX_GRANTS, moment};
use crate::identity::{Identity, IdentityMap, name};
use crate::json::{self, Object};
use crate::record::{cut, open, printable, timestamp};
use crate::review::{self, Attributes};
use crate::rights;
use crate::target;

/// Where they are.
pub const PATH: &str = "/.kube-access/grants";

/// How long a grant may last, in seconds.
const MAX_SECONDS: u64 = 30 * 86_400;

/// The longest reason, in characters.
const MAX_REASON: usize = 200;

/// The most groups of one grant: the API server is asked about each.
const MAX_GROUPS: usize = 16;

/// The most grants that hold at once, everybody's together.
const MAX_IN_ALL: usize = 1000;

/// Why nothing is given, shown or taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such path, or method.
    #[error("the gateway itself has nothing at this path")]
    Unknown,
    /// Nothing is bound.
    #[error(
        "this gateway gives no grants: its administrator can list groups for granting in identities.yaml (grants.groups), and have Terraform make what that needs (identities_kv = true)"
    )]
    Off,
    /// The text of a wish.
    #[error("this grant cannot be given: {0}")]
    Malformed(&'static str),
    /// A group that nobody may give.
    #[error(
        "the group {0} is not for granting: its administrator lists those that are in identities.yaml (grants.groups)"
    )]
    NotListed(String),
    /// RBAC says no.
    #[error(
        "the cluster's RBAC does not let {0} {1} grants of the group {2}: it takes the ClusterRole kube-access:granter, bound to you, or a rule for that name"
    )]
    Denied(String, &'static str, String),
    /// The API server cannot be asked.
    #[error("whether you may do that cannot be told right now: the API server did not answer the question")]
    Unanswered,
    /// No such grant.
    #[error("there is no grant {0} any more")]
    NoSuch(String),
    /// There are too many.
    #[error("there are {0} grants already: take some back, or wait until some have ended")]
    TooMany(String),
    /// Workers KV, or the object.
    #[error("grants cannot be read or written right now: try again in a moment, and see then what holds")]
    Unwritable,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Those that hold.
    List,
    /// One more: the body says which.
    Give,
    /// The end of one.
    Take(String),
}

/// What somebody wants to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// To whom: the key of their entry in Workers KV.
    pub to: String,
    /// Which groups.
    pub groups: Vec<String>,
    expires: u64,
    reason: String,
}

/// A grant, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Its name.
    pub id: String,
    /// The groups that it gives.
    pub groups: Vec<String>,
    /// When it ends, by RFC 3339.
    pub expires: String,
    /// When it was given.
    pub given: String,
    /// What for.
    pub reason: String,
    /// The user who gave it.
    pub by: String,
}

/// Whose grants are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    Everybody,
    /// Those of one caller, by the key of their entry; whoever has none has no grants.
    Caller(Option<String>),
}

/// A grant that holds, and whose.
#[derive(Debug)]
pub struct Held<'a> {
    /// The key of their entry.
    pub to: &'a str,
    /// Its name.
    pub id: String,
    /// The groups that it gives.
    pub groups: Vec<String>,
    json: &'a str,
    expires: u64,
}

/// What the object is to write: the grants of somebody, as they stand under their key.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// The key of their entry.
    pub to: String,
    /// The text; empty where nothing is left.
    pub text: String,
    /// When the last of them ends, in seconds since the Unix epoch.
    pub until: u64,
    /// Whether somebody has more after it.
    pub gives: bool,
}

/// Reads a request for grants. Nothing, if it is for something else.
#[must_use]
pub fn read(head: &Head<'_>) -> Option<Result<Call, Error>> {
    let (path, _) = target::split(head.target);
    let rest = path.strip_prefix(PATH)?;
    let parts: Vec<&str> = rest.split('/').collect();
    let call = match (head.method, parts.as_slice()) {
        ("GET", [""]) => Ok(Call::List),
        ("POST", [""]) => Ok(Call::Give),
        ("DELETE", ["", id]) | ("POST", ["", id, "end"]) if name::is_key(id) => Ok(Call::Take((*id).to_owned())),
        (_, [start, ..]) if !start.is_empty() => return None,
        _ => Err(Error::Unknown),
    };
    Some(call)
}

/// What RBAC and guards are asked about one group, or about all of them.
#[must_use]
pub fn question<'a>(verb: &'static str, group: &'a str) -> Attributes<'a> {
    Attributes { verb, group: OWN_GROUP, resource: "grants", subresource: "", name: group }
}

/// Whether a grant may be given, seen or taken back, as the API server answered for each of its groups.
pub fn check(verb: &'static str, user: &str, groups: &[String], answers: &[Option<String>]) -> Result<(), Error> {
    for (index, group) in groups.iter().enumerate() {
        let answer = answers.get(index).and_then(Option::as_deref);
        if !review::is_allowed(answer).ok_or(Error::Unanswered)? {
            return Err(Error::Denied(user.to_owned(), verb, group.clone()));
        }
    }
    Ok(())
}

impl Wish {
    /// Reads the body of a request: `email` or `serviceToken`, `groups`, `expires`, `reason`.
    pub fn read(body: &str, map: &IdentityMap<'_>, now: u64) -> Result<Self, Error> {
        let malformed = Error::Malformed;
        let unread = "its body is no JSON object of email or serviceToken, groups, expires and reason";
        let body = Object::read(body).map_err(|_| malformed(unread))?;
        if !body.has_only(&["email", "serviceToken", "groups", "expires", "reason"]) {
            return Err(malformed(unread));
        }
        let text = |name| body.get::<Option<String>>(name).map(Option::flatten).map_err(|_| malformed(unread));
        let to = match (text("email")?, text("serviceToken")?) {
            (Some(email), None) => format!("email:{}", address(&email).ok_or(malformed("email is no address"))?),
            (None, Some(id)) if name::is_key(id.trim()) => format!("service-token:{}", id.trim()),
            (None, Some(_)) => return Err(malformed("serviceToken is no client ID of an Access service token")),
            _ => return Err(malformed("it is for one person (email), or for one program (serviceToken)")),
        };
        let mut groups: Vec<String> = Vec::new();
        for group in body.need::<Vec<String>>("groups").map_err(|_| malformed("groups is no list of names"))? {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        if !(1..=MAX_GROUPS).contains(&groups.len()) {
            return Err(malformed("groups are 1 to 16"));
        }
        if let Some(group) = groups.iter().find(|group| !map.granted_groups().any(|listed| listed == **group)) {
            return Err(Error::NotListed(printable(cut(group, name::MAX_NAME_BYTES))));
        }
        let late = "expires is a time by RFC 3339, such as 2027-01-31T12:00:00Z, from a minute to 30 days from now";
        let expires = text("expires")?.and_then(|expires| moment(&expires).ok()).ok_or(malformed(late))?;
        if !(now + 60..=now + MAX_SECONDS).contains(&expires) {
            return Err(malformed(late));
        }
        let reason = printable(&text("reason")?.unwrap_or_default());
        if !(1..=MAX_REASON).contains(&reason.chars().count()) {
            return Err(malformed("it takes a reason of at most 200 characters, for whoever looks at it later"));
        }
        Ok(Self { to, groups, expires, reason })
    }

    /// The grant. The ID of the request makes its name.
    #[must_use]
    pub fn granted(self, by: &str, head: &Head<'_>) -> Grant {
        let id: String = head.audit_id.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
        Grant {
            id: format!("g-{id}"),
            groups: self.groups,
            expires: timestamp(self.expires * 1000, SecondsFormat::Secs),
            given: timestamp(head.received, SecondsFormat::Secs),
            reason: self.reason,
            by: by.to_owned(),
        }
    }
}

/// The key of the caller's own entry in Workers KV.
#[must_use]
pub fn key_of(identity: &Identity) -> Option<String> {
    let service_token = || identity.subject().map(|id| format!("service-token:{id}"));
    identity.email().map(|email| format!("email:{email}")).or_else(service_token)
}

/// The beginning of a list: whose it is, and which groups the caller may give and take back, as far as the API server's rules say,
/// and guards let pass. What the rules do not say is ruled when it is done.
#[must_use]
pub fn opening(
    whose: &Whose,
    groups: &[String],
    rules: Option<&str>,
    passes: impl Fn(Attributes<'_>) -> bool,
) -> String {
    let rules = rights::rules(rules);
    let is_given = |verb, group: &str| rules.as_ref().is_none_or(|rules| rules.allow(verb, OWN_GROUP, "grants", group));
    let may = |verb, group: &str| is_given(verb, group) && passes(question(verb, group));
    let groups = groups.iter().map(|group| {
        let name = serde_json::to_string(group).unwrap_or_default();
        let (gives, takes) = (may("create", group), may("delete", group));
        format!(r#"{{"name":{name},"mayGive":{gives},"mayTake":{takes}}}"#)
    });
    let scope = if *whose == Whose::Everybody { "all" } else { "own" };
    format!(r#"{{"scope":"{scope}","groups":[{}]"#, groups.collect::<Vec<_>>().join(","))
}

/// The rest of it: the grants that hold.
#[must_use]
pub fn page(opening: &str, held: &[Held<'_>], whose: &Whose) -> String {
    let is_shown = |grant: &&Held<'_>| match whose {
        Whose::Everybody => true,
        Whose::Caller(key) => key.as_deref() == Some(grant.to),
    };
    let shown = held.iter().filter(is_shown).map(Held::json);
    format!("{opening},\"grants\":[{}]}}\n", shown.collect::<Vec<_>>().join(","))
}

/// An address, as claims have it: see [`crate::token`].
fn address(text: &str) -> Option<String> {
    let email = text.trim().to_ascii_lowercase();
    let (local, domain) = email.rsplit_once('@')?;
    (name::is_key(&email) && !local.is_empty() && !domain.is_empty()).then_some(email)
}

/// Reads what the object keeps, a line for each person: the key of their entry TAB their grants. Those that have ended are left out.
#[must_use]
pub fn held(lines: &str, now: u64) -> Vec<Held<'_>> {
    let of_person = |line| {
        let (to, text) = str::split_once(line, '\t')?;
        let grants = Object::read(text).ok()?.raw("grants").ok()??;
        let grants = json::items(grants).ok()?.into_iter();
        Some(grants.filter_map(move |json| Held::read(to, json)))
    };
    lines.lines().filter_map(of_person).flatten().filter(|grant| grant.expires > now).collect()
}

/// The keys of those who hold nothing any more.
#[must_use]
pub fn ended(lines: &str, now: u64) -> Vec<&str> {
    let held = held(lines, now);
    let keys = lines.lines().filter_map(|line| Some(line.split_once('\t')?.0));
    keys.filter(|key| !held.iter().any(|grant| grant.to == *key)).collect()
}

/// What the object writes to give a grant.
pub fn give(held: &[Held<'_>], to: &str, json: &str) -> Result<Change, Error> {
    let new = Held::read(to, json).ok_or(Error::Unwritable)?;
    if held.len() >= MAX_IN_ALL {
        return Err(Error::TooMany("1,000".to_owned()));
    }
    let own: Vec<&Held<'_>> = held.iter().filter(|grant| grant.to == to).chain([&new]).collect();
    if own.len() > MAX_GRANTS {
        return Err(Error::TooMany("100 for this caller".to_owned()));
    }
    let change = Change { gives: true, ..Change::of(to, &own) };
    if change.text.len() > MAX_ENTRY_BYTES {
        return Err(Error::TooMany("as many as are read for this caller".to_owned()));
    }
    Ok(change)
}

/// What the object writes to take one back.
pub fn take(held: &[Held<'_>], id: &str) -> Result<Change, Error> {
    let gone = held.iter().find(|grant| grant.id == id).ok_or_else(|| Error::NoSuch(id.to_owned()))?;
    let rest: Vec<&Held<'_>> = held.iter().filter(|grant| grant.to == gone.to && grant.id != id).collect();
    Ok(Change::of(gone.to, &rest))
}

impl<'a> Held<'a> {
    fn read(to: &'a str, json: &'a str) -> Option<Self> {
        let grant = Object::read(json).ok()?;
        let expires = moment(&grant.need::<String>("expires").ok()?).ok()?;
        Some(Self { to, id: grant.need("id").ok()?, groups: grant.need("groups").ok()?, json, expires })
    }

    /// The grant and whose it is, as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        in_full(self.to, self.json)
    }
}

/// A grant with whose it is, as JSON.
#[must_use]
pub fn in_full(to: &str, json: &str) -> String {
    let (kind, whose) = to.split_once(':').unwrap_or_default();
    let kind = if kind == "email" { "email" } else { "serviceToken" };
    let whose = serde_json::to_string(whose).unwrap_or_default();
    let rest = json.strip_prefix('{').unwrap_or_default();
    format!(r#"{{"{kind}":{whose},{rest}"#)
}

/// The same with what whoever gives it should know: that it may be for nobody.
#[must_use]
pub fn noted(grant: String, is_for_somebody: bool) -> String {
    const NOTE: &str = "no entry of the policy lets them in, and a grant alone does not: see that the address is right, and that Workers KV or the policy has an entry";
    match grant.strip_suffix('}').filter(|_| !is_for_somebody) {
        Some(members) => format!(r#"{members},"note":"{NOTE}"}}"#),
        None => grant,
    }
}

impl Change {
    fn of(to: &str, grants: &[&Held<'_>]) -> Self {
        let all: Vec<&str> = grants.iter().map(|grant| grant.json).collect();
        let until = grants.iter().map(|grant| grant.expires).max().unwrap_or_default();
        let text = if all.is_empty() { String::new() } else { format!(r#"{{"grants":[{}]}}"#, all.join(",")) };
        Self { to: to.to_owned(), text, until, gives: false }
    }
}

impl Grant {
    /// As it is kept.
    #[must_use]
    pub fn json(&self) -> String {
        [&open(self), "}"].concat()
    }
}

#[cfg(test)]
mod tests;
