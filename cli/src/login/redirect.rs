//! Where the browser comes back to: a port of this machine's loopback, for one answer.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube_access::target::unescape;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::failure::{Because, Failure};
use crate::text::visible;

const PATH: &str = "/callback";

/// A port that waits for the browser.
#[derive(Debug)]
pub(super) struct Redirect {
    /// Where the server sends the browser.
    pub(super) url: String,
    listener: TcpListener,
}

/// What a query says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    code: Option<String>,
    state: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
}

impl Redirect {
    /// Listens on any port.
    pub(super) async fn listen() -> Result<Self, Failure> {
        let listener =
            TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.because("a port of this machine")?;
        let port = listener.local_addr().because("a port of this machine")?.port();
        Ok(Self { url: format!("http://127.0.0.1:{port}{PATH}"), listener })
    }

    /// The code that the browser brings, for the login that has this state, from this server (RFC 9207). Anything else that calls is
    /// told that there is nothing, and waited past: every page of every site can call a port of this machine.
    pub(super) async fn code(self, state: &str, issuer: &str) -> Result<String, Failure> {
        let (tell, mut told) = mpsc::channel(1);
        let expected: Arc<(String, String)> = Arc::new((state.to_owned(), issuer.trim_end_matches('/').to_owned()));
        let serving = async {
            loop {
                let Ok((socket, _)) = self.listener.accept().await else { continue };
                let (tell, expected) = (tell.clone(), Arc::clone(&expected));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (tell, expected) = (tell.clone(), Arc::clone(&expected));
                    async move {
                        let (response, outcome) = answer(&request, &expected.0, &expected.1);
                        if let Some(outcome) = outcome {
                            let _ = tell.send(outcome).await;
                        }
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(async move {
                    // A browser that breaks off may come again.
                    let mut server = hyper::server::conn::http1::Builder::new();
                    let _ = server.keep_alive(false).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        };
        tokio::select! {
            outcome = told.recv() => {
                // The browser gets its page before this program ends.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                outcome.unwrap_or_else(|| Err(Failure::new("nobody came back from the browser")))
            }
            () = serving => Err(Failure::new("nobody came back from the browser")),
        }
    }
}

fn answer(
    request: &Request<Incoming>,
    state: &str,
    issuer: &str,
) -> (Response<Full<Bytes>>, Option<Result<String, Failure>>) {
    if request.method() != Method::GET || request.uri().path() != PATH {
        return (page(StatusCode::NOT_FOUND, "There is nothing here."), None);
    }
    let said = Said::read(request.uri().query().unwrap_or_default());
    match said.outcome(state, issuer) {
        None => (
            page(
                StatusCode::BAD_REQUEST,
                "This is no answer to a login that is under way. Start again in the terminal.",
            ),
            None,
        ),
        Some(Ok(code)) => {
            (page(StatusCode::OK, "You are logged in. Close this page, and go back to the terminal."), Some(Ok(code)))
        }
        Some(Err(failure)) => {
            (page(StatusCode::FORBIDDEN, "You are not logged in. The terminal says why."), Some(Err(failure)))
        }
    }
}

impl Said {
    fn read(query: &str) -> Self {
        let mut said = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = unescape(&value.replace('+', " ")).and_then(|bytes| String::from_utf8(bytes).ok());
            match name {
                "code" => said.code = value,
                "state" => said.state = value,
                "iss" => said.issuer = value,
                "error" => said.error = value,
                _ => {}
            }
        }
        said
    }

    /// Nothing, where it is not about this login.
    fn outcome(self, state: &str, issuer: &str) -> Option<Result<String, Failure>> {
        let is_from = self.issuer.is_none_or(|from| from.trim_end_matches('/') == issuer);
        if self.state.as_deref() != Some(state) || !is_from {
            return None;
        }
        match (self.error, self.code) {
            (Some(error), _) => Some(Err(Failure::new(format!("the login was refused: {}", visible(&error))))),
            (None, code) => code.filter(|code| !code.is_empty()).map(Ok),
        }
    }
}

fn page(status: StatusCode, sentence: &str) -> Response<Full<Bytes>> {
    let body = format!("<!doctype html><meta charset=utf-8><title>kubectl access</title><p>{sentence}</p>\n");
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_login_is_taken() {
        let outcome = |query: &str| Said::read(query).outcome("s t", "https://team.example.com");
        assert_eq!(outcome("code=a%2Fb&state=s+t"), Some(Ok("a/b".into())));
        assert_eq!(outcome("code=a&state=s%20t&iss=https%3A%2F%2Fteam.example.com%2F"), Some(Ok("a".into())));
        for query in [
            "",
            "code=a",
            "code=a&state=x",
            "state=s+t",
            "code=&state=s+t",
            "code=a&state=s+t&iss=https%3A%2F%2Fevil.test",
        ] {
            assert_eq!(outcome(query), None, "{query}");
        }
        let refused = outcome("error=access_denied%1b&state=s+t").unwrap().unwrap_err();
        assert_eq!(refused.to_string(), "the login was refused: access_denied\\x1b");
    }
}
