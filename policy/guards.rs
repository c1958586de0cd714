//! The guards: what may not pass, whatever RBAC grants. One that could never match is a mistake, and a dangerous one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::identities::Entry;
use super::{MapError, Policy, cell, check_name, fail, resources, words};

/// The presets of `allow`.
const PRESETS: [&str; 1] = ["read-only"];

/// What a node's kubelet serves of every pod of the node, in every namespace: who reaches it needs no right to the pod.
const OF_NODES: [(&str, &[&str]); 5] = [
    ("pods", &["get", "list", "watch"]),
    ("pods/attach", &["create"]),
    ("pods/exec", &["create"]),
    ("pods/log", &["get"]),
    ("pods/portforward", &["create"]),
];

/// The rule that a guard has beside its own, where it denies any of that, or records it: nobody goes around it through a node.
const NO_NODES: &str = "255 . nodes/proxy * *";

/// The bytes of each direction of a stream, where a guard bounds sessions and does not say.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Guard {
    name: Spanned<String>,
    r#for: Option<Spanned<Whom>>,
    allow: Option<Spanned<String>>,
    deny: Option<Spanned<Vec<Spanned<Rule>>>>,
    record: Option<Spanned<Record>>,
    max_session: Option<Spanned<String>>,
    max_bytes: Option<Spanned<String>>,
    streams: Option<Spanned<Streams>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "record: expected true, or input")]
