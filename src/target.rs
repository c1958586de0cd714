//! Method, path and query -> [`Target`]: the verb and the resource, read exactly as kube-apiserver reads them.
//!
//! The rules are those of Kubernetes' `k8s.io/apiserver/pkg/endpoints/request.RequestInfoFactory`, with the prefixes
//! `api` and `apis`. The target is brought to one spelling first; that is what is ruled on, and what is sent. A path that two
//! parsers could still read in two ways is refused. Out of scope: whether the caller may do it. That is for the API
//! server's RBAC.

use std::borrow::Cow;
use std::fmt::Write as _;

use thiserror::Error;

mod query;

/// A target that is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// The path can be read in two ways.
    #[error(
        "the URL is ambiguous: empty, \".\" and \"..\" segments, encoded separators and characters that a URL cannot hold are refused"
    )]
    Ambiguous,
    /// A method that the Kubernetes API does not have.
    #[error("the Kubernetes API has no such method: use GET, HEAD, POST, PUT, PATCH or DELETE")]
    Method,
}

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// Path and query in the one spelling that every URL parser leaves as it is.
    pub text: Cow<'a, str>,
    /// RBAC's verb: `get`, `list`, `watch`, `create`, … For a non-resource path, the method in lower case.
    pub verb: &'static str,
    /// Whether the path names a resource, not a URL such as `/version`.
    pub is_resource: bool,
    /// The API group; empty for the core group.
    pub group: Cow<'a, str>,
    /// The version of the API group.
    pub version: Cow<'a, str>,
    /// The namespace; empty for cluster-wide requests.
    pub namespace: Cow<'a, str>,
    /// The resource, in the plural.
    pub resource: Cow<'a, str>,
    /// The subresource, such as `exec`.
    pub subresource: Cow<'a, str>,
    /// The object's name; empty for collections.
    pub name: Cow<'a, str>,
    /// The path of what is no resource, decoded, as the API server authorises it; empty for resources.
    pub url: Cow<'a, str>,
}

impl<'a> Target<'a> {
    /// Reads a request's method, path and query.
    pub fn parse(method: &str, target: &'a str) -> Result<Self, Error> {
        let method = known(method)?;
        match spell(target)? {
            Cow::Borrowed(text) => read(method, text),
            Cow::Owned(text) => Ok(read(method, &text)?.into_owned()),
        }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        split(&self.text).0
    }

    /// The query, without its question mark.
    #[must_use]
    pub fn query(&self) -> &str {
        split(&self.text).1
    }

    /// The decoded values of an option.
    pub fn values<'q>(&'q self, name: &'q str) -> impl Iterator<Item = String> + 'q {
        query::values(self.query(), name)
    }

    /// Whether an option is on, as kube-apiserver reads it.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        query::is_on(self.query(), name)
    }

    /// The text to send of something that must end within so many seconds: a watch is told so. Whatever else stays open is not.
    #[must_use]
    pub fn ending_within(&self, seconds: u64) -> Cow<'_, str> {
        let query = if self.verb == "watch" { query::ending_within(self.query(), seconds) } else { None };
        query.map_or(Cow::Borrowed(&*self.text), |query| Cow::Owned([self.path(), "?", &query].concat()))
    }

    /// Whether the answer may take as long as it likes, and so may its head: kube-apiserver's own long-running requests.
    #[must_use]
    pub fn is_long_running(&self) -> bool {
        matches!(self.verb, "watch" | "proxy")
            || matches!(&*self.subresource, "attach" | "exec" | "proxy" | "log" | "portforward")
    }

    /// Whether the request opens a stream to a container: what kubectl upgrades by a WebSocket or by SPDY.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(&*self.subresource, "attach" | "exec" | "portforward")
    }

    /// Whether the answer comes from a workload or a node, and not from the API server.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        self.verb == "proxy" || self.subresource == "proxy"
    }

    #[inline(never)] // seldom called: V8 compiles what calls it sooner without
    fn into_owned<'b>(self) -> Target<'b> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Target {
            text: own(self.text),
            verb: self.verb,
            is_resource: self.is_resource,
            group: own(self.group),
            version: own(self.version),
            namespace: own(self.namespace),
            resource: own(self.resource),
            subresource: own(self.subresource),
            name: own(self.name),
            url: own(self.url),
        }
    }
}

/// Reads a target that is spelled as it is sent.
fn read<'a>(method: &'static str, text: &'a str) -> Result<Target<'a>, Error> {
    let (path, query) = split(text);
    let mut target = match decode(path)? {
        Cow::Borrowed(inner) => Target { url: Cow::Borrowed(path), ..classify(method, inner, query) },
        Cow::Owned(inner) => {
            let end = if path.ends_with('/') { "/" } else { "" };
            Target { url: Cow::Owned(["/", &inner, end].concat()), ..classify(method, &inner, query).into_owned() }
        }
    };
    if target.is_resource {
        target.url = Cow::default();
    }
    Ok(Target { text: Cow::Borrowed(text), ..target })
}

/// The methods that the Kubernetes API has, in lower case. Text, not the runtime's enumeration: an unknown one must not become GET.
fn known(method: &str) -> Result<&'static str, Error> {
    let is_upper = method.bytes().all(|byte| byte.is_ascii_uppercase());
    let methods = ["get", "head", "post", "put", "patch", "delete"];
    methods.into_iter().find(|known| is_upper && known.eq_ignore_ascii_case(method)).ok_or(Error::Method)
}

/// Path, and query without its question mark.
pub(crate) fn split(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// The decoded values of a parameter of a query.
pub(crate) fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    query::values(query, name)
}

