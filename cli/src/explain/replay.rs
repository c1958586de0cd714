//! What a new policy would change for what was done: each event of an audit log is ruled on twice.
//!
//! The log does not tell everything. Which groups somebody was in at the identity provider, and what Workers KV had of them, is taken
//! from what they entered as. Memory is bounded: what differs is counted by caller, rule and kind of request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use kube_access::gateway::{Journey, Plan};
use kube_access::identity::Error as IdentityError;
use kube_access::refusal::Refusal;
use kube_access::request::Request;
use kube_access::target::Target;
use serde::Serialize;
use serde_json::json;

use super::event::{self, Line, Told};
use super::ruling::{self, Asker, Bench, Ruling};
use crate::failure::{Because, Failure};
use crate::policy::Policy;
use crate::text::{at, counted, grouped, table, visible, visible_json};

/// The longest line that is read: kube-apiserver cuts its events at 100 KiB unless it is told otherwise.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// The most callers whose tokens are kept.
const MAX_KNOWN: usize = 8192;

/// The most rows. What comes beyond is counted by rule alone.
const MAX_ROWS: usize = 10_000;

/// The most rows that are printed for people.
const MAX_SHOWN: usize = 200;

/// Stands for callers and requests beyond [`MAX_ROWS`].
const OTHERS: &str = "(others)";

/// What a policy means for a request that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
enum Effect {
    Loses,
    Gains,
    Changes,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    effect: Effect,
    rule: String,
    caller: String,
    what: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    requests: u64,
    first: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    rows: BTreeMap<Key, Count>,
    events: u64,
    unreadable: u64,
    nameless: u64,
    differing: u64,
}

/// Rules on all events; a failure says that somebody loses something.
pub(super) fn run(events: &Path, policy: &Policy, against: &Policy, is_json: bool) -> Result<(), Failure> {
    let source: Box<dyn Read> = if events == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(events).because(events.display())?)
    };
    let mut reader = BufReader::with_capacity(1 << 18, source);
    let mut replay = Replay::new(policy, against)?;
    let mut line = Vec::new();
    while next_line(&mut reader, &mut line).because(events.display())? {
        replay.take(&line);
    }
    let findings = replay.findings;
    if findings.events == 0 && findings.nameless == 0 {
        let advice = "expected one audit.k8s.io/v1 Event a line, as ENABLE_K8S_LOGGING has the gateway write them";
        return Err(Failure::new(format!("{}: no event: {advice}", events.display())));
    }
    let unknown = unknown_groups(policy, against);
    if is_json {
        println!("{}", visible_json(&findings.to_json(&unknown)));
    } else {
        println!("{}", findings.in_words(&unknown));
    }
    if findings.lost() > 0 { Err(Failure::said(1)) } else { Ok(()) }
}

/// Reads a line; one that is too long is read as an empty one. False at the end.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    if reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    let is_whole = line.last() == Some(&b'\n') || (line.len() as u64) < MAX_LINE_BYTES;
    if !is_whole {
        line.clear();
        reader.skip_until(b'\n')?;
    }
    Ok(true)
}

/// Two gateways, and who was met.
struct Replay<'p> {
    policy: &'p Policy,
    old: Bench<'p>,
    new: Bench<'p>,
    known: HashMap<String, Known>,
    key: String,
    latest: u64,
    findings: Findings,
}

struct Known {
    asker: Asker,
    token: String,
}

impl<'p> Replay<'p> {
    fn new(policy: &'p Policy, against: &'p Policy) -> Result<Self, Failure> {
        Ok(Self {
            policy,
            old: Bench::new(policy)?,
            new: Bench::new(against)?,
            known: HashMap::new(),
            key: String::new(),
            latest: 0,
            findings: Findings::default(),
        })
    }

    fn take(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() && line.ends_with(b"\n") && line.len() > 1 {
            return;
        }
        match event::read(line) {
            Line::Unreadable => self.findings.unreadable += 1,
            Line::Nothing => self.findings.nameless += 1,
            Line::Told(told) => {
                self.findings.events += 1;
                self.rule(&told);
            }
        }
    }