enum Record {
    Switch(bool),
    Word(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Streams {
    namespaces: Option<Spanned<List>>,
    names: Option<Spanned<List>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whom {
    #[serde(default)]
    users: Vec<Spanned<String>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    api_groups: Option<Spanned<List>>,
    resources: Option<Spanned<List>>,
    verbs: Option<Spanned<List>>,
    namespaces: Option<Spanned<List>>,
    names: Option<Spanned<List>>,
    non_resource_urls: Option<Spanned<List>>,
}

type List = Vec<Spanned<String>>;

/// A line for each guard, `name TAB users TAB groups TAB preset TAB sessions`, and after it one for each of its rules, beginning with a
/// TAB: the verbs as a set of bits, then either the URLs or API groups, resources, namespaces and names. A blank lies between, `*`
/// stands for whatever there is, and [`words::CORE_GROUP`] for the core group. What a guard asks of sessions is empty, or `output`,
/// `input` or `-` for what is recorded, then the seconds or `-`, the bytes, namespaces and names, with a blank between as well.
pub(super) fn compile(policy: &Policy) -> Result<String, MapError> {
    let known = Names::of(policy);
    let mut lines = BTreeMap::new();
    let mut text = String::new();
    for guard in &policy.guards {
        let Guard { name, r#for, allow, deny, record, .. } = &guard.value;
        let is_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.value.is_empty() || name.value.len() > 63 || !name.value.bytes().all(is_label) {
            return fail(
                name,
                format!("guard {:?}: expected 1 to 63 lower-case letters, digits and hyphens", name.value),
            );
        }
        if let Some(first) = lines.insert(&name.value, name.referenced.line()) {
            return fail(name, format!("there is a guard {} already, on line {first}", name.value));
        }
        let (users, groups) = match r#for {
            Some(whom) => known.check(whom)?,
            None => (String::new(), String::new()),
        };
        let preset = match allow {
            Some(preset) if PRESETS.contains(&preset.value.as_str()) => preset.value.as_str(),
            Some(other) => return fail(other, format!("allow {:?}: expected {}", other.value, PRESETS.join(" or "))),
            None => "",
        };
        let sessions = compile_sessions(&guard.value)?;
        let rules: &[Spanned<Rule>] = match deny {
            Some(rules) if rules.value.is_empty() => return fail(rules, never("an empty list")),
            Some(rules) => &rules.value,
            None if preset.is_empty() && sessions.is_empty() => {
                let expected = "expected deny, allow: read-only, record or max_session";
                return fail(guard, format!("a guard that takes nothing away: {expected}"));
            }
            None => &[],
        };
        text.extend([&name.value, "\t", &users, "\t", &groups, "\t", preset, "\t", &sessions, "\n"]);
        for rule in rules {
            text.extend(["\t", &compile_rule(rule)?, "\n"]);
        }
        if record.is_some() || rules.iter().any(|rule| is_served_by_nodes(&rule.value)) {
            text.extend(["\t", NO_NODES, "\n"]);
        }
    }
    Ok(text)
}

/// Every name that an entry, an `act_as` or a grant can give: whom a guard can be for.
struct Names<'a> {
    entries: Vec<&'a Entry>,
    granted_users: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(policy: &'a Policy) -> Self {
        let entries: Vec<&Entry> = policy.identities.iter().map(|entry| &entry.value).collect();
        let granted = |names: &'a [Spanned<String>]| names.iter().map(|name| name.value.as_str());
        Self {
            granted_users: granted(&policy.grants.users).collect(),
            groups: entries.iter().flat_map(|entry| entry.groups()).chain(granted(&policy.grants.groups)).collect(),
            entries,
        }
    }

    /// Users and groups as cells.
    fn check(&self, whom: &Spanned<Whom>) -> Result<(String, String), MapError> {
        let Whom { users, groups } = &whom.value;
        if users.is_empty() && groups.is_empty() {
            return fail(whom, "for nobody: expected users or groups, or no `for`, which means everybody");
        }
        let unknown = "no entry gives this name: expected one that an entry gives, or `grants` lists";
        for user in users {
            check_name("user", user)?;
            let name = user.value.as_str();
            if !self.granted_users.contains(name) && !self.entries.iter().any(|entry| entry.gives_user(name)) {
                let unknown = format!("{unknown} (a caller's address is put into it in lower case)");
                return fail(user, format!("user {name:?}: {unknown}"));
            }
        }
        for group in groups {
            // The one name of the system that an entry can give.
            if !self.groups.contains(group.value.as_str()) {
                check_name("group", group)?;
                return fail(group, format!("group {:?}: {unknown}", group.value));
            }
        }
        Ok((cell(users), cell(groups)))
    }
}

/// What a guard asks of sessions, as a cell: nothing, or all of it.
fn compile_sessions(guard: &Guard) -> Result<String, MapError> {
    let Guard { record, max_session, max_bytes, streams, .. } = guard;
    let recorded = match record.as_ref().map(|record| (record, &record.value)) {
        None => "-",
        Some((_, Record::Switch(true))) => "output",
        Some((_, Record::Word(word))) if word == "input" => "input",
        Some((at, other)) => {
            let given = match other {
                Record::Switch(switch) => switch.to_string(),
                Record::Word(word) => format!("{word:?}"),
            };
            let expected = "expected true, or input, which keeps what is typed as well; left out, nothing is recorded";
            return fail(at, format!("record {given}: {expected}"));
        }
    };
    let seconds = match max_session.as_ref().map(|at| (at, seconds_of(&at.value))) {
        None => "-".into(),
        Some((_, Some(seconds))) => seconds.to_string(),
        Some((at, None)) => {
            let expected = "expected hours, minutes and seconds, such as 4h, 90m or 1h30m, from 10s to 168h";
            return fail(at, format!("max_session {:?}: {expected}", at.value));
        }
    };
    let bytes = match max_bytes.as_ref().map(|at| (at, bytes_of(&at.value))) {
        None => MAX_BYTES,
        Some((_, Some(bytes))) => bytes,
        Some((at, None)) => {
            let expected = "expected KiB or MiB, such as 512KiB or 64MiB, from 64KiB to 96MiB";
            return fail(at, format!("max_bytes {:?}: {expected}", at.value));
        }
    };
    let [namespaces, names] = match streams {
        None => [None; 2],
        Some(at) => {
            let Streams { namespaces, names } = &at.value;
            if let Some(empty) = [namespaces, names].into_iter().flatten().find(|list| list.value.is_empty()) {
                return fail(empty, never("an empty list"));
            }
            if namespaces.is_none() && names.is_none() {
                return fail(at, "streams of no pod: expected namespaces or names, or no `streams`, which means all");
            }
            [namespaces.as_ref(), names.as_ref()]
        }
    };
    namespaces.map_or(Ok(()), check_namespaces)?;
    names.map_or(Ok(()), check_names)?;
    if record.is_none() && max_session.is_none() {
        let takes_nothing = "takes nothing away by itself: expected record or max_session beside it";
        return match (max_bytes, streams) {
            (Some(at), _) => fail(at, format!("max_bytes {takes_nothing}")),
            (None, Some(at)) => fail(at, format!("streams {takes_nothing}")),
            (None, None) => Ok(String::new()),
        };
    }
    Ok(format!("{recorded} {seconds} {bytes} {} {}", list(namespaces), list(names)))
}

/// The seconds of a time such as 1h30m.
fn seconds_of(text: &str) -> Option<u64> {
    let (mut sum, mut rest) = (0, text);
    for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((count, after)) = rest.split_once(unit) {
            sum += seconds * count_of(count)?;
            rest = after;
        }
    }
    (rest.is_empty() && (10..=168 * 3600).contains(&sum)).then_some(sum)
}

fn bytes_of(text: &str) -> Option<u64> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20)];
    let (count, unit) = units.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)))?;
    count_of(count).map(|count| count * unit).filter(|bytes| (64 << 10..=96 << 20).contains(bytes))
}

