//! Requests to the gateway, and to Access in front of it: over TLS, by way of the proxy that the environment names.

use std::env;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::failure::{Because, Failure};

mod proxy;

/// The port of a SOCKS proxy whose address has none.
const SOCKS: u16 = 1080;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(15);

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);

/// The longest answer that is read whole, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// How long an answer that is read whole may take.
const ANSWER: Duration = Duration::from_secs(30);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What is sent: what somebody else sends, or a text of our own.
pub(crate) type Body = Either<Incoming, Full<Bytes>>;

/// A client for one origin.
#[derive(Debug, Clone)]
pub(crate) struct Upstream(Client<HttpsConnector<Way>, Body>);

/// How the origin is reached.
#[derive(Debug, Clone)]
enum Way {
    Direct(HttpConnector),
    Tunnel(Tunnel<HttpConnector>),
    Socks(SocksV5<HttpConnector>),
}

impl Service<Uri> for Way {
    type Response = TokioIo<TcpStream>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Direct(way) => way.poll_ready(context).map_err(Into::into),
            Self::Tunnel(way) => way.poll_ready(context).map_err(Into::into),
            Self::Socks(way) => way.poll_ready(context).map_err(Into::into),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Self::Direct(way) => {
                let connecting = way.call(uri);
                Box::pin(async { Ok(connecting.await?) })
            }
            Self::Tunnel(way) => {
                let connecting = way.call(uri);
                Box::pin(async { Ok(connecting.await?) })
            }
            Self::Socks(way) => {
                let connecting = way.call(uri);
                Box::pin(async { Ok(connecting.await?) })
            }
        }
    }
}

impl Upstream {
    /// A client for this origin. `authority` is a file of certificates to trust beside those of this machine.
    pub(crate) fn new(origin: &Uri, authority: Option<&PathBuf>) -> Result<Self, Failure> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let way = match proxy::named(origin, |name| env::var_os(name))? {
            Some(proxy) => through(&proxy, tcp)?,
            None => Way::Direct(tcp),
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .because("TLS")?
            .with_root_certificates(roots(authority)?)
            .with_no_client_auth();
        // Plain HTTP is for tests of the authorization on this machine alone: see `is_safe`.
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(way);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request; what comes back streams.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, String> {
        let again = repeated(&request);
        let sent = match (self.0.request(request).await, again) {
            // The gateway may have closed a connection that was kept, as this went out (RFC 9110 section 9.2.2).
            (Err(error), Some(again)) if !error.is_connect() => self.0.request(again).await,
            (sent, _) => sent,
        };
        sent.map_err(|error| in_words(&error))
    }

    /// Sends a request of our own, and reads the answer whole.
    pub(crate) async fn fetch(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Failure> {
        let place = request.uri().to_string();
        let reading = async {
            let response = self.send(request.map(|body| Either::Right(Full::from(body)))).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>(Response::from_parts(head, body.to_bytes().to_vec()))
        };
        match tokio::time::timeout(ANSWER, reading).await {
            Ok(answer) => answer.because(place),
            Err(_) => Err(Failure::new(format!("{place}: no answer within {} seconds", ANSWER.as_secs()))),
        }
    }
}

/// Whether an address may be called: by TLS, or on this machine.
pub(crate) fn is_safe(uri: &Uri) -> bool {
    let is_own = matches!(uri.host(), Some("127.0.0.1" | "[::1]" | "localhost"));
    uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && is_own)
}

/// Whether Access sends its caller away to log in, in place of an answer.
pub(crate) fn is_login<T>(response: &Response<T>) -> bool {
    let location = response.headers().get(hyper::header::LOCATION).and_then(|location| location.to_str().ok());
    response.status().is_redirection()
        && response.status() != StatusCode::NOT_MODIFIED
        && location.is_some_and(|location| location.contains("/cdn-cgi/access/login"))
}

/// The same request once more, if nobody is the worse for it: it only reads, and has nothing in it that could be gone. A stream is no
/// such request: it runs a command.
fn repeated(request: &Request<Body>) -> Option<Request<Body>> {
    let only_reads =
        matches!(*request.method(), Method::GET | Method::HEAD) && !request.headers().contains_key(UPGRADE);
    if !only_reads || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(Either::Right(Full::default()));
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    again.headers_mut().clone_from(request.headers());
    Some(again)
}

fn through(proxy: &Intercept, tcp: HttpConnector) -> Result<Way, Failure> {
    let uri = proxy.uri().clone();
    let shown = format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
    match uri.scheme_str() {
        Some("http") => {
            let tunnel = Tunnel::new(uri, tcp);
            Ok(Way::Tunnel(match proxy.basic_auth() {
                Some(credentials) => tunnel.with_auth(credentials.clone()),
                None => tunnel,
            }))
        }
        Some("socks5" | "socks5h") => {
            let socks = SocksV5::new(with_port(uri)?, tcp);
            Ok(Way::Socks(match proxy.raw_auth() {
                Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
                None => socks,
            }))
        }
        _ => Err(Failure::new(format!("the proxy {shown} of this environment: expected http:// or socks5://"))),
    }
}

/// hyper takes 80 where an address has no port.
fn with_port(proxy: Uri) -> Result<Uri, Failure> {
    let authority = match (proxy.port(), proxy.host()) {
        (None, Some(host)) => format!("{host}:{SOCKS}"),
        _ => return Ok(proxy),
    };
    let scheme = proxy.scheme_str().unwrap_or_default();
    Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().because("the proxy")
}

fn roots(authority: Option<&PathBuf>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() && env::var_os("SSL_CERT_FILE").is_none() {
        // A container without any.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(file) = authority {
        let shown = file.display();
        let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = certificates.because(&shown)?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(Failure::new(format!("{shown}: expected certificates in PEM")));
        }
    }
    Ok(roots)
}

/// An error with all that is below it: hyper's own says "client error".
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let text = error.to_string();
        if !words.contains(&text) {
            words.extend([": ", &text]);
        }
        below = error.source();
    }
    words
}

/// A header's value that no log shows.
pub(crate) fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn a_socks_proxy_without_a_port_is_at_socks_own() {
        for (address, authority) in
            [("socks5://p", "p:1080"), ("socks5h://[::1]", "[::1]:1080"), ("socks5://p:1", "p:1")]
        {
            let uri = with_port(address.parse().unwrap()).unwrap();
            assert_eq!(uri.authority().unwrap(), authority);
        }
    }

    #[tokio::test]
    async fn what_meets_a_connection_that_is_being_closed_is_answered() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        // Answers once on each connection, and closes it when more is asked.
        let serving = tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                assert!(socket.read(&mut head).await.unwrap() > 0);
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                let _ = socket.read(&mut head).await;
            }
        });
        let upstream = Upstream::new(&address.parse().unwrap(), None).unwrap();
        for turn in 0..5 {
            let answer = upstream.fetch(Request::get(&address).body(Vec::new()).unwrap()).await;
            assert_eq!(answer.unwrap().body(), b"ok", "{turn}");
        }
        serving.abort();
    }

    #[test]
    fn only_what_reads_is_sent_again() {
        let request = |method: Method, body: &'static str| {
            let mut request = Request::new(Either::Right(Full::from(body)));
            *request.method_mut() = method;
            request
        };
        assert!(repeated(&request(Method::GET, "")).is_some() && repeated(&request(Method::HEAD, "")).is_some());
        assert!(repeated(&request(Method::GET, "x")).is_none() && repeated(&request(Method::DELETE, "")).is_none());
        let mut stream = request(Method::GET, "");
        stream.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        assert!(repeated(&stream).is_none(), "it runs a command");
    }
}
