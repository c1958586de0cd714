//! What may not pass, whatever RBAC grants: the guards of `identities.yaml`.
//!
//! A guard holds for the users and groups that it names, by what the policy made of the caller and never by what the caller says, or
//! for everybody. All that hold are asked, and the first that refuses speaks. What a request asks for is said in RBAC's words
//! (Kubernetes, "Authorization overview"), with one difference: exec, attach and port-forward are `create` whatever the method, since
//! older API servers take kubectl's GET for a `get`.
//!
//! What could touch what a rule names is refused whole: a list of all namespaces holds what one namespace has, and a list has what it
//! names. Nothing is ever filtered. A node serves what its pods have, so `policy/guards.rs` adds a rule against `nodes/proxy` to a guard
//! that denies or records any of that. Discovery and the reviews of oneself stay open to whoever is let in.
//!
//! A guard may also ask that what stays open ends in time, and that a stream is recorded: [`Guards::stay`] says so, others see to it.

use std::borrow::Cow;

use thiserror::Error;

use crate::target::Target;
use pattern::{Kind, Part, Pattern, is_any, matches_url};
use words::{SELF_REVIEWS, STREAMS, bit, is_cluster_scoped, is_discovery};

mod account;
mod pattern;
mod stay;
pub mod words;

pub use account::Account;
pub use stay::{Record, Stay};

/// The guards of this build, as `build.rs` writes them: see `policy/guards.rs`.
pub const COMPILED: &str = include_str!(concat!(env!("OUT_DIR"), "/guards.tsv"));

/// Verbs whose answer may hold objects that the request does not name.
const COLLECTIVE: [&str; 3] = ["list", "watch", "deletecollection"];

/// A request that a guard takes away.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the guard {guard:?} of this gateway does not let this pass, whatever the cluster's RBAC grants: {what}")]
pub struct Error {
    guard: String,
    what: String,
}

impl Error {
    /// The guard's name.
    #[must_use]
    pub fn guard(&self) -> &str {
        &self.guard
    }
}

/// All guards of the policy, and their rules.
#[derive(Debug, Default)]
pub struct Guards<'m> {
    all: Vec<Guard<'m>>,
    rules: Vec<Rule>,
    patterns: Vec<Pattern<'m>>,
    /// Rules that name each of their resources whole, by resource: in one of [`LISTS`] lists, as its digest says.
    by_resource: Vec<Vec<(&'m str, Vec<usize>)>>,
    /// The other rules.
    others: Vec<usize>,
    /// What guards ask of what stays open, in their order.
    sessions: Vec<Session<'m>>,
}

/// How many lists there are of rules by resource: a power of two.
const LISTS: u32 = 64;

/// Which of them hold for somebody: a bit for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(Vec<u64>);

/// What one guard asks of what stays open.
#[derive(Debug)]
struct Session<'m> {
    /// The place of its guard.
    guard: usize,
    name: &'m str,
    record: Record,
    seconds: Option<u64>,
    bytes: u64,
    /// Where its lists begin and end: namespaces, names.
    bounds: [usize; 3],
}

#[derive(Debug)]
struct Guard<'m> {
    name: &'m str,
    users: &'m str,
    groups: &'m str,
    is_read_only: bool,
}

/// The patterns of all rules lie in one list, since they are walked through with each request. An empty one is whatever there is.
#[derive(Debug)]
struct Rule {
    /// The place of its guard.
    guard: usize,
    verbs: u16,
    is_of_urls: bool,
    /// Where its lists begin and end: URLs, or API groups, resources, namespaces, names.
    bounds: [usize; 5],
}

/// What a request asks for, as rules are held against it.
struct Asked<'t> {
    target: &'t Target<'t>,
    verbs: u16,
    /// `pods`, `pods/exec`.
    resource: Part<'t>,
    subresource: Part<'t>,
    group: Part<'t>,
    namespace: Part<'t>,
    name: Part<'t>,
    whichever: Whichever,
}

/// Of objects in a question without a name: what of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whichever {
    /// What is asked for as it stands: all of it.
    Named,
    /// Some of it: that by any name.
    Any,
}

