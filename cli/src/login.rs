//! `kubectl access login`, `token` and `logout`: Cloudflare Access's managed OAuth, for machines without WARP.
//!
//! `token` is what kubectl runs (client-go's exec credentials, `client.authentication.k8s.io/v1`). What is kept: the access token, which
//! lasts minutes, in a file; the refresh token in the system's keyring, or beside it where there is none. Of many kubectls that need a new
//! one at once, one gets it and the others wait: a refresh token may be good for one use.
//!
//! RFC 9728 and 8414 (discovery), 7591 (registration), 7636 (PKCE), 8252 (redirects to this machine), 8707 (resource).

use std::env;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use hyper::Uri;
use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, RefreshToken, RequestTokenError,
    Scope, TokenResponse, TokenUrl,
};
use serde_json::{Value, json};

use crate::failure::{Because, Failure};
use crate::host::Host;
use crate::print;
use crate::sessions::now;
use crate::upstream::Upstream;
use discovery::Server;
use redirect::Redirect;
use store::{Kept, Store};

mod discovery;
mod redirect;
mod store;

/// How long before its end an access token is no longer used, in seconds.
const MARGIN: i64 = 30;

/// How long an access token lasts whose server does not say it, in seconds.
const LIFETIME: u64 = 300;

/// The versions of `ExecCredential`: the one that is, and the one before.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// By what a server says that a login has ended (RFC 6749 section 5.2): the refresh token has ended, was used before, or is somebody
/// else's; or the server has forgotten this client, which registered itself.
const ENDED: [&str; 3] = ["invalid_grant", "invalid_client", "unauthorized_client"];

/// How long somebody may take to log in.
const PATIENCE: Duration = Duration::from_mins(5);

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The gateway
    #[arg(value_name = "https://HOST", env = "KUBE_ACCESS_HOST")]
    host: Host,
    /// Prints the address to open, and opens no browser
    #[arg(long)]
    no_browser: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// The gateway
    #[arg(value_name = "https://HOST", env = "KUBE_ACCESS_HOST")]
    host: Host,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// The gateway
    #[arg(value_name = "https://HOST", env = "KUBE_ACCESS_HOST")]
    host: Host,
}

/// Logs in by a browser.
pub(crate) async fn login(login: &Login) -> Result<(), Failure> {
    let store = Store::of(&login.host)?;
    let _lock = store.lock()?;
    let kept = by_browser(&login.host, &store, login.no_browser).await?;
    let end = kept.end();
    print::note(format_args!(
        "Logged in at {}. This token lasts until {end}; kubectl gets the next ones by itself.",
        login.host
    ));
    Ok(())
}

/// Prints what kubectl asks for.
pub(crate) fn token(token: &Token, wait: impl FnOnce(Waiting<'_>) -> Result<Kept, Failure>) -> Result<(), Failure> {
    let store = Store::of(&token.host)?;
    let kept = match store.read().filter(is_fresh) {
        Some(kept) => kept,
        None => wait(Waiting { host: &token.host, store: &store })?,
    };
    print::line(credential(&kept, exec_info().as_ref()))
}

/// A token that has to be got.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    host: &'a Host,
    store: &'a Store,
}

impl Waiting<'_> {
    /// By the refresh token; else by a browser, if somebody is there.
    pub(crate) async fn renew(self) -> Result<Kept, Failure> {
        let Self { host, store } = self;
        let _lock = store.lock()?;
        // Whoever had the lock before may have got it.
        let kept = store.read();
        if let Some(kept) = kept.clone().filter(is_fresh) {
            return Ok(kept);
        }
        let ended = match (kept, store.refresh_token()?) {
            (Some(kept), Some(refresh)) => match refreshed(&kept, store, refresh).await? {
                Some(kept) => return Ok(kept),
                None => "your login has ended",
            },
            _ => "nobody is logged in",
        };
        if is_interactive() {
            print::note(format_args!("{host}: {ended}."));
            return by_browser(host, store, false).await;
        }
        Err(Failure::new(format!("{ended} at {host}: run `kubectl access login {host}`")))
    }
}

