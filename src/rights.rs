//! What a caller may do in a namespace: what RBAC gives, as the API server tells it (`authorization.k8s.io/v1`,
//! `SelfSubjectRulesReview`), less what the guards take away.
//!
//! It is for people to read, and decides nothing: a request is ruled when it comes. The API server says of itself that such a list may
//! be incomplete, and so does this.

use std::borrow::Cow;

use serde::Serialize;

use crate::guard::words::{VERBS, is_cluster_scoped};
use crate::guard::{Guards, Held, Record, Whichever};
use crate::json::{self, Malformed, Object};
use crate::review::Attributes;
use crate::target::Target;

/// Where the API server is asked.
pub const PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";

/// How many of [`VERBS`] are those of resources.
const OF_RESOURCES: usize = 8;

/// Resources that people look for first, by API group, in this order.
#[rustfmt::skip]
const USUAL: [(&str, &str); 19] = [
    ("", "pods"), ("", "pods/log"), ("", "pods/exec"), ("", "pods/attach"), ("", "pods/portforward"),
    ("apps", "deployments"), ("apps", "statefulsets"), ("apps", "daemonsets"), ("", "services"),
    ("networking.k8s.io", "ingresses"), ("", "configmaps"), ("", "secrets"), ("batch", "jobs"), ("batch", "cronjobs"),
    ("", "persistentvolumeclaims"), ("", "serviceaccounts"), ("", "events"), ("", "namespaces"), ("", "nodes"),
];

/// What somebody may do in a namespace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rights<'a> {
    namespace: &'a str,
    /// Whether this is all.
    is_complete: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    rows: Vec<Row<'a>>,
    /// Rules for resources with a star.
    wildcards: Vec<Wildcard>,
    /// Rules for URLs.
    urls: Vec<Urls>,
}

/// What may be done with a resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    group: Cow<'a, str>,
    resource: Cow<'a, str>,
    is_usual: bool,
    #[serde(serialize_with = "as_map")]
    verbs: Vec<(String, May<'a>)>,
}

/// Whether something may be done, which RBAC lets.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct May<'a> {
    is: &'static str,
    /// The guard that takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    /// RBAC gives it for these names alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    /// The guard that takes some of it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<&'a str>,
    /// What of it is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<&'static str>,
    /// What is recorded of some of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    some_recorded: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Wildcard {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    /// Of these names alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Urls {
    verbs: Vec<String>,
    urls: Vec<String>,
}

/// What RBAC lets somebody do with resources.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    is_complete: bool,
}

/// A rule of RBAC for resources.
#[derive(Debug)]
struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
}

/// The guards, and which of them hold.
#[derive(Debug, Clone, Copy)]
pub struct Guarded<'a> {
    /// All of them.
    pub guards: &'a Guards<'a>,
    /// Those that hold.
    pub held: &'a Held,
}

/// The body of the question.
#[must_use]
pub fn body(namespace: &str) -> String {
    let namespace = serde_json::to_string(namespace).unwrap_or_default();
    format!(
        r#"{{"kind":"SelfSubjectRulesReview","apiVersion":"authorization.k8s.io/v1","spec":{{"namespace":{namespace}}}}}"#
    )
}

/// The rules of an answer. Nothing, unless it has all of them.
#[must_use]
pub fn rules(answer: Option<&str>) -> Option<Rules> {
    let (_, rules) = status(answer?).ok()?;
    rules.is_complete.then_some(rules)
}

/// The status of an answer, and its rules for resources.
fn status(answer: &str) -> Result<(Object<'_>, Rules), Malformed> {
    let status: Object<'_> = Object::read(answer)?.need("status")?;
    let rules = json::items(status.raw("resourceRules")?.unwrap_or("[]"))?;
    let rules = rules.into_iter().map(Rule::read).collect::<Result<_, _>>()?;
    let is_complete = !status.get::<bool>("incomplete")?.unwrap_or_default();
    Ok((status, Rules { rules, is_complete }))
}

impl Rules {
    /// Whether an object of this name is in one of them.
    #[must_use]
    pub fn allow(&self, verb: &str, group: &str, resource: &str, name: &str) -> bool {
        let has_name = |rule: &Rule| rule.names.is_empty() || rule.names.iter().any(|known| known == name);
        self.rules.iter().any(|rule| rule.covers(verb, group, resource) && has_name(rule))
    }
}

