//! By what Access knows whoever runs this: a service token, or what `cloudflared access` keeps for a person.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::failure::Failure;
use crate::host::Host;
use crate::upstream::secret;

/// The variables of a service token, as Cloudflare's own documentation and clients name them.
pub(crate) const VARIABLES: [&str; 2] = ["CF_ACCESS_CLIENT_ID", "CF_ACCESS_CLIENT_SECRET"];

/// How long before its end a token of cloudflared's is no longer used, in seconds.
const MARGIN_SECONDS: u64 = 60;

/// How long cloudflared may take.
const CLOUDFLARED: Duration = Duration::from_secs(30);

/// What is sent to Access.
#[derive(Debug)]
pub(crate) enum Credential {
    /// A service token's ID and secret.
    ServiceToken {
        /// The client ID.
        id: HeaderValue,
        /// The secret, which no log shows.
        secret: HeaderValue,
    },
    /// A person's, which this program tells.
    Cloudflared {
        /// The program.
        program: PathBuf,
        /// The gateway.
        host: Host,
        /// The token that it told last, and its end.
        last: Mutex<Option<(HeaderValue, u64)>>,
    },
}

impl Credential {
    /// What this environment has: a service token, else cloudflared's.
    pub(crate) fn of_environment(host: &Host, cloudflared: PathBuf) -> Result<Self, Failure> {
        let [id, key] = VARIABLES.map(|name| env::var_os(name).filter(|value| !value.is_empty()));
        let [id_name, key_name] = VARIABLES;
        match (id, key) {
            (Some(id), Some(key)) => {
                let read = |name, value: OsString| {
                    let value = value.to_str().and_then(|value| secret(value.trim()));
                    let advice = "see that it is text, and that no line break is in it";
                    value.ok_or_else(|| Failure::new(format!("{name}: no header can hold this value: {advice}")))
                };
                Ok(Self::ServiceToken { id: read(id_name, id)?, secret: read(key_name, key)? })
            }
            (None, None) => Ok(Self::Cloudflared { program: cloudflared, host: host.clone(), last: Mutex::new(None) }),
            (Some(_), None) => {
                Err(Failure::new(format!("{id_name} is set and {key_name} is not: a service token is both")))
            }
            (None, Some(_)) => {
                Err(Failure::new(format!("{key_name} is set and {id_name} is not: a service token is both")))
            }
        }
    }

    /// The headers that say who asks.
    pub(crate) async fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        match self {
            Self::ServiceToken { id, secret } => Ok(vec![
                (HeaderName::from_static("cf-access-client-id"), id.clone()),
                (HeaderName::from_static("cf-access-client-secret"), secret.clone()),
            ]),
            Self::Cloudflared { program, host, last } => {
                let mut last = last.lock().await;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                let known = last.as_ref().filter(|(_, until)| now + MARGIN_SECONDS < *until);
                let token = if let Some((token, _)) = known {
                    token.clone()
                } else {
                    let (token, until) = ask(program, host).await?;
                    *last = Some((token.clone(), until));
                    token
                };
                Ok(vec![(HeaderName::from_static("cf-access-token"), token)])
            }
        }
    }

    /// What to do where Access does not take it.
    pub(crate) fn remedy(&self, host: &Host) -> String {
        match self {
            Self::ServiceToken { .. } => format!(
                "Cloudflare Access does not take this service token: see that CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET are those \
                 of a token that has not ended, and that a Service Auth policy of the application on {host} names it"
            ),
            Self::Cloudflared { .. } => format!(
                "Cloudflare Access does not take cloudflared's token: run `cloudflared access login {host}`, and see that a policy of the \
                 application lets you in"
            ),
        }
    }
}

/// The token, and its end.
async fn ask(program: &PathBuf, host: &Host) -> Result<(HeaderValue, u64), String> {
    let shown = program.display();
    let mut command = Command::new(program);
    command.args(["access", "token", &format!("-app={host}")]);
    let asking = command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(CLOUDFLARED, asking).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            return Err(format!(
                "there is no service token (CF_ACCESS_CLIENT_ID, CF_ACCESS_CLIENT_SECRET), and {shown} does not run ({error}): set the \
                 one, or install the other"
            ));
        }
        Err(_) => return Err(format!("{shown} did not answer within {} seconds", CLOUDFLARED.as_secs())),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let found = if output.status.success() { read(text.trim()) } else { None };
    found.ok_or_else(|| format!("cloudflared has no token for {host}: run `cloudflared access login {host}`"))
}

/// A JWT, and its `exp`. Nothing else passes: cloudflared says on stdout, too, that it has none.
fn read(text: &str) -> Option<(HeaderValue, u64)> {
    let mut parts = text.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some((secret(text)?, claims.get("exp")?.as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_is_taken_for_one_and_its_end_is_known() {
        let token = format!("{}.{}.x", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(r#"{"exp":1800000000}"#));
        let (value, until) = read(&token).unwrap();
        assert_eq!((value.to_str().unwrap(), until), (token.as_str(), 1_800_000_000));
        assert!(!format!("{value:?}").contains('.'), "no log shows it");
        for text in
            ["", "Unable to find token for provided application. Please run login command", "a.b.c", "..", "a.e30.c"]
        {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
