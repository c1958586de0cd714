//! One entry of Workers KV: gives or takes an identity, or adds groups to one, without a deploy.
//!
//! The key is `email:alice@example.com` (lower case) or `service-token:<client ID>`; the value is JSON with the fields of
//! `identities.yaml` for a caller of their own, `deny`, and `grants`, each with an end of its own. An entry wins over the compiled map
//! until it ends. One that cannot be read refuses its caller: a guess could give what was meant to be taken.

use chrono::DateTime;
use serde::Deserialize;
use thiserror::Error;

use super::{ActAs, Given, IdentityMap, Rule, name};
use crate::json::{self, Malformed, Object};
use crate::token::{Claims, Subject};

/// The longest entry that is read, in bytes.
pub const MAX_ENTRY_BYTES: usize = 128 * 1024;

/// What Workers KV takes for a key at most, in bytes.
const MAX_KEY_BYTES: usize = 512;

/// The most grants of one entry, those that have ended too.
pub const MAX_GRANTS: usize = 100;

/// What Workers KV has of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// In place of the caller's entry in the map.
    pub(super) entry: Option<Given>,
    /// The grants that hold now.
    pub(super) grants: Vec<Grant>,
}

/// Groups for a time, beside what the entries give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) groups: Vec<String>,
    pub(super) id: Option<String>,
    /// The first second in which it does not hold, since the Unix epoch.
    pub(super) expires: u64,
}

/// What an entry says of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The caller does not enter, whatever the map says.
    Denied,
    /// The map decides, with this before and beside it.
    Stored(Stored),
}

/// An entry that cannot be read: which field is wrong, and what was expected there. It quotes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct EntryError(String);

impl EntryError {
    /// `path` leads to the field; it is empty for the entry itself.
    fn at(path: [&str; 2], what: &str) -> Self {
        let path = path.join(".");
        let path = path.trim_matches('.');
        Self(if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") })
    }
}

/// The key of the entry for these claims.
#[must_use]
pub fn key(claims: &Claims) -> Option<String> {
    let key = match claims.subject() {
        Subject::User { email, .. } => format!("email:{email}"),
        Subject::ServiceToken { client_id } => format!("service-token:{client_id}"),
        Subject::Nobody => return None,
    };
    // Nobody can have written a longer one.
    (key.len() <= MAX_KEY_BYTES).then_some(key)
}

/// The key of what was granted through the gateway to whom this is the key of the entry. Nobody else writes it.
#[must_use]
pub fn grants_key(key: &str) -> Option<String> {
    let key = ["grants:", key].concat();
    (key.len() <= MAX_KEY_BYTES).then_some(key)
}

/// Reads an entry for these claims. `now` is in seconds since the Unix epoch.
pub fn read(text: &str, claims: &Claims, now: u64) -> Result<Verdict, EntryError> {
    let names = ["user", "groups", "allow_system_masters", "act_as", "expires", "deny", "grants"];
    let fields = whole(text, &names)?;
    let expires = fields.moment("expires")?;
    if expires.is_some_and(|expires| expires <= now) {
        return Ok(Verdict::Stored(Stored::default()));
    }
    if fields.is_set("deny")? {
        return Ok(Verdict::Denied);
    }
    let list = fields.raw("grants")?;
    let mut grants = list.map_or(Ok(Vec::new()), |list| grants(list, now))?;
    // What the entry gives ends with it.
    for grant in &mut grants {
        grant.expires = grant.expires.min(expires.unwrap_or(u64::MAX));
    }
    let given = given(&fields, claims)?;
    if given.is_none() && list.is_none() {
        return Err(EntryError("expected user, grants or deny".into()));
    }
    Ok(Verdict::Stored(Stored { entry: given.map(|given| Given { expires, ..given }), grants }))
}

impl Stored {
    /// Adds the grants that were given through the gateway: of the groups that the map lists for granting, as it lists them now.
    pub fn add(&mut self, text: &str, map: &IdentityMap<'_>, now: u64) -> Result<(), EntryError> {
        let fields = whole(text, &["grants"])?;
        for mut grant in grants(fields.raw("grants")?.unwrap_or_default(), now)? {
            grant.groups.retain(|group| map.granted_groups().any(|listed| listed == group));
            if !grant.groups.is_empty() {
                self.grants.push(grant);
            }
        }
        Ok(())
    }
}

/// The fields of a whole entry.
fn whole<'a>(text: &'a str, names: &[&str]) -> Result<Fields<'a>, EntryError> {
    if text.len() > MAX_ENTRY_BYTES {
        return Err(EntryError(format!("expected at most {MAX_ENTRY_BYTES} bytes")));
    }
    Fields::read(text, "", names)
}

/// The grants of a list that have not ended.
fn grants(list: &str, now: u64) -> Result<Vec<Grant>, EntryError> {
    let items = json::items(list).map_err(|Malformed| EntryError("grants: expected one list".into()))?;
    if items.len() > MAX_GRANTS {
        return Err(EntryError(format!("grants: expected at most {MAX_GRANTS}")));
    }
    let mut grants = items.into_iter().map(grant).collect::<Result<Vec<_>, _>>()?;
    grants.retain(|grant| grant.expires > now);
    Ok(grants)
}

/// The fields of an object. A `null` is no value of any of them: who meant none leaves the field out.
struct Fields<'a> {
    object: Object<'a>,
    /// The field that the object is in; empty for the entry itself.
    within: &'static str,
}

