//! Plain values in, typed [`Config`] out. A missing or malformed value is an error that names the variable.
//!
//! Out of scope: where the values come from (`edge` reads the Worker's bindings).

use serde::Serialize;
use thiserror::Error;

use crate::signature::Key;

/// How many streams in our hands one user may have, unless `MAX_STREAMS` says it.
const MAX_STREAMS: usize = 50;

/// A variable of `[vars]`. TOML has more types than text, and wrangler hands them on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Var {
    /// A string.
    Text(String),
    /// A boolean.
    Switch(bool),
    /// An array of strings.
    List(Vec<String>),
    /// Anything else, by the name of its kind: "a number".
    Other(&'static str),
}

/// What `[vars]` of `wrangler.toml` gives. A binding that is missing is `None`.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each says whether something is there")]
pub struct Vars {
    /// `ACCESS_TEAM_DOMAIN`: the team's origin.
    pub access_team_domain: Option<Var>,
    /// `ACCESS_AUD`: one audience tag, or several, separated by commas or in an array.
    pub access_aud: Option<Var>,
    /// `LOG_LEVEL`: `debug`, `info` (the default), `warn` or `error`.
    pub log_level: Option<Var>,
    /// `ENABLE_K8S_LOGGING`: true or false (the default), as a boolean or as text.
    pub enable_k8s_logging: Option<Var>,
    /// `LAST_HOP_KEY`, a secret: what requests are signed by, where the last hop asks for it.
    pub last_hop_key: Option<Var>,
    /// Whether the Workers VPC binding `KUBE_API` is there.
    pub has_kube_api: bool,
    /// Whether the Workers KV binding `IDENTITIES` is there.
    pub has_identities: bool,
    /// Whether the policy has `grants`, which need it.
    pub has_grants: bool,
    /// `MAX_STREAMS`: how many streams in our hands one user may have.
    pub max_streams: Option<Var>,
    /// `CONTACT`: who is asked for access.
    pub contact: Option<Var>,
    /// Whether the Durable Object `GRANTS` is bound.
    pub has_ledger: bool,
    /// Whether the Durable Objects `SESSIONS` and `ROLL` are bound.
    pub has_sessions: bool,
    /// Whether the R2 bucket `RECORDINGS` is bound.
    pub has_recordings: bool,
    /// Whether the policy has guards that bound or record streams, which need the former.
    pub bounds_sessions: bool,
    /// Whether some of them record, which needs the latter.
    pub may_record: bool,
}

/// A complete configuration; there is no partial one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The `iss` that a token must have: the team's origin, without a trailing slash.
    pub issuer: String,
    /// The audience tags, of which a token must name one.
    pub audiences: Vec<String>,
    /// The least severe line that is logged.
    pub log_level: Level,
    /// Whether each request leaves an audit event.
    pub audit: bool,
    /// What requests are signed by.
    pub last_hop_key: Option<Key>,
    /// How many streams in our hands one user may have.
    pub max_streams: usize,
    /// What is bound beside.
    pub features: Features,
    /// Who is asked for access; empty where nobody says.
    pub contact: String,
}

/// What the gateway has, by what is bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Features {
    /// Streams in our hands.
    pub sessions: bool,
    /// Recordings of them.
    pub recordings: bool,
    /// Grants that are given through the gateway: an object keeps them, and Workers KV.
    pub grants: bool,
}

/// How severe a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One line for each request that was served.
    Debug,
    /// What an operator may want to know, such as new keys.
    Info,
    /// A request was refused.
    Warn,
    /// The gateway or something that it relies on is broken.
    Error,
}

impl Level {
    /// The name, as in `LOG_LEVEL` and in the lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The method of the console that writes a line of this level: the platform takes the severity from it.
    #[must_use]
    pub fn method(self) -> &'static str {
        if self == Self::Info { "log" } else { self.name() }
    }
}

/// A configuration error: the variable, and how to set it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{variable} is {problem}: {remedy}")]
pub struct ConfigError {
    /// The name of the variable or binding.
    pub variable: &'static str,
    problem: &'static str,
    remedy: &'static str,
}

