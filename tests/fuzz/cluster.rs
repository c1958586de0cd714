//! What must be true of every head that is read, and of every head that is sent to the cluster.

use kube_access::caller::Caller;
use kube_access::guard::Held;
use kube_access::head::{Head, MAX_HEAD_BYTES, MAX_TARGET_BYTES};
use kube_access::identity::IdentityMap;
use kube_access::identity::entry::Stored;
use kube_access::identity::membership::Membership;
use kube_access::protocol::Protocol;
use kube_access::request::Request;
use kube_access::target::Target;
use kube_access::token::Untrusted;
use kube_access::upstream::{self, Offers};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::request_info;
use crate::team::{NOW, config, encode, person};

/// A head is the text that came, in parts, or it is too large and has no headers.
pub(crate) fn head(text: &str) -> Result<(), TestCaseError> {
    let (head, too_large) = Head::read(text);
    prop_assert_eq!(
        too_large.is_some(),
        head.headers().is_empty() && (text.len() > MAX_HEAD_BYTES || target_bytes(text) > MAX_TARGET_BYTES)
    );
    prop_assert!(text.contains(head.target) || head.target == "/");
    for (name, value) in head.headers() {
        let line = format!("\n{name}:{value}");
        prop_assert!(text.contains(&line), "{}", line);
        prop_assert!(!name.contains(['\n', ':']) && !value.contains('\n'));
        prop_assert!(head.header(name).is_some());
    }
    Ok(())
}

fn target_bytes(text: &str) -> usize {
    text.split('\n').nth(1).unwrap_or_default().len()
}

/// A path that is accepted has one reading, and it is kube-apiserver's. The text is a method and a target.
pub(crate) fn target(text: &str) -> Result<(), TestCaseError> {
    let (method, target) = text.split_once(' ').unwrap_or(("GET", text));
    if target.contains('\n') || method.contains('\n') {
        return Ok(());
    }
    let text = format!("{method}\nhttps://kube.example.com{target}\n0\nid");
    let request = Request::read(&text);
    let (None, Ok(found)) = (request.excess, &request.target) else {
        return Ok(());
    };
    prop_assert!(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].contains(&method));
    let (path, query) = (found.path(), found.query());
    prop_assert!(path.starts_with('/'));
    // One spelling: read again, it stays as it is, and no URL parser changes it.
    let again = Target::parse(method, &found.text);
    prop_assert_eq!(again.as_ref(), Ok(found));
    let is_sound = |byte: u8| byte.is_ascii_graphic() && !b"\\#\"<>^`{|}".contains(&byte);
    prop_assert!(path.bytes().all(is_sound), "{}", path);
    let is_sound = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>'".contains(&byte);
    prop_assert!(query.bytes().all(is_sound), "{}", query);
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    for (index, segment) in inner.split('/').enumerate().filter(|_| path != "/") {
        let bytes = unescape(segment).unwrap();
        prop_assert!(!matches!(&*bytes, b"." | b".."), "{}", path);
        prop_assert!(!bytes.iter().any(u8::is_ascii_control), "{}", path);
        // Only a workload behind a proxy has separators inside its segments, empty ones, and bytes that are no text.
        let is_odd =
            bytes.is_empty() || bytes.iter().any(|byte| b"/\\%".contains(byte)) || String::from_utf8(bytes).is_err();
        prop_assert!(!is_odd || is_after_proxy(path, index), "{}", path);
    }
    let expected = request_info::read(method, path, query);
    let read = request_info::RequestInfo {
        verb: found.verb.to_owned(),
        is_resource: found.is_resource,
        group: found.group.to_string(),
        version: found.version.to_string(),
        namespace: found.namespace.to_string(),
        resource: found.resource.to_string(),
        subresource: found.subresource.to_string(),
        // A field selector may name an object too; the tables of the library have that.
        name: if query.contains("ield") { expected.name.clone() } else { found.name.to_string() },
    };
    prop_assert_eq!(read, expected);
    Ok(())
}

/// Whether the segment of this number stands behind the `proxy` of a node, a pod or a service.
fn is_after_proxy(path: &str, index: usize) -> bool {
    let parts: Vec<String> = path.split('/').skip(1).map_while(request_info::unescape).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let start = match *parts {
        ["api", _, "nodes", _, "proxy", ..] => 5,
        ["api", _, "namespaces", _, "pods" | "services", _, "proxy", ..] => 7,
        _ => return false,
    };
    index >= start
}

