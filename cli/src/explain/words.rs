//! kubectl's words, or a method and a path, as the request that kubectl would make.

use std::fmt::Write as _;

use kube_access::guard::words as rbac;

use crate::failure::Failure;
use crate::policy;

/// One request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The method.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Whom kubectl is told to act as: names and values of headers.
    pub(crate) impersonation: Vec<(String, String)>,
}

/// Reads `GET /api/v1/pods?limit=5`.
pub(crate) fn read_request(text: &str) -> Result<Asked, Failure> {
    let wrong =
        || Failure::usage(format!("--request {text:?}: expected a method and a path, such as 'GET /api/v1/pods'"));
    let (method, target) = text.trim().split_once(' ').ok_or_else(wrong)?;
    let target = target.trim();
    if !target.starts_with('/') || text.contains(['\n', '\r']) {
        return Err(wrong());
    }
    Ok(plain(method, target.to_owned()))
}

/// Reads what would stand after `kubectl`.
pub(crate) fn read_words(words: &[String]) -> Result<Asked, Failure> {
    let options = Options::read(words)?;
    let mut names = options.names.iter().map(String::as_str);
    let verb = names.next().ok_or_else(|| Failure::usage("expected what kubectl would be told, such as: get pods"))?;
    let rest: Vec<&str> = names.collect();
    let mut asked = match verb {
        "exec" | "attach" | "port-forward" | "cp" => stream(verb, &rest, &options)?,
        "logs" => {
            let pod = pod(verb, rest.first().copied())?;
            let follow = if options.is_following { "?follow=true" } else { "" };
            plain("GET", format!("{}/log{follow}", path_of(&pod, &options, Some(&pod.name))))
        }
        "version" => plain("GET", "/version".to_owned()),
        "api-resources" | "api-versions" => plain("GET", "/apis".to_owned()),
        "auth" if rest.first() == Some(&"whoami") => {
            plain("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews".to_owned())
        }
        _ => of_resource(verb, &rest, &options)?,
    };
    asked.impersonation = options.impersonation;
    Ok(asked)
}

/// What the words mean beside their names.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of kubectl's")]
struct Options {
    names: Vec<String>,
    namespace: Option<String>,
    is_everywhere: bool,
    is_watching: bool,
    is_following: bool,
    has_stdin: bool,
    has_terminal: bool,
    container: Option<String>,
    subresource: Option<String>,
    selector: Option<String>,
    /// After `--`.
    command: Vec<String>,
    impersonation: Vec<(String, String)>,
}