    fn rule(&mut self, told: &Told) {
        self.key.clear();
        for part in [&told.name, &told.subject, &told.user, &told.rule].into_iter().chain(&told.groups) {
            self.key.push_str(part);
            self.key.push('\n');
        }
        if !self.known.contains_key(&self.key) {
            if self.known.len() >= MAX_KNOWN {
                self.known.clear();
            }
            let asker = asker(self.policy, &mut self.old, told);
            let token = asker.token();
            self.known.insert(self.key.clone(), Known { asker, token });
        }
        let Some(Known { asker, token }) = self.known.get(&self.key) else { return };
        let headers: Vec<(&str, &str)> =
            told.impersonation.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let text = ruling::head(told.method, &told.target, token, told.at, &headers);
        let request = Request::read(&text);
        // Entries end: who was recognised at a later time is not who they were.
        let is_in_order = told.at >= self.latest;
        self.latest = self.latest.max(told.at);
        let journey = || if is_in_order { Journey::default() } else { Journey::afresh() };
        let old = self.old.rule(&request, &mut journey(), asker, told.at, &mut |_| {});
        let new = self.new.rule(&request, &mut journey(), asker, told.at, &mut |_| {});
        self.findings.compare(told, &request, &old, &new);
    }
}

/// Somebody as the log has them: in the groups of the identity provider whose entries explain theirs, and what these do not explain
/// from Workers KV.
fn asker(policy: &Policy, bench: &mut Bench<'_>, told: &Told) -> Asker {
    let mut asker = Asker { subject: told.subject.clone(), ..Asker::named(&told.name) };
    if told.user.is_empty() {
        return asker;
    }
    let is_of_group = told.rule == "idp_group";
    let is_person = asker.is_person();
    for entry in policy.idp_groups().filter(|_| is_person) {
        let gives_the_user = entry.user.replace("{email}", &told.name.to_ascii_lowercase()) == told.user;
        let is_theirs = entry.groups.iter().all(|group| told.groups.iter().any(|own| own == group));
        let says_something = !entry.groups.is_empty() || (is_of_group && gives_the_user);
        if is_theirs && says_something && (entry.idp.is_empty() || asker.idp.is_empty() || asker.idp == entry.idp) {
            asker.groups.push(entry.id.to_owned());
            if !entry.idp.is_empty() {
                entry.idp.clone_into(&mut asker.idp);
            }
        }
    }
    let (user, groups) = entered_as(bench, &asker, told.at).unwrap_or_default();
    let is_explained = user == told.user;
    if is_explained && told.rule != "kv" {
        let others: Vec<&String> = told.groups.iter().filter(|group| !groups.contains(group)).collect();
        if !others.is_empty() {
            let grant = json!({"groups": others, "expires": "9999-12-31T23:59:59Z"});
            asker.entry = Some(json!({ "grants": [grant] }).to_string());
        }
    } else if told.rule == "kv" {
        let is_master = told.groups.iter().any(|group| group == "system:masters");
        let mut entry = json!({"user": told.user, "groups": told.groups});
        if let Some(entry) = entry.as_object_mut().filter(|_| is_master) {
            entry.insert("allow_system_masters".into(), true.into());
        }
        asker.entry = Some(entry.to_string());
    }
    asker
}

/// As whom somebody enters.
fn entered_as(bench: &mut Bench<'_>, asker: &Asker, now: u64) -> Option<(String, Vec<String>)> {
    let text = ruling::head("GET", "/version", &asker.token(), now, &[]);
    let request = Request::read(&text);
    let mut journey = Journey::default();
    bench.rule(&request, &mut journey, asker, now, &mut |_| {});
    let identity = journey.caller()?.identity();
    Some((identity.user().to_owned(), identity.groups().to_vec()))
}

