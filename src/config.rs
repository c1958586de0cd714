//! Plain values in, typed [`Config`] out. A missing or malformed value is an error that names the variable.
//!
//! Out of scope: where the values come from (`edge` reads the Worker's bindings).

use thiserror::Error;

/// What `[vars]` of `wrangler.toml` gives, as text. A binding that is missing is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Vars<'a> {
    /// `ACCESS_TEAM_DOMAIN`: the team's origin.
    pub access_team_domain: Option<&'a str>,
    /// `ACCESS_AUD`: one audience tag, or several separated by commas.
    pub access_aud: Option<&'a str>,
    /// `LOG_LEVEL`: `debug`, `info` (the default), `warn` or `error`.
    pub log_level: Option<&'a str>,
    /// `ENABLE_K8S_LOGGING`: `"true"` or `"false"` (the default).
    pub enable_k8s_logging: Option<&'a str>,
    /// Whether the Workers VPC binding `KUBE_API` is there.
    pub has_kube_api: bool,
}

/// A complete configuration; there is no partial one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The `iss` that a token must have: the team's origin, without a trailing slash.
    pub issuer: String,
    /// Where the team publishes its keys.
    pub certs_url: String,
    /// The audience tags, of which a token must name one.
    pub audiences: Vec<String>,
    /// The least severe line that is logged.
    pub log_level: Level,
    /// Whether each request leaves an audit event.
    pub audit: bool,
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
    pub fn parse(vars: Vars<'_>) -> Result<Self, ConfigError> {
        let issuer = parse_team_domain(vars.access_team_domain)?;
        let audiences = parse_audiences(vars.access_aud)?;
        let log_level = parse_level(vars.log_level)?;
        let audit = parse_switch(vars.enable_k8s_logging)?;
        if !vars.has_kube_api {
            return Err(ConfigError {
                variable: "KUBE_API",
                problem: "missing",
                remedy: "bind the Workers VPC service in wrangler.toml under [[vpc_services]], and deploy again",
            });
        }
        let certs_url = format!("{issuer}/cdn-cgi/access/certs");
        Ok(Self {
            issuer,
            certs_url,
            audiences,
            log_level,
            audit,
        })
    }
}

fn parse_team_domain(value: Option<&str>) -> Result<String, ConfigError> {
    let error = |problem| ConfigError {
        variable: "ACCESS_TEAM_DOMAIN",
        problem,
        remedy: "set it to the team's origin, such as \"https://team.cloudflareaccess.com\"",
    };
    let value = present(value).ok_or(error("missing"))?;
    let host = value.strip_prefix("https://").ok_or(error("malformed"))?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !host.contains('.') || !host.split('.').all(is_label) {
        return Err(error("malformed"));
    }
    Ok(format!("https://{}", host.to_ascii_lowercase()))
}

fn parse_audiences(value: Option<&str>) -> Result<Vec<String>, ConfigError> {
    let error = |problem| ConfigError {
        variable: "ACCESS_AUD",
        problem,
        remedy: "set it to the audience tag of the Access application; separate several by commas",
    };
    let value = present(value).ok_or(error("missing"))?;
    let audiences: Vec<String> = value.split(',').map(|tag| tag.trim().to_owned()).collect();
    let is_tag = |tag: &String| {
        (1..=256).contains(&tag.len())
            && tag
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if audiences.iter().all(is_tag) {
        Ok(audiences)
    } else {
        Err(error("malformed"))
    }
}

fn parse_level(value: Option<&str>) -> Result<Level, ConfigError> {
    match value.map(str::trim) {
        None | Some("info") => Ok(Level::Info),
        Some("debug") => Ok(Level::Debug),
        Some("warn") => Ok(Level::Warn),
        Some("error") => Ok(Level::Error),
        Some(_) => Err(ConfigError {
            variable: "LOG_LEVEL",
            problem: "malformed",
            remedy: "set it to \"debug\", \"info\", \"warn\" or \"error\"",
        }),
    }
}

fn parse_switch(value: Option<&str>) -> Result<bool, ConfigError> {
    match value.map(str::trim) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ConfigError {
            variable: "ENABLE_K8S_LOGGING",
            problem: "malformed",
            remedy: "set it to \"true\" or \"false\"",
        }),
    }
}

/// The trimmed value, unless it is empty or a placeholder.
fn present(value: Option<&str>) -> Option<&str> {
    value
        .map(str::trim)
        .filter(|value| !value.is_empty() && !value.contains(['<', '>']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Vars<'static> = Vars {
        access_team_domain: Some("https://Team.cloudflareaccess.com/"),
        access_aud: Some("aud-1, aud-2"),
        log_level: Some("warn"),
        enable_k8s_logging: Some("true"),
        has_kube_api: true,
    };

    #[test]
    fn a_complete_configuration_is_read() {
        let config = Config::parse(GOOD).unwrap();
        assert_eq!(config.issuer, "https://team.cloudflareaccess.com");
        assert_eq!(
            config.certs_url,
            "https://team.cloudflareaccess.com/cdn-cgi/access/certs"
        );
        assert_eq!(config.audiences, ["aud-1", "aud-2"]);
        assert_eq!((config.log_level, config.audit), (Level::Warn, true));
        let defaults = Config::parse(Vars {
            log_level: None,
            enable_k8s_logging: None,
            ..GOOD
        })
        .unwrap();
        assert_eq!((defaults.log_level, defaults.audit), (Level::Info, false));
    }

    #[test]
    fn a_missing_or_malformed_value_names_its_variable_and_the_remedy() {
        let team = |value| Vars {
            access_team_domain: value,
            ..GOOD
        };
        let aud = |value| Vars {
            access_aud: value,
            ..GOOD
        };
        for (vars, start) in [
            (team(None), "ACCESS_TEAM_DOMAIN is missing: set it"),
            (team(Some(" ")), "ACCESS_TEAM_DOMAIN is missing"),
            (team(Some("<TEAM_DOMAIN>")), "ACCESS_TEAM_DOMAIN is missing"),
            (
                team(Some("http://team.cloudflareaccess.com")),
                "ACCESS_TEAM_DOMAIN is malformed",
            ),
            (
                team(Some("team.cloudflareaccess.com")),
                "ACCESS_TEAM_DOMAIN is malformed",
            ),
            (
                team(Some("https://team.cloudflareaccess.com/x")),
                "ACCESS_TEAM_DOMAIN is malformed",
            ),
            (
                team(Some("https://a@b.c")),
                "ACCESS_TEAM_DOMAIN is malformed",
            ),
            (
                team(Some("https://team")),
                "ACCESS_TEAM_DOMAIN is malformed",
            ),
            (aud(None), "ACCESS_AUD is missing"),
            (aud(Some("<AUD_TAG>")), "ACCESS_AUD is missing"),
            (aud(Some("a,,b")), "ACCESS_AUD is malformed"),
            (aud(Some("a b")), "ACCESS_AUD is malformed"),
            (
                Vars {
                    log_level: Some("verbose"),
                    ..GOOD
                },
                "LOG_LEVEL is malformed",
            ),
            (
                Vars {
                    enable_k8s_logging: Some("yes"),
                    ..GOOD
                },
                "ENABLE_K8S_LOGGING is malformed",
            ),
            (
                Vars {
                    has_kube_api: false,
                    ..GOOD
                },
                "KUBE_API is missing: bind",
            ),
        ] {
            let text = Config::parse(vars).unwrap_err().to_string();
            assert!(text.starts_with(start), "{text}");
        }
    }
}
