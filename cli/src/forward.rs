//! The forwarder: a TLS server on this machine's loopback that hands requests on to the gateway, with what Access asks for.
//!
//! It serves whoever brings its secret, and nobody else: any process of this machine can open a port. Requests, answers and streams go
//! through as they come; nothing is kept. The caller's own credentials do not go on.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::failure::{Because, Failure};
use crate::host::Host;
use crate::standing::Credentials;
use crate::upstream::{Body, Upstream, is_login};
use credential::Credential;

pub(crate) mod credential;

/// Where the gateway tells that it runs.
const HEALTH: &str = "/.kube-access/healthz";

/// How much of a stream is carried at once, in bytes.
const PIECE: usize = 64 * 1024;

/// How long a stream goes on of which one direction has ended.
const LINGER: Duration = Duration::from_secs(5);

/// How long a client may take to bring the secret. kubectl itself gives up after ten seconds.
const STRANGE: Duration = Duration::from_secs(5);

/// How many connections at once may not have brought it yet: whoever else comes waits for one of them to end.
const STRANGERS: usize = 64;

/// What Access calls its cookies: they are sessions of its own.
const OF_ACCESS: &[u8] = b"CF_";

/// The WebSocket subprotocol that carries a bearer token to an API server.
const BEARER_SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// Headers that belong to one connection.
const OF_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
];

/// Where the gateway is, and by what Access knows who asks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Way {
    /// The authority that signed the gateway's certificate, if this machine does not trust it
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// The cloudflared to ask for a token where no service token is set
    #[arg(long, value_name = "PATH", default_value = "cloudflared")]
    cloudflared: PathBuf,
    /// The namespace of the context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

/// A forwarder that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Forwarder {
    /// Where it listens.
    pub(crate) port: u16,
    listening: JoinHandle<()>,
}