impl Options {
    fn read(words: &[String]) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut groups = Vec::new();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let (name, given) =
                word.split_once('=').filter(|_| word.starts_with('-')).map_or((word, None), |(n, v)| (n, Some(v)));
            let mut value = || {
                given
                    .or_else(|| words.next())
                    .map(str::to_owned)
                    .ok_or_else(|| Failure::usage(format!("{name}: a value was expected")))
            };
            let is_on = || match given {
                // As kubectl's own flags are read (Go, `strconv.ParseBool`).
                None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
                Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
                Some(other) => Err(Failure::usage(format!("{name}={other}: expected true or false"))),
            };
            match name {
                "--" => options.command = words.by_ref().map(str::to_owned).collect(),
                "-n" | "--namespace" => options.namespace = Some(value()?),
                "-c" | "--container" => options.container = Some(value()?),
                "-l" | "--selector" => options.selector = Some(value()?),
                "--subresource" => options.subresource = Some(value()?),
                "--as" => options.impersonation.push(("impersonate-user".into(), value()?)),
                "--as-uid" => options.impersonation.push(("impersonate-uid".into(), value()?)),
                "--as-group" => groups.push(value()?),
                "--as-user-extra" => {
                    let extra = value()?;
                    let (key, text) = extra
                        .split_once('=')
                        .ok_or_else(|| Failure::usage(format!("--as-user-extra {extra}: expected KEY=VALUE")))?;
                    options.impersonation.push((format!("impersonate-extra-{}", encode(key)), text.to_owned()));
                }
                "-A" | "--all-namespaces" => options.is_everywhere = is_on()?,
                "-w" | "--watch" | "--watch-only" => options.is_watching = is_on()?,
                "-f" | "--follow" if options.names.first().is_some_and(|verb| verb == "logs") => {
                    options.is_following = is_on()?;
                }
                // What goes into a body, of which explain reads nothing; and how it is printed.
                "-f" | "--filename" | "-o" | "--output" | "--image" | "--port" | "--replicas" | "--min" | "--max" => {
                    drop(value()?);
                }
                "-i" | "--stdin" => options.has_stdin = is_on()?,
                "-t" | "--tty" => options.has_terminal = is_on()?,
                "-it" | "-ti" => (options.has_stdin, options.has_terminal) = (is_on()?, is_on()?),
                _ if name.starts_with('-') => {
                    let advice = "explain takes -n, -A, -w, -c, -i, -t, -l, --subresource, --as, --as-group, --as-uid and \
                        --as-user-extra here; its own options come before kubectl's words";
                    return Err(Failure::usage(format!("{name}: {advice}")));
                }
                _ => options.names.push(word.to_owned()),
            }
        }
        if !groups.is_empty() {
            options.impersonation.push(("impersonate-group".into(), groups.join(", ")));
        }
        if let Some((_, value)) = options.impersonation.iter().find(|(_, value)| value.contains(['\n', '\r'])) {
            return Err(Failure::usage(format!("{value:?}: no header can hold this")));
        }
        Ok(options)
    }
}

/// A resource, and the name of one if it was given.
#[derive(Debug, Default)]
struct Thing {
    group: String,
    version: String,
    resource: String,
    name: String,
}

