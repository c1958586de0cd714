//! The entries: who enters, and as whom.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{MapError, cell, check_form, check_name, fail, moment, name, yaml};

/// The placeholder for the caller's own address in `user`.
const EMAIL_PLACEHOLDER: &str = name::EMAIL_PLACEHOLDER;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    email: Option<Spanned<String>>,
    email_domain: Option<Spanned<String>>,
    service_token: Option<Spanned<String>>,
    idp_group: Option<Spanned<String>>,
    idp: Option<Spanned<String>>,
    user: Option<Spanned<String>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "yaml::switch")]
    allow_system_masters: bool,
    #[serde(default)]
    act_as: ActAs,
    expires: Option<Spanned<String>>,
}

/// Whom a caller may name with `--as`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ActAs {
    #[serde(default)]
    users: Vec<Spanned<String>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default)]
    uids: Vec<Spanned<String>>,
    #[serde(default)]
    extras: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "yaml::switch")]
    reason_required: bool,
}

/// The four tables: by address, by domain, by service token, by group of the identity provider.
pub(super) fn compile(entries: &[Spanned<Entry>]) -> Result<[String; 4], MapError> {
    let mut emails = Table::default();
    let mut email_domains = Table::default();
    let mut service_tokens = Table::default();
    let mut idp_groups = Table::default();
    let mut order = Vec::new();
    for entry in entries {
        let given = &entry.value;
        let row = |table: &mut Table, key: String, at| table.insert(key, at, row(given, at)?);
        match (&given.email, &given.email_domain, &given.service_token, &given.idp_group) {
            (Some(at), None, None, None) => row(&mut emails, email_key(at)?, at)?,
            (None, Some(at), None, None) => row(&mut email_domains, domain_key(at)?, at)?,
            (None, None, Some(at), None) => row(&mut service_tokens, token_key(at)?, at)?,
            (None, None, None, Some(at)) => {
                let key = group_key(at, given.idp.as_ref())?;
                order.push(key.clone());
                row(&mut idp_groups, key, at)?;
            }
            _ => return fail(entry, "an entry names exactly one of email, email_domain, service_token, idp_group"),
        }
        if let (Some(idp), None) = (&given.idp, &given.idp_group) {
            return fail(
                idp,
                "idp says from which login method an idp_group counts: expected it in such an entry only",
            );
        }
    }
    let in_order = order.iter().filter_map(|key| idp_groups.0.get(key).map(|(_, row)| format!("{key}\t{row}\n")));
    Ok([emails.into_text(), email_domains.into_text(), service_tokens.into_text(), in_order.collect()])
}

impl Entry {
    /// Whether it may give a caller this user name, or let them act as it.
    pub(super) fn gives_user(&self, name: &str) -> bool {
        let is_made = |user: &Spanned<String>| match user.value.split_once(EMAIL_PLACEHOLDER) {
            Some((before, after)) => {
                let email = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                email.is_some_and(|email| self.is_for(email))
            }
            None => user.value == name,
        };
        self.user.as_ref().is_some_and(is_made) || self.act_as.users.iter().any(|user| user.value == name)
    }

    /// Whether this can be the address of one of its callers, in lower case as it is put into names.
    fn is_for(&self, email: &str) -> bool {
        let is = |text: &Spanned<String>, other: &str| text.value.eq_ignore_ascii_case(other);
        is_address(email)
            && !email.bytes().any(|byte| byte.is_ascii_uppercase())
            && self.email.as_ref().is_none_or(|own| is(own, email))
            && self
                .email_domain
                .as_ref()
                .is_none_or(|own| email.rsplit('@').next().is_some_and(|domain| is(own, domain)))
    }

    /// The groups that it may give.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().chain(&self.act_as.groups).map(|group| group.value.as_str())
    }
}

/// Rows by key, with the line where each key was first given.
#[derive(Default)]
struct Table(BTreeMap<String, (u64, String)>);

impl Table {
    fn insert(&mut self, key: String, at: &Spanned<String>, row: String) -> Result<(), MapError> {
        if let Some((first, _)) = self.0.get(&key) {
            let key = key.trim_end();
            return fail(at, format!("{key} has an entry already, on line {first}: one identity, one entry"));
        }
        self.0.insert(key, (at.referenced.line(), row));
        Ok(())
    }

    fn into_text(self) -> String {
        self.0.into_iter().flat_map(|(key, (_, row))| [key, "\t".into(), row, "\n".into()]).collect()
    }
}

