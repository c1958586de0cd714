//! One entry of Workers KV: gives or takes an identity, or adds groups to one, without a deploy.
//!
//! The key is `email:alice@example.com` (lower case) or `service-token:<client ID>`; the value is JSON with the fields of
//! `identities.yaml` for a caller of their own, `deny`, and `grants`, each with an end of its own. An entry wins over the compiled map
//! until it ends. One that cannot be read refuses its caller: a guess could give what was meant to be taken.

use chrono::DateTime;
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

/// An entry that cannot be read. It says which field is wrong, and quotes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct EntryError(&'static str);

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
    if text.len() > MAX_ENTRY_BYTES {
        return Err(EntryError("it is too long"));
    }
    let entry = Object::read(text).map_err(|Malformed| EntryError("it is no JSON object"))?;
    let fields = Fields { object: &entry, error: "a field is malformed, or there is no such field" };
    fields.are_only(&["user", "groups", "allow_system_masters", "act_as", "expires", "deny", "grants"])?;
    let expires = fields.text("expires")?.as_deref().map(moment).transpose()?;
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
        return Err(EntryError("it has neither user nor grants nor deny"));
    }
    Ok(Verdict::Stored(Stored { entry: given.map(|given| Given { expires, ..given }), grants }))
}

impl Stored {
    /// Adds the grants that were given through the gateway: of the groups that the map lists for granting, as it lists them now.
    pub fn add(&mut self, text: &str, map: &IdentityMap<'_>, now: u64) -> Result<(), EntryError> {
        if text.len() > MAX_ENTRY_BYTES {
            return Err(EntryError("it is too long"));
        }
        let entry = Object::read(text).map_err(|Malformed| EntryError("it is no JSON object"))?;
        let fields = Fields { object: &entry, error: "a field is malformed, or there is no such field" };
        fields.are_only(&["grants"])?;
        for mut grant in grants(fields.raw("grants")?.unwrap_or_default(), now)? {
            grant.groups.retain(|group| map.granted_groups().any(|listed| listed == group));
            if !grant.groups.is_empty() {
                self.grants.push(grant);
            }
        }
        Ok(())
    }
}

/// The grants of a list that have not ended.
fn grants(list: &str, now: u64) -> Result<Vec<Grant>, EntryError> {
    let items = json::items(list).map_err(|Malformed| EntryError("grants is no list"))?;
    if items.len() > MAX_GRANTS {
        return Err(EntryError("grants are too many"));
    }
    let mut grants = items.into_iter().map(grant).collect::<Result<Vec<_>, _>>()?;
    grants.retain(|grant| grant.expires > now);
    Ok(grants)
}

/// The fields of an object, with what is wrong where one cannot be read.
struct Fields<'a> {
    object: &'a Object<'a>,
    error: &'static str,
}

impl Fields<'_> {
    fn are_only(&self, names: &[&str]) -> Result<(), EntryError> {
        self.object.has_only(names).then_some(()).ok_or(EntryError(self.error))
    }

    fn text(&self, name: &str) -> Result<Option<String>, EntryError> {
        self.object.get::<Option<String>>(name).map(Option::flatten).map_err(|_| EntryError(self.error))
    }

    /// The JSON of a field that is there, and not null.
    fn raw(&self, name: &str) -> Result<Option<&str>, EntryError> {
        let raw = self.object.raw(name).map_err(|_| EntryError(self.error))?;
        Ok(raw.filter(|raw| *raw != "null"))
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, EntryError> {
        self.object.get(name).map(Option::unwrap_or_default).map_err(|_| EntryError(self.error))
    }

    fn is_set(&self, name: &str) -> Result<bool, EntryError> {
        self.object.get(name).map(Option::unwrap_or_default).map_err(|_| EntryError(self.error))
    }
}