/// Forgets what is kept, and has the server forget it.
pub(crate) async fn logout(logout: &Logout) -> Result<(), Failure> {
    let store = Store::of(&logout.host)?;
    let _lock = store.lock()?;
    let (is_known, kept, refresh) = (store.is_known(), store.read(), store.refresh_token());
    // Forgotten here first: whatever the server answers, nobody can use it from this machine.
    store.forget()?;
    let host = &logout.host;
    let untold = match (kept, refresh) {
        (Some(kept), Ok(Some(refresh))) => match discovery::revoke(&kept, &refresh).await {
            Ok(()) => {
                print::note(format_args!("Logged out of {host}."));
                return Ok(());
            }
            Err(failure) => failure.to_string(),
        },
        (_, Err(failure)) => failure.to_string(),
        (None, Ok(Some(_))) => "what was kept of it cannot be read; the login ends there by itself".to_owned(),
        (_, Ok(None)) if is_known => "its refresh token is not here, nor in a keyring that answers".to_owned(),
        (_, Ok(None)) => {
            print::note(format_args!("Nobody was logged in at {host}."));
            return Ok(());
        }
    };
    print::note(format_args!("Forgotten here; the server was not told: {untold}"));
    Ok(())
}

/// An `ExecCredential`, of the version that kubectl asks for.
fn credential(kept: &Kept, info: Option<&Value>) -> String {
    let asked = info.and_then(|info| info.get("apiVersion")).and_then(Value::as_str);
    let version = VERSIONS.into_iter().find(|version| asked == Some(version)).unwrap_or(VERSIONS[0]);
    json!({
        "apiVersion": version,
        "kind": "ExecCredential",
        "status": {"token": kept.access_token, "expirationTimestamp": kept.end()},
    })
    .to_string()
}

fn is_fresh(kept: &Kept) -> bool {
    now().is_ok_and(|now| now + MARGIN < kept.expires)
}

/// What client-go tells of itself to a program that it runs.
fn exec_info() -> Option<Value> {
    serde_json::from_str(&env::var("KUBERNETES_EXEC_INFO").ok()?).ok()
}

/// Whether somebody can be asked: kubectl tells it, or there is a terminal.
fn is_interactive() -> bool {
    let told = exec_info().and_then(|info| info.pointer("/spec/interactive").and_then(Value::as_bool));
    told.unwrap_or(true) && io::stdin().is_terminal()
}

/// New tokens for the refresh token; nothing, where the server does not take it any more.
async fn refreshed(kept: &Kept, store: &Store, refresh: String) -> Result<Option<Kept>, Failure> {
    let token_endpoint = TokenUrl::new(kept.token_endpoint.clone()).because("the token endpoint")?;
    let client = BasicClient::new(ClientId::new(kept.client_id.clone())).set_token_uri(token_endpoint);
    let upstream = upstream_of(&kept.token_endpoint)?;
    let send = |request| upstream.fetch(request);
    let refresh = RefreshToken::new(refresh);
    let asking = client.exchange_refresh_token(&refresh).add_extra_param("resource", kept.resource.clone());
    match asking.request_async(&send).await {
        Ok(answer) => keep(store, kept.clone(), &answer).map(Some),
        Err(RequestTokenError::ServerResponse(error)) if ENDED.contains(&error.error().as_ref()) => Ok(None),
        Err(error) => Err(Failure::new(told(&error, &kept.token_endpoint))),
    }
}