impl Config {
    /// Reads the variables. A placeholder such as `<AUD_TAG>` counts as missing.
    pub fn parse(vars: &Vars) -> Result<Self, ConfigError> {
        let issuer = parse_team_domain(vars.access_team_domain.as_ref())?;
        let audiences = parse_audiences(vars.access_aud.as_ref())?;
        let log_level = parse_level(vars.log_level.as_ref())?;
        let audit = parse_switch(vars.enable_k8s_logging.as_ref())?;
        let last_hop_key = parse_key(vars.last_hop_key.as_ref())?;
        let max_streams = parse_count(vars.max_streams.as_ref())?;
        for (is_needed, is_there, variable, remedy) in [
            (
                true,
                vars.has_kube_api,
                "KUBE_API",
                "bind the Workers VPC service in wrangler.toml under [[vpc_services]], and deploy again",
            ),
            (
                vars.has_grants,
                vars.has_identities,
                "IDENTITIES",
                "identities.yaml has grants, which are kept there: set identities_kv = true in Terraform, and deploy again",
            ),
            (
                vars.bounds_sessions,
                vars.has_sessions,
                "SESSIONS",
                "a guard of identities.yaml has record or max_session, which needs the Durable Objects SESSIONS and ROLL: set sessions = true in Terraform, and deploy again",
            ),
            (
                vars.may_record,
                vars.has_recordings,
                "RECORDINGS",
                "a guard of identities.yaml has record, and recordings are kept there: set sessions = true in Terraform, and deploy again",
            ),
        ] {
            if is_needed && !is_there {
                return Err(ConfigError { variable, problem: "missing", remedy });
            }
        }
        Ok(Self {
            issuer,
            audiences,
            log_level,
            audit,
            last_hop_key,
            max_streams,
            features: Features {
                sessions: vars.has_sessions,
                recordings: vars.has_recordings,
                grants: vars.has_ledger && vars.has_identities,
            },
            contact: parse_contact(vars.contact.as_ref())?,
        })
    }
}

fn parse_team_domain(value: Option<&Var>) -> Result<String, ConfigError> {
    let error = |problem| ConfigError {
        variable: "ACCESS_TEAM_DOMAIN",
        problem,
        remedy: "set it to the team's origin, such as \"https://team.cloudflareaccess.com\"",
    };
    let value = text(value).map_err(error)?.ok_or(error("missing"))?;
    let host = value.strip_prefix("https://").ok_or(error("malformed"))?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !host.contains('.') || !host.split('.').all(is_label) {
        return Err(error("malformed"));
    }
    Ok(format!("https://{}", host.to_ascii_lowercase()))
}

fn parse_audiences(value: Option<&Var>) -> Result<Vec<String>, ConfigError> {
    let error = |problem| ConfigError {
        variable: "ACCESS_AUD",
        problem,
        remedy: "set it to the audience tag of the Access application; separate several by commas, or write an array",
    };
    let audiences: Vec<String> = if let Some(Var::List(tags)) = value {
        tags.clone()
    } else {
        let value = text(value).map_err(error)?.ok_or(error("missing"))?;
        value.split(',').map(|tag| tag.trim().to_owned()).collect()
    };
    let is_tag = |tag: &String| {
        (1..=256).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if audiences.is_empty() {
        return Err(error("missing"));
    }
    audiences.iter().all(is_tag).then_some(audiences).ok_or(error("malformed"))
}

fn parse_level(value: Option<&Var>) -> Result<Level, ConfigError> {
    let error = |problem| ConfigError {
        variable: "LOG_LEVEL",
        problem,
        remedy: "set it to \"debug\", \"info\", \"warn\" or \"error\"",
    };
    let name = text(value).map_err(error)?.unwrap_or("info");
    let levels = [Level::Debug, Level::Info, Level::Warn, Level::Error];
    levels.into_iter().find(|level| level.name() == name).ok_or(error("malformed"))
}

fn parse_switch(value: Option<&Var>) -> Result<bool, ConfigError> {
    let error = |problem| ConfigError { variable: "ENABLE_K8S_LOGGING", problem, remedy: "set it to true or false" };
    if let Some(Var::Switch(is_on)) = value {
        return Ok(*is_on);
    }
    match text(value).map_err(error)? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(error("malformed")),
    }
}

fn parse_count(value: Option<&Var>) -> Result<usize, ConfigError> {
    let error =
        |problem| ConfigError { variable: "MAX_STREAMS", problem, remedy: "set it to a whole number from 1 to 1000" };
    let Some(count) = text(value).map_err(error)? else {
        return Ok(MAX_STREAMS);
    };
    count.parse().ok().filter(|count| (1..=1000).contains(count)).ok_or(error("malformed"))
}

