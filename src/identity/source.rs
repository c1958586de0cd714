//! `identities.yaml` -> the compiled map. Used by `build.rs`, never by the Worker itself.
//!
//! Every mistake is an error that gives the line and what was expected: an invalid map does not compile.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::name;

/// The placeholder for the caller's own address in `user`.
const EMAIL_PLACEHOLDER: &str = "{email}";

/// The compiled map: three sorted tables, one per kind of caller. Each line is `key TAB user TAB group TAB group…`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    /// Exact addresses, in lower case.
    pub(super) emails: String,
    /// Email domains, in lower case.
    pub(super) email_domains: String,
    /// Client IDs of Access service tokens.
    pub(super) service_tokens: String,
}

/// What is wrong with a map, and on which line (counted from 1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MapError {
    /// The line, 0 when the parser does not know it.
    pub(super) line: u64,
    /// What is wrong, and what was expected.
    pub(super) message: String,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    identities: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    email: Option<Spanned<String>>,
    email_domain: Option<Spanned<String>>,
    service_token: Option<Spanned<String>>,
    user: Spanned<String>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default)]
    allow_system_masters: bool,
}

/// Reads the text of `identities.yaml`.
pub(super) fn compile(yaml: &str) -> Result<Tables, MapError> {
    // The parser's budget guards against strangers' documents; this one is the operator's own, and may be large.
    let options = serde_saphyr::options! { budget: None };
    let map: Map = serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
        let error = error.without_snippet();
        MapError {
            line: error.location().map_or(0, |location| location.line()),
            message: error.to_string(),
        }
    })?;
    let mut emails = Table::default();
    let mut email_domains = Table::default();
    let mut service_tokens = Table::default();
    for entry in &map.identities {
        let line = entry.referenced.line();
        let entry = &entry.value;
        let (table, key, at) = match (&entry.email, &entry.email_domain, &entry.service_token) {
            (Some(at), None, None) => (&mut emails, email_key(at)?, at),
            (None, Some(at), None) => (&mut email_domains, domain_key(at)?, at),
            (None, None, Some(at)) => (&mut service_tokens, token_key(at)?, at),
            _ => {
                let message =
                    "an entry names exactly one of email, email_domain, service_token".into();
                return Err(MapError { line, message });
            }
        };
        table.insert(key, at, entry)?;
    }
    Ok(Tables {
        emails: emails.into_text(),
        email_domains: email_domains.into_text(),
        service_tokens: service_tokens.into_text(),
    })
}

/// Rows by key, with the line where each key was first given.
#[derive(Default)]
struct Table(BTreeMap<String, (u64, String)>);

impl Table {
    fn insert(&mut self, key: String, at: &Spanned<String>, entry: &Entry) -> Result<(), MapError> {
        let row = row(&key, entry)?;
        if let Some((first, _)) = self.0.get(&key) {
            return fail(
                at,
                format!("{key} has an entry already, on line {first}: one identity, one entry"),
            );
        }
        self.0.insert(key, (at.referenced.line(), row));
        Ok(())
    }

    fn into_text(self) -> String {
        self.0.into_values().map(|(_, row)| row + "\n").collect()
    }
}