/// What stands in place of the caller's entry in the map, if anything does.
fn given(fields: &Fields<'_>, claims: &Claims) -> Result<Option<Given>, EntryError> {
    let (groups, act_as) = (fields.texts("groups")?, fields.raw("act_as")?);
    let allows_masters = fields.is_set("allow_system_masters")?;
    let Some(user) = fields.text("user")? else {
        let is_alone = groups.is_empty() && act_as.is_none();
        return is_alone.then_some(None).ok_or(EntryError("user is missing: groups alone are given by grants"));
    };
    if user.contains("{email}") && !matches!(claims.subject(), Subject::User { .. }) {
        return Err(EntryError("user has {email}, and a service token has none"));
    }
    check(&[user.as_str()], "user is malformed or reserved")?;
    if groups.len() > name::MAX_GROUPS {
        return Err(EntryError("groups are too many"));
    }
    let is_masters = |group: &&str| allows_masters && *group == name::MASTERS;
    let others: Vec<&str> = groups.iter().map(String::as_str).filter(|group| !is_masters(group)).collect();
    check(&others, "a group is malformed or reserved")?;
    let act_as = act_as.map(acting).transpose()?.unwrap_or_default();
    Ok(Some(Given { rule: Rule::Kv, user, groups, act_as, expires: None }))
}

fn acting(act_as: &str) -> Result<ActAs, EntryError> {
    let error = "act_as is no object of users, groups, uids, extras and reason_required";
    let object = Object::read(act_as).map_err(|_| EntryError(error))?;
    let fields = Fields { object: &object, error };
    fields.are_only(&["users", "groups", "uids", "extras", "reason_required"])?;
    let acting = ActAs {
        users: fields.texts("users")?,
        groups: fields.texts("groups")?,
        uids: fields.texts("uids")?,
        extras: fields.texts("extras")?,
        needs_reason: fields.is_set("reason_required")?,
    };
    for names in [&acting.users, &acting.groups, &acting.uids] {
        check(names, "a name of act_as is malformed or reserved")?;
    }
    if !acting.extras.iter().all(|key| name::is_extra(key) && !name::is_own_extra(key)) {
        return Err(EntryError("a key of act_as.extras is malformed or reserved"));
    }
    Ok(acting)
}

/// `given`, `reason` and `by` are for whoever reads the store.
fn grant(grant: &str) -> Result<Grant, EntryError> {
    let error = "a grant is no object of groups, expires, id, given, reason and by";
    let object = Object::read(grant).map_err(|_| EntryError(error))?;
    let fields = Fields { object: &object, error };
    fields.are_only(&["groups", "expires", "id", "given", "reason", "by"])?;
    let expires = moment(&fields.text("expires")?.ok_or(EntryError("a grant has no expires"))?)?;
    let (groups, id) = (fields.texts("groups")?, fields.text("id")?);
    for name in ["given", "reason", "by"] {
        fields.text(name)?;
    }
    if groups.is_empty() || groups.len() > name::MAX_GROUPS {
        return Err(EntryError("groups of a grant are none or too many"));
    }
    check(&groups, "a group of a grant is malformed or reserved")?;
    if !id.as_deref().is_none_or(name::is_key) {
        return Err(EntryError("id of a grant is malformed"));
    }
    Ok(Grant { groups, id, expires })
}

fn check<T: AsRef<str>>(names: &[T], error: &'static str) -> Result<(), EntryError> {
    let is_sound = |name: &T| name::is_well_formed(name.as_ref()) && !name::is_reserved(name.as_ref());
    names.iter().all(is_sound).then_some(()).ok_or(EntryError(error))
}

/// The seconds since the Unix epoch of a time by RFC 3339.
pub(crate) fn moment(text: &str) -> Result<u64, EntryError> {
    let moment = DateTime::parse_from_rfc3339(text).ok().and_then(|moment| u64::try_from(moment.timestamp()).ok());
    moment.ok_or(EntryError("expires is no RFC 3339 time such as 2027-01-31T12:00:00Z"))
}

#[cfg(test)]
mod tests;