/// User, groups, end, then whom the caller may act as: users, groups, UIDs, keys of extras, and `1` where that needs a reason. Cells
/// that are empty at the end are left out. `at` is where the entry names its caller.
fn row(entry: &Entry, at: &Spanned<String>) -> Result<String, MapError> {
    let user = match (&entry.user, &entry.idp_group) {
        (Some(user), _) => checked_user(user, entry)?,
        (None, Some(_)) => "",
        (None, None) => return fail(at, "missing field `user`: expected the user's name in the cluster"),
    };
    let expires = match &entry.expires {
        Some(text) => {
            let expected = "expected a time by RFC 3339, such as 2027-01-31T18:00:00Z";
            let seconds = moment(&text.value).map(|seconds| seconds.to_string());
            seconds.map_or_else(|| fail(text, format!("expires {:?}: {expected}", text.value)), Ok)?
        }
        None => String::new(),
    };
    check_groups(entry, at)?;
    let act_as = &entry.act_as;
    check_act_as(act_as)?;
    let cells = [
        user.to_owned(),
        cell(&entry.groups),
        expires,
        cell(&act_as.users),
        cell(&act_as.groups),
        cell(&act_as.uids),
        cell(&act_as.extras),
        if act_as.reason_required { "1".to_owned() } else { String::new() },
    ];
    Ok(cells.join("\t").trim_end_matches('\t').to_owned())
}

fn checked_user<'a>(user: &'a Spanned<String>, entry: &Entry) -> Result<&'a str, MapError> {
    check_name("user", user)?;
    name::check_placeholders(&user.value, entry.service_token.is_none()).or_else(|why| fail(user, why))?;
    Ok(&user.value)
}

fn check_groups(entry: &Entry, at: &Spanned<String>) -> Result<(), MapError> {
    if entry.groups.len() > name::MAX_GROUPS {
        return fail(at, format!("{} groups: expected at most {}", entry.groups.len(), name::MAX_GROUPS));
    }
    if entry.allow_system_masters && entry.email.is_none() && entry.service_token.is_none() {
        let why = "a whole domain, or a group of the identity provider, gives nothing of the system";
        return fail(at, format!("{why}: expected allow_system_masters with email or service_token alone"));
    }
    for group in &entry.groups {
        check_form("group", group)?;
        check_literal("group", group)?;
        let is_granted = entry.allow_system_masters && group.value == name::MASTERS;
        if name::is_reserved(&group.value) && !is_granted {
            return fail(
                group,
                format!(
                    "group {:?} is reserved: names that begin with system: belong to Kubernetes (system:masters also \
                     needs allow_system_masters: true on an entry with email or service_token, and RBAC can then no longer \
                     restrict the caller)",
                    group.value
                ),
            );
        }
    }
    Ok(())
}

/// A name that is the same for whoever gets it.
pub(super) fn check_literal(kind: &str, name: &Spanned<String>) -> Result<(), MapError> {
    name::check_literal(&name.value).or_else(|why| fail(name, format!("{kind} {:?}: {why}", name.value)))
}

fn check_act_as(act_as: &ActAs) -> Result<(), MapError> {
    for (kind, names) in [("user", &act_as.users), ("group", &act_as.groups), ("uid", &act_as.uids)] {
        for name in names {
            check_name(kind, name)?;
            check_literal(kind, name)?;
        }
    }
    for extra in &act_as.extras {
        if !name::is_extra(&extra.value) {
            let expected = "a key with a domain as its prefix, in lower case, such as example.com/ticket";
            return fail(extra, format!("extra {:?}: expected {expected}", extra.value));
        }
        if name::is_own_extra(&extra.value) {
            return fail(extra, format!("extra {:?} is reserved: that domain is the gateway's own", extra.value));
        }
    }
    let lists = [&act_as.users, &act_as.groups, &act_as.uids, &act_as.extras];
    if lists.iter().map(|list| list.len()).sum::<usize>() > name::MAX_GROUPS {
        let at = lists.iter().find_map(|list| list.first());
        return at.map_or(Ok(()), |at| fail(at, format!("act_as: expected at most {} names", name::MAX_GROUPS)));
    }
    Ok(())
}

fn email_key(email: &Spanned<String>) -> Result<String, MapError> {
    if is_address(&email.value) {
        return Ok(email.value.to_ascii_lowercase());
    }
    fail(email, format!("email {:?}: expected an address such as alice@example.com", email.value))
}

fn domain_key(domain: &Spanned<String>) -> Result<String, MapError> {
    if is_domain(&domain.value) {
        return Ok(domain.value.to_ascii_lowercase());
    }
    fail(domain, format!("email_domain {:?}: expected a domain such as example.com, without @ or *", domain.value))
}

fn token_key(token: &Spanned<String>) -> Result<String, MapError> {
    if name::is_key(&token.value) && !token.value.contains('@') {
        return Ok(token.value.clone());
    }
    fail(token, format!("service_token {:?}: expected the client ID, such as 0123456789abcdef.access", token.value))
}

/// `ID TAB login method`.
fn group_key(group: &Spanned<String>, idp: Option<&Spanned<String>>) -> Result<String, MapError> {
    if !name::is_group_id(&group.value) {
        let expected = "the group's ID at the identity provider, 1 to 256 printable ASCII characters";
        return fail(group, format!("idp_group {:?}: expected {expected}", group.value));
    }
    let idp = match idp {
        Some(idp) if name::is_key(&idp.value) => idp.value.as_str(),
        Some(idp) => return fail(idp, format!("idp {:?}: expected the ID of the login method in Access", idp.value)),
        None => "",
    };
    Ok(format!("{}\t{idp}", group.value))
}

fn is_address(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && name::is_key(local) && is_domain(domain))
}

fn is_domain(text: &str) -> bool {
    name::is_key(text)
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}
