//! Method and path -> [`Target`]: the verb and the resource, read exactly as kube-apiserver reads them.
//!
//! The rules are those of Kubernetes' `k8s.io/apiserver/pkg/endpoints/request.RequestInfoFactory`, with the prefixes
//! `api` and `apis`. A path that two parsers could read in two ways is refused, so that what is decided on is what is
//! done. Out of scope: whether the caller may do it. That is for the API server's RBAC.

use std::borrow::Cow;

use crate::head::Head;
use crate::refusal::Refusal;

mod query;

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// RBAC's verb: `get`, `list`, `watch`, `create`, … For a non-resource path, the method in lower case.
    pub verb: &'static str,
    /// Whether the path names a resource, not a URL such as `/version`.
    pub is_resource: bool,
    /// The API group; empty for the core group.
    pub group: String,
    /// The version of the API group.
    pub version: String,
    /// The namespace; empty for cluster-wide requests.
    pub namespace: String,
    /// The resource, in the plural.
    pub resource: String,
    /// The subresource, such as `exec`.
    pub subresource: String,
    /// The object's name; empty for collections.
    pub name: String,
}

/// How the client wants to speak after the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP, request and response.
    Http,
    /// A WebSocket.
    WebSocket,
    /// kubectl's older streaming protocol, which no Worker can carry.
    Spdy,
}

impl Target {
    /// Reads a request's method and path.
    pub fn parse(head: &Head<'_>) -> Result<Self, Refusal> {
        let method = method(head.method)?;
        let path = decode(head.path())?;
        if !head.query().bytes().all(is_query) {
            return Err(Refusal::AmbiguousPath);
        }
        Ok(classify(method, &path, head.query()))
    }

    /// Whether the answer may take as long as it likes, and so may its head: kube-apiserver's own long-running requests.
    #[must_use]
    pub fn is_long_running(&self) -> bool {
        matches!(self.verb, "watch" | "proxy")
            || matches!(
                self.subresource.as_str(),
                "attach" | "exec" | "proxy" | "log" | "portforward"
            )
    }

    /// Whether the request opens a stream to a container: what kubectl upgrades by a WebSocket or by SPDY.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self.subresource.as_str(), "attach" | "exec" | "portforward")
    }

    /// Whether the head of the answer may wait for a workload's first word: a pod's log is silent until it has a line.
    #[must_use]
    pub fn answers_late(&self) -> bool {
        self.is_proxy() || self.subresource == "log"
    }

    /// Whether the answer comes from a workload or a node, and not from the API server.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        self.verb == "proxy" || self.subresource == "proxy"
    }
}

impl Protocol {
    /// Reads the `Upgrade` header.
    pub fn parse(head: &Head<'_>) -> Result<Self, Refusal> {
        match head.header("upgrade") {
            None => Ok(Self::Http),
            Some(value) if value.eq_ignore_ascii_case("websocket") && head.method == "GET" => {
                Ok(Self::WebSocket)
            }
            Some(value)
                if value
                    .get(..5)
                    .is_some_and(|start| start.eq_ignore_ascii_case("spdy/")) =>
            {
                Ok(Self::Spdy)
            }
            Some(_) => Err(Refusal::UnknownUpgrade),
        }
    }
}

/// The methods that the Kubernetes API has. Text, not the runtime's enumeration: an unknown method must not become GET.
fn method(method: &str) -> Result<&'static str, Refusal> {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        .into_iter()
        .find(|known| *known == method)
        .ok_or(Refusal::MethodNotAllowed)
}

/// Percent-decodes a path once, as Go's `net/url` does, and refuses what could be read in two ways: empty, `.` and `..`
/// segments, encoded separators, control characters, and bytes that no URL holds. After `…/proxy/` the path belongs to
/// the workload, where encoded separators have their own meaning; dot segments stay refused, since the runtime's URL
/// parser would resolve them.
fn decode(path: &str) -> Result<Cow<'_, str>, Refusal> {
    let inner = path.strip_prefix('/').ok_or(Refusal::AmbiguousPath)?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() && path.len() == 1 {
        return Ok(Cow::Borrowed(inner));
    }
    if !inner.contains('%') {
        let is_sound = |segment: &str| !is_dots(segment) && segment.bytes().all(is_path);
        return if inner.split('/').all(is_sound) {
            Ok(Cow::Borrowed(inner))
        } else {
            Err(Refusal::AmbiguousPath)
        };
    }
    let mut segments: Vec<String> = Vec::new();
    for segment in inner.split('/') {
        let decoded =
            decode_segment(segment, follows_proxy(&segments)).ok_or(Refusal::AmbiguousPath)?;
        segments.push(decoded);
    }
    Ok(Cow::Owned(segments.join("/")))
}