/// Groups of the identity provider that only the new policy names: the log does not tell who is in them.
fn unknown_groups(policy: &Policy, against: &Policy) -> Vec<String> {
    let known: HashSet<&str> = policy.idp_groups().map(|entry| entry.id).collect();
    against.idp_groups().map(|entry| entry.id).filter(|id| !known.contains(id)).map(str::to_owned).collect()
}

impl Findings {
    fn compare(&mut self, told: &Told, request: &Request<'_>, old: &Ruling<'_>, new: &Ruling<'_>) {
        match (old, new) {
            (Ruling::Sent(before), Ruling::Sent(after)) => self.compare_sent(told, request, before, after),
            // What the cluster refused anyway is no loss.
            (Ruling::Sent(_), Ruling::Refused(refusal)) if told.was_served => {
                self.count(told, Effect::Loses, rule_of(refusal), what_of(request));
                self.differing += 1;
            }
            (Ruling::Refused(refusal), Ruling::Sent(_)) => {
                self.count(told, Effect::Gains, rule_of(refusal), what_of(request));
                self.differing += 1;
            }
            _ => {}
        }
    }

    fn compare_sent(&mut self, told: &Told, request: &Request<'_>, before: &Plan<'_>, after: &Plan<'_>) {
        let (old, new) = (before.caller.identity(), after.caller.identity());
        let is_same_stay =
            before.relay.as_ref().map(|relay| &relay.stay) == after.relay.as_ref().map(|relay| &relay.stay);
        if old.user() == new.user() && old.groups() == new.groups() && is_same_stay {
            return;
        }
        let rule = || format!("entry {}", new.rule().name());
        let mut differs = false;
        if old.user() != new.user() {
            let what = format!("user {} (becomes {})", old.user(), new.user());
            self.count(told, Effect::Loses, rule(), what);
            differs = true;
        }
        for group in old.groups().iter().filter(|group| !new.groups().contains(group)) {
            self.count(told, Effect::Loses, rule(), format!("group {group}"));
            differs = true;
        }
        for group in new.groups().iter().filter(|group| !old.groups().contains(group)) {
            self.count(told, Effect::Gains, rule(), format!("group {group}"));
            differs = true;
        }
        if !is_same_stay {
            let guards = after.relay.as_ref().map(|relay| relay.stay.guards.join(", "));
            let rule = guards.map_or_else(|| "no guard".to_owned(), |guards| format!("guard {guards}"));
            self.count(told, Effect::Changes, rule, format!("what is recorded or bounded of {}", what_of(request)));
            differs = true;
        }
        self.differing += u64::from(differs);
    }