impl<'a> Rights<'a> {
    /// Reads the answer.
    #[must_use]
    pub fn read(namespace: &'a str, answer: Option<&str>, guarded: Guarded<'a>) -> Self {
        let unread =
            "the API server did not say what you may do: try again in a moment, or ask it by kubectl auth can-i --list";
        let read = answer.ok_or(Malformed).and_then(|answer| Self::parse(namespace, answer, guarded));
        read.unwrap_or_else(|Malformed| {
            let (rows, wildcards, urls) = (Vec::new(), Vec::new(), Vec::new());
            Self { namespace, is_complete: false, problem: Some(unread.to_owned()), rows, wildcards, urls }
        })
    }

    fn parse(namespace: &'a str, answer: &str, guarded: Guarded<'a>) -> Result<Self, Malformed> {
        let (status, Rules { rules, is_complete }) = status(answer)?;
        let urls = json::items(status.raw("nonResourceRules")?.unwrap_or("[]"))?;
        let problem: String = status.get("evaluationError")?.unwrap_or_default();
        let is_star = |names: &[String]| names.iter().any(|name| name.contains('*'));
        let is_wild = |rule: &&Rule| is_star(&rule.groups) || is_star(&rule.resources);
        let wildcard = |rule: &Rule| Wildcard {
            verbs: rule.verbs.clone(),
            groups: rule.groups.clone(),
            resources: rule.resources.clone(),
            names: rule.names.clone(),
        };
        let mut rows: Vec<Row<'a>> = USUAL.iter().map(|(group, resource)| Row::new(*group, *resource, true)).collect();
        for rule in &rules {
            for (group, resource) in rule.named() {
                if !rows.iter().any(|row| row.group == group && row.resource == resource) {
                    rows.push(Row::new(group.to_owned(), resource.to_owned(), false));
                }
            }
        }
        for row in &mut rows {
            row.fill(namespace, &rules, guarded);
        }
        Ok(Self {
            namespace,
            is_complete,
            problem: Some(problem).filter(|problem| !problem.is_empty()),
            rows: rows.into_iter().filter(|row| row.is_usual || !row.verbs.is_empty()).collect(),
            wildcards: rules.iter().filter(is_wild).map(wildcard).collect(),
            urls: urls
                .into_iter()
                .map(|rule| Urls::read(rule, guarded))
                .filter_map(Result::transpose)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Rule {
    fn read(json: &str) -> Result<Self, Malformed> {
        let rule = Object::read(json)?;
        let list = |name| rule.get::<Option<Vec<String>>>(name).map(|list| list.flatten().unwrap_or_default());
        Ok(Self {
            verbs: list("verbs")?,
            groups: list("apiGroups")?,
            resources: list("resources")?,
            names: list("resourceNames")?,
        })
    }

    /// The resources that it names without a star.
    fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        plain(&self.groups).flat_map(move |group| plain(&self.resources).map(move |resource| (group, resource)))
    }

    /// Whether it lets this verb be done, as RBAC reads it (`k8s.io/component-helpers/auth/rbac/validation`).
    fn covers(&self, verb: &str, group: &str, resource: &str) -> bool {
        let has = |names: &[String], name: &str| names.iter().any(|known| known == "*" || known == name);
        let subresource = resource.split_once('/').map(|(_, subresource)| ["*/", subresource].concat());
        has(&self.verbs, verb)
            && has(&self.groups, group)
            && (has(&self.resources, resource) || subresource.is_some_and(|any| self.resources.contains(&any)))
    }
}

/// The names without a star.
fn plain(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str).filter(|name| !name.contains('*'))
}

impl<'a> Row<'a> {
    fn new(group: impl Into<Cow<'a, str>>, resource: impl Into<Cow<'a, str>>, is_usual: bool) -> Self {
        Self { group: group.into(), resource: resource.into(), is_usual, verbs: Vec::new() }
    }

    fn fill(&mut self, namespace: &str, rules: &[Rule], guarded: Guarded<'a>) {
        let mut verbs: Vec<&str> = VERBS.iter().take(OF_RESOURCES).copied().collect();
        let of_row = rules.iter().filter(|rule| rule.named().any(|named| named == (&*self.group, &*self.resource)));
        for verb in of_row.flat_map(|rule| &rule.verbs).filter(|verb| *verb != "*") {
            if !verbs.contains(&verb.as_str()) {
                verbs.push(verb);
            }
        }
        let may = |verb: &str| self.may(verb, namespace, rules, guarded).map(|may| (verb.to_owned(), may));
        self.verbs = verbs.into_iter().filter_map(may).collect();
    }

    /// Whether a verb may be done. Nothing, where RBAC does not let it.
    fn may(&self, verb: &str, namespace: &str, rules: &[Rule], guarded: Guarded<'a>) -> Option<May<'a>> {
        let mut names: Vec<String> = Vec::new();
        let mut is_for_all = false;
        for rule in rules.iter().filter(|rule| rule.covers(verb, &self.group, &self.resource)) {
            is_for_all |= rule.names.is_empty();
            names.extend(rule.names.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
        }
        if !is_for_all && names.is_empty() {
            return None;
        }
        if is_for_all {
            return Some(May::all(&self.target(verb, namespace, ""), guarded));
        }
        // Of which names it is, is known: each is ruled on by itself.
        let Guarded { guards, held } = guarded;
        let taker = |name: &String| guards.taker(held, &self.target(verb, namespace, name), Whichever::Named);
        let by = names.iter().find_map(taker);
        names.retain(|name| taker(name).is_none());
        if names.is_empty() {
            return Some(May { is: "taken", by, ..May::default() });
        }
        let records = || names.iter().map(|name| guarded.record(&self.target(verb, namespace, name), Whichever::Named));
        let (of_all, of_some) = (records().min().unwrap_or_default(), records().max().unwrap_or_default());
        let may = May { is: "some", except: by, ..May::default() }.recorded(of_all, of_some);
        Some(May { names, ..may })
    }

    /// A request for it.
    fn target<'t>(&'t self, verb: &str, namespace: &'t str, name: &'t str) -> Target<'t> {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let is_in_none = is_cluster_scoped(&self.group, resource);
        let verb = VERBS.iter().find(|known| **known == verb).copied().unwrap_or_default();
        let asked = Attributes { verb, group: &self.group, resource, subresource, name };
        Target { namespace: Cow::Borrowed(if is_in_none { "" } else { namespace }), ..asked.target() }
    }
}

impl<'a> May<'a> {
    /// What the guards leave of what RBAC gives for objects of every name.
    fn all(target: &Target<'_>, guarded: Guarded<'a>) -> Self {
        let Guarded { guards, held } = guarded;
        if let Some(by) = guards.taker(held, target, Whichever::Named) {
            return Self { is: "taken", by: Some(by), ..Self::default() };
        }
        let [of_all, of_some] = [Whichever::Named, Whichever::Any].map(|which| guarded.record(target, which));
        let except = guards.taker(held, target, Whichever::Any);
        Self { is: "yes", except, ..Self::default() }.recorded(of_all, of_some)
    }

    fn recorded(self, of_all: Record, of_some: Record) -> Self {
        Self { recorded: of_all.name(), some_recorded: of_some.name().filter(|_| of_some > of_all), ..self }
    }
}

impl Guarded<'_> {
    /// What of a stream is recorded.
    fn record(self, target: &Target<'_>, whichever: Whichever) -> Record {
        let stay = self.guards.stay_of(self.held, target, whichever).filter(|_| target.is_stream());
        stay.map_or(Record::Nothing, |stay| stay.record)
    }
}

impl Urls {
    /// What of a rule the guards leave.
    fn read(json: &str, Guarded { guards, held }: Guarded<'_>) -> Result<Option<Self>, Malformed> {
        let rule = Object::read(json)?;
        let mut verbs: Vec<String> = rule.need("verbs")?;
        let mut urls: Vec<String> = rule.need("nonResourceURLs")?;
        let is_taken = |verb: &str, url: &str| {
            let verb = VERBS.iter().find(|known| **known == verb).copied().unwrap_or_default();
            let plain = Target { text: Cow::Borrowed("/"), verb, url: Cow::Borrowed(url), ..Target::default() };
            guards.taker(held, &plain, Whichever::Named).is_some()
        };
        let stays = |url: &String| verbs.iter().any(|verb| verb == "*" || !is_taken(verb, url));
        urls.retain(stays);
        verbs.retain(|verb| verb == "*" || urls.iter().any(|url| !is_taken(verb, url)));
        Ok((!urls.is_empty() && !verbs.is_empty()).then_some(Self { verbs, urls }))
    }
}

fn as_map<S: serde::Serializer>(verbs: &[(String, May<'_>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(verbs.iter().map(|(verb, may)| (verb, may)))
}

#[cfg(test)]
mod tests;