/// A whole number of six digits at most.
fn count_of(digits: &str) -> Option<u64> {
    let is_number = digits.len() <= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

fn compile_rule(at: &Spanned<Rule>) -> Result<String, MapError> {
    let rule = &at.value;
    let lists =
        [&rule.api_groups, &rule.resources, &rule.verbs, &rule.namespaces, &rule.names, &rule.non_resource_urls];
    if let Some(empty) = lists.into_iter().flatten().find(|list| list.value.is_empty()) {
        return fail(empty, never("an empty list"));
    }
    match (&rule.resources, &rule.non_resource_urls) {
        (Some(resources), None) => {
            let verbs = check_verbs(rule.verbs.as_ref(), words::OF_RESOURCES, "a request for a resource")?;
            check_resources(rule, resources, verbs)?;
            let cells = [
                list(rule.api_groups.as_ref()),
                list(Some(resources)),
                list(rule.namespaces.as_ref()),
                list(rule.names.as_ref()),
            ];
            Ok(format!("{verbs} {}", cells.join(" ")))
        }
        (None, Some(urls)) => {
            let verbs = check_verbs(rule.verbs.as_ref(), words::OF_URLS, "a request for a URL that is no resource")?;
            if rule.api_groups.is_some() || rule.namespaces.is_some() || rule.names.is_some() {
                return fail(at, "a rule for non_resource_urls has verbs beside them, and nothing else");
            }
            check_urls(urls, verbs)?;
            Ok(format!("{verbs} {}", list(Some(urls))))
        }
        _ => fail(at, "a rule names either resources or non_resource_urls: `resources: [\"*\"]` is all of them"),
    }
}

/// Whether a rule denies something, in whatever namespace and of whatever name, that a node's proxy would give all the same.
fn is_served_by_nodes(rule: &Rule) -> bool {
    let is_any = |list: &Option<Spanned<List>>, matches: &dyn Fn(&str) -> bool| {
        list.as_ref().is_none_or(|list| list.value.iter().any(|text| matches(&text.value)))
    };
    let is_denied = |(resource, verbs): &(&str, &[&str])| {
        is_any(&rule.resources, &|text| resources::matches(text, resource))
            && is_any(&rule.verbs, &|verb| verb == "*" || verbs.contains(&verb))
    };
    rule.non_resource_urls.is_none()
        && is_any(&rule.api_groups, &|group| resources::matches(group, ""))
        && OF_NODES.iter().any(is_denied)
}

/// A list as a cell.
fn list(list: Option<&Spanned<List>>) -> String {
    let Some(list) = list.filter(|list| !list.value.iter().any(|text| text.value == "*")) else {
        return "*".into();
    };
    let texts: Vec<&str> =
        list.value.iter().map(|text| if text.value.is_empty() { words::CORE_GROUP } else { &text.value }).collect();
    texts.join(",")
}

fn check_verbs(verbs: Option<&Spanned<List>>, possible: u16, what: &str) -> Result<u16, MapError> {
    let Some(verbs) = verbs else {
        return Ok(possible);
    };
    let mut set = 0;
    for verb in &verbs.value {
        let bits = if verb.value == "*" { possible } else { words::bit(&verb.value) & possible };
        if bits == 0 {
            let known: Vec<&str> = words::VERBS.into_iter().filter(|known| words::bit(known) & possible != 0).collect();
            return fail(verb, format!("verb {:?}: {what} has one of {}, or \"*\"", verb.value, known.join(", ")));
        }
        set |= bits;
    }
    Ok(set)
}

/// The form of each text, and whether together they can match a request.
fn check_resources(rule: &Rule, resources: &Spanned<List>, verbs: u16) -> Result<(), MapError> {
    let groups = rule.api_groups.as_ref().map(|groups| groups.value.as_slice()).unwrap_or_default();
    for group in groups {
        let text = group.value.as_str();
        if !text.is_empty() && (matches!(text, "core" | "v1") || !is_pattern(text, is_subdomain)) {
            let expected =
                "an API group without its version, such as apps, \"\" for the core group, or with a * at its end";
            return fail(group, format!("API group {text:?}: expected {expected}"));
        }
    }
    let mut groups: Vec<&str> = groups.iter().map(|group| group.value.as_str()).collect();
    if groups.contains(&"*") {
        groups.clear();
    }
    for resource in &resources.value {
        check_resource(resource, &groups, verbs)?;
    }
    let meant = || resources.value.iter().map(|resource| resources::meant_by(&resource.value, &groups));
    if let Some(namespaces) = &rule.namespaces {
        check_namespaces(namespaces)?;
        let is_outside = |(group, own): &(&str, &str)| is_outside_namespaces(group, own, verbs);
        if meant().all(|own| own.is_some_and(|own| own.iter().all(is_outside))) {
            let why = "asked for by these verbs, these resources are in no namespace: expected no namespaces";
            return fail(namespaces, never(why));
        }
    }
    if let Some(names) = &rule.names {
        check_names(names)?;
        if meant().all(|own| own.is_some_and(|own| !own.iter().any(|(_, own)| resources::has_free_names(own)))) {
            check_subdomains(names)?;
        }
        let creates = verbs & words::bit("create") != 0 && rule.verbs.is_some();
        let is_whole = |resource: &Spanned<String>| !resource.value.contains('/') && !resource.value.ends_with('*');
        let is_all = rule.verbs.as_ref().is_some_and(|verbs| verbs.value.iter().any(|verb| verb.value == "*"));
        if creates && !is_all && resources.value.iter().any(is_whole) {
            let why = "what is created has its name in the body, which is not read";
            return fail(names, format!("{why}: expected a rule of its own for create, without names"));
        }
    }
    Ok(())
}

fn check_resource(at: &Spanned<String>, groups: &[&str], verbs: u16) -> Result<(), MapError> {
    let text = at.value.as_str();
    check_plural(at)?;
    let meant = resources::meant_by(text, groups);
    let is_unknown = meant.as_ref().is_some_and(Vec::is_empty);
    if is_unknown || !can_be_in(resource_of(text), groups) {
        return fail(at, never(&why_unknown(text, groups)));
    }
    let meant = meant.unwrap_or_else(|| vec![("", text)]);
    if meant.iter().any(|(group, resource)| verbs_of(group, resource) & verbs != 0) {
        return Ok(());
    }
    let is_stream = |(_, own): &(&str, &str)| verbs_of("", own) == words::bit("create");
    fail(
        at,
        never(&if !text.contains('/') {
            format!("{text} stays open, or kubectl does not work")
        } else if meant.iter().all(is_stream) {
            format!("{text} is authorised as create, whatever the method")
        } else {
            "a subresource is of one object: there is no list of it".to_owned()
        }),
    )
}

/// The form of a resource's name.
fn check_plural(at: &Spanned<String>) -> Result<(), MapError> {
    let text = at.value.as_str();
    let resource = resource_of(text);
    if let Some(plural) = resources::plural_of(resource).filter(|plural| *plural != resource) {
        return fail(at, never(&format!("resource {text:?}: RBAC calls it {plural}")));
    }
    let is_sound = match text.split_once('/') {
        None => is_pattern(resource, is_label),
        Some((_, sub)) => is_pattern(sub, is_label) && (resource == "*" || is_label(resource)),
    };
    if is_sound {
        return Ok(());
    }
    let expected = "the plural in lower case, such as pods, pods/exec, */scale, pods/* or \"*\"";
    let remedy = if text.contains('.') { "; its group stands in api_groups" } else { "" };
    fail(at, format!("resource {text:?}: expected {expected}{remedy}"))
}

/// Whether a resource may be in one of these API groups: one of Kubernetes' own in its own, or in one that is not Kubernetes'.
fn can_be_in(resource: &str, groups: &[&str]) -> bool {
    let own = resources::groups_of(resource);
    let can_be = |group: &&str| {
        let is_other = !resources::is_own(group) && !group.ends_with('*');
        is_other || own.iter().any(|own| resources::matches(group, own))
    };
    own.is_empty() || groups.is_empty() || groups.iter().any(can_be)
}

/// What is wrong with the name of something that is in none of these API groups.
fn why_unknown(text: &str, groups: &[&str]) -> String {
    let resource = resource_of(text);
    let (own, known) = (resources::groups_of(resource), resources::subresources_of(resource));
    if !can_be_in(resource, groups) {
        return format!("{resource} are in the API group {}", quoted(&own, " and "));
    }
    if text.contains('/') && !own.is_empty() {
        let known = known.join(", ");
        let all = format!("{resource} have {known}; \"{resource}/*\" is all of them");
        return if known.is_empty() { format!("{resource} have no subresources") } else { all };
    }
    let nothing = "Kubernetes has nothing that is called so in the API groups";
    format!("resource {text:?}: {nothing} {}; without api_groups, it is looked for in all", quoted(groups, ", "))
}

fn resource_of(text: &str) -> &str {
    text.split('/').next().unwrap_or_default()
}

/// The verbs by which a resource can be asked for, less what stays open.
fn verbs_of(group: &str, resource: &str) -> u16 {
    match resource.split_once('/') {
        Some((_, sub)) if words::STREAMS.contains(&sub) => words::bit("create"),
        Some(_) => words::OF_RESOURCES & !(words::bit("list") | words::bit("deletecollection")),
        None if words::SELF_REVIEWS.contains(&(group, resource)) => words::OF_RESOURCES & !words::bit("create"),
        None => words::OF_RESOURCES,
    }
}

/// Whether no request by these verbs for one of Kubernetes' own resources has a namespace. One for a namespace has its own, unless it is
/// for all of them, or makes one.
fn is_outside_namespaces(group: &str, resource: &str, verbs: u16) -> bool {
    let without = words::bit("create") | words::bit("list") | words::bit("deletecollection");
    match resource_of(resource) {
        "namespaces" => resource == "namespaces" && verbs & !without == 0,
        name => words::is_cluster_scoped(group, name),
    }
}

fn quoted(groups: &[&str], between: &str) -> String {
    let groups: Vec<String> = groups.iter().map(|group| format!("{group:?}")).collect();
    groups.join(between)
}

fn check_namespaces(namespaces: &Spanned<List>) -> Result<(), MapError> {
    namespaces.value.iter().try_for_each(|namespace| check_pattern("namespace", namespace, is_label))
}

fn check_names(names: &Spanned<List>) -> Result<(), MapError> {
    let is_name = |text: &str| {
        !matches!(text, "" | "." | "..") && text.bytes().all(|byte| byte.is_ascii_graphic() && !b",/%*".contains(&byte))
    };
    names.value.iter().try_for_each(|name| check_pattern("name", name, is_name))
}

fn check_subdomains(names: &Spanned<List>) -> Result<(), MapError> {
    let why = "these objects have names of lower-case letters, digits, hyphens and points";
    let wrong = names.value.iter().find(|name| !is_pattern(&name.value, is_subdomain));
    wrong.map_or(Ok(()), |name| fail(name, never(&format!("name {:?}: {why}", name.value))))
}

fn check_pattern(kind: &str, at: &Spanned<String>, is_name: impl Fn(&str) -> bool) -> Result<(), MapError> {
    if is_pattern(&at.value, is_name) {
        return Ok(());
    }
    fail(at, format!("{kind} {:?}: expected the name of one, or with a * at its end", at.value))
}

/// Whether a text is a name, or with a star at its end the beginning of one.
fn is_pattern(text: &str, is_name: impl Fn(&str) -> bool) -> bool {
    text.strip_suffix('*').map_or_else(|| is_name(text), |start| is_name(&format!("{start}a")))
}

/// A label of RFC 1123 in lower case: a namespace, a resource.
fn is_label(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_subdomain(text)
}

/// Letters in lower case, digits and hyphens, with points between: an API group, and what most objects are called.
fn is_subdomain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(is_plain) && !part.starts_with('-') && !part.ends_with('-');
    text.len() <= 253 && text.split('.').all(is_part)
}