    fn count(&mut self, told: &Told, effect: Effect, rule: String, what: String) {
        let mut key = Key { effect, rule, caller: told.name.clone(), what };
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&key) {
            (key.caller, key.what) = (OTHERS.to_owned(), OTHERS.to_owned());
        }
        let count = self.rows.entry(key).or_default();
        if count.requests == 0 || told.at < count.first {
            count.first = told.at;
        }
        count.requests += 1;
    }

    fn lost(&self) -> u64 {
        self.rows.iter().filter(|(key, _)| key.effect == Effect::Loses).map(|(_, count)| count.requests).sum()
    }

    /// What each rule does, and to how many.
    fn by_rule(&self) -> BTreeMap<(Effect, &str), (u64, HashSet<&str>)> {
        let mut rules: BTreeMap<(Effect, &str), (u64, HashSet<&str>)> = BTreeMap::new();
        for (key, count) in &self.rows {
            let rule = rules.entry((key.effect, &key.rule)).or_default();
            rule.0 += count.requests;
            rule.1.insert(&key.caller);
        }
        rules
    }

    fn to_json(&self, unknown: &[String]) -> serde_json::Value {
        let row = |(key, count): (&Key, &Count)| {
            json!({
                "effect": key.effect, "rule": key.rule, "caller": key.caller, "what": key.what,
                "requests": count.requests, "first": at(count.first),
            })
        };
        json!({
            "events": self.events, "unreadable": self.unreadable, "nameless": self.nameless,
            "asBefore": self.events.saturating_sub(self.differing), "differ": self.rows.iter().map(row).collect::<Vec<_>>(),
            "unknownGroups": unknown,
        })
    }

    fn in_words(&self, unknown: &[String]) -> String {
        let name = |effect: Effect| match effect {
            Effect::Loses => "loses",
            Effect::Gains => "gains",
            Effect::Changes => "changes",
        };
        let mut lines = Vec::new();
        if !self.rows.is_empty() {
            let rules = self.by_rule();
            let rows: Vec<Vec<String>> = rules
                .iter()
                .map(|((effect, rule), (requests, callers))| {
                    vec![name(*effect).into(), visible(rule), grouped(callers.len() as u64), grouped(*requests)]
                })
                .collect();
            lines.push(table(&["EFFECT", "RULE", "CALLERS", "REQUESTS"], &rows));
            lines.push(String::new());
            let mut all: Vec<(&Key, &Count)> = self.rows.iter().collect();
            all.sort_by_key(|(key, count)| (key.effect, std::cmp::Reverse(count.requests)));
            let rows: Vec<Vec<String>> = all
                .iter()
                .take(MAX_SHOWN)
                .map(|(key, count)| {
                    let cells = [name(key.effect), &key.caller, &key.rule, &key.what];
                    cells.map(visible).into_iter().chain([grouped(count.requests), at(count.first)]).collect()
                })
                .collect();
            lines.push(table(&["EFFECT", "CALLER", "RULE", "WHAT", "REQUESTS", "FIRST"], &rows));
            if all.len() > MAX_SHOWN {
                lines.push(format!("and {} more rows: -o json has them all", grouped((all.len() - MAX_SHOWN) as u64)));
            }
            lines.push(String::new());
        }
        let as_before = self.events.saturating_sub(self.differing);
        lines.push(format!(
            "{}: {} as before, {} not.",
            counted(self.events, "event"),
            grouped(as_before),
            grouped(self.differing)
        ));
        if self.nameless > 0 {
            lines.push(format!(
                "{} of nobody who can be named, or told twice: not ruled on.",
                counted(self.nameless, "more event")
            ));
        }
        if self.unreadable > 0 {
            lines.push(format!("{} could not be read as an event.", counted(self.unreadable, "line")));
        }
        if !unknown.is_empty() {
            let ids = visible(&unknown.join(", "));
            lines.push(format!("Who is in these groups of the identity provider no log tells: {ids}."));
        }
        let lost = self.lost();
        lines.push(if lost > 0 {
            format!("Something is lost, {} times.", grouped(lost))
        } else {
            "Nothing is lost.".to_owned()
        });
        lines.join("\n")
    }
}

/// Which rule refuses.
fn rule_of(refusal: &Refusal) -> String {
    #[allow(clippy::wildcard_enum_match_arm, reason = "whatever else refuses has a name of its own")]
    match refusal {
        Refusal::Guard(guard) => format!("guard {}", guard.guard()),
        Refusal::Identity(IdentityError::NotMapped(_)) => "no entry".to_owned(),
        Refusal::Identity(IdentityError::Denied(_)) => "withdrawn".to_owned(),
        Refusal::Impersonation(_) => "act_as".to_owned(),
        other => other.reason().to_owned(),
    }
}

/// The kind of a request: names and namespaces left out.
fn what_of(request: &Request<'_>) -> String {
    match &request.target {
        Ok(target) if target.is_resource => {
            let Target { verb, resource, group, subresource, .. } = target;
            let group = if group.is_empty() { String::new() } else { format!(".{group}") };
            let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
            format!("{verb} {resource}{group}{subresource}")
        }
        Ok(target) => {
            let first: Vec<&str> = target.url.splitn(4, '/').take(3).collect();
            format!("{} {}", target.verb, first.join("/"))
        }
        Err(_) => "a path that cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests;