impl<'m> Guards<'m> {
    /// Reads what `policy/guards.rs` writes.
    #[must_use]
    pub fn parse(text: &'m str) -> Self {
        let mut guards = Self::default();
        guards.by_resource.resize_with(LISTS as usize, Vec::new);
        for line in text.lines() {
            if let Some(rule) = line.strip_prefix('\t') {
                guards.add(rule);
                continue;
            }
            let mut cells = line.split('\t');
            let mut cell = || cells.next().unwrap_or_default();
            let (name, users, groups) = (cell(), cell(), cell());
            guards.all.push(Guard { name, users, groups, is_read_only: !cell().is_empty() });
            guards.add_session(name, cell());
        }
        guards
    }

    /// Adds what the last guard asks of what stays open, if it does.
    fn add_session(&mut self, name: &'m str, text: &'m str) {
        if text.is_empty() {
            return;
        }
        let mut parts = text.split(' ');
        let mut part = || parts.next().unwrap_or_default();
        let record = match part() {
            "output" => Record::Output,
            "input" => Record::Input,
            _ => Record::Nothing,
        };
        let (seconds, bytes) = (part().parse().ok(), part().parse().unwrap_or_default());
        let bounds = [self.patterns.len(), self.add_list(part()), self.add_list(part())];
        let guard = self.all.len().saturating_sub(1);
        self.sessions.push(Session { guard, name, record, seconds, bytes, bounds });
    }

    /// Adds a list of patterns, and tells where it ends.
    fn add_list(&mut self, cell: &'m str) -> usize {
        self.patterns.extend(cell.split(',').filter(|_| cell != "*").map(Pattern::parse));
        self.patterns.len()
    }

    /// Adds a rule of the last guard.
    fn add(&mut self, text: &'m str) {
        let mut cells = text.split(' ');
        let verbs = cells.next().and_then(|verbs| verbs.parse().ok()).unwrap_or_default();
        let mut bounds = [self.patterns.len(); 5];
        let mut lists = 0;
        for (cell, bound) in cells.zip(bounds.iter_mut().skip(1)) {
            *bound = self.add_list(cell);
            lists += 1;
        }
        let guard = self.all.len().saturating_sub(1);
        let rule = Rule { guard, verbs, is_of_urls: lists == 1, bounds };
        let place = self.rules.len();
        let resources = self.patterns.get(bounds[1]..bounds[2]).unwrap_or_default();
        if resources.is_empty() || rule.is_of_urls || resources.iter().any(|resource| resource.kind != Kind::Whole) {
            self.others.push(place);
        } else {
            for resource in resources {
                let Some(list) = self.by_resource.get_mut((resource.sign % LISTS) as usize) else { continue };
                match list.iter_mut().find(|(named, _)| *named == resource.text) {
                    Some((_, rules)) => rules.push(place),
                    None => list.push((resource.text, vec![place])),
                }
            }
        }
        self.rules.push(rule);
    }

    /// Which guards hold for a user in these groups.
    #[must_use]
    pub fn held_by(&self, user: &str, groups: &[String]) -> Held {
        let mut held = vec![0; self.all.len().div_ceil(64)];
        for (index, guard) in self.all.iter().enumerate() {
            if let Some(word) = held.get_mut(index / 64).filter(|_| guard.is_for(user, groups)) {
                *word |= 1 << (index % 64);
            }
        }
        Held(held)
    }

    /// Refuses what a guard that holds takes away: the first of them in the order of the file.
    pub fn check(&self, held: &Held, target: &Target<'_>) -> Result<(), Error> {
        if self.all.is_empty() {
            return Ok(());
        }
        let resource = resource_of(target);
        let asked = Asked::of(target, &resource);
        match self.first(held, &asked) {
            Some(guard) => Err(Error { guard: guard.name.to_owned(), what: asked.in_words() }),
            None => Ok(()),
        }
    }