fn check_urls(urls: &Spanned<List>, verbs: u16) -> Result<(), MapError> {
    let reads = words::bit("get") | words::bit("head");
    for url in &urls.value {
        let text = url.value.as_str();
        let stem = text.strip_suffix('*').unwrap_or(text);
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"*,?#%\\".contains(&byte);
        if text != "*" && (!stem.starts_with('/') || !stem.bytes().all(is_plain)) {
            return fail(url, format!("URL {text:?}: expected a path such as /metrics, /metrics/* or \"*\""));
        }
        let parts: Vec<&str> = stem.split('/').skip(1).collect();
        check_parts(url, &parts)?;
        if matches!(*parts, ["api", _, resource, ..] | ["apis", _, _, resource, ..] if !resource.is_empty()) {
            return fail(url, never(&format!("{text} is a resource: expected a rule with resources")));
        }
        if text != "*" && words::is_discovery(stem) && verbs & !reads == 0 {
            return fail(url, never(&format!("{text} stays open, or kubectl does not work")));
        }
    }
    Ok(())
}

/// The parts of a URL's path, as far as it is said: those that no request has that passes (see `src/target.rs`).
fn check_parts(url: &Spanned<String>, parts: &[&str]) -> Result<(), MapError> {
    let text = url.value.as_str();
    let (last, others) = parts.split_last().unwrap_or((&"", &[]));
    if let Some(path) = text.strip_suffix('/').filter(|path| !path.is_empty()) {
        return fail(url, format!("URL {text:?}: expected {path}, which is both: a slash at the end changes nothing"));
    }
    let is_dots = |part: &&str| matches!(*part, "." | "..");
    if others.iter().any(|part| part.is_empty() || is_dots(part)) || (is_dots(last) && !text.ends_with('*')) {
        let why = "the gateway refuses a path with empty, \".\" and \"..\" segments";
        return fail(url, never(&format!("URL {text:?}: {why}")));
    }
    Ok(())
}

fn never(why: &str) -> String {
    format!("a guard that can never match: {why}")
}