/// Percent-encodes what the runtime's URL parser (WHATWG URL) would encode, cut off or turn into a separator when the request is
/// sent. To Go's `net/url`, which decodes once, both spellings are the same. What no URL can hold at all is refused.
fn spell(target: &str) -> Result<Cow<'_, str>, Error> {
    let end_of_path = target.find('?').unwrap_or(target.len());
    let stays = |(index, byte): (usize, u8)| {
        if index <= end_of_path {
            is_path(byte) || matches!(byte, b'/' | b'?' | b'%')
        } else {
            byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\'')
        }
    };
    if target.bytes().enumerate().all(stays) {
        return Ok(Cow::Borrowed(target));
    }
    let mut spelled = String::with_capacity(target.len() + 32);
    for (index, byte) in target.bytes().enumerate() {
        if stays((index, byte)) {
            spelled.push(char::from(byte));
        } else if byte.is_ascii_control() {
            return Err(Error::Ambiguous);
        } else {
            // Writing to a `String` never fails.
            let _ = write!(spelled, "%{byte:02X}");
        }
    }
    // The runtime puts U+FFFD for bytes that are no UTF-8: what they were cannot be told any more.
    if target.contains('\u{fffd}') {
        return Err(Error::Ambiguous);
    }
    Ok(Cow::Owned(spelled))
}

/// Percent-decodes a path once, as Go's `net/url` does, without the slashes at its ends, and refuses what could be read in two
/// ways: empty, `.` and `..` segments, encoded separators and control characters. After `…/proxy/` the path belongs to the
/// workload, and is looked at for one thing: dot segments stay refused, since the runtime's URL parser would resolve them.
fn decode(path: &str) -> Result<Cow<'_, str>, Error> {
    let inner = path.strip_prefix('/').ok_or(Error::Ambiguous)?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if path.len() == 1 {
        return Ok(Cow::Borrowed(inner));
    }
    let is_simple = |segment: &str| !matches!(segment, "" | "." | "..");
    if !inner.contains('%') && inner.split('/').all(is_simple) {
        return Ok(Cow::Borrowed(inner));
    }
    let mut segments: Vec<Cow<'_, str>> = Vec::new();
    for segment in inner.split('/') {
        let decoded = if is_workloads(&segments) {
            of_workload(segment)
        } else {
            decode_segment(segment).filter(|decoded| is_simple(decoded))
        };
        segments.push(decoded.ok_or(Error::Ambiguous)?);
    }
    Ok(Cow::Owned(segments.join("/")))
}

/// Whether the segments so far end with, or lie below, `/api/v1/nodes/NAME/proxy` or
/// `/api/v1/namespaces/NAMESPACE/{pods,services}/NAME/proxy`.
fn is_workloads(segments: &[Cow<'_, str>]) -> bool {
    let segment = |index: usize| segments.get(index).map(|segment| &**segment);
    let place = match (segment(2), segment(4)) {
        (Some("nodes"), _) => 4,
        (Some("namespaces"), Some("pods" | "services")) => 6,
        _ => return false,
    };
    segment(0) == Some("api") && segment(place) == Some("proxy")
}

/// A segment after `…/proxy/`, undecoded, if its escapes are escapes and it is no dot segment in any spelling.
fn of_workload(segment: &str) -> Option<Cow<'_, str>> {
    let bytes = unescape(segment)?;
    let is_dots = matches!(&*bytes, b"." | b"..");
    (!is_dots && !bytes.iter().any(u8::is_ascii_control)).then_some(Cow::Borrowed(segment))
}

fn decode_segment(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let decoded = String::from_utf8(unescape(segment)?).ok()?;
    let is_sound = |byte: u8| !byte.is_ascii_control() && !matches!(byte, b'/' | b'\\' | b'%');
    decoded.bytes().all(is_sound).then_some(Cow::Owned(decoded))
}

/// Percent-decodes. Nothing, if an escape is none.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    Some(decoded)
}

/// Whether a byte may stand in a path as it is (RFC 3986, `pchar`).
fn is_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// `RequestInfoFactory.NewRequestInfo`. `path` is decoded and has no slash at either end.
fn classify<'a>(method: &'static str, path: &'a str, query: &str) -> Target<'a> {
    let mut parts: &[&str] = &path.split('/').collect::<Vec<_>>();
    let non_resource = Target { verb: method, ..Target::default() };
    let (group, version) = match *parts {
        ["api", version, _, ..] => ("", version),
        ["apis", group, version, _, ..] => (group, version),
        _ => return non_resource,
    };
    parts = parts.get(if parts.first() == Some(&"api") { 2 } else { 3 }..).unwrap_or_default();

    let mut target = Target { is_resource: true, group: group.into(), version: version.into(), ..Target::default() };
    // The deprecated form with the verb in the path.
    let verb_in_path = match *parts {
        ["proxy", _, ..] => Some("proxy"),
        ["watch", _, ..] => Some("watch"),
        ["proxy" | "watch"] => return non_resource,
        _ => None,
    };
    target.verb = verb_in_path.unwrap_or(match method {
        "post" => "create",
        "put" => "update",
        "patch" => "patch",
        "delete" => "delete",
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
    let part = |index: usize| Cow::Borrowed(parts.get(index).copied().unwrap_or_default());
    (target.resource, target.name) = (part(0), part(1));
    if target.verb != "proxy" {
        target.subresource = part(2);
    }
    if target.name.is_empty() && target.verb == "get" {
        target.verb = if query::is_on(query, "watch") { "watch" } else { "list" };
        target.name = query::name(query).unwrap_or_default().into();
    }
    if target.name.is_empty() && target.verb == "delete" {
        target.verb = "deletecollection";
    }
    target
}

#[cfg(test)]
mod tests;
