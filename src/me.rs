//! Who the caller is, what they may do, and until when: what the gateway tells them of themselves.

use chrono::SecondsFormat;
use serde::Serialize;

use crate::caller::Caller;
use crate::config::Features;
use crate::deadline::Why;
use crate::guard::{Account, Guards};
use crate::identity::{ActAs, Source};
use crate::json::{self, Malformed, Object};
use crate::record::{open, timestamp};
use crate::rights::{Guarded, Rights};

/// Where it is.
pub const PATH: &str = "/.kube-access/me";

/// The most namespaces that are told.
pub const MAX_NAMESPACES: usize = 500;

/// The longest answer of the API server that is read for it, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// What of it the API server is asked.
#[derive(Debug, Clone, Copy)]
pub struct Answers<'a> {
    /// `/version`.
    pub version: Option<&'a str>,
    /// The review of what the caller may do.
    pub rights: Option<&'a str>,
    /// The namespaces, as a table; `Err` with a sentence where they were not asked for.
    pub namespaces: Result<Option<&'a str>, &'a str>,
}

/// What is told of a caller.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// The host by which they reach the gateway.
    pub host: &'a str,
    /// The namespace whose rights are asked for.
    pub namespace: &'a str,
    /// All guards.
    pub guards: &'a Guards<'a>,
    /// What there is.
    pub features: Features,
    /// Who is asked for access.
    pub contact: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Me<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_token: Option<&'a str>,
    rule: &'static str,
    groups: Vec<Group<'a>>,
    /// When the login at Access ends.
    login: String,
    /// The earliest end of the login, the entry and the grants.
    until: String,
    why: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act_as: Option<Acts<'a>>,
    guards: Vec<Account<'a>>,
    cluster: Cluster<'a>,
    namespaces: Namespaces<'a>,
    rights: Rights<'a>,
    features: Features,
    #[serde(skip_serializing_if = "str::is_empty")]
    contact: &'a str,
}

#[derive(Serialize)]
struct Group<'a> {
    name: &'a str,
    from: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Acts<'a> {
    users: &'a [String],
    groups: &'a [String],
    uids: &'a [String],
    extras: &'a [String],
    reason_required: bool,
}

#[derive(Serialize)]
struct Cluster<'a> {
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Namespaces<'a> {
    names: Vec<String>,
    is_complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

/// All of it, as JSON.
#[must_use]
pub fn json(question: Question<'_>, answers: Answers<'_>) -> String {
    let Question { caller, host, namespace, guards, features, contact } = question;
    let identity = caller.identity();
    let groups = identity.groups_with_sources().map(|(name, Source { rule, grant, expires })| Group {
        name,
        from: rule.map_or("grant", |rule| rule.name()),
        grant: grant.as_deref(),
        expires: expires.map(moment),
    });
    let ends = caller.ends();
    let version = answers.version.and_then(|answer| Object::read(answer).ok()?.need("gitVersion").ok());
    let me = Me {
        user: identity.user(),
        email: identity.email(),
        service_token: identity.subject().filter(|_| identity.email().is_none()),
        rule: identity.rule().name(),
        groups: groups.collect(),
        login: moment(caller.login_ends()),
        until: moment(ends.at),
        why: if ends.why == Why::Token { "token" } else { "policy" },
        act_as: acts(identity.act_as()),
        guards: guards.accounts(caller.held()).collect(),
        cluster: Cluster {
            host,
            problem: version.is_none().then_some("the API server does not tell its version right now"),
            version,
        },
        namespaces: Namespaces::read(answers.namespaces),
        rights: Rights::read(namespace, answers.rights, Guarded { guards, held: caller.held() }),
        features,
        contact,
    };
    [&open(&me), "}\n"].concat()
}

fn acts(act_as: &ActAs) -> Option<Acts<'_>> {
    let ActAs { users, groups, uids, extras, needs_reason } = act_as;
    let is_for_nobody = users.is_empty() && groups.is_empty() && uids.is_empty() && extras.is_empty();
    (!is_for_nobody).then_some(Acts { users, groups, uids, extras, reason_required: *needs_reason })
}

fn moment(seconds: u64) -> String {
    timestamp(seconds.saturating_mul(1000), SecondsFormat::Secs)
}

impl<'a> Namespaces<'a> {
    fn read(answer: Result<Option<&str>, &'a str>) -> Self {
        let none = |problem| Self { names: Vec::new(), is_complete: false, problem: Some(problem) };
        match answer {
            Err(problem) => none(problem),
            Ok(None) => none(
                "the namespaces cannot be listed: RBAC does not let you, or the API server does not answer. Type one",
            ),
            Ok(Some(answer)) => {
                Self::parse(answer).unwrap_or_else(|Malformed| none("the list of namespaces cannot be read: type one"))
            }
        }
    }

    fn parse(answer: &str) -> Result<Self, Malformed> {
        let list = Object::read(answer)?;
        let rows = json::items(list.raw("rows")?.ok_or(Malformed)?)?;
        // The first column of every table is the name.
        let name = |row| {
            let cells = json::items(Object::read(row)?.raw("cells")?.ok_or(Malformed)?)?;
            json::value(cells.first().ok_or(Malformed)?)
        };
        let names = rows.into_iter().map(name).collect::<Result<_, _>>()?;
        let more: String = list.need::<Object<'_>>("metadata")?.get("continue")?.unwrap_or_default();
        let is_complete = more.is_empty();
        Ok(Self {
            names,
            is_complete,
            problem: (!is_complete).then_some("there are more namespaces than these: type one"),
        })
    }
}

#[cfg(test)]
mod tests;
