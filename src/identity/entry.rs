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
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::tests_support::config;
    use crate::identity::membership::Membership;
    use crate::identity::{Extra, Identity, IdentityMap};
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

    /// The identity, and until when, of whom an entry is for and the map does not know.
    fn identity_of_alice(entry: &serde_json::Value, now: u64) -> Option<(Identity, u64)> {
        let Ok(Verdict::Stored(stored)) = read(&entry.to_string(), &alice(), now) else {
            panic!("{entry} is not read")
        };
        IdentityMap::default().identify(&alice(), stored, &Membership::default(), now).ok()
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
        let (identity, until) = identity_of_alice(&entry, NOW).unwrap();
        assert_eq!((identity.user(), identity.groups()), ("alice@example.com", &["a".to_owned(), "b".to_owned()][..]));
        assert_eq!((identity.rule(), until), (Rule::Kv, NOW + 1800));
        assert_eq!(identity_of_alice(&entry, NOW + 1800), None);
    }

    #[test]
    fn case_45_an_entry_takes_an_identity_until_it_expires() {
        assert_eq!(read_for_alice(&json!({"deny": true})), Ok(Verdict::Denied));
        assert_eq!(read_for_alice(&json!({"deny": true, "user": "root"})), Ok(Verdict::Denied));
        assert_eq!(
            read_for_alice(&json!({"deny": true, "expires": "2027-01-15T07:00:00Z"})),
            Ok(Verdict::Stored(Stored::default()))
        );
    }

    #[test]
    fn case_32_33_34_35_36_an_entry_that_cannot_be_read_or_may_not_be_is_an_error() {
        for text in [
            "",
            "null",
            "[]",
            "{",
            "{}",
            "true",
            r#"{"user":"a","user":"b"}"#,
            r#"{"user":"a","grants":[],"grants":[]}"#,
            r#"{"user":"a","act_as":{},"act_as":{}}"#,
            r#"{"user":"a","act_as":{"users":["b"],"users":["c"]}}"#,
            r#"{"user":"a"}x"#,
        ] {
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
            json!({"groups": ["a"]}),
            json!({"groups": ["a"], "grants": []}),
            json!({"user": "a", "act_as": {"users": ["system:admin"]}}),
            json!({"user": "a", "act_as": {"groups": ["system:masters"]}, "allow_system_masters": true}),
            json!({"user": "a", "act_as": {"extras": ["kube-access.dev/email"]}}),
            json!({"user": "a", "act_as": {"extras": ["scopes"]}}),
            json!({"user": "a", "act_as": {"user": ["b"]}}),
            json!({"act_as": {"users": ["b"]}, "grants": []}),
            json!({"user": "a", "groups": ["x".repeat(MAX_ENTRY_BYTES)]}),
        ] {
            assert!(read_for_alice(&entry).is_err(), "{entry}");
        }
        let masters = json!({"user": "a", "groups": ["system:masters"], "allow_system_masters": true});
        assert!(identity_of_alice(&masters, NOW).is_some());
        for email in ["a\nImpersonate-Group:x@example.com", "\u{430}lice@example.com", "a b@example.com"] {
            let odd = claims(&json!({"email": email, "sub": "id-1"}));
            let Ok(Verdict::Stored(stored)) = read(r#"{"user":"a"}"#, &odd, NOW) else { panic!("{email}") };
            assert!(IdentityMap::default().identify(&odd, stored, &Membership::default(), NOW).is_err(), "{email}");
        }
        let service = claims(&json!({"common_name": "0f.access", "sub": ""}));
        assert!(read(r#"{"user":"{email}"}"#, &service, NOW).is_err());
    }

    #[test]
    fn case_180_grants_add_groups_each_until_its_own_end() {
        let at = |seconds: u64| format!("2027-01-15T08:{:02}:{:02}Z", seconds / 60, seconds % 60);
        let entry = json!({"user": "a", "groups": ["own"], "grants": [
            {"groups": ["x", "own"], "expires": at(60), "id": "g-1", "reason": "INC-1", "by": "bob"},
            {"groups": ["x", "z"], "expires": at(120)},
            {"groups": ["past"], "expires": at(0), "id": "g-0"},
            {"groups": ["far"], "expires": "9999-12-31T23:59:59Z", "id": "g-3"},
        ]});
        for (now, groups, grants, until) in [
            (NOW, &["own", "x", "z", "far"][..], &["g-1", "g-3"][..], NOW + 60),
            (NOW + 60, &["own", "x", "z", "far"], &["g-3"], NOW + 120),
            (NOW + 120, &["own", "far"], &["g-3"], 253_402_300_799),
        ] {
            let (identity, end) = identity_of_alice(&entry, now).unwrap();
            assert_eq!(identity.groups(), groups);
            let ids = identity.extras().iter().filter(|(extra, _)| *extra == Extra::Grant);
            assert!(ids.map(|(_, id)| id).eq(grants));
            assert_eq!(end, until);
        }
    }

    #[test]
    fn case_180_grants_alone_let_nobody_in_and_end_with_their_entry() {
        let grants = json!([{"groups": ["x"], "expires": "2027-01-15T09:00:00Z"}]);
        assert_eq!(identity_of_alice(&json!({ "grants": grants }), NOW), None);
        let entry = json!({"expires": "2027-01-15T08:30:00Z", "grants": grants});
        let stored = |now| read(&entry.to_string(), &alice(), now).unwrap();
        let known = IdentityMap { emails: "alice@example.com\ta\town\n", ..IdentityMap::default() };
        let at = |now| {
            let Verdict::Stored(stored) = stored(now) else { panic!("denied") };
            known.identify(&alice(), stored, &Membership::default(), now).unwrap()
        };
        let (identity, until) = at(NOW);
        assert_eq!((identity.groups(), until), (&["own".to_owned(), "x".to_owned()][..], NOW + 1800));
        assert_eq!((identity.rule(), at(NOW + 1800).0.groups()), (Rule::Email, &["own".to_owned()][..]));
        for grant in [
            json!({"groups": ["x"]}),
            json!({"expires": "2027-01-15T09:00:00Z"}),
            json!({"groups": [], "expires": "2027-01-15T09:00:00Z"}),
            json!({"groups": ["x"], "expires": "soon"}),
            json!({"groups": ["system:masters"], "expires": "2027-01-15T09:00:00Z"}),
            json!({"groups": ["x"], "expires": "2027-01-15T09:00:00Z", "id": "a b"}),
            json!({"groups": ["x"], "expires": "2027-01-15T09:00:00Z", "user": "root"}),
            json!({"groups": "x", "expires": "2027-01-15T09:00:00Z"}),
            json!(null),
        ] {
            assert!(read_for_alice(&json!({"user": "a", "grants": [grant]})).is_err(), "{grant}");
        }
        let many = vec![json!({"groups": ["x"], "expires": "2027-01-15T07:00:00Z"}); MAX_GRANTS + 1];
        assert!(read_for_alice(&json!({"user": "a", "grants": many})).is_err());
        assert!(read_for_alice(&json!({"user": "a", "grants": null})).is_ok());
    }

    #[test]
    fn case_180_what_was_granted_through_the_gateway_counts_as_far_as_the_policy_lists_it_now() {
        let map =
            IdentityMap { emails: "alice@example.com\ta\town\n", granted: "\ton-call,sre", ..IdentityMap::default() };
        let granted = |text: &str| {
            let mut stored = Stored::default();
            stored.add(text, &map, NOW)?;
            Ok::<_, EntryError>(map.identify(&alice(), stored, &Membership::default(), NOW).unwrap().0)
        };
        let text = json!({"grants": [
            {"id": "g-1", "groups": ["on-call", "admins"], "expires": "2027-01-15T09:00:00Z", "given": "2027-01-15T07:00:00Z", "reason": "r", "by": "b"},
            {"id": "g-2", "groups": ["admins"], "expires": "2027-01-15T09:00:00Z"},
            {"id": "g-3", "groups": ["sre"], "expires": "2027-01-15T08:00:00Z"},
        ]});
        let identity = granted(&text.to_string()).unwrap();
        assert_eq!(identity.groups(), ["own", "on-call"]);
        let sources: Vec<_> = identity.groups_with_sources().map(|(_, source)| source.clone()).collect();
        assert_eq!((sources[0].rule, sources[0].expires), (Some(Rule::Email), None));
        let granted_until = Some(NOW + 3600);
        assert_eq!(
            (sources[1].rule, sources[1].grant.as_deref(), sources[1].expires),
            (None, Some("g-1"), granted_until)
        );
        for text in ["", "[]", "{}", r#"{"grants":{}}"#, r#"{"grants":[],"user":"root"}"#, r#"{"grants":[{}]}"#] {
            assert!(granted(text).is_err(), "{text}");
        }
        assert_eq!(grants_key("email:alice@example.com").as_deref(), Some("grants:email:alice@example.com"));
        assert_eq!(grants_key(&"x".repeat(MAX_KEY_BYTES)), None);
    }

    proptest! {
        #[test]
        fn no_entry_panics_or_gives_a_reserved_name(text in "\\PC{0,80}", user in "[ -~]{0,12}", group in "[ -~]{0,12}") {
            let _ = read(&text, &alice(), NOW);
            let entry = json!({"user": user, "groups": [group]});
            if read_for_alice(&entry).is_ok() && let Some((identity, _)) = identity_of_alice(&entry, NOW) {
                prop_assert!(!name::is_reserved(identity.user()) && name::is_well_formed(identity.user()));
                prop_assert!(identity.groups().iter().all(|group| !name::is_reserved(group)));
            }
        }
    }
}
