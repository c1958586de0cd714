//! A second reading of a request, step by step as `RequestInfoFactory.NewRequestInfo` of kube-apiserver takes them, to hold
//! `target` to. It knows neither refusals nor what a field selector names.

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    pub(crate) verb: String,
    pub(crate) is_resource: bool,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) name: String,
}

pub(crate) fn read(method: &str, path: &str, query: &str) -> RequestInfo {
    let mut info = RequestInfo { verb: method.to_lowercase(), ..RequestInfo::default() };
    let path = unescape(path).unwrap_or_default();
    let trimmed = path.trim_matches('/');
    let mut parts: Vec<&str> = if trimmed.is_empty() { Vec::new() } else { trimmed.split('/').collect() };
    if parts.len() < 3 || !["api", "apis"].contains(&parts[0]) {
        return info;
    }
    if parts.remove(0) == "apis" {
        if parts.len() < 3 {
            return info;
        }
        parts.remove(0).clone_into(&mut info.group);
    }
    let version = parts.remove(0).to_owned();
    let mut verb = match method {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    };
    if ["proxy", "watch"].contains(&parts[0]) {
        if parts.len() < 2 {
            // An error in kube-apiserver, which answers 500.
            info.group.clear();
            return info;
        }
        verb = if parts.remove(0) == "proxy" { "proxy" } else { "watch" };
    }
    info.is_resource = true;
    info.version = version;
    if parts[0] == "namespaces" && parts.len() > 1 {
        parts[1].clone_into(&mut info.namespace);
        if parts.len() > 2 && !["status", "finalize"].contains(&parts[2]) {
            parts.drain(..2);
        }
    }
    if parts.len() >= 3 && verb != "proxy" {
        parts[2].clone_into(&mut info.subresource);
    }
    if parts.len() >= 2 {
        parts[1].clone_into(&mut info.name);
    }
    parts[0].clone_into(&mut info.resource);
    if info.name.is_empty() && verb == "get" {
        verb = if is_watch(query) { "watch" } else { "list" };
    }
    if info.name.is_empty() && verb == "delete" {
        verb = "deletecollection";
    }
    verb.clone_into(&mut info.verb);
    info
}

/// `url.PathUnescape`. Go's strings may hold bytes that are no text, as behind `proxy/`; here something else stands for them.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_watch(query: &str) -> bool {
    let mut values = query.split('&').filter(|pair| !pair.contains(';')).filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = unescape(&key.replace('+', " "))?;
        (key == "watch").then(|| unescape(&value.replace('+', " "))).flatten()
    });
    values.next().is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
}
