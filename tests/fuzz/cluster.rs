//! What must be true of every head that is read, and of every head that is sent to the cluster.

use kube_access::caller::Caller;
use kube_access::head::{Head, MAX_HEAD_BYTES, MAX_TARGET_BYTES};
use kube_access::identity::IdentityMap;
use kube_access::target::{Protocol, Target};
use kube_access::token::Untrusted;
use kube_access::upstream;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::request_info;
use crate::team::{NOW, config, encode, person};

/// A head is the text that came, in parts, or it is too large and has no headers.
pub(crate) fn head(text: &str) -> Result<(), TestCaseError> {
    let (head, too_large) = Head::read(text);
    prop_assert_eq!(
        too_large.is_some(),
        head.headers().is_empty()
            && (text.len() > MAX_HEAD_BYTES || target_bytes(text) > MAX_TARGET_BYTES)
    );
    prop_assert!(text.contains(head.target) || head.target == "/");
    if head.query().is_empty() {
        prop_assert_eq!(head.path(), head.target.trim_end_matches('?'));
    } else {
        prop_assert_eq!(format!("{}?{}", head.path(), head.query()), head.target);
    }
    for (name, value) in head.headers() {
        let line = format!("\n{name}:{value}");
        prop_assert!(text.contains(&line), "{}", line);
        prop_assert!(!name.contains(['\n', ':']) && !value.contains('\n'));
        prop_assert!(head.header(&name.to_ascii_uppercase()).is_some());
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
    let (head, too_large) = Head::read(&text);
    if too_large.is_some() {
        return Ok(());
    }
    let Ok(found) = Target::parse(&head) else {
        return Ok(());
    };
    prop_assert!(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].contains(&method));
    let path = head.path();
    prop_assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()));
    let has_what_no_url_holds = path.contains(['\\', '#', '"', '<', '>', '^', '`', '{', '|', '}']);
    prop_assert!(!has_what_no_url_holds, "{}", path);
    let inner = path.trim_matches('/');
    for segment in inner.split('/').filter(|_| !inner.is_empty()) {
        let decoded = request_info::unescape(segment).unwrap();
        prop_assert!(!matches!(&*decoded, "" | "." | ".."), "{}", path);
        prop_assert!(!decoded.chars().any(char::is_control), "{}", path);
        // Only a workload behind a proxy has separators inside its segments.
        let has_separator = decoded.contains(['/', '\\', '%']);
        let is_behind_proxy = is_after_proxy(path, segment);
        prop_assert!(!has_separator || is_behind_proxy, "{}", path);
    }
    // The runtime's URL parser would end the query here, or write it otherwise.
    let is_rewritten = head.query().contains(['#', '"', '<', '>', ' ']) || !head.query().is_ascii();
    prop_assert!(!is_rewritten, "{}", head.query());
    let expected = request_info::read(method, path, head.query());
    let read = request_info::RequestInfo {
        verb: found.verb.to_owned(),
        is_resource: found.is_resource,
        group: found.group,
        version: found.version,
        namespace: found.namespace,
        resource: found.resource,
        subresource: found.subresource,
        // A field selector may name an object too; the tables of the library have that.
        name: if head.query().contains("ield") {
            expected.name.clone()
        } else {
            found.name
        },
    };
    prop_assert_eq!(read, expected);
    Ok(())
}

/// Whether a segment stands behind the `proxy` of a node, a pod or a service.
fn is_after_proxy(path: &str, segment: &str) -> bool {
    let parts: Vec<String> = path
        .split('/')
        .skip(1)
        .map_while(request_info::unescape)
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let start = match *parts {
        ["api", _, "nodes", _, "proxy", ..] => 5,
        [
            "api",
            _,
            "namespaces",
            _,
            "pods" | "services",
            _,
            "proxy",
            ..,
        ] => 7,
        _ => return false,
    };
    path.split('/')
        .skip(start + 1)
        .any(|found| found == segment)
}

/// Whatever a caller sends, the cluster hears the map's identity, and nothing but what is on the list.
pub(crate) fn prepare(text: &str) -> Result<(), TestCaseError> {
    let (head, too_large) = Head::read(text);
    if too_large.is_some() {
        return Ok(());
    }
    let caller = caller();
    let Ok(target) = Target::parse(&head) else {
        return Ok(());
    };
    let Ok(outgoing) = upstream::prepare(&head, &target, &caller) else {
        return Ok(());
    };
    for (name, _) in head.headers() {
        let name = name.to_ascii_lowercase();
        prop_assert!(!name.starts_with("impersonate") && name != "origin");
    }
    let names: Vec<&str> = outgoing
        .own
        .split_terminator('\n')
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    prop_assert_eq!(&outgoing.names, &format!("{},", names.join(",")));
    // At '\n' alone: str::lines would drop a '\r' before it.
    let (mut identity, others): (Vec<&str>, Vec<&str>) = outgoing
        .own
        .split_terminator('\n')
        .chain(outgoing.identity.split_terminator('\n'))
        .partition(|line| line.to_ascii_lowercase().starts_with("impersonate"));
    identity.retain(|line| !line.starts_with("Impersonate-Extra-kube-access.dev%2Fray:"));
    prop_assert_eq!(
        identity,
        caller.lines().split_terminator('\n').collect::<Vec<_>>()
    );
    prop_assert_eq!(
        others
            .iter()
            .filter(|line| line.starts_with("Audit-ID:"))
            .count(),
        1
    );
    for line in others {
        let (name, value) = line.split_once(':').unwrap();
        prop_assert!(
            value
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
                || name == "Audit-ID"
        );
        match name {
            "Audit-ID" => prop_assert_eq!(value, head.audit_id),
            "X-Forwarded-For" => prop_assert_eq!(Some(value), upstream::client_address(&head)),
            "Upgrade" => {
                prop_assert_eq!((value, head.method), ("websocket", "GET"));
                prop_assert_eq!(Protocol::parse(&head), Ok(Protocol::WebSocket));
            }
            "Sec-WebSocket-Protocol" => {
                let is_bearer = |offer: &str| offer.trim().to_ascii_lowercase().starts_with(BEARER);
                prop_assert!(!value.split(',').any(is_bearer), "{}", value);
            }
            "Sec-WebSocket-Extensions" => prop_assert_eq!(Some(value), head.header(name)),
            _ => {
                prop_assert!(FORWARDED.contains(&&*name.to_ascii_lowercase()), "{}", line);
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
    let map = IdentityMap::new("alice@example.com\talice\tadmins\tdevs\n", "", "");
    Caller::new(map.identify(&claims).unwrap())
}

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