impl<'a> Fields<'a> {
    /// Reads an object that has no fields but these.
    fn read(text: &'a str, within: &'static str, names: &[&str]) -> Result<Self, EntryError> {
        let object = Object::read(text).ok().filter(|object| object.has_only(names));
        let expected = || format!("expected a JSON object with no fields but {}", names.join(", "));
        object.map(|object| Self { object, within }).ok_or_else(|| EntryError::at([within, ""], &expected()))
    }

    fn wrong(&self, field: &'static str, what: &str) -> EntryError {
        EntryError::at([self.within, field], what)
    }

    fn get<T: Deserialize<'a>>(&self, field: &'static str, expected: &str) -> Result<Option<T>, EntryError> {
        self.object.get(field).map_err(|Malformed| self.wrong(field, expected))
    }

    fn text(&self, field: &'static str) -> Result<Option<String>, EntryError> {
        self.get(field, "expected one text")
    }

    fn is_set(&self, field: &'static str) -> Result<bool, EntryError> {
        self.get(field, "expected true or false, once").map(Option::unwrap_or_default)
    }

    /// The JSON of a field.
    fn raw(&self, field: &'static str) -> Result<Option<&'a str>, EntryError> {
        self.object.raw(field).map_err(|Malformed| self.wrong(field, "expected it once"))
    }

    fn moment(&self, field: &'static str) -> Result<Option<u64>, EntryError> {
        let expected = "expected a time by RFC 3339, such as 2027-01-31T18:00:00Z";
        let text: Option<String> = self.get(field, expected)?;
        text.as_deref().map(moment).transpose().map_err(|Malformed| self.wrong(field, expected))
    }

    /// A list of texts, of which each passes the check.
    fn texts(
        &self,
        field: &'static str,
        check: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Result<Vec<String>, EntryError> {
        let texts: Vec<String> = self.get(field, "expected one list of texts")?.unwrap_or_default();
        texts.iter().try_for_each(|text| check(text)).map_err(|what| self.wrong(field, what))?;
        self.count(field, texts.len())?;
        Ok(texts)
    }

    fn count(&self, field: &'static str, count: usize) -> Result<(), EntryError> {
        let expected = || self.wrong(field, &format!("expected at most {}", name::MAX_GROUPS));
        (count <= name::MAX_GROUPS).then_some(()).ok_or_else(expected)
    }
}

/// What stands in place of the caller's entry in the map, if anything does.
fn given(fields: &Fields<'_>, claims: &Claims) -> Result<Option<Given>, EntryError> {
    let allows_masters = fields.is_set("allow_system_masters")?;
    let is_masters = |group: &str| allows_masters && group == name::MASTERS;
    let groups = fields.texts("groups", |group| if is_masters(group) { Ok(()) } else { check(group) })?;
    let act_as = fields.raw("act_as")?.map(acting).transpose()?;
    let Some(user) = fields.text("user")? else {
        let is_alone = groups.is_empty() && act_as.is_none();
        let expected =
            || fields.wrong("user", "expected one beside groups and act_as: groups alone are given by grants");
        return is_alone.then_some(None).ok_or_else(expected);
    };
    let is_person = matches!(claims.subject(), Subject::User { .. });
    let checked = name::check(&user).and_then(|()| name::check_placeholders(&user, is_person));
    checked.map_err(|what| fields.wrong("user", what))?;
    Ok(Some(Given { rule: Rule::Kv, user, groups, act_as: act_as.unwrap_or_default(), expires: None }))
}

fn acting(act_as: &str) -> Result<ActAs, EntryError> {
    let fields = Fields::read(act_as, "act_as", &["users", "groups", "uids", "extras", "reason_required"])?;
    let acting = ActAs {
        users: fields.texts("users", check)?,
        groups: fields.texts("groups", check)?,
        uids: fields.texts("uids", check)?,
        extras: fields.texts("extras", check_extra)?,
        needs_reason: fields.is_set("reason_required")?,
    };
    let lists = [&acting.users, &acting.groups, &acting.uids, &acting.extras];
    fields.count("users, groups, uids and extras together", lists.iter().map(|list| list.len()).sum())?;
    Ok(acting)
}

/// `given`, `reason` and `by` are for whoever reads the store.
fn grant(grant: &str) -> Result<Grant, EntryError> {
    let fields = Fields::read(grant, "grants", &["groups", "expires", "id", "given", "reason", "by"])?;
    let expires = fields.moment("expires")?.ok_or_else(|| fields.wrong("expires", "expected when it ends"))?;
    let (groups, id) = (fields.texts("groups", check)?, fields.text("id")?);
    for name in ["given", "reason", "by"] {
        fields.text(name)?;
    }
    if groups.is_empty() {
        return Err(fields.wrong("groups", "expected at least one"));
    }
    if !id.as_deref().is_none_or(name::is_key) {
        return Err(fields.wrong("id", "expected 1 to 256 visible ASCII characters, no comma"));
    }
    Ok(Grant { groups, id, expires })
}

/// A name of the cluster, in so many words.
fn check(name: &str) -> Result<(), &'static str> {
    name::check(name).and_then(|()| name::check_literal(name))
}

/// The key of an extra that callers may give themselves.
fn check_extra(key: &str) -> Result<(), &'static str> {
    let expected = "expected keys with a domain as their prefix, in lower case, such as example.com/ticket, and not the gateway's own";
    (name::is_extra(key) && !name::is_own_extra(key)).then_some(()).ok_or(expected)
}

/// The seconds since the Unix epoch of a time by RFC 3339.
pub(crate) fn moment(text: &str) -> Result<u64, Malformed> {
    let moment = DateTime::parse_from_rfc3339(text).ok().and_then(|moment| u64::try_from(moment.timestamp()).ok());
    moment.ok_or(Malformed)
}

#[cfg(test)]
mod tests;