/// Whether the segments so far end with, or lie below, `/api/v1/nodes/NAME/proxy` or
/// `/api/v1/namespaces/NAMESPACE/{pods,services}/NAME/proxy`.
fn follows_proxy(segments: &[String]) -> bool {
    let segment = |index: usize| segments.get(index).map(String::as_str);
    let place = match (segment(2), segment(4)) {
        (Some("nodes"), _) => 4,
        (Some("namespaces"), Some("pods" | "services")) => 6,
        _ => return false,
    };
    segment(0) == Some("api") && segment(place) == Some("proxy")
}

fn decode_segment(segment: &str, belongs_to_workload: bool) -> Option<String> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let is_encoded = byte == b'%';
        let byte = if is_encoded {
            hex(bytes.next()?)? << 4 | hex(bytes.next()?)?
        } else {
            byte
        };
        let is_sound = if is_encoded {
            !byte.is_ascii_control()
                && (belongs_to_workload || !matches!(byte, b'/' | b'\\' | b'%'))
        } else {
            is_path(byte)
        };
        if !is_sound {
            return None;
        }
        decoded.push(byte);
    }
    let decoded = String::from_utf8(decoded).ok()?;
    (!is_dots(&decoded)).then_some(decoded)
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "" | "." | "..")
}

/// Whether a byte may stand in a path as it is (RFC 3986, `pchar`).
fn is_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

/// Whether a query's byte is sent as it came. The runtime's URL parser ends the query at `#`, and drops or rewrites the
/// others, so that what was read would not be what is sent. (It also writes `'` as `%27`, which reads the same.)
fn is_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>')
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// `RequestInfoFactory.NewRequestInfo`. `path` is decoded and has no slash at either end.
fn classify(method: &'static str, path: &str, query: &str) -> Target {
    let mut parts: &[&str] = &path.split('/').collect::<Vec<_>>();
    let non_resource = Target {
        verb: lower(method),
        ..Target::default()
    };
    let (group, version) = match *parts {
        ["api", version, _, ..] => ("", version),
        ["apis", group, version, _, ..] => (group, version),
        _ => return non_resource,
    };
    parts = parts
        .get(if parts.first() == Some(&"api") { 2 } else { 3 }..)
        .unwrap_or_default();

    let mut target = Target {
        is_resource: true,
        group: group.into(),
        version: version.into(),
        ..Target::default()
    };
    // The deprecated form with the verb in the path.
    let verb_in_path = match *parts {
        ["proxy", _, ..] => Some("proxy"),
        ["watch", _, ..] => Some("watch"),
        ["proxy" | "watch"] => return non_resource,
        _ => None,
    };
    target.verb = verb_in_path.unwrap_or(match method {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    });
    if verb_in_path.is_some() {
        parts = parts.get(1..).unwrap_or_default();
    }
    if let ["namespaces", namespace, ..] = *parts {
        target.namespace = namespace.into();
        if !matches!(*parts, [_, _] | [_, _, "status" | "finalize", ..]) {
            parts = parts.get(2..).unwrap_or_default();
        }
    }
    let part = |index: usize| {
        parts
            .get(index)
            .map(|part| (*part).to_owned())
            .unwrap_or_default()
    };
    (target.resource, target.name) = (part(0), part(1));
    if target.verb != "proxy" {
        target.subresource = part(2);
    }
    if target.name.is_empty() && target.verb == "get" {
        target.verb = if query::is_watch(query) {
            "watch"
        } else {
            "list"
        };
        target.name = query::name(query).unwrap_or_default();
    }
    if target.name.is_empty() && target.verb == "delete" {
        target.verb = "deletecollection";
    }
    target
}

fn lower(method: &'static str) -> &'static str {
    match method {
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    }
}

#[cfg(test)]
mod tests;