/// The bytes that a segment stands for; nothing, if an escape is none.
fn unescape(segment: &str) -> Option<Vec<u8>> {
    let mut pieces = segment.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend(piece[2..].bytes());
    }
    Some(bytes)
}

/// Whatever a caller sends, the cluster hears the map's identity, and nothing but what is on the list.
pub(crate) fn prepare(text: &str) -> Result<(), TestCaseError> {
    let request = Request::read(text);
    let head = &request.head;
    let (None, Ok(target), Ok(protocol)) = (request.excess, &request.target, request.protocol) else {
        return Ok(());
    };
    let Ok(outgoing) = upstream::prepare(head, target, protocol, Offers::All) else {
        return Ok(());
    };
    let names: Vec<&str> =
        outgoing.lines.split_terminator('\n').filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    prop_assert_eq!(&outgoing.names, &format!("{},", names.join(",")));
    let caller = caller();
    let (identity, others): (Vec<&str>, Vec<&str>) = caller
        .lines()
        .split_terminator('\n')
        .chain(outgoing.lines.split_terminator('\n'))
        .partition(|line| line.to_ascii_lowercase().starts_with("impersonate"));
    prop_assert_eq!(identity, caller.lines().split_terminator('\n').collect::<Vec<_>>());
    prop_assert_eq!(others.iter().filter(|line| line.starts_with("Audit-ID:")).count(), 1);
    for line in others {
        let (name, value) = line.split_once(':').unwrap();
        let is_text = |c: char| c == '\t' || (!c.is_ascii_control() && c != '\u{fffd}');
        prop_assert!(value.chars().all(is_text) || name == "Audit-ID");
        match name {
            "Audit-ID" => prop_assert_eq!(value, head.audit_id),
            "X-Forwarded-For" => prop_assert_eq!(Some(value), head.client_address()),
            "Upgrade" => {
                prop_assert_eq!((value, head.method), ("websocket", "GET"));
                prop_assert_eq!(protocol, Protocol::WebSocket);
            }
            "Sec-WebSocket-Protocol" => {
                let is_bearer = |offer: &str| offer.trim().to_ascii_lowercase().starts_with(BEARER);
                prop_assert!(!value.split(',').any(is_bearer), "{}", value);
            }
            "Origin" => {
                prop_assert_eq!((value, protocol), ("http://localhost", Protocol::WebSocket));
            }
            "Sec-WebSocket-Extensions" => {
                prop_assert_eq!(Some(value), head.header("sec-websocket-extensions"));
            }
            _ => {
                let is_withheld = name.replace('_', "-");
                let is_withheld = WITHHELD.iter().any(|start| is_withheld.starts_with(start));
                let may_pass = if target.is_proxy() { !is_withheld } else { FORWARDED.contains(&name) };
                prop_assert!(may_pass, "{}", line);
                prop_assert!(head.headers().contains(&(name, value)), "{}", line);
            }
        }
    }
    Ok(())
}

/// Somebody of two groups, recognised by a token.
fn caller() -> Caller {
    let header = encode(r#"{"alg":"RS256","kid":"team-1"}"#);
    let token = format!("{header}.{}.{}", encode(person().to_string()), encode("s"));
    let signed = Untrusted::parse(&token).unwrap().confirm(true).unwrap();
    let claims = signed.claims(&config(), NOW).unwrap();
    let map = IdentityMap { emails: "alice@example.com\talice\tadmins,devs\n", ..IdentityMap::default() };
    let (identity, _) = map.identify(&claims, Stored::default(), &Membership::default(), NOW).unwrap();
    Caller::new(identity, Held::default())
}

/// What no workload gets, by how its names begin.
const WITHHELD: [&str; 9] =
    ["authorization", "cf-", "connection", "cookie", "host", "impersonate", "proxy-", "x-forwarded-", "x-remote-"];

const BEARER: &str = "base64url.bearer.authorization.k8s.io";

const FORWARDED: [&str; 16] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-encoding",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "kubectl-command",
    "kubectl-session",
    "last-event-id",
    "range",
    "user-agent",
];
