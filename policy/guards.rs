//! The guards: what may not pass, whatever RBAC grants. One that could never match is a mistake, and a dangerous one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::identities::{EMAIL_PLACEHOLDER, Entry};
use super::{MapError, Policy, cell, check_name, fail, resources, words};

/// The presets of `allow`.
const PRESETS: [&str; 1] = ["read-only"];

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
        let Guard { name, r#for, allow, deny, .. } = &guard.value;
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
    }
    Ok(text)
}

/// Every name that an entry, an `act_as` or a grant can give: whom a guard can be for.
struct Names<'a> {
    users: BTreeSet<String>,
    groups: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(policy: &'a Policy) -> Self {
        let entries = || policy.identities.iter().map(|entry| &entry.value);
        let granted = |names: &'a [Spanned<String>]| names.iter().map(|name| name.value.as_str());
        Self {
            users: entries().flat_map(Entry::users).chain(granted(&policy.grants.users).map(str::to_owned)).collect(),
            groups: entries().flat_map(Entry::groups).chain(granted(&policy.grants.groups)).collect(),
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
            if !self.users.iter().any(|known| is_instance(&user.value, known)) {
                return fail(user, format!("user {:?}: {unknown}", user.value));
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

/// Whether a user's name can be what an address makes of a template.
fn is_instance(user: &str, template: &str) -> bool {
    match template.split_once(EMAIL_PLACEHOLDER) {
        None => user == template,
        Some((before, after)) => {
            user.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(|email| email.contains('@'))
        }
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
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        let stem = group.value.strip_suffix('*').unwrap_or(&group.value);
        if !stem.bytes().all(is_plain) || matches!(stem, "core" | "v1") || stem.starts_with('.') {
            let expected =
                "an API group without its version, such as apps, \"\" for the core group, or with a * at its end";
            return fail(group, format!("API group {:?}: expected {expected}", group.value));
        }
    }
    for resource in &resources.value {
        check_resource(resource, groups, verbs)?;
    }
    if let Some(namespaces) = &rule.namespaces {
        check_namespaces(namespaces)?;
        let is_outside = |resource: &Spanned<String>| {
            let resource = resource.value.split('/').next().unwrap_or_default();
            resource != "namespaces" && resources::is_cluster_scoped(resource)
        };
        if resources.value.iter().all(is_outside) {
            return fail(namespaces, never("these resources are in no namespace"));
        }
    }
    if let Some(names) = &rule.names {
        check_names(names)?;
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

fn check_resource(at: &Spanned<String>, groups: &[Spanned<String>], verbs: u16) -> Result<(), MapError> {
    let text = at.value.as_str();
    if text == "*" {
        return Ok(());
    }
    let (resource, subresource) = text.split_once('/').map_or((text, None), |(resource, sub)| (resource, Some(sub)));
    if let Some(plural) = resources::plural_of(resource).filter(|plural| *plural != resource) {
        return fail(at, never(&format!("resource {text:?}: RBAC calls it {plural}")));
    }
    let is_plain = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
    };
    let is_part = |part: &str| !part.is_empty() && part.strip_suffix('*').map_or_else(|| is_plain(part), is_plain);
    let is_sound = match subresource {
        None => is_part(resource),
        Some(sub) => is_part(sub) && (resource == "*" || (!resource.is_empty() && is_plain(resource))),
    };
    if !is_sound {
        let expected = "the plural in lower case, such as pods, pods/exec, */scale, pods/* or \"*\"";
        return fail(at, format!("resource {text:?}: expected {expected}"));
    }
    if subresource.is_some_and(|sub| words::STREAMS.contains(&sub)) && verbs & words::bit("create") == 0 {
        return fail(at, never(&format!("{text} is authorised as create, whatever the method")));
    }
    let collective = words::bit("list") | words::bit("deletecollection");
    if subresource.is_some() && verbs & !collective == 0 {
        return fail(at, never("a subresource is of one object: there is no list of it"));
    }
    if subresource.is_none() && verbs == words::bit("create") && is_self_review(resource) {
        return fail(at, never(&format!("{text} stays open, or kubectl does not work")));
    }
    let own = resources::groups_of(resource);
    let can_be = |group: &Spanned<String>| {
        let is_other = !resources::is_own(&group.value) && !group.value.ends_with('*');
        let matches =
            |own: &&str| group.value.strip_suffix('*').map_or(*own == group.value, |start| own.starts_with(start));
        is_other || own.iter().any(matches)
    };
    if !own.is_empty() && !groups.is_empty() && !groups.iter().any(can_be) {
        let own: Vec<String> = own.iter().map(|group| format!("{group:?}")).collect();
        return fail(at, never(&format!("{resource} are in the API group {}", own.join(" and "))));
    }
    let known = resources::subresources_of(resource);
    let is_misspelt = |sub: &str| !sub.ends_with('*') && !known.is_empty() && !known.contains(&sub);
    if groups.iter().all(|group| resources::is_own(&group.value)) && subresource.is_some_and(is_misspelt) {
        return fail(at, never(&format!("{resource} have {}; \"{resource}/*\" is all of them", known.join(", "))));
    }
    Ok(())
}

fn is_self_review(resource: &str) -> bool {
    words::SELF_REVIEWS.iter().any(|(_, review)| *review == resource)
}

fn check_namespaces(namespaces: &Spanned<List>) -> Result<(), MapError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    namespaces.value.iter().try_for_each(|namespace| check_pattern("namespace", namespace, is_plain))
}

fn check_names(names: &Spanned<List>) -> Result<(), MapError> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b",/%*".contains(&byte);
    names.value.iter().try_for_each(|name| check_pattern("name", name, is_plain))
}

fn check_pattern(kind: &str, at: &Spanned<String>, is_plain: impl Fn(u8) -> bool) -> Result<(), MapError> {
    let stem = at.value.strip_suffix('*').unwrap_or(&at.value);
    if at.value.is_empty() || !stem.bytes().all(is_plain) {
        return fail(at, format!("{kind} {:?}: expected the name of one, or with a * at its end", at.value));
    }
    Ok(())
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
        if matches!(*parts, ["api", _, resource, ..] | ["apis", _, _, resource, ..] if !resource.is_empty()) {
            return fail(url, never(&format!("{text} is a resource: expected a rule with resources")));
        }
        if text != "*" && words::is_discovery(stem) && verbs & !reads == 0 {
            return fail(url, never(&format!("{text} stays open, or kubectl does not work")));
        }
    }
    Ok(())
}

fn never(why: &str) -> String {
    format!("a guard that can never match: {why}")
}