/// Reads `pods`, `po/web`, `deployments.apps/web` or `widgets.v1.example.com`, and a name beside it.
fn thing(kind: &str, name: Option<&str>) -> Result<Thing, Failure> {
    let (kind, name) = kind.split_once('/').map_or((kind, name.unwrap_or_default()), |(kind, name)| (kind, name));
    let mut parts = kind.splitn(3, '.');
    let (resource, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let plural = policy::plural_of(resource).unwrap_or(resource);
    let is_version =
        |text: &str| text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    let (group, version) = match (second, third) {
        (Some(version), Some(group)) if is_version(version) => (group.to_owned(), version.to_owned()),
        (Some(second), Some(third)) => (format!("{second}.{third}"), String::new()),
        (Some(group), None) => (group.to_owned(), String::new()),
        (None, _) => {
            let groups = policy::groups_of(plural);
            let group = groups.first().ok_or_else(|| {
                let advice = "explain asks no cluster: name a custom resource with version and group, such as widgets.v1.example.com";
                Failure::usage(format!("{kind}: this is none of Kubernetes' own resources, and {advice}"))
            })?;
            ((*group).to_owned(), String::new())
        }
    };
    let version = match (&*group, version.is_empty()) {
        (_, false) => version,
        ("autoscaling", _) => "v2".to_owned(),
        ("metrics.k8s.io", _) => "v1beta1".to_owned(),
        _ => "v1".to_owned(),
    };
    Ok(Thing { group, version, resource: plural.to_owned(), name: name.to_owned() })
}

/// The pod of a stream or a log: `web`, `pod/web`.
fn pod(verb: &str, word: Option<&str>) -> Result<Thing, Failure> {
    let word = word.ok_or_else(|| Failure::usage(format!("{verb}: the name of a pod was expected")))?;
    let pod = if word.contains('/') { thing(word, None)? } else { thing("pods", Some(word))? };
    if pod.resource != "pods" {
        let advice =
            format!("kubectl looks for a pod of it, and asks for that one: name the pod, as in {verb} pod/web");
        return Err(Failure::usage(format!("{word}: {advice}")));
    }
    Ok(pod)
}

fn stream(verb: &str, rest: &[&str], options: &Options) -> Result<Asked, Failure> {
    let copied = rest.iter().find_map(|word| word.split_once(':').map(|(pod, _)| pod));
    let place = copied.and_then(|place| place.split_once('/'));
    let word = match (verb, place, copied) {
        ("cp", Some((_, pod)), _) | ("cp", None, Some(pod)) => Some(pod),
        _ => rest.first().copied(),
    };
    let pod = pod(verb, word)?;
    let mut options_of_pod = Options { namespace: options.namespace.clone(), ..Options::default() };
    if let (Some((namespace, _)), true) = (place, verb == "cp") {
        options_of_pod.namespace = Some(namespace.to_owned());
    }
    let subresource = match verb {
        "port-forward" => "portforward",
        "attach" => "attach",
        _ => "exec",
    };
    let mut target = format!("{}/{subresource}", path_of(&pod, &options_of_pod, Some(&pod.name)));
    let mut separator = '?';
    let mut add = |name: &str, value: &str| {
        let written = write!(target, "{separator}{name}={}", encode(value));
        debug_assert!(written.is_ok(), "a String takes everything");
        separator = '&';
    };
    let commands = if verb == "cp" { vec!["tar".to_owned()] } else { options.command.clone() };
    for word in commands.iter().filter(|_| subresource == "exec") {
        add("command", word);
    }
    if let Some(container) = &options.container {
        add("container", container);
    }
    if subresource != "portforward" {
        let given = [("stdin", options.has_stdin || verb == "cp"), ("stdout", true), ("tty", options.has_terminal)];
        for (name, _) in given.iter().filter(|(_, is_on)| *is_on) {
            add(name, "true");
        }
    }
    Ok(plain("GET", target))
}

/// The request that carries out what kubectl does by commands that name no resource, or another than they ask for.
fn of_command<'w>(verb: &'w str, rest: &[&'w str]) -> Result<(&'w str, Vec<&'w str>), Failure> {
    let after = |count: usize| rest.get(count..).unwrap_or_default().to_vec();
    let first = rest.first().copied();
    Ok(match (verb, first) {
        ("rollout", Some("status" | "history")) => ("get", after(1)),
        ("rollout", Some("restart" | "undo" | "pause" | "resume"))
        | ("set", Some("env" | "image" | "resources" | "selector" | "serviceaccount" | "subject")) => {
            ("patch", after(1))
        }
        ("rollout" | "set", _) => {
            let example = if verb == "set" { "set image deploy/web" } else { "rollout restart deploy/web" };
            return Err(Failure::usage(format!("{verb}: expected what is done, and to what, such as {example}")));
        }
        ("cordon" | "uncordon", _) => ("patch", [vec!["nodes"], after(0)].concat()),
        ("run", _) => ("create", [vec!["pods"], after(0)].concat()),
        ("expose", Some(_)) => ("create", vec!["services"]),
        ("autoscale", Some(_)) => ("create", vec!["horizontalpodautoscalers"]),
        _ => (verb, after(0)),
    })
}

/// What kubectl does to a resource, by the request that carries it out.
fn of_resource(verb: &str, rest: &[&str], options: &Options) -> Result<Asked, Failure> {
    let (verb, rest) = of_command(verb, rest)?;
    let (method, is_of_one) = match verb {
        "get" | "list" | "describe" | "watch" | "wait" => ("GET", false),
        "create" | "expose" | "autoscale" => ("POST", false),
        "apply" | "edit" | "patch" | "label" | "annotate" | "scale" | "taint" => ("PATCH", true),
        "replace" | "update" => ("PUT", true),
        "delete" | "deletecollection" => ("DELETE", false),
        _ => {
            let known = "get, list, watch, describe, create, apply, patch, edit, label, annotate, scale, autoscale, expose, set, rollout, \
                run, cordon, uncordon, taint, replace, delete, logs, exec, attach, port-forward, cp";
            return Err(Failure::usage(format!("{verb}: explain knows {known}; for anything else there is --request")));
        }
    };
    let kind = rest.first().ok_or_else(|| Failure::usage(format!("{verb}: a resource was expected, such as pods")))?;
    if verb != "create" {
        is_one(verb, &rest)?;
    }
    let mut thing = thing(kind, rest.get(1).copied())?;
    if is_of_one && thing.name.is_empty() {
        return Err(Failure::usage(format!("{verb}: the name of one was expected, such as {}/web", thing.resource)));
    }
    if verb == "scale" {
        thing.name.push_str("/scale");
    }
    if let Some(subresource) = options.subresource.as_deref().filter(|_| !thing.name.is_empty()) {
        thing.name.extend(["/", subresource]);
    }
    let name = Some(thing.name.as_str()).filter(|name| !name.is_empty() && verb != "create");
    let mut target = path_of(&thing, options, name);
    let mut query = Vec::new();
    if options.is_watching || verb == "watch" {
        query.push("watch=true".to_owned());
        if let Some(name) = name {
            // kubectl watches one object as a list of that name.
            target = path_of(&thing, options, None);
            query.push(format!("fieldSelector={}", encode(&format!("metadata.name={name}"))));
        }
    }
    if let Some(selector) = &options.selector {
        query.push(format!("labelSelector={}", encode(selector)));
    }
    if !query.is_empty() {
        target.extend(["?", &query.join("&")]);
    }
    Ok(plain(method, target))
}

/// kubectl makes a request for each name, and one ruling is told. What is set, or taken off by a `-`, is no name.
fn is_one(verb: &str, words: &[&str]) -> Result<(), Failure> {
    let names = words.iter().filter(|word| !word.contains('=') && !word.ends_with('-'));
    let most = if words.first().is_some_and(|kind| kind.contains('/')) { 1 } else { 2 };
    if names.count() > most || words.first().is_some_and(|kind| kind.contains(',')) {
        let words = words.join(" ");
        return Err(Failure::usage(format!("{verb} {words}: kubectl makes a request for each: name one at a time")));
    }
    Ok(())
}

fn path_of(thing: &Thing, options: &Options, name: Option<&str>) -> String {
    let mut path = if thing.group.is_empty() {
        format!("/api/{}", thing.version)
    } else {
        format!("/apis/{}/{}", thing.group, thing.version)
    };
    let is_everywhere = options.is_everywhere && name.is_none();
    if !is_everywhere && !rbac::is_cluster_scoped(&thing.group, &thing.resource) {
        path.extend(["/namespaces/", &encode(options.namespace.as_deref().unwrap_or("default"))]);
    }
    path.extend(["/", &encode(&thing.resource)]);
    if let Some(name) = name {
        for part in name.split('/') {
            path.extend(["/", &encode(part)]);
        }
    }
    path
}

fn plain(method: &str, target: String) -> Asked {
    Asked { method: method.to_owned(), target, ..Asked::default() }
}

/// Percent-encodes all but what stands for itself everywhere (RFC 3986, `unreserved`).
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(["%", &format!("{byte:02X}")]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match read_words(&words) {
            Ok(asked) => format!("{} {}", asked.method, asked.target),
            Err(failure) => format!("{failure}"),
        }
    }

    #[test]
    fn kubectls_words_become_the_request_that_kubectl_makes() {
        for (line, request) in [
            ("get pods", "GET /api/v1/namespaces/default/pods"),
            ("get po -A", "GET /api/v1/pods"),
            ("get pod web -n team-a", "GET /api/v1/namespaces/team-a/pods/web"),
            ("get deploy/web --namespace=team-a", "GET /apis/apps/v1/namespaces/team-a/deployments/web"),
            ("get nodes", "GET /api/v1/nodes"),
            ("get secrets -w", "GET /api/v1/namespaces/default/secrets?watch=true"),
            ("get secret db -w", "GET /api/v1/namespaces/default/secrets?watch=true&fieldSelector=metadata.name%3Ddb"),
            ("delete pods -l app=x", "DELETE /api/v1/namespaces/default/pods?labelSelector=app%3Dx"),
            ("create deployment web", "POST /apis/apps/v1/namespaces/default/deployments"),
            ("apply deployments.apps web -f x.yaml", "PATCH /apis/apps/v1/namespaces/default/deployments/web"),
            ("scale deploy web", "PATCH /apis/apps/v1/namespaces/default/deployments/web/scale"),
            ("get widgets.v1.example.com", "GET /apis/example.com/v1/namespaces/default/widgets"),
            ("logs web -f", "GET /api/v1/namespaces/default/pods/web/log?follow=true"),
            ("exec pod/web -n team-a", "GET /api/v1/namespaces/team-a/pods/web/exec?stdout=true"),
            (
                "exec -it web -- sh -c ls",
                "GET /api/v1/namespaces/default/pods/web/exec?command=sh&command=-c&command=ls&stdin=true&stdout=true&tty=true",
            ),
            (
                "cp team-a/web:/x /tmp/x",
                "GET /api/v1/namespaces/team-a/pods/web/exec?command=tar&stdin=true&stdout=true",
            ),
            ("port-forward pod/web 8080:80", "GET /api/v1/namespaces/default/pods/web/portforward"),
            ("version", "GET /version"),
            ("get pods --watch=false", "GET /api/v1/namespaces/default/pods"),
            ("get pods -A=false --watch=1", "GET /api/v1/namespaces/default/pods?watch=true"),
            ("logs web --follow=false", "GET /api/v1/namespaces/default/pods/web/log"),
            ("exec web --stdin=false --tty=false", "GET /api/v1/namespaces/default/pods/web/exec?stdout=true"),
            ("rollout restart deploy/web", "PATCH /apis/apps/v1/namespaces/default/deployments/web"),
            ("rollout status deploy web", "GET /apis/apps/v1/namespaces/default/deployments/web"),
            ("set image deploy/web web=nginx", "PATCH /apis/apps/v1/namespaces/default/deployments/web"),
            ("run web --image=nginx", "POST /api/v1/namespaces/default/pods"),
            ("cordon node1", "PATCH /api/v1/nodes/node1"),
            ("expose deployment web --port 80", "POST /api/v1/namespaces/default/services"),
            ("autoscale deploy web --max=5", "POST /apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"),
            ("scale deploy/web --replicas=3", "PATCH /apis/apps/v1/namespaces/default/deployments/web/scale"),
            ("label pod web a=b c-", "PATCH /api/v1/namespaces/default/pods/web"),
            ("taint nodes node1 key=value:NoSchedule", "PATCH /api/v1/nodes/node1"),
            ("create secret generic db", "POST /api/v1/namespaces/default/secrets"),
        ] {
            assert_eq!(asked(line), request, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_to_write() {
        for (line, words) in [
            ("get widgets", "widgets.v1.example.com"),
            ("exec deploy/web", "name the pod"),
            ("patch pods", "pods/web"),
            ("get pods --policy x", "come before"),
            ("frobnicate pods", "--request"),
            ("get pods -n", "a value was expected"),
            ("get pods --watch=perhaps", "true or false"),
            ("delete pod a b", "one at a time"),
            ("delete pod/a pod/b", "one at a time"),
            ("get pods,services", "one at a time"),
            ("cordon node1 node2", "one at a time"),
            ("cordon", "such as nodes/web"),
            ("rollout deploy/web", "rollout restart"),
            ("set deploy/web", "set image"),
            ("expose", "a resource was expected"),
        ] {
            assert!(asked(line).contains(words), "{line}: {}", asked(line));
        }
        assert!(read_request("GET api").is_err() && read_request("/api").is_err());
        assert_eq!(read_request("GET /api/v1/pods?limit=5").unwrap().target, "/api/v1/pods?limit=5");
    }

    #[test]
    fn whom_to_act_as_goes_into_headers() {
        let words = ["get", "pods", "--as", "x", "--as-group", "a", "--as-group=b", "--as-user-extra", "reason=why"];
        let asked = read_words(&words.map(str::to_owned)).unwrap();
        let names: Vec<String> = asked.impersonation.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        assert_eq!(names, ["impersonate-user:x", "impersonate-extra-reason:why", "impersonate-group:a, b"]);
    }
}