fn parse_contact(value: Option<&Var>) -> Result<String, ConfigError> {
    let remedy = "set it to who is asked for access, such as \"the platform team, #platform\": one line of at most 200 characters";
    let error = |problem| ConfigError { variable: "CONTACT", problem, remedy };
    // An address may stand in angle brackets: a placeholder is nothing else.
    let is_placeholder = |text: &str| text.starts_with('<') && text.ends_with('>');
    let contact = match value {
        Some(Var::Text(text)) if !is_placeholder(text.trim()) => text.trim(),
        value => text(value).map_err(error)?.unwrap_or_default(),
    };
    let is_line = contact.chars().count() <= 200 && !contact.contains(char::is_control);
    is_line.then(|| contact.to_owned()).ok_or(error("malformed"))
}

fn parse_key(value: Option<&Var>) -> Result<Option<Key>, ConfigError> {
    let error = |problem| ConfigError {
        variable: "LAST_HOP_KEY",
        problem,
        remedy: "it is the key of the guarded last hop, of at least 32 characters, and `npm run deploy` sets it",
    };
    let key = text(value).map_err(error)?;
    key.map(|key| Key::parse(key).ok_or(error("malformed"))).transpose()
}

/// The trimmed text, unless it is empty or a placeholder. What is no text is an error that says what it is.
fn text(value: Option<&Var>) -> Result<Option<&str>, &'static str> {
    match value {
        None => Ok(None),
        Some(Var::Text(text)) => {
            let text = text.trim();
            Ok((!text.is_empty() && !text.contains(['<', '>'])).then_some(text))
        }
        Some(Var::Switch(_)) => Err("a boolean"),
        Some(Var::List(_)) => Err("an array"),
        Some(Var::Other(kind)) => Err(kind),
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::{Config, Var, Vars};

    /// A complete set of variables, for one application of one team.
    pub(crate) fn vars() -> Vars {
        Vars {
            access_team_domain: Some(Var::Text("https://team.cloudflareaccess.com".into())),
            access_aud: Some(Var::Text("aud".into())),
            has_kube_api: true,
            ..Vars::default()
        }
    }

    /// What they configure.
    pub(crate) fn config() -> Config {
        Config::parse(&vars()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::tests_support::vars;
    use super::*;

    // One word for a table of many.
    #[allow(clippy::unnecessary_wraps, reason = "as a variable is given")]
    fn var(text: &str) -> Option<Var> {
        Some(Var::Text(text.into()))
    }

    #[test]
    fn a_complete_configuration_is_read() {
        let config = Config::parse(&Vars {
            access_team_domain: var("https://Team.cloudflareaccess.com/"),
            access_aud: var("aud-1, aud-2"),
            log_level: var("warn"),
            enable_k8s_logging: var("true"),
            last_hop_key: var("a key of thirty-two characters, or more"),
            has_kube_api: true,
            has_identities: true,
            has_grants: true,
            max_streams: var("7"),
            contact: var("the platform team, #platform"),
            has_ledger: true,
            has_sessions: true,
            has_recordings: true,
            bounds_sessions: true,
            may_record: true,
        })
        .unwrap();
        assert_eq!(config.issuer, "https://team.cloudflareaccess.com");
        assert_eq!(config.audiences, ["aud-1", "aud-2"]);
        assert_eq!((config.log_level, config.audit), (Level::Warn, true));
        assert_eq!((config.max_streams, Config::parse(&vars()).unwrap().max_streams), (7, 50));
        assert_eq!(format!("{:?}", config.last_hop_key), "Some(Key(..))", "no log shows a key");
        assert_eq!(config.contact, "the platform team, #platform");
        assert_eq!(config.features, Features { sessions: true, recordings: true, grants: true });
        let without_store = Config::parse(&Vars { has_ledger: true, ..vars() }).unwrap();
        assert_eq!(without_store.features, Features::default(), "grants are kept in Workers KV too");
        for (given, read) in [("Ops <ops@example.com>", "Ops <ops@example.com>"), (" <CONTACT> ", ""), ("", "")] {
            assert_eq!(Config::parse(&Vars { contact: var(given), ..vars() }).unwrap().contact, read);
        }
        let long = "x".repeat(201);
        for contact in ["a\nb", "a\u{7f}b", &long] {
            assert_eq!(Config::parse(&Vars { contact: var(contact), ..vars() }).unwrap_err().variable, "CONTACT");
        }
        let defaults = Config::parse(&vars()).unwrap();
        assert_eq!((defaults.log_level, defaults.audit, defaults.last_hop_key), (Level::Info, false, None));
        let empty = Config::parse(&Vars { log_level: var(""), ..vars() });
        assert_eq!(empty.unwrap().log_level, Level::Info);
    }

    #[test]
    fn case_173_a_toml_boolean_or_array_means_what_it_says() {
        for is_on in [true, false] {
            let config = Config::parse(&Vars {
                enable_k8s_logging: Some(Var::Switch(is_on)),
                access_aud: Some(Var::List(vec!["x".into(), "y".into()])),
                ..vars()
            })
            .unwrap();
            assert_eq!(config.audit, is_on);
            assert_eq!(config.audiences, ["x", "y"]);
        }
    }

    #[test]
    fn a_missing_or_malformed_value_names_its_variable_and_the_remedy() {
        let team = |value| Vars { access_team_domain: value, ..vars() };
        let aud = |value| Vars { access_aud: value, ..vars() };
        let level = |value| Vars { log_level: Some(value), ..vars() };
        let audit = |value| Vars { enable_k8s_logging: Some(value), ..vars() };
        let streams = |count| Vars { max_streams: var(count), ..vars() };
        let key = |text: String| Vars { last_hop_key: Some(Var::Text(text)), ..vars() };
        let list = |tags: &[&str]| Var::List(tags.iter().map(|tag| (*tag).to_owned()).collect());
        for (vars, start) in [
            (team(None), "ACCESS_TEAM_DOMAIN is missing: set it"),
            (team(var(" ")), "ACCESS_TEAM_DOMAIN is missing"),
            (team(var("<TEAM_DOMAIN>")), "ACCESS_TEAM_DOMAIN is missing"),
            (team(var("http://team.cloudflareaccess.com")), "ACCESS_TEAM_DOMAIN is malformed"),
            (team(var("team.cloudflareaccess.com")), "ACCESS_TEAM_DOMAIN is malformed"),
            (team(var("https://team.cloudflareaccess.com/x")), "ACCESS_TEAM_DOMAIN is malformed"),
            (team(var("https://a@b.c")), "ACCESS_TEAM_DOMAIN is malformed"),
            (team(var("https://team")), "ACCESS_TEAM_DOMAIN is malformed"),
            (team(Some(list(&["https://a.b"]))), "ACCESS_TEAM_DOMAIN is an array"),
            (aud(None), "ACCESS_AUD is missing"),
            (aud(var("<AUD_TAG>")), "ACCESS_AUD is missing"),
            (aud(var("a,,b")), "ACCESS_AUD is malformed"),
            (aud(var("a b")), "ACCESS_AUD is malformed"),
            (aud(Some(list(&[]))), "ACCESS_AUD is missing"),
            (aud(Some(list(&["a", "<AUD_TAG>"]))), "ACCESS_AUD is malformed"),
            (aud(Some(Var::Other("a number"))), "ACCESS_AUD is a number: set it"),
            (level(Var::Text("verbose".into())), "LOG_LEVEL is malformed"),
            (level(Var::Other("a number")), "LOG_LEVEL is a number: set it"),
            (level(Var::Switch(true)), "LOG_LEVEL is a boolean"),
            (audit(Var::Text("yes".into())), "ENABLE_K8S_LOGGING is malformed"),
            (audit(Var::Other("a number")), "ENABLE_K8S_LOGGING is a number"),
            (audit(list(&["true"])), "ENABLE_K8S_LOGGING is an array"),
            (key("k".repeat(31)), "LAST_HOP_KEY is malformed: it is the key of the guarded last hop"),
            (Vars { has_kube_api: false, ..vars() }, "KUBE_API is missing: bind"),
            (Vars { has_grants: true, ..vars() }, "IDENTITIES is missing: identities.yaml has grants"),
            (streams("0"), "MAX_STREAMS is malformed: set it"),
            (streams("1001"), "MAX_STREAMS is malformed"),
            (streams("many"), "MAX_STREAMS is malformed"),
            (Vars { bounds_sessions: true, ..vars() }, "SESSIONS is missing: a guard of identities.yaml"),
            (Vars { may_record: true, ..vars() }, "RECORDINGS is missing: a guard of identities.yaml"),
        ] {
            let text = Config::parse(&vars).unwrap_err().to_string();
            assert!(text.starts_with(start), "{text}");
        }
    }
}
