//! Where an application's authorization server is, and what it can do (RFC 9728, 8414); a client of our own there (RFC 7591).

use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Request, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::store::Kept;
use super::upstream_of;
use crate::explain::encode;
use crate::failure::{Because, Failure};
use crate::host::Host;
use crate::upstream::{is_login, is_safe};

/// The scope by which servers of `OpenID` give refresh tokens.
const OFFLINE: &str = "offline_access";

/// An authorization server, for one resource.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) revocation_endpoint: Option<String>,
    registration_endpoint: Option<String>,
    /// What the tokens are for (RFC 8707).
    pub(super) resource: String,
    /// What has to be asked for to get a refresh token.
    pub(super) scopes: Vec<String>,
}

/// RFC 9728.
#[derive(Debug, Deserialize)]
struct Resource {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
}

/// RFC 8414.
#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    registration_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Registered {
    client_id: String,
}

impl Server {
    /// Asks the gateway's host name, before which Access stands.
    pub(super) async fn discover(host: &Host) -> Result<Self, Failure> {
        let off = || {
            Failure::new(format!(
                "{host} has no managed OAuth: its administrator can switch it on (without_warp = true in Terraform), or connect the WARP \
                 client, or take `kubectl access run` with a service token"
            ))
        };
        let described: Option<Resource> = get(&format!("{host}/.well-known/oauth-protected-resource")).await?;
        let (issuer, resource) = match described {
            Some(Resource { resource, authorization_servers }) => {
                // A token for somebody else's resource is not for us to ask for.
                if resource.trim_end_matches('/') != host.to_string() {
                    return Err(Failure::new(format!(
                        "{host} says that it is {resource:?}: tokens for it are not asked for"
                    )));
                }
                (authorization_servers.into_iter().next().ok_or_else(off)?, resource)
            }
            None => (host.to_string(), host.to_string()),
        };
        let mut metadata = None;
        for address in addresses(&issuer)? {
            metadata = get::<Metadata>(&address).await?;
            if metadata.is_some() {
                break;
            }
        }
        let metadata = metadata.ok_or_else(off)?;
        if metadata.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') {
            let found = metadata.issuer;
            return Err(Failure::new(format!(
                "the authorization server {issuer:?} says that it is {found:?}: it is not asked"
            )));
        }
        let methods = &metadata.code_challenge_methods_supported;
        if !methods.is_empty() && !methods.iter().any(|method| method == "S256") {
            return Err(Failure::new(format!(
                "the authorization server {issuer} takes no PKCE with S256: it is not asked"
            )));
        }
        let endpoints = [Some(&metadata.authorization_endpoint), Some(&metadata.token_endpoint)];
        let others = [metadata.registration_endpoint.as_ref(), metadata.revocation_endpoint.as_ref()];
        for endpoint in endpoints.into_iter().chain(others).flatten() {
            demand_safe(endpoint)?;
        }
        let scopes = metadata.scopes_supported.into_iter().filter(|scope| scope == OFFLINE).collect();
        Ok(Self {
            issuer: metadata.issuer,
            authorization_endpoint: metadata.authorization_endpoint,
            token_endpoint: metadata.token_endpoint,
            revocation_endpoint: metadata.revocation_endpoint,
            registration_endpoint: metadata.registration_endpoint,
            resource,
            scopes,
        })
    }

    /// A client for this redirect. It has no secret: whoever runs this program could read it.
    pub(super) async fn register(&self, redirect: &str) -> Result<String, Failure> {
        let endpoint = self.registration_endpoint.as_ref().ok_or_else(|| {
            Failure::new(format!(
                "the authorization server {} registers no clients: its administrator can let it (dynamic_client_registration in Terraform)",
                self.issuer
            ))
        })?;
        let body = json!({
            "client_name": "kubectl access",
            "application_type": "native",
            "redirect_uris": [redirect],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        });
        let request =
            Request::post(endpoint).header(CONTENT_TYPE, "application/json").header(ACCEPT, "application/json");
        let request = request.body(body.to_string().into_bytes()).because(endpoint)?;
        let response = upstream_of(endpoint)?.fetch(request).await?;
        let status = response.status();
        let registered: Option<Registered> = serde_json::from_slice(response.body()).ok();
        registered.filter(|_| status.is_success()).map(|registered| registered.client_id).ok_or_else(|| {
            let advice = "its administrator has to allow clients that are redirected to this machine's loopback";
            Failure::new(format!("{endpoint} registers no client (status {}): {advice}", status.as_u16()))
        })
    }
}

/// Has the server forget a refresh token (RFC 7009), and with it the login.
pub(super) async fn revoke(kept: &Kept, refresh: &str) -> Result<(), Failure> {
    let Some(endpoint) = &kept.revocation_endpoint else {
        return Err(Failure::new("it has no way to be told; the login ends by itself"));
    };
    let body = format!("token={}&token_type_hint=refresh_token&client_id={}", encode(refresh), encode(&kept.client_id));
    let request = Request::post(endpoint).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let response = upstream_of(endpoint)?.fetch(request.body(body.into_bytes()).because(endpoint)?).await?;
    if response.status() == StatusCode::OK {
        return Ok(());
    }
    Err(Failure::new(format!("{endpoint} answers {}", response.status().as_u16())))
}

/// Where a server describes itself: RFC 8414 section 3.1, and the older place of `OpenID`.
fn addresses(issuer: &str) -> Result<[String; 2], Failure> {
    demand_safe(issuer)?;
    let uri: Uri = issuer.parse().because(issuer)?;
    let (scheme, authority) =
        (uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |authority| authority.as_str()));
    let path = uri.path().trim_end_matches('/');
    Ok([
        format!("{scheme}://{authority}/.well-known/oauth-authorization-server{path}"),
        format!("{scheme}://{authority}{path}/.well-known/openid-configuration"),
    ])
}

fn demand_safe(address: &str) -> Result<(), Failure> {
    if address.parse().is_ok_and(|uri| is_safe(&uri)) {
        return Ok(());
    }
    Err(Failure::new(format!("{address:?}: tokens are asked for by https alone")))
}

/// A JSON document; nothing, where there is none.
async fn get<T: DeserializeOwned>(address: &str) -> Result<Option<T>, Failure> {
    let request = Request::get(address).header(ACCEPT, "application/json").body(Vec::new()).because(address)?;
    let response = upstream_of(address)?.fetch(request).await?;
    if response.status() != StatusCode::OK || is_login(&response) {
        return Ok(None);
    }
    Ok(serde_json::from_slice(response.body()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_by_https_where_the_rfc_says() {
        assert_eq!(
            addresses("https://team.example.com/oauth/").unwrap(),
            [
                "https://team.example.com/.well-known/oauth-authorization-server/oauth",
                "https://team.example.com/oauth/.well-known/openid-configuration",
            ]
        );
        assert!(addresses("http://team.example.com").is_err());
        assert!(addresses("http://127.0.0.1:1").is_ok());
        for address in ["", "ftp://x", "http://localhost.example.com", "/x", "javascript:1"] {
            assert!(demand_safe(address).is_err(), "{address}");
        }
    }
}