struct Shared {
    host: Host,
    upstream: Upstream,
    credential: Credential,
    /// What the `Authorization` of a request has to be, as a digest: it takes as long to compare whatever comes.
    expected: [u8; 32],
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Forwarder {
    /// Starts one at this port, 0 for any. Whoever Access does not know is told so at once.
    pub(crate) async fn start(host: &Host, way: &Way, credentials: &Credentials, port: u16) -> Result<Self, Failure> {
        let origin: Uri = host.to_string().parse().because(host)?;
        let credential = Credential::of_environment(host, way.cloudflared.clone())?;
        let upstream = Upstream::new(&origin, way.certificate_authority.as_ref())?;
        let shared = Shared {
            host: host.clone(),
            upstream,
            credential,
            expected: digest_of(format!("Bearer {}", credentials.secret()).as_bytes()),
        };
        shared.check().await?;
        let tls = acceptor(credentials)?;
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.map_err(|error| {
            Failure::new(format!("port {port} of this machine: {error}: name another with --port, or 0 for any"))
        })?;
        let port = listener.local_addr().because("the port")?.port();
        Ok(Self { port, listening: tokio::spawn(listen(listener, tls, Arc::new(shared))) })
    }
}

fn acceptor(credentials: &Credentials) -> Result<TlsAcceptor, Failure> {
    let what = "the certificate of this machine's forwarder";
    let certificate = CertificateDer::from_pem_slice(credentials.certificate.as_bytes()).because(what)?;
    let key = PrivateKeyDer::from_pem_slice(credentials.key().as_bytes()).because(what)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .because("TLS")?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .because(what)?;
    // WebSockets are made of HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn listen(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    while let Ok(stranger) = Arc::clone(&strangers).acquire_owned().await {
        match listener.accept().await {
            Ok((socket, _)) => {
                tokio::spawn(serve(socket, tls.clone(), Arc::clone(&shared), stranger));
            }
            // Out of file descriptors, say: somebody will close one.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Serves a connection; one that does not bring the secret, only for a while.
async fn serve(socket: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>, stranger: OwnedSemaphorePermit) {
    // A stream of small messages is not to wait for larger ones.
    let _ = socket.set_nodelay(true);
    let (shared, known) = (&*shared, &Notify::new());
    let service = service_fn(move |request| async move {
        let is_known = shared.knows(&request);
        if is_known {
            known.notify_one();
        }
        Ok::<_, std::convert::Infallible>(shared.answer(request, is_known).await)
    });
    let serving = async {
        let Ok(stream) = tls.accept(socket).await else { return };
        // Who breaks off says nothing that anybody waits for.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    };
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => {}
        known = tokio::time::timeout(STRANGE, known.notified()) => if known.is_ok() {
            drop(stranger);
            serving.await;
        }
    }
}

/// Why there is no answer.
type Refused = (StatusCode, String);

fn strange() -> Refused {
    let message = "this forwarder of `kubectl access` serves who it was started for: use the kubeconfig that it wrote";
    (StatusCode::UNAUTHORIZED, message.to_owned())
}

impl Shared {
    /// Whether the gateway is there, and Access lets this credential through.
    async fn check(&self) -> Result<(), Failure> {
        let mut request = Request::get(format!("{}{HEALTH}", self.host)).body(Vec::new()).because(&self.host)?;
        request.headers_mut().extend(self.credential.headers().await.map_err(Failure::new)?);
        let response = self
            .upstream
            .fetch(request)
            .await
            .map_err(|failure| Failure::new(format!("{} cannot be reached from here: {failure}", self.host)))?;
        if is_login(&response) || is_refused(&response) {
            return Err(Failure::new(self.credential.remedy(&self.host)));
        }
        if response.status() == StatusCode::OK && response.body().trim_ascii() == b"ok" {
            return Ok(());
        }
        let status = response.status().as_u16();
        let advice = "see that this is the gateway's host name, and that `npm run doctor` finds nothing";
        Err(Failure::new(format!(
            "{}{HEALTH} answers {status}, and not as a kube-access gateway does: {advice}",
            self.host
        )))
    }

    /// The answer to a request, or why there is none, as a `metav1.Status`: kubectl prints its sentence.
    async fn answer(&self, request: Request<Incoming>, is_known: bool) -> Response<Body> {
        let answer = if is_known { self.forward(request).await } else { Err(strange()) };
        answer.unwrap_or_else(|(status, message)| {
            let reason = if status == StatusCode::UNAUTHORIZED { "Unauthorized" } else { "ServiceUnavailable" };
            let body = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "code": status.as_u16(),
            });
            let mut response = Response::new(Either::Right(Full::from(body.to_string())));
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        })
    }

    /// Whether a request brings the secret.
    fn knows(&self, request: &Request<Incoming>) -> bool {
        let given = request.headers().get(AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
        digest_of(given) == self.expected
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Refused> {
        let client = is_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let malformed = (StatusCode::BAD_REQUEST, "the path of this request cannot be read".to_owned());
        let uri = Uri::builder().scheme("https").authority(self.host.authority()).path_and_query(path).build();
        *request.uri_mut() = uri.map_err(|_| malformed)?;
        strip(request.headers_mut());
        if client.is_some() {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        } else {
            request.headers_mut().remove(UPGRADE);
        }
        let unavailable = |message: String| (StatusCode::SERVICE_UNAVAILABLE, message);
        for (name, value) in self.credential.headers().await.map_err(unavailable)? {
            request.headers_mut().insert(name, value);
        }
        let sent = self.upstream.send(request.map(Either::Left)).await;
        let mut response =
            sent.map_err(|error| unavailable(format!("{} cannot be reached from here: {error}", self.host)))?;
        if is_login(&response) || is_refused(&response) {
            return Err((StatusCode::UNAUTHORIZED, self.credential.remedy(&self.host)));
        }
        let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let gateway = is_upgraded.then(|| hyper::upgrade::on(&mut response));
        for name in &OF_CONNECTION {
            response.headers_mut().remove(name);
        }
        forget_sessions(response.headers_mut());
        if let (Some(client), Some(gateway)) = (client, gateway) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            tokio::spawn(join(client, gateway));
        }
        Ok(response.map(Either::Left))
    }
}

/// Carries both directions of an upgraded connection. What one side ends or breaks takes nothing from what the other still carries.
async fn join(client: OnUpgrade, gateway: OnUpgrade) {
    let (Ok(client), Ok(gateway)) = tokio::join!(client, gateway) else { return };
    let (mut from_client, mut to_client) = split(TokioIo::new(client));
    let (mut from_gateway, mut to_gateway) = split(TokioIo::new(gateway));
    // A client may go on sending to a command that has ended: that is read and forgotten, since unread input would make a reset of
    // our closing, and a reset takes the last words with it.
    let up = carry(&mut from_client, &mut to_gateway, AfterBreak::Forget);
    let down = carry(&mut from_gateway, &mut to_client, AfterBreak::Stop);
    tokio::pin!(up, down);
    tokio::select! {
        () = &mut up => drop(tokio::time::timeout(LINGER, down).await),
        () = &mut down => drop(tokio::time::timeout(LINGER, up).await),
    }
}

/// What becomes of what cannot be written any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterBreak {
    Forget,
    Stop,
}

/// Carries one direction to its end, and passes the end on.
async fn carry(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), after: AfterBreak) {
    let mut piece = vec![0; PIECE];
    let mut is_open = true;
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        if is_open {
            let bytes = piece.get(..count).unwrap_or_default();
            is_open = to.write_all(bytes).await.is_ok() && to.flush().await.is_ok();
        }
        if !is_open && after == AfterBreak::Stop {
            return;
        }
    }
    // Who has gone need not be told.
    let _ = to.shutdown().await;
}