    /// The name of the first guard that takes this away, or some of it.
    #[must_use]
    pub fn taker(&self, held: &Held, target: &Target<'_>, whichever: Whichever) -> Option<&'m str> {
        let resource = resource_of(target);
        let asked = Asked { whichever, ..Asked::of(target, &resource) };
        self.first(held, &asked).map(|guard| guard.name)
    }

    fn first(&self, held: &Held, asked: &Asked<'_>) -> Option<&Guard<'m>> {
        if asked.stays_open() {
            return None;
        }
        let list = self.by_resource.get((asked.resource.digest % LISTS) as usize);
        let named = list.and_then(|list| list.iter().find(|(named, _)| *named == asked.resource.text));
        let by_resource = named.map_or(&[][..], |(_, rules)| rules).iter().filter_map(|place| self.rules.get(*place));
        let others = self.others.iter().filter_map(|place| self.rules.get(*place));
        let by_resource = by_resource.filter(|rule| self.holds(rule, held, asked));
        let others = others.filter(|rule| self.holds(rule, held, asked) && self.names_resource(rule, asked));
        let mut first = by_resource.chain(others).map(|rule| rule.guard).min();
        if !asked.only_reads() {
            let by_preset = (0..).zip(&self.all).find(|(place, guard)| guard.is_read_only && held.has(*place));
            first = by_preset.map(|(place, _)| place).into_iter().chain(first).min();
        }
        self.all.get(first?)
    }
}

impl Guards<'_> {
    /// What the guards that hold ask of something that stays open, the strictest of each: nothing where none asks. A node's proxy reaches
    /// every pod of the node, whatever it is called.
    #[must_use]
    pub fn stay(&self, held: &Held, target: &Target<'_>) -> Option<Stay> {
        self.stay_of(held, target, Whichever::Named)
    }

    /// The same, or what they ask of some of it.
    #[must_use]
    pub fn stay_of(&self, held: &Held, target: &Target<'_>, whichever: Whichever) -> Option<Stay> {
        if self.sessions.is_empty() || !target.is_long_running() {
            return None;
        }
        let resource = resource_of(target);
        let asked = Asked { whichever, ..Asked::of(target, &resource) };
        let asks = |session: &&Session<'_>| {
            let [start, namespaces, names] = session.bounds;
            let is_named = || asked.is_in(self.list(start, namespaces)) && asked.names(self.list(namespaces, names));
            held.has(session.guard) && (resource == "nodes/proxy" || is_named())
        };
        self.sessions.iter().filter(asks).map(Session::stay).reduce(|all, one| all.and(Some(one)))
    }

    /// The names of the guards that hold.
    pub fn names(&self, held: &Held) -> impl Iterator<Item = &str> {
        (0..).zip(&self.all).filter(|(place, _)| held.has(*place)).map(|(_, guard)| guard.name)
    }

    /// Whether any guard records.
    #[must_use]
    pub fn may_record(&self) -> bool {
        self.sessions.iter().any(|session| session.record > Record::Nothing)
    }

    /// Whether any guard asks anything of what stays open.
    #[must_use]
    pub fn bounds_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Whether a rule holds for somebody and matches, whatever its resources are.
    fn holds(&self, rule: &Rule, held: &Held, asked: &Asked<'_>) -> bool {
        if rule.verbs & asked.verbs == 0 || rule.is_of_urls == asked.target.is_resource || !held.has(rule.guard) {
            return false;
        }
        let [start, groups, resources, namespaces, names] = rule.bounds;
        if rule.is_of_urls {
            return matches_url(self.list(start, groups), &asked.target.url);
        }
        asked.is_in(self.list(resources, namespaces))
            && is_any(self.list(start, groups), &asked.group)
            && asked.names(self.list(namespaces, names))
    }

    fn names_resource(&self, rule: &Rule, asked: &Asked<'_>) -> bool {
        let [_, groups, resources, ..] = rule.bounds;
        let named = self.list(groups, resources);
        rule.is_of_urls || named.is_empty() || named.iter().any(|pattern| asked.is_resource(pattern))
    }

    fn list(&self, from: usize, to: usize) -> &[Pattern<'_>] {
        self.patterns.get(from..to).unwrap_or_default()
    }
}

impl Session<'_> {
    fn stay(&self) -> Stay {
        let Self { record, seconds, bytes, name, .. } = *self;
        Stay { record, seconds, bytes, guards: vec![name.to_owned()] }
    }
}

impl Held {
    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }
}

