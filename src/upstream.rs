//! The caller's head and [`Caller`] -> the head to send to the cluster.
//!
//! Strip, then insert: nothing of the caller's goes on unless `is_forwarded` names it, and what names the caller comes
//! from the identity alone. `kubectl proxy` would run a request without `Impersonate-User` as the gateway's own service
//! account, and would take the caller's `Authorization` for its own; so neither can be left to chance.

use std::net::IpAddr;

use crate::caller::Caller;
use crate::head::Head;
use crate::refusal::Refusal;
use crate::target::{Protocol, Target};

/// The head to send, in lines of `name:value`, each to be sent as a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The lines of this request. No name comes twice, since none comes twice in a [`Head`].
    pub own: String,
    /// The names of `own`, a comma after each: the same names can be sent again with other values.
    pub names: String,
    /// The caller's [`Caller::lines`].
    pub identity: &'a str,
}

/// The prefix of the WebSocket subprotocol that carries a bearer token to the API server.
const BEARER_SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io";

/// Refuses what a caller may not say, and writes the head to send.
///
/// 1. impersonation by the caller is refused, and so is a web page
/// 2. so is SPDY, but for the streams of kubectl, which are asked for without it: when the API server would refuse the
///    caller anyway, its reason counts, since kubectl shows only the answer to its second, SPDY attempt
/// 3. the caller's headers that may go on, except those that its `Connection` header nominates
/// 4. what joins the cluster's audit log to ours: `Audit-ID`, the ray, the client's address
/// 5. the caller's identity
pub fn prepare<'a>(
    head: &Head<'_>,
    target: &Target,
    caller: &'a Caller,
) -> Result<Outgoing<'a>, Refusal> {
    let mut connection = None;
    for &(name, value) in head.headers() {
        if starts_with(name, "impersonate") {
            return Err(Refusal::Impersonation);
        }
        let is_cross_site = name.eq_ignore_ascii_case("origin")
            || (name.eq_ignore_ascii_case("sec-fetch-site") && !value.eq_ignore_ascii_case("none"))
            || starts_with(name, "access-control-request-");
        if is_cross_site {
            return Err(Refusal::CrossSite);
        }
        if name.eq_ignore_ascii_case("connection") {
            connection = Some(value);
        }
    }
    let protocol = Protocol::parse(head)?;
    if protocol == Protocol::Spdy && !target.is_stream() {
        return Err(Refusal::Spdy);
    }
    let mut outgoing = Outgoing {
        own: String::with_capacity(512),
        names: String::with_capacity(128),
        identity: caller.lines(),
    };
    for &(name, value) in head.headers() {
        if is_forwarded(name)
            && is_plain(value)
            && !connection.is_some_and(|nominated| nominates(nominated, name))
        {
            outgoing.push(name, value);
        }
    }
    if protocol == Protocol::WebSocket {
        outgoing.push("Upgrade", "websocket");
        push_websocket(&mut outgoing, head)?;
    }
    outgoing.push("Audit-ID", head.audit_id);
    if let Some(ray) = ray(head) {
        outgoing.push(RAY_HEADER, ray);
    }
    if let Some(address) = client_address(head) {
        outgoing.push("X-Forwarded-For", address);
    }
    Ok(outgoing)
}

impl Outgoing<'_> {
    /// Every line of the head.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.own.lines().chain(self.identity.lines())
    }

    fn push(&mut self, name: &str, value: &str) {
        push(&mut self.own, name, value);
        self.names.push_str(name);
        self.names.push(',');
    }
}

/// The lines that say who a caller is: one `Impersonate-User`, one `Impersonate-Group` for each group, the extras.
///
/// An extra's key is percent-encoded in the header's name, as client-go does it.
#[must_use]
pub fn identity_lines(identity: &crate::identity::Identity) -> String {
    let mut lines = String::new();
    push(&mut lines, "Impersonate-User", identity.user());
    for group in identity.groups() {
        push(&mut lines, "Impersonate-Group", group);
    }
    for (extra, value) in identity.extras() {
        let name = format!("Impersonate-Extra-{}", extra.key().replace('/', "%2F"));
        push(&mut lines, &name, value);
    }
    lines
}

/// `Cf-Ray`: Cloudflare's name for this request.
#[must_use]
pub fn ray<'a>(head: &Head<'a>) -> Option<&'a str> {
    let is_ray = |ray: &&str| {
        (1..=64).contains(&ray.len())
            && ray
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    head.header("cf-ray").filter(is_ray)
}

/// `CF-Connecting-IP`: the client's address, as Cloudflare saw it.
#[must_use]
pub fn client_address<'a>(head: &Head<'a>) -> Option<&'a str> {
    head.header("cf-connecting-ip")
        .filter(|address| address.parse::<IpAddr>().is_ok())
}

/// The offer of subprotocols without bearer tokens, in the caller's order.
fn push_websocket(outgoing: &mut Outgoing<'_>, head: &Head<'_>) -> Result<(), Refusal> {
    if let Some(extensions) = head
        .header("sec-websocket-extensions")
        .filter(|value| is_plain(value))
    {
        outgoing.push("Sec-WebSocket-Extensions", extensions);
    }
    let Some(offer) = head.header("sec-websocket-protocol") else {
        return Ok(());
    };
    let mut kept = Vec::new();
    for protocol in offer.split(',').map(str::trim) {
        if protocol.is_empty() || !protocol.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::Subprotocol);
        }
        if !starts_with(protocol, BEARER_SUBPROTOCOL) {
            kept.push(protocol);
        }
    }
    if kept.is_empty() {
        return Err(Refusal::Subprotocol);
    }
    outgoing.push("Sec-WebSocket-Protocol", &kept.join(", "));
    Ok(())
}

/// Whether a header of the caller's goes on. Bodies, connections and WebSocket keys are the runtime's business.
fn is_forwarded(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept-encoding"
            | "accept-language"
            | "cache-control"
            | "content-encoding"
            | "content-type"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "if-range"
            | "if-unmodified-since"
            | "kubectl-command"
            | "kubectl-session"
            | "last-event-id"
            | "range"
            | "user-agent"
    )
}

/// Whether a value can be sent as it came: printable ASCII and tabs.
fn is_plain(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

fn nominates(connection: &str, name: &str) -> bool {
    connection
        .split(',')
        .any(|nominated| nominated.trim().eq_ignore_ascii_case(name))
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn push(lines: &mut String, name: &str, value: &str) {
    for part in [name, ":", value, "\n"] {
        lines.push_str(part);
    }
}

/// The third extra, `kube-access.dev/ray`, differs with each request.
const RAY_HEADER: &str = "Impersonate-Extra-kube-access.dev%2Fray";

#[cfg(test)]
mod tests;
