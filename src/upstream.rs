//! The caller's head -> the head to send to the cluster, to which the lines that name the caller are added.
//!
//! Strip, then insert: nothing of the caller's goes on unless it may, and who the caller is comes from the identity alone.
//! `kubectl proxy` would run a request without `Impersonate-User` as the gateway's own service account, and would take the
//! caller's `Authorization` for its own; so neither can be left to chance.

use thiserror::Error;

use crate::head::Head;
use crate::protocol::Protocol;
use crate::session::frame::RECORDABLE;
use crate::target::Target;

/// The head to send, but for the lines that name the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// `name:value`, each to be sent as a line of its own. No name comes twice, since none comes twice in a [`Head`].
    pub lines: String,
    /// The names of the lines, a comma after each: the same names can be sent again with other values.
    pub names: String,
}

/// A head that is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// A WebSocket that offers no subprotocol but credentials, or a malformed one.
    #[error(
        "the WebSocket offers no usable subprotocol: bearer tokens are not taken here, Cloudflare Access says who you are"
    )]
    Subprotocol,
    /// A stream that is recorded or bounded, and offers no subprotocol whose channels can be told apart.
    #[error(
        "this stream is recorded or bounded, which takes the subprotocol v5.channel.k8s.io or v4.channel.k8s.io: use kubectl 1.31 or newer"
    )]
    Unrecordable,
    /// GET or HEAD with a body, which the runtime does not send.
    #[error("a {0} with a body cannot be carried through Cloudflare Workers: send it as a POST")]
    Body(&'static str),
}

/// The prefix of the WebSocket subprotocol that carries a bearer token to the API server.
const BEARER_SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io";

/// Which subprotocols of a WebSocket go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    /// All but credentials.
    All,
    /// Those whose channels can be told apart.
    Recordable,
}

/// Refuses what a caller may not say, and writes the head to send.
///
/// 1. a body that the runtime would drop is refused
/// 2. the caller's headers that may go on, except those that its `Connection` header nominates
/// 3. what joins the cluster's audit log to ours: `Audit-ID`, the client's address
pub fn prepare(head: &Head<'_>, target: &Target<'_>, protocol: Protocol, offers: Offers) -> Result<Outgoing, Error> {
    match head.method {
        "GET" if head.has_body() => return Err(Error::Body("GET")),
        "HEAD" if head.has_body() => return Err(Error::Body("HEAD")),
        _ => {}
    }
    let mut outgoing = Outgoing { lines: String::with_capacity(512), names: String::with_capacity(128) };
    let connection = head.header("connection").unwrap_or_default();
    let may_pass = if target.is_proxy() { is_for_workload } else { is_for_api };
    for &(name, value) in head.headers() {
        if may_pass(name) && is_sendable(value) && !nominates(connection, name) {
            outgoing.push(name, value);
        }
    }
    if protocol == Protocol::WebSocket {
        outgoing.push("Upgrade", "websocket");
        push_websocket(&mut outgoing, head, offers)?;
    }
    outgoing.push("Audit-ID", head.audit_id);
    if let Some(address) = head.client_address() {
        outgoing.push("X-Forwarded-For", address);
    }
    Ok(outgoing)
}

impl Outgoing {
    /// Adds a line. The name must not be there.
    pub fn push(&mut self, name: &str, value: &str) {
        self.lines.extend([name, ":", value, "\n"]);
        self.names.extend([name, ","]);
    }
}

/// Our own origin, which kube-apiserver wants of the WebSocket of a watch, and the offer of subprotocols without bearer
/// tokens, in the caller's order.
fn push_websocket(outgoing: &mut Outgoing, head: &Head<'_>, offers: Offers) -> Result<(), Error> {
    outgoing.push("Origin", "http://localhost");
    let extensions = head.header("sec-websocket-extensions").filter(|_| offers == Offers::All);
    if let Some(extensions) = extensions.filter(|value| is_sendable(value)) {
        outgoing.push("Sec-WebSocket-Extensions", extensions);
    }
    let Some(offer) = head.header("sec-websocket-protocol") else {
        return if offers == Offers::All { Ok(()) } else { Err(Error::Unrecordable) };
    };
    let mut kept = Vec::new();
    for protocol in offer.split(',').map(str::trim) {
        if protocol.is_empty() || !protocol.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Subprotocol);
        }
        let is_bearer = protocol
            .get(..BEARER_SUBPROTOCOL.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(BEARER_SUBPROTOCOL));
        if !is_bearer && (offers == Offers::All || RECORDABLE.contains(&protocol)) {
            kept.push(protocol);
        }
    }
    if kept.is_empty() {
        return Err(if offers == Offers::All { Error::Subprotocol } else { Error::Unrecordable });
    }
    outgoing.push("Sec-WebSocket-Protocol", &kept.join(", "));
    Ok(())
}

/// Whether a header of the caller's goes on to the API server. Bodies, connections and WebSocket keys are the runtime's
/// business.
#[rustfmt::skip]
fn is_for_api(name: &str) -> bool {
    matches!(
        name,
        "accept" | "accept-encoding" | "accept-language" | "cache-control" | "content-encoding" | "content-type"
        | "if-match" | "if-modified-since" | "if-none-match" | "if-range" | "if-unmodified-since"
        | "kubectl-command" | "kubectl-session" | "last-event-id" | "range" | "user-agent"
    )
}

/// Whether a header of the caller's goes on to a workload, which has headers of its own: all but credentials, what says who
/// somebody is, what the edge adds, and what belongs to one connection. A server may read `_` as `-`, so it is read so here.
#[rustfmt::skip]
fn is_for_workload(name: &str) -> bool {
    let name = name.replace('_', "-");
    let starts = ["cf-", "impersonate", "kube-access-", "proxy-", "sec-websocket-", "x-forwarded-", "x-remote-"];
    let is_withheld = starts.iter().any(|start| name.starts_with(start)) || matches!(
        &*name,
        "audit-id" | "authorization" | "cdn-loop" | "connection" | "content-length" | "cookie" | "cookie2" | "expect"
        | "forwarded" | "host" | "http2-settings" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "true-client-ip"
        | "upgrade" | "x-original-url" | "x-real-ip" | "x-rewrite-url"
    );
    !is_withheld
}

/// Whether a value can be sent as it came. The runtime reads and writes UTF-8, and puts U+FFFD for what is none.
fn is_sendable(value: &str) -> bool {
    value.chars().all(|character| matches!(character, ' '..='~' | '\t' | '\u{80}'..) && character != '\u{fffd}')
}

fn nominates(connection: &str, name: &str) -> bool {
    connection.split(',').any(|nominated| nominated.trim().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
