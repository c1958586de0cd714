//! `identities.yaml` -> the compiled map. Used by `build.rs`, never by the Worker itself.
//!
//! Every mistake is an error that gives the line and what was expected: an invalid map does not compile.

use std::collections::BTreeMap;
use std::{fmt, mem};

use granit_parser::{Event, Parser, ScalarStyle};
use serde::Deserialize;
use serde_saphyr::Spanned;
use serde_saphyr::options::MergeKeyPolicy;

use super::name;

/// The placeholder for the caller's own address in `user`.
const EMAIL_PLACEHOLDER: &str = "{email}";

/// Words that one reader or another takes for a switch, for nothing, or for a number, in whatever letter case. `true` and
/// `false` are missing: a field of this map expects them, and the others refuse them.
const NO_TEXT: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "null", "~", ".inf", ".nan"];

/// Tabs, which YAML 1.1 takes in fewer places, its line ends that are characters like others in YAML 1.2, and the mark that
/// may stand at the very start.
const OTHER_BLANKS: [char; 5] = ['\t', '\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'];

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
    refuse_what_others_read_otherwise(yaml)?;
    // The parser's budget guards against strangers' documents; this one is the operator's own, and may be large.
    let options = serde_saphyr::options! {
        budget: None,
        merge_keys: MergeKeyPolicy::Error,
        no_schema: true,
        strict_booleans: true,
    };
    let map: Map = serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
        let error = error.without_snippet();
        MapError {
            line: error.location().map_or(0, |location| location.line()),
            message: if let serde_saphyr::Error::QuotingRequired { value, .. } = error {
                quote_it(value)
            } else {
                error.to_string()
            },
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
                let message = "an entry names exactly one of email, email_domain, service_token".into();
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

/// Terraform reads the same file by YAML 1.1, other tools by their own rules: what they may take for something else than
/// what stands there is refused before anybody reads it.
fn refuse_what_others_read_otherwise(yaml: &str) -> Result<(), MapError> {
    let refusal = |line: usize, message: String| {
        let line = u64::try_from(line).unwrap_or_default();
        Err(MapError { line, message })
    };
    let unmarked = yaml.strip_prefix('\u{feff}').unwrap_or(yaml);
    for (index, line) in unmarked.split('\n').enumerate() {
        if let Some(blank) = line.chars().find(|char| OTHER_BLANKS.contains(char)) {
            let message = format!("{blank:?}: expected blanks and line feeds only");
            return refusal(index + 1, message);
        }
        if line.starts_with("...") {
            return refusal(index + 1, "expected no end of the document".into());
        }
    }
    let options = granit_parser::options! { disallow_directives: true, emit_anchor_events: true };
    let mut has_begun = false;
    for event in Parser::new_from_str_with_options(yaml, options) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => return refusal(error.marker().line(), error.to_string()),
        };
        let line = span.start.line();
        if let Some(message) = complaint(&event, span.slice(yaml).unwrap_or_default()) {
            return refusal(line, message);
        }
        if matches!(event, Event::DocumentStart(..)) && mem::replace(&mut has_begun, true) {
            return refusal(line, "a second document: expected one".into());
        }
    }
    Ok(())
}

/// What is wrong with a part of the file, which stands there as `written`.
fn complaint(event: &Event<'_>, written: &str) -> Option<String> {
    if event.tag().is_some() {
        return Some("expected no tag: quote what is text".into());
    }
    if let Event::Scalar(_, _, 1.., _) | Event::MappingStart(_, 1.., _) = event {
        return Some("expected an anchor at a list of groups only".into());
    }
    if let Event::Anchor(_, name) = event {
        return (!is_plain_anchor(name)).then(|| format!("anchor {name:?}: expected letters, digits, - and _"));
    }
    match event.scalar()? {
        (_, ScalarStyle::SingleQuoted) => None,
        (_, ScalarStyle::DoubleQuoted) => written.contains(r"\/").then(|| r"\/ is no escape: expected / alone".into()),
        (_, ScalarStyle::Literal | ScalarStyle::Folded) => Some("a block of lines: expected text in one line".into()),
        (_, ScalarStyle::Plain) if written.is_empty() => {
            Some("nothing stands here: expected a value, or the field left out".into())
        }
        (bare, ScalarStyle::Plain) => is_ambiguous(bare).then(|| quote_it(bare)),
    }
}

