//! `identities.yaml` -> the compiled policy. Used by `build.rs`, never by the Worker itself.
//!
//! Every mistake is an error that gives the line and what was expected: an invalid policy does not compile.

use std::fmt;

use chrono::DateTime;
use serde::Deserialize;
use serde_saphyr::Spanned;
use serde_saphyr::options::MergeKeyPolicy;

use super::{name, words};
use identities::Entry;

mod guards;
mod identities;
mod resources;
mod yaml;

/// The compiled policy, as `src/identity.rs` and `src/guard.rs` read it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    /// Exact addresses in lower case, sorted, each with its row.
    pub(super) emails: String,
    /// Email domains in lower case, sorted, each with its row.
    pub(super) email_domains: String,
    /// Client IDs of Access service tokens, sorted, each with its row.
    pub(super) service_tokens: String,
    /// Groups of the identity provider, in the order of the file: `ID TAB login method TAB row`.
    pub(super) idp_groups: String,
    /// The guards, in the order of the file.
    pub(super) guards: String,
    /// Users TAB groups that Workers KV may hand out beside those of the entries: Terraform's to allow.
    pub(super) granted: String,
}

/// What is wrong with a policy, and on which line (counted from 1).
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
struct Policy {
    identities: Vec<Spanned<Entry>>,
    #[serde(default)]
    guards: Vec<Spanned<guards::Guard>>,
    #[serde(default)]
    grants: Grants,
}

/// The names that Workers KV may hand out beside those of the entries.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grants {
    #[serde(default)]
    users: Vec<Spanned<String>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
}

/// Reads the text of `identities.yaml`.
pub(super) fn compile(yaml: &str) -> Result<Tables, MapError> {
    yaml::refuse_what_others_read_otherwise(yaml)?;
    // The parser's budget guards against strangers' documents; this one is the operator's own, and may be large.
    let options = serde_saphyr::options! {
        budget: None,
        merge_keys: MergeKeyPolicy::Error,
        no_schema: true,
        strict_booleans: true,
    };
    let policy: Policy = serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
        let error = error.without_snippet();
        MapError { line: error.location().map_or(0, |location| location.line()), message: yaml::in_words(error, yaml) }
    })?;
    let [emails, email_domains, service_tokens, idp_groups] = identities::compile(&policy.identities)?;
    for (kind, names) in [("user", &policy.grants.users), ("group", &policy.grants.groups)] {
        for name in names {
            check_name(kind, name)?;
            identities::check_literal(kind, name)?;
        }
    }
    let guards = guards::compile(&policy)?;
    let granted = [cell(&policy.grants.users), cell(&policy.grants.groups)].join("\t");
    Ok(Tables { emails, email_domains, service_tokens, idp_groups, guards, granted })
}

/// A name that is sent to the cluster: well-formed, and not one of Kubernetes' own.
fn check_name(kind: &str, name: &Spanned<String>) -> Result<(), MapError> {
    name::check(&name.value).or_else(|why| fail(name, format!("{kind} {:?}: {why}", name.value)))
}

fn check_form(kind: &str, name: &Spanned<String>) -> Result<(), MapError> {
    name::check_form(&name.value).or_else(|why| fail(name, format!("{kind} {:?}: {why}", name.value)))
}

/// The seconds since the Unix epoch of a time by RFC 3339.
fn moment(text: &str) -> Option<u64> {
    DateTime::parse_from_rfc3339(text).ok().and_then(|moment| u64::try_from(moment.timestamp()).ok())
}

fn fail<T, V>(at: &Spanned<V>, message: impl Into<String>) -> Result<T, MapError> {
    Err(MapError { line: at.referenced.line(), message: message.into() })
}

/// Names as one cell of a table, each once and in their order: no name has a comma.
fn cell(names: &[Spanned<String>]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !seen.contains(&name.value.as_str()) {
            seen.push(&name.value);
        }
    }
    seen.join(",")
}

#[cfg(test)]
mod tests;