fn row(key: &str, entry: &Entry) -> Result<String, MapError> {
    let user = &entry.user;
    let is_template = user.value.contains(EMAIL_PLACEHOLDER);
    if is_template && entry.service_token.is_some() {
        return fail(
            user,
            "a service token has no email: expected a user without {email}".into(),
        );
    }
    check_name("user", user)?;
    if name::is_reserved(&user.value) {
        return fail(
            user,
            format!(
                "user {:?} is reserved: names that begin with system: belong to Kubernetes",
                user.value
            ),
        );
    }
    if is_template && user.value.matches(EMAIL_PLACEHOLDER).count() > 1 {
        return fail(user, "{email} may stand once".into());
    }
    if entry.groups.len() > name::MAX_GROUPS {
        return fail(
            user,
            format!(
                "{} groups: expected at most {}",
                entry.groups.len(),
                name::MAX_GROUPS
            ),
        );
    }
    let mut row = format!("{key}\t{}", user.value);
    let mut seen: Vec<&str> = Vec::new();
    for group in &entry.groups {
        check_name("group", group)?;
        if group.value.contains(EMAIL_PLACEHOLDER) {
            return fail(
                group,
                format!(
                    "group {:?}: {{email}} stands for the caller's address in user alone",
                    group.value
                ),
            );
        }
        let is_granted = entry.allow_system_masters && group.value == name::MASTERS;
        if name::is_reserved(&group.value) && !is_granted {
            return fail(
                group,
                format!(
                    "group {:?} is reserved: names that begin with system: belong to Kubernetes (system:masters also \
                     needs allow_system_masters: true on this entry, and RBAC can then no longer restrict the caller)",
                    group.value
                ),
            );
        }
        if !seen.contains(&group.value.as_str()) {
            seen.push(&group.value);
            row.push('\t');
            row.push_str(&group.value);
        }
    }
    Ok(row)
}

fn check_name(kind: &str, value: &Spanned<String>) -> Result<(), MapError> {
    if name::is_well_formed(&value.value) {
        return Ok(());
    }
    let expected = "1 to 256 printable ASCII characters, no comma, no blank at either end";
    fail(
        value,
        format!("{kind} {:?}: expected {expected}", value.value),
    )
}

fn email_key(email: &Spanned<String>) -> Result<String, MapError> {
    match email.value.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && is_key(local) && is_domain(domain) => {
            Ok(email.value.to_ascii_lowercase())
        }
        _ => fail(
            email,
            format!(
                "email {:?}: expected an address such as alice@example.com",
                email.value
            ),
        ),
    }
}

fn domain_key(domain: &Spanned<String>) -> Result<String, MapError> {
    if is_domain(&domain.value) {
        return Ok(domain.value.to_ascii_lowercase());
    }
    fail(
        domain,
        format!(
            "email_domain {:?}: expected a domain such as example.com, without @ or *",
            domain.value
        ),
    )
}

fn token_key(token: &Spanned<String>) -> Result<String, MapError> {
    if is_key(&token.value) && !token.value.contains('@') {
        return Ok(token.value.clone());
    }
    fail(
        token,
        format!(
            "service_token {:?}: expected the client ID, such as 0123456789abcdef.access",
            token.value
        ),
    )
}