impl Guard<'_> {
    fn is_for(&self, user: &str, groups: &[String]) -> bool {
        let is_everybodys = self.users.is_empty() && self.groups.is_empty();
        let names = |cell: &str, name: &str| !name.is_empty() && cell.split(',').any(|named| named == name);
        is_everybodys || names(self.users, user) || groups.iter().any(|group| names(self.groups, group))
    }
}

impl<'t> Asked<'t> {
    fn of(target: &'t Target<'t>, resource: &'t str) -> Self {
        let subresource = subresource_of(target);
        let verbs = match subresource {
            _ if target.verb == "proxy" => words::OF_RESOURCES,
            stream if STREAMS.contains(&stream) => bit("create"),
            _ => bit(target.verb),
        };
        Self {
            target,
            verbs,
            resource: Part::of(resource),
            subresource: Part::of(subresource),
            group: Part::of(&target.group),
            namespace: Part::of(&target.namespace),
            name: Part::of(&target.name),
            whichever: Whichever::Named,
        }
    }

    /// What no guard takes away.
    fn stays_open(&self) -> bool {
        let Target { verb, is_resource, group, resource, .. } = self.target;
        if *is_resource {
            *verb == "create" && SELF_REVIEWS.contains(&(group, resource)) && self.subresource.text.is_empty()
        } else {
            matches!(*verb, "get" | "head") && is_discovery(&self.target.url)
        }
    }

    /// The preset `read-only`, beside what stays open.
    fn only_reads(&self) -> bool {
        let reads = bit("get") | bit("list") | bit("watch");
        self.target.is_resource
            && self.verbs != 0
            && self.verbs & !reads == 0
            && self.subresource.text != "proxy"
            && self.target.resource != "secrets"
    }

    fn is_resource(&self, pattern: &Pattern<'_>) -> bool {
        match pattern.kind {
            Kind::Whole | Kind::Start => pattern.matches(&self.resource),
            Kind::Subresource | Kind::StartOfSubresource => pattern.matches(&self.subresource),
        }
    }

    /// Whether what is asked for may lie in one of these namespaces.
    fn is_in(&self, namespaces: &[Pattern<'_>]) -> bool {
        let is_of_all = || self.is_collective() && !is_cluster_scoped(self.group.text, &self.target.resource);
        is_any(namespaces, &self.namespace) || (self.namespace.text.is_empty() && is_of_all())
    }

    /// Whether what is asked for may have one of these names. Behind `proxy` a name may stand between a scheme and a port.
    fn names(&self, names: &[Pattern<'_>]) -> bool {
        let is_one_of_all = || self.whichever == Whichever::Any || (self.name.text.is_empty() && self.is_collective());
        let is_behind_proxy = || self.subresource.text == "proxy" && is_any(names, &Part::of(bare(self.name.text)));
        is_any(names, &self.name) || is_one_of_all() || is_behind_proxy()
    }

    fn is_collective(&self) -> bool {
        COLLECTIVE.contains(&self.target.verb)
    }

    fn in_words(&self) -> String {
        let Target { verb, namespace, .. } = self.target;
        if !self.target.is_resource {
            return [verb, " ", &self.target.url].concat();
        }
        let verb = if STREAMS.contains(&self.subresource.text) { "create" } else { verb };
        let place = if namespace.is_empty() { [""; 2] } else { [" in namespace ", namespace] };
        [verb, " ", self.resource.text, place[0], place[1]].concat()
    }
}

/// The subresource. The deprecated form with `proxy` in front is one by another name; which verb that would be, nobody says.
fn subresource_of<'t>(target: &'t Target<'_>) -> &'t str {
    if target.verb == "proxy" { "proxy" } else { &target.subresource }
}

/// `pods`, `pods/exec`.
fn resource_of<'t>(target: &'t Target<'_>) -> Cow<'t, str> {
    match subresource_of(target) {
        "" => Cow::Borrowed(&target.resource),
        subresource => Cow::Owned([&target.resource, "/", subresource].concat()),
    }
}

/// The name in `scheme:name:port` and in `name:port`.
fn bare(name: &str) -> &str {
    name.split(':').nth(usize::from(name.matches(':').count() > 1)).unwrap_or(name)
}

#[cfg(test)]
mod tests;