async fn by_browser(host: &Host, store: &Store, is_quiet: bool) -> Result<Kept, Failure> {
    let server = Server::discover(host).await?;
    let redirect = Redirect::listen().await?;
    let client_id = server.register(&redirect.url).await?;
    let client = BasicClient::new(ClientId::new(client_id.clone()))
        .set_auth_uri(AuthUrl::new(server.authorization_endpoint.clone()).because("the authorization endpoint")?)
        .set_token_uri(TokenUrl::new(server.token_endpoint.clone()).because("the token endpoint")?)
        .set_redirect_uri(RedirectUrl::new(redirect.url.clone()).because("the redirect")?);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let mut asking = client.authorize_url(CsrfToken::new_random).set_pkce_challenge(challenge);
    asking = asking.add_extra_param("resource", server.resource.clone());
    for scope in &server.scopes {
        asking = asking.add_scope(Scope::new(scope.clone()));
        // OpenID Connect Core section 11: without consent there is no access while somebody is away.
        asking = asking.add_extra_param("prompt", "consent");
    }
    let (address, state) = asking.url();
    print::note(format_args!("Log in here:\n\n  {address}\n"));
    if !is_quiet && open::that_detached(address.as_str()).is_err() {
        print::note("No browser can be opened from here: open that address yourself, on this machine.");
    }
    let code =
        tokio::time::timeout(PATIENCE, redirect.code(state.secret(), &server.issuer)).await.map_err(|_| {
            Failure::new(format!("nobody logged in within {} minutes: try again", PATIENCE.as_secs() / 60))
        })??;
    let upstream = upstream_of(&server.token_endpoint)?;
    let send = |request| upstream.fetch(request);
    let asking = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
    let answer = asking.add_extra_param("resource", server.resource.clone()).request_async(&send).await;
    let answer = answer.map_err(|error| Failure::new(told(&error, &server.token_endpoint)))?;
    let kept = Kept {
        client_id,
        token_endpoint: server.token_endpoint,
        revocation_endpoint: server.revocation_endpoint,
        resource: server.resource,
        access_token: String::new(),
        expires: 0,
    };
    keep(store, kept, &answer)
}

/// Keeps what the server gave.
fn keep(store: &Store, kept: Kept, answer: &BasicTokenResponse) -> Result<Kept, Failure> {
    let seconds = answer.expires_in().map_or(LIFETIME, |lifetime| lifetime.as_secs());
    let expires = now()?.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX / 2));
    let kept = Kept { access_token: answer.access_token().secret().clone(), expires, ..kept };
    // The refresh token first: a new one may be the only one that is good.
    if let Some(refresh) = answer.refresh_token() {
        store.keep_refresh_token(refresh.secret())?;
    }
    store.write(&kept)?;
    Ok(kept)
}

/// A client for this endpoint.
fn upstream_of(endpoint: &str) -> Result<Upstream, Failure> {
    let uri: Uri = endpoint.parse().because(endpoint)?;
    Upstream::new(&uri, None)
}

/// What a server, or the way to it, says.
fn told<T>(error: &RequestTokenError<Failure, T>, endpoint: &str) -> String
where
    T: oauth2::ErrorResponse + std::fmt::Display,
{
    match error {
        RequestTokenError::ServerResponse(answer) => format!("{endpoint} gives no token: {answer}"),
        RequestTokenError::Request(failure) => failure.to_string(),
        // What it answered may be secret.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            format!("{endpoint} answers, and not as RFC 6749 says")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_gets_the_version_that_it_asks_for() {
        let kept = Kept {
            client_id: "c".into(),
            token_endpoint: "https://t".into(),
            revocation_endpoint: None,
            resource: "https://k".into(),
            access_token: "secret".into(),
            expires: 1_800_000_000,
        };
        for (info, version) in [
            (None, VERSIONS[0]),
            (Some(json!({"apiVersion": VERSIONS[1]})), VERSIONS[1]),
            (Some(json!({"apiVersion": "client.authentication.k8s.io/v9"})), VERSIONS[0]),
        ] {
            let told: Value = serde_json::from_str(&credential(&kept, info.as_ref())).unwrap();
            assert_eq!(told["apiVersion"], version);
            assert_eq!(told["status"], json!({"token": "secret", "expirationTimestamp": "2027-01-15T08:00:00Z"}));
        }
        assert!(!format!("{kept:?}").contains("secret"), "no log shows it");
        for (expires, end) in [(i64::MAX, "9999-12-31T23:59:59Z"), (-1, "1970-01-01T00:00:00Z")] {
            let told: Value = serde_json::from_str(&credential(&Kept { expires, ..kept.clone() }, None)).unwrap();
            assert_eq!(told["status"]["expirationTimestamp"], end, "kubectl reads no other");
        }
    }
}