fn is_key(text: &str) -> bool {
    (1..=name::MAX_NAME_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn is_domain(text: &str) -> bool {
    is_key(text)
        && text.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn fail<T>(at: &Spanned<String>, message: String) -> Result<T, MapError> {
    Err(MapError {
        line: at.referenced.line(),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(entry: &str) -> MapError {
        compile(&format!("identities:\n{entry}")).unwrap_err()
    }

    #[test]
    fn a_map_becomes_sorted_tables() {
        let tables = compile(
            "identities:\n- {email: Zoe@Example.com, user: zoe, groups: [b, a, b]}\n- {email: al@example.com, user: al}\n\
             - {email_domain: Example.COM, user: 'x-{email}', groups: [dev]}\n- {service_token: 0f.access, user: ci}\n",
        )
        .unwrap();
        assert_eq!(
            tables.emails,
            "al@example.com\tal\nzoe@example.com\tzoe\tb\ta\n"
        );
        assert_eq!(tables.email_domains, "example.com\tx-{email}\tdev\n");
        assert_eq!(tables.service_tokens, "0f.access\tci\n");
    }

    #[test]
    fn a_mistake_names_its_line_and_what_was_expected() {
        for (entry, line, part) in [
            (
                "- {email: a@b.c, user: a, group: [x]}",
                2,
                "unknown field `group`",
            ),
            ("- {email: a@b.c}", 2, "missing field `user`"),
            ("- {user: a}", 2, "exactly one of"),
            (
                "- {email: a@b.c, email_domain: b.c, user: a}",
                2,
                "exactly one of",
            ),
            ("- {email: alice, user: a}", 2, "such as alice@example.com"),
            (
                "- {email: 'é@b.c', user: a}",
                2,
                "such as alice@example.com",
            ),
            (
                "- {email_domain: '*.b.c', user: a}",
                2,
                "such as example.com",
            ),
            (
                "- {email_domain: '@b.c', user: a}",
                2,
                "such as example.com",
            ),
            ("- {service_token: admin@corp.com, user: a}", 2, "client ID"),
            (
                "- {service_token: t.access, user: '{email}'}",
                2,
                "no email",
            ),
            ("- email: a@b.c\n  user: ''", 3, "printable ASCII"),
            (
                "- email: a@b.c\n  user: a\n  groups: [ok, 'x,system:masters']",
                4,
                "no comma",
            ),
        ] {
            let error = error_of(entry);
            assert!(
                error.line == line && error.message.contains(part),
                "{entry}: {error}"
            );
        }
    }

    #[test]
    fn case_33_34_an_empty_or_reserved_user_does_not_compile() {
        for user in [
            "''",
            "system:admin",
            "system:anonymous",
            "system:serviceaccount:a:b",
            "system:node:n",
            "SYSTEM:x",
        ] {
            error_of(&format!(
                "- {{email: a@b.c, user: '{}'}}",
                user.trim_matches('\'')
            ));
        }
    }

    #[test]
    fn case_35_system_masters_needs_a_loud_opt_in_and_no_other_system_group_is_possible() {
        assert!(
            error_of("- {email: a@b.c, user: a, groups: ['system:masters']}")
                .message
                .contains("allow_system_masters")
        );
        let entry = "- {email: a@b.c, user: a, allow_system_masters: true, groups: ['GROUP']}";
        assert!(
            compile(&format!(
                "identities:\n{}",
                entry.replace("GROUP", "system:masters")
            ))
            .is_ok()
        );
        for group in ["system:authenticated", "system:nodes", "System:masters"] {
            error_of(&entry.replace("GROUP", group));
        }
    }

    #[test]
    fn case_36_37_a_malformed_group_names_itself() {
        for group in ["a,b", " a", "a ", "", "grüppe", "x,system:masters"] {
            let error = error_of(&format!(
                "- {{email: a@b.c, user: a, groups: [ok, '{group}']}}"
            ));
            assert!(
                error.message.contains(&format!("group {group:?}")),
                "{error}"
            );
        }
        for escape in [r"a\rb", r"a\nb", r"a\0b"] {
            assert!(
                error_of(&format!(
                    "- {{email: a@b.c, user: a, groups: [\"{escape}\"]}}"
                ))
                .message
                .contains("printable")
            );
        }
    }

    #[test]
    fn case_39_groups_are_never_cut_short() {
        let groups = |count: usize| {
            (0..count)
                .map(|i| format!("g{i}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let of = |count| {
            compile(&format!(
                "identities:\n- {{email: a@b.c, user: a, groups: [{}]}}",
                groups(count)
            ))
        };
        assert_eq!(of(300).unwrap().emails.split('\t').count(), 302);
        assert!(of(301).unwrap_err().message.contains("at most 300"));
    }

    #[test]
    fn case_44_two_entries_for_one_identity_do_not_compile() {
        let error = error_of("- {email: a@b.c, user: a}\n- {email: A@B.C, user: b}");
        assert!(
            error.line == 3 && error.message.contains("on line 2"),
            "{error}"
        );
        error_of("- {email_domain: b.c, user: a}\n- {email_domain: B.c, user: b}");
        error_of("- {service_token: x.access, user: a}\n- {service_token: x.access, user: b}");
    }

    #[test]
    fn case_46_a_domain_rule_never_grants_a_system_group() {
        error_of("- {email_domain: b.c, user: '{email}', groups: ['system:masters']}");
    }

    #[test]
    fn the_map_of_this_repository_compiles() {
        compile(include_str!("../../identities.yaml")).unwrap();
    }
}