fn digest_of(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let names = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade")))
    };
    headers.contains_key(UPGRADE) && headers.get_all(CONNECTION).iter().any(names)
}

/// Access's own answer to a stranger who is a program, and no answer of the gateway's or the cluster's, which speak JSON.
fn is_refused<T>(response: &Response<T>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let is_for_people = kind.is_empty() || kind.starts_with(b"text/html");
    match response.status() {
        StatusCode::UNAUTHORIZED => is_for_people,
        StatusCode::FORBIDDEN => is_for_people && response.headers().contains_key("cf-access-error"),
        _ => false,
    }
}

/// Takes away what belongs to the connection, and what the caller says of who they are.
fn strip(headers: &mut HeaderMap) {
    for name in OF_CONNECTION.iter().chain(&[HOST, AUTHORIZATION]) {
        headers.remove(name);
    }
    strip_cookies(headers);
    let own: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("cf-access-")).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    let offered: Option<String> =
        headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| Some(value.to_str().ok()?.to_owned()));
    if let Some(offered) = offered.filter(|offered| offered.contains(BEARER_SUBPROTOCOL)) {
        let kept: Vec<&str> =
            offered.split(',').map(str::trim).filter(|name| !name.starts_with(BEARER_SUBPROTOCOL)).collect();
        match HeaderValue::from_str(&kept.join(", ")) {
            Ok(value) if !kept.is_empty() => headers.insert(SEC_WEBSOCKET_PROTOCOL, value),
            _ => headers.remove(SEC_WEBSOCKET_PROTOCOL),
        };
    }
}

/// Takes away the caller's sessions at Access, and leaves their other cookies.
fn strip_cookies(headers: &mut HeaderMap) {
    let cookies = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let kept: Vec<&[u8]> =
        cookies.map(<[u8]>::trim_ascii).filter(|cookie| !cookie.is_empty() && !cookie.starts_with(OF_ACCESS)).collect();
    let kept = HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|kept| !kept.is_empty());
    headers.remove(COOKIE);
    headers.extend(kept.map(|kept| (COOKIE, kept)));
}

/// Takes away the sessions that Access gives whom it lets in: they would outlive this program.
fn forget_sessions(headers: &mut HeaderMap) {
    let kept: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    headers.remove(SET_COOKIE);
    for cookie in kept.into_iter().filter(|cookie| !cookie.as_bytes().trim_ascii_start().starts_with(OF_ACCESS)) {
        headers.append(SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests;