/// Whether a scalar without quotes may be something else than text: a number of any notation, a date, a time, one of the
/// words, or a piece of a map.
fn is_ambiguous(bare: &str) -> bool {
    let unsigned = bare.trim_start_matches(['+', '-']);
    let digits = unsigned.trim_start_matches('.');
    let is_numeric = digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-_.,: eEtTzZ".contains(&byte));
    is_numeric
        || bare.starts_with(':')
        || bare.contains('?')
        || NO_TEXT.iter().any(|word| word.eq_ignore_ascii_case(unsigned))
}

fn is_plain_anchor(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn quote_it(value: &str) -> String {
    format!("{value:?} may be read as something else than text: quote it")
}

/// Rows by key, with the line where each key was first given.
#[derive(Default)]
struct Table(BTreeMap<String, (u64, String)>);

impl Table {
    fn insert(&mut self, key: String, at: &Spanned<String>, entry: &Entry) -> Result<(), MapError> {
        let row = row(&key, entry)?;
        if let Some((first, _)) = self.0.get(&key) {
            return fail(at, format!("{key} has an entry already, on line {first}: one identity, one entry"));
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
        return fail(user, "a service token has no email: expected a user without {email}".into());
    }
    check_name("user", user)?;
    if name::is_reserved(&user.value) {
        return fail(
            user,
            format!("user {:?} is reserved: names that begin with system: belong to Kubernetes", user.value),
        );
    }
    if is_template && user.value.matches(EMAIL_PLACEHOLDER).count() > 1 {
        return fail(user, "{email} may stand once".into());
    }
    if entry.groups.len() > name::MAX_GROUPS {
        return fail(user, format!("{} groups: expected at most {}", entry.groups.len(), name::MAX_GROUPS));
    }
    let mut row = format!("{key}\t{}", user.value);
    let mut seen: Vec<&str> = Vec::new();
    for group in &entry.groups {
        check_name("group", group)?;
        if group.value.contains(EMAIL_PLACEHOLDER) {
            return fail(
                group,
                format!("group {:?}: {{email}} stands for the caller's address in user alone", group.value),
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
    fail(value, format!("{kind} {:?}: expected {expected}", value.value))
}

fn email_key(email: &Spanned<String>) -> Result<String, MapError> {
    match email.value.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && name::is_key(local) && is_domain(domain) => {
            Ok(email.value.to_ascii_lowercase())
        }
        _ => fail(email, format!("email {:?}: expected an address such as alice@example.com", email.value)),
    }
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

fn is_domain(text: &str) -> bool {
    name::is_key(text)
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn fail<T>(at: &Spanned<String>, message: String) -> Result<T, MapError> {
    Err(MapError { line: at.referenced.line(), message })
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
        assert_eq!(tables.emails, "al@example.com\tal\nzoe@example.com\tzoe\tb\ta\n");
        assert_eq!(tables.email_domains, "example.com\tx-{email}\tdev\n");
        assert_eq!(tables.service_tokens, "0f.access\tci\n");
    }

    #[test]
    fn a_mistake_names_its_line_and_what_was_expected() {
        for (entry, line, part) in [
            ("- {email: a@b.c, user: a, group: [x]}", 2, "unknown field `group`"),
            ("- {email: a@b.c}", 2, "missing field `user`"),
            ("- {user: a}", 2, "exactly one of"),
            ("- {email: a@b.c, email_domain: b.c, user: a}", 2, "exactly one of"),
            ("- {email: alice, user: a}", 2, "such as alice@example.com"),
            ("- {email: 'é@b.c', user: a}", 2, "such as alice@example.com"),
            ("- {email_domain: '*.b.c', user: a}", 2, "such as example.com"),
            ("- {email_domain: '@b.c', user: a}", 2, "such as example.com"),
            ("- {service_token: admin@corp.com, user: a}", 2, "client ID"),
            ("- {service_token: t.access, user: '{email}'}", 2, "no email"),
            ("- email: a@b.c\n  user: ''", 3, "printable ASCII"),
            ("- email: a@b.c\n  user: a\n  groups: [ok, 'x,system:masters']", 4, "no comma"),
        ] {
            let error = error_of(entry);
            assert!(error.line == line && error.message.contains(part), "{entry}: {error}");
        }
    }

    #[test]
    fn case_33_34_an_empty_or_reserved_user_does_not_compile() {
        for user in ["''", "system:admin", "system:anonymous", "system:serviceaccount:a:b", "system:node:n", "SYSTEM:x"]
        {
            error_of(&format!("- {{email: a@b.c, user: '{}'}}", user.trim_matches('\'')));
        }
    }

    #[test]
    fn case_35_system_masters_needs_a_loud_opt_in_and_no_other_system_group_is_possible() {
        assert!(
            error_of("- {email: a@b.c, user: a, groups: ['system:masters']}").message.contains("allow_system_masters")
        );
        let entry = "- {email: a@b.c, user: a, allow_system_masters: true, groups: ['GROUP']}";
        assert!(compile(&format!("identities:\n{}", entry.replace("GROUP", "system:masters"))).is_ok());
        for group in ["system:authenticated", "system:nodes", "System:masters"] {
            error_of(&entry.replace("GROUP", group));
        }
    }

    #[test]
    fn case_36_37_a_malformed_group_names_itself() {
        for group in ["a,b", " a", "a ", "", "grüppe", "x,system:masters"] {
            let error = error_of(&format!("- {{email: a@b.c, user: a, groups: [ok, '{group}']}}"));
            assert!(error.message.contains(&format!("group {group:?}")), "{error}");
        }
        for escape in [r"a\rb", r"a\nb", r"a\0b"] {
            assert!(
                error_of(&format!("- {{email: a@b.c, user: a, groups: [\"{escape}\"]}}")).message.contains("printable")
            );
        }
    }

    #[test]
    fn case_39_groups_are_never_cut_short() {
        let groups = |count: usize| (0..count).map(|i| format!("g{i}")).collect::<Vec<_>>().join(", ");
        let of = |count| compile(&format!("identities:\n- {{email: a@b.c, user: a, groups: [{}]}}", groups(count)));
        assert_eq!(of(300).unwrap().emails.split('\t').count(), 302);
        assert!(of(301).unwrap_err().message.contains("at most 300"));
    }

    #[test]
    fn case_44_two_entries_for_one_identity_do_not_compile() {
        let error = error_of("- {email: a@b.c, user: a}\n- {email: A@B.C, user: b}");
        assert!(error.line == 3 && error.message.contains("on line 2"), "{error}");
        error_of("- {email_domain: b.c, user: a}\n- {email_domain: B.c, user: b}");
        error_of("- {service_token: x.access, user: a}\n- {service_token: x.access, user: b}");
    }

    #[test]
    fn case_46_a_domain_rule_never_grants_a_system_group() {
        error_of("- {email_domain: b.c, user: '{email}', groups: ['system:masters']}");
    }

    #[test]
    fn case_172_what_may_be_something_else_than_text_must_be_quoted() {
        #[rustfmt::skip]
        let ambiguous = [
            "007", "+1", "1e3", "1_000", "0x1f", "0o7", "0b11", "190:20:30", "1.5", ".5", "5.", "-.inf", ".NaN", "true",
            "False", "yes", "No", "oN", "OFF", "y", "N", "null", "~", "2024-01-02", "2024-1-2 03:04:05",
            "2024-01-02T3:4:5Z", "?a", ":a",
        ];
        for bare in ambiguous {
            for (entry, line) in [
                (format!("- email: a@b.c\n  user: {bare}"), 3),
                (format!("- {{email: a@b.c, user: a,\n   groups: [{bare}]}}"), 3),
                (format!("- service_token: {bare}\n  user: a"), 2),
            ] {
                let error = error_of(&entry);
                assert!(error.line == line && error.message.ends_with("quote it"), "{entry}: {error}");
            }
            let quoted = format!("identities: [{{email: a@b.c, user: '{bare}', groups: [\"{bare}\"]}}]");
            let row = format!("a@b.c\t{bare}\t{bare}\n");
            assert_eq!(compile(&quoted).unwrap().emails, row);
        }
        for bare in ["0123456789abcdef.access", "2024-team", "7th-floor", "a:b", "none", "x1e3"] {
            let row = format!("{bare}\ta\n");
            let yaml = format!("identities: [{{service_token: {bare}, user: a}}]");
            assert_eq!(compile(&yaml).map(|tables| tables.service_tokens), Ok(row));
        }
    }

    #[test]
    fn case_172_notations_that_yaml_1_1_and_1_2_read_differently_do_not_compile() {
        for (entry, line, part) in [
            ("- email: a@b.c\n  user: !!str 007", 3, "no tag"),
            ("- email: a@b.c\n  user: !x a", 3, "no tag"),
            ("- !!map {email: a@b.c, user: a}", 2, "no tag"),
            ("- {<<: {user: a}, email: a@b.c}", 2, "merge key"),
            ("- &a {email: a@b.c, user: a}", 2, "list of groups only"),
            ("- {email: a@b.c, user: &u a}", 2, "list of groups only"),
            ("- {email: a@b.c, user: a, groups: &a.b [x]}", 2, "anchor \"a.b\""),
            ("- email: a@b.c\n  user:", 3, "nothing stands here"),
            ("- email: a@b.c\n  user: a\n  groups:", 4, "nothing stands here"),
            ("- email: a@b.c\n  user: a\n  user: b", 4, "duplicate"),
            ("- {email: a@b.c, user: a, 1: b}", 2, "quote it"),
            ("- {email: a@b.c, user: a}\n---\nidentities: []", 3, "second document"),
            ("- {email: a@b.c, user: a}\n...\n", 3, "no end"),
            ("- email: a@b.c\n  user: a # \u{85}  groups: [x]", 3, "blanks and line feeds"),
            ("- email: a@b.c # \u{2028}  groups: [x]\n  user: a", 2, "blanks and line feeds"),
            ("- email: a@b.c\n  user: |-\n    007", 4, "in one line"),
            ("- email:\ta@b.c\n  user: a", 2, "blanks and line feeds"),
            ("- email: a@b.c\n  user: \"a\\/b\"", 3, "no escape"),
        ] {
            let error = error_of(entry);
            assert!(error.line == line && error.message.contains(part), "{entry}: {error}");
        }
        assert!(compile("%YAML 1.2\n---\nidentities: []").is_err());
    }

    #[test]
    fn case_172_line_ends_comments_and_lists_that_are_named_once_compile() {
        let yaml = "# é\r\nidentities:\r\n- email: a@b.c # c\r\n  user: a\r\n  groups: &dev [x, z]\r\n\
                    - {email: b@b.c, user: b, groups: *dev}\r\n";
        assert_eq!(compile(yaml).unwrap().emails, "a@b.c\ta\tx\tz\nb@b.c\tb\tx\tz\n");
    }

    #[test]
    fn the_map_of_this_repository_compiles() {
        compile(include_str!("../identities.yaml")).unwrap();
    }
}
