//! What a new policy would change for what was done: each event of an audit log is ruled on twice.
//!
//! The log does not tell everything. Which groups somebody was in at the identity provider, and what Workers KV had of them, is taken
//! from what they entered as. Whatever went up by the log, and not so by the old policy, nothing can be said of: it is no success.
//! Memory is bounded: what differs is counted by caller, rule and kind of request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use kube_access::caller::Caller;
use kube_access::gateway::{Journey, Plan};
use kube_access::identity::{Error as IdentityError, Identity, name};
use kube_access::refusal::Refusal;
use kube_access::request::Request;
use kube_access::target::Target;
use serde::Serialize;
use serde_json::json;

use super::event::{self, ActsAs, Line, Told};
use super::ruling::{self, Asker, Bench, Ruling};
use crate::failure::{Because, Failure};
use crate::policy::Policy;
use crate::print;
use crate::text::{at, counted, grouped, table, visible, visible_json};

/// The longest line that is read: kube-apiserver cuts its events at 100 KiB unless it is told otherwise.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// The most callers whose tokens are kept.
const MAX_KNOWN: usize = 8192;

/// The most rows. What comes beyond is counted by rule alone.
const MAX_ROWS: usize = 10_000;

/// The most rows that are printed for people.
const MAX_SHOWN: usize = 200;

/// The longest name in a row, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// Stands for callers and requests beyond [`MAX_ROWS`].
const OTHERS: &str = "(others)";

/// What a policy means for a request that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
enum Effect {
    Loses,
    /// The log has it otherwise than the old policy.
    Unexplained,
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
    lines: u64,
    events: u64,
    unreadable: u64,
    /// The first line that is no event.
    first_unreadable: u64,
    nameless: u64,
    unexplained: u64,
    differing: u64,
}

/// What all callers and kinds of requests have of one effect of one rule.
#[derive(Debug)]
struct Sum<'f> {
    requests: u64,
    callers: HashSet<&'f str>,
    /// What there is most of.
    example: (&'f Key, &'f Count),
}

/// What a policy makes of a request, and of who asks.
#[derive(Debug, Clone, Copy)]
struct Outcome<'o> {
    ruling: &'o Ruling<'o>,
    caller: Option<&'o Caller>,
}

/// Rules on all events; a failure says that somebody loses something, or that nobody can tell.
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
    if findings.events == 0 {
        let advice = "expected one audit.k8s.io/v1 Event a line, as ENABLE_K8S_LOGGING has the gateway write them";
        let shown = events.display();
        return Err(Failure::new(format!("{shown}: no event of anybody whom the gateway knew: {advice}")));
    }
    let unknown = unknown_groups(policy, against);
    if is_json {
        print::line(visible_json(&findings.to_json(&unknown)))?;
    } else {
        print::line(findings.in_words(&unknown))?;
    }
    if findings.lost() > 0 || !findings.is_whole() { Err(Failure::said(1)) } else { Ok(()) }
}

/// Reads a line; of one that is too long its beginning, which is no event. False at the end.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    if reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    let is_whole = line.last() == Some(&b'\n') || (line.len() as u64) < MAX_LINE_BYTES;
    if !is_whole {
        reader.skip_until(b'\n')?;
    }
    Ok(true)
}

/// Two gateways, and who was met.
struct Replay<'p> {
    policy: &'p Policy,
    names: HashSet<&'p str>,
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
            names: policy.names(),
            old: Bench::new(policy)?,
            new: Bench::new(against)?,
            known: HashMap::new(),
            key: String::new(),
            latest: 0,
            findings: Findings::default(),
        })
    }

    fn take(&mut self, line: &[u8]) {
        self.findings.lines += 1;
        if line.trim_ascii().is_empty() {
            return;
        }
        match event::read(line) {
            Line::Unreadable => self.findings.skip(),
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
        // Workers KV may let somebody act as others, of which the log tells this one.
        let headers = told.acts_as.as_ref().map(ActsAs::headers).unwrap_or_default();
        for (name, value) in &headers {
            self.key.extend([name, ":", value, "\n"]);
        }
        if !self.known.contains_key(&self.key) {
            if self.known.len() >= MAX_KNOWN {
                self.known.clear();
            }
            let asker = asker(self.policy, &self.names, &mut self.old, told);
            let token = asker.token();
            self.known.insert(self.key.clone(), Known { asker, token });
        }
        let Some(Known { asker, token }) = self.known.get(&self.key) else { return };
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let text = ruling::head(told.method, &told.target, token, told.at, &headers);
        let request = Request::read(&text);
        // Entries end: who was recognised at a later time is not who they were.
        let is_in_order = told.at >= self.latest;
        self.latest = self.latest.max(told.at);
        let journey = || if is_in_order { Journey::default() } else { Journey::afresh() };
        let (mut before, mut after) = (journey(), journey());
        let old = self.old.rule(&request, &mut before, asker, told.at, &mut |_| {});
        let new = self.new.rule(&request, &mut after, asker, told.at, &mut |_| {});
        let old = Outcome { ruling: &old, caller: before.caller() };
        let new = Outcome { ruling: &new, caller: after.caller() };
        self.findings.compare(told, &request, old, new);
    }
}

/// Somebody as the log has them: in the groups of the identity provider whose entries explain theirs, and what these do not explain
/// from Workers KV.
fn asker(policy: &Policy, names: &HashSet<&str>, bench: &mut Bench<'_>, told: &Told) -> Asker {
    let mut asker = Asker { subject: told.subject.clone(), ..Asker::named(&told.name) };
    if told.user.is_empty() {
        return asker;
    }
    // The cluster's log does not tell by which entry.
    let may_be_of_group = matches!(&*told.rule, "idp_group" | "");
    let email = told.name.to_ascii_lowercase();
    let is_person = asker.is_person();
    for entry in policy.idp_groups().filter(|_| is_person) {
        let gives_the_user = entry.user.replace(name::EMAIL_PLACEHOLDER, &email) == told.user;
        let is_theirs = entry.groups.iter().all(|group| told.groups.iter().any(|own| own == group));
        let says_something = !entry.groups.is_empty() || (may_be_of_group && gives_the_user);
        if is_theirs && says_something && (entry.idp.is_empty() || asker.idp.is_empty() || asker.idp == entry.idp) {
            asker.groups.push(entry.id.to_owned());
            if !entry.idp.is_empty() {
                entry.idp.clone_into(&mut asker.idp);
            }
        }
    }
    let (user, groups) = entered_as(bench, &asker, told.at).unwrap_or_default();
    let is_listed = |name: &String| names.contains(name.as_str());
    let may_be_of_store = || {
        let template = told.user.replace(&email, name::EMAIL_PLACEHOLDER);
        (is_listed(&told.user) || is_listed(&template)) && told.groups.iter().all(is_listed)
    };
    if told.rule == "kv" || (told.rule.is_empty() && user != told.user && may_be_of_store()) {
        asker.entry = Some(entry_of(told));
    } else if user == told.user {
        let (listed, others): (Vec<&String>, Vec<&String>) = told
            .groups
            .iter()
            .filter(|group| !groups.contains(group) && is_listed(group))
            .partition(|group| policy.map().granted_groups().any(|granted| granted == *group));
        asker.granted = grants_of(&listed);
        asker.entry = grants_of(&others);
    }
    asker
}

/// The entry of Workers KV that has somebody enter as they did, and act as they did.
fn entry_of(told: &Told) -> String {
    let mut entry = json!({"user": told.user, "groups": told.groups});
    if let Some(entry) = entry.as_object_mut() {
        if told.groups.iter().any(|group| group == name::MASTERS) {
            entry.insert("allow_system_masters".into(), true.into());
        }
        if let Some(ActsAs { user, groups, uid, extras, .. }) = &told.acts_as {
            let extras: Vec<&String> = extras.iter().map(|(key, _)| key).collect();
            let uids: Vec<&String> = uid.iter().collect();
            entry.insert("act_as".into(), json!({"users": [user], "groups": groups, "uids": uids, "extras": extras}));
        }
    }
    entry.to_string()
}

/// A grant of these groups, if there are any, that does not end.
fn grants_of(groups: &[&String]) -> Option<String> {
    let grant = json!({"groups": groups, "expires": "9999-12-31T23:59:59Z"});
    (!groups.is_empty()).then(|| json!({ "grants": [grant] }).to_string())
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
    fn skip(&mut self) {
        if self.unreadable == 0 {
            self.first_unreadable = self.lines;
        }
        self.unreadable += 1;
    }

    fn compare(&mut self, told: &Told, request: &Request<'_>, old: Outcome<'_>, new: Outcome<'_>) {
        if let Some((rule, what)) = unexplained(told, request, old) {
            self.count(told, Effect::Unexplained, rule, what);
            self.unexplained += 1;
            return;
        }
        let differs = match (old.ruling, new.ruling) {
            (Ruling::Refused(_), Ruling::Refused(_)) => false,
            // What the cluster refused anyway is no loss.
            (_, Ruling::Refused(refusal)) => {
                if told.was_served {
                    self.count(told, Effect::Loses, rule_of(refusal), what_of(request));
                }
                told.was_served
            }
            (Ruling::Refused(refusal), _) => {
                self.count(told, Effect::Gains, rule_of(refusal), what_of(request));
                true
            }
            (Ruling::Sent(before), Ruling::Sent(after)) => {
                let is_same = self.compare_callers(told, old.caller, new.caller);
                !(self.compare_stays(told, request, before, after) && is_same)
            }
            (Ruling::Own, _) | (_, Ruling::Own) => !self.compare_callers(told, old.caller, new.caller),
        };
        self.differing += u64::from(differs);
    }

    /// Whether somebody enters as before.
    fn compare_callers(&mut self, told: &Told, old: Option<&Caller>, new: Option<&Caller>) -> bool {
        let (Some(old), Some(new)) = (old.map(Caller::identity), new.map(Caller::identity)) else { return true };
        if old.user() == new.user() && old.groups() == new.groups() {
            return true;
        }
        let rule = || format!("entry {}", new.rule().name());
        if old.user() != new.user() {
            let what = format!("user {} (becomes {})", old.user(), new.user());
            self.count(told, Effect::Loses, rule(), what);
        }
        let (lost, gained) = (missing(old.groups(), new.groups()), missing(new.groups(), old.groups()));
        for (effect, groups) in [(Effect::Loses, &lost), (Effect::Gains, &gained)] {
            for group in groups {
                self.count(told, effect, rule(), format!("group {group}"));
            }
        }
        old.user() == new.user() && lost.is_empty() && gained.is_empty()
    }

    /// Whether a stream is recorded and bounded as before.
    fn compare_stays(&mut self, told: &Told, request: &Request<'_>, before: &Plan<'_>, after: &Plan<'_>) -> bool {
        let (before, after) = (before.relay.as_ref().map(|old| &old.stay), after.relay.as_ref().map(|new| &new.stay));
        if before != after {
            let guards = after.map(|stay| stay.guards.join(", "));
            let rule = guards.map_or_else(|| "no guard".to_owned(), |guards| format!("guard {guards}"));
            self.count(told, Effect::Changes, rule, format!("what is recorded or bounded of {}", what_of(request)));
        }
        before == after
    }

    fn count(&mut self, told: &Told, effect: Effect, rule: String, what: String) {
        let mut key = Key { effect, rule, caller: told.name.clone(), what };
        for text in [&mut key.rule, &mut key.caller, &mut key.what] {
            text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        }
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

    /// Whether each line was read, and each request ruled on as it was.
    fn is_whole(&self) -> bool {
        self.unexplained == 0 && self.unreadable == 0
    }

    fn as_before(&self) -> u64 {
        self.events.saturating_sub(self.differing + self.unexplained)
    }

    /// What each rule does, and to how many.
    fn by_rule(&self) -> BTreeMap<(Effect, &str), Sum<'_>> {
        let mut rules: BTreeMap<(Effect, &str), Sum<'_>> = BTreeMap::new();
        for row in &self.rows {
            let (key, count) = row;
            let new = || Sum { requests: 0, callers: HashSet::new(), example: row };
            let sum = rules.entry((key.effect, &key.rule)).or_insert_with(new);
            sum.requests += count.requests;
            sum.callers.insert(&key.caller);
            if count.requests > sum.example.1.requests {
                sum.example = row;
            }
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
        let first_unreadable = (self.unreadable > 0).then_some(self.first_unreadable);
        json!({
            "events": self.events, "unreadable": self.unreadable, "firstUnreadable": first_unreadable,
            "nameless": self.nameless, "asBefore": self.as_before(), "unexplained": self.unexplained,
            "differ": self.rows.iter().map(row).collect::<Vec<_>>(), "unknownGroups": unknown,
        })
    }

    fn in_words(&self, unknown: &[String]) -> String {
        let mut lines = Vec::new();
        if !self.rows.is_empty() {
            lines.extend([self.rules_in_words(), String::new(), self.rows_in_words(), String::new()]);
        }
        lines.push(format!(
            "{}: {} as before, {} not.",
            counted(self.events, "event"),
            grouped(self.as_before()),
            grouped(self.differing)
        ));
        if self.nameless > 0 {
            lines.push(format!(
                "{} of nobody who can be named, or told twice: not ruled on.",
                counted(self.nameless, "more event")
            ));
        }
        if !unknown.is_empty() {
            let ids = visible(&unknown.join(", "));
            lines.push(format!("Who is in these groups of the identity provider no log tells: {ids}."));
        }
        if self.unreadable > 0 {
            lines.push(format!(
                "{} could not be read as an event, the first is line {}: leave out what is none, as by grep '\"kind\":\"Event\"'.",
                counted(self.unreadable, "line"),
                grouped(self.first_unreadable)
            ));
        }
        if self.unexplained > 0 {
            lines.push(format!(
                "{} unexplained: by the log they went up, and by --policy not, or not as the same user and groups. Name the policy under \
                 which the log was written with --policy, and leave out what is older than it.",
                counted(self.unexplained, "event")
            ));
        }
        let lost = self.lost();
        lines.push(match (lost, self.is_whole()) {
            (1.., _) => format!("Something is lost, {} times.", grouped(lost)),
            (0, true) => "Nothing is lost.".to_owned(),
            (0, false) => "Whether anything is lost cannot be told.".to_owned(),
        });
        lines.join("\n")
    }

    fn rules_in_words(&self) -> String {
        let row = |((effect, rule), sum): (&(Effect, &str), &Sum<'_>)| {
            let example = visible(&format!("{}: {}", sum.example.0.caller, sum.example.0.what));
            let callers = grouped(sum.callers.len() as u64);
            vec![effect.name().into(), visible(rule), callers, grouped(sum.requests), example]
        };
        let rows: Vec<Vec<String>> = self.by_rule().iter().map(row).collect();
        table(&["EFFECT", "RULE", "CALLERS", "REQUESTS", "SUCH AS"], &rows)
    }

    fn rows_in_words(&self) -> String {
        let mut all: Vec<(&Key, &Count)> = self.rows.iter().collect();
        all.sort_by_key(|(key, count)| (key.effect, std::cmp::Reverse(count.requests)));
        let row = |(key, count): &(&Key, &Count)| {
            let cells = [key.effect.name(), &key.caller, &key.rule, &key.what].map(visible);
            cells.into_iter().chain([grouped(count.requests), at(count.first)]).collect()
        };
        let rows: Vec<Vec<String>> = all.iter().take(MAX_SHOWN).map(row).collect();
        let mut words = table(&["EFFECT", "CALLER", "RULE", "WHAT", "REQUESTS", "FIRST"], &rows);
        if all.len() > MAX_SHOWN {
            let more = grouped((all.len() - MAX_SHOWN) as u64);
            words.extend(["\nand ", &more, " more rows: -o json has them all"]);
        }
        words
    }
}

impl Effect {
    fn name(self) -> &'static str {
        match self {
            Self::Loses => "loses",
            Self::Unexplained => "unexplained",
            Self::Gains => "gains",
            Self::Changes => "changes",
        }
    }
}

/// By which rule the old policy does not send what went up by the log, or not as the same caller; and what.
fn unexplained(told: &Told, request: &Request<'_>, old: Outcome<'_>) -> Option<(String, String)> {
    if !told.went_up {
        return None;
    }
    if let Ruling::Refused(refusal) = old.ruling {
        return Some((rule_of(refusal), what_of(request)));
    }
    let identity = old.caller?.identity();
    let what = difference(told, identity)?;
    Some((format!("entry {}", identity.rule().name()), what))
}

/// What of a caller is not as the log has it.
fn difference(told: &Told, identity: &Identity) -> Option<String> {
    if told.user != identity.user() {
        return Some(format!("user {} (by --policy {})", told.user, identity.user()));
    }
    if told.groups == identity.groups() {
        return None;
    }
    let [in_log, by_policy] = [missing(&told.groups, identity.groups()), missing(identity.groups(), &told.groups)];
    let listed =
        |groups: &[&str], whose: &str| (!groups.is_empty()).then(|| format!("groups {} {whose}", groups.join(", ")));
    let parts = [listed(&in_log, "in the log alone"), listed(&by_policy, "by --policy alone")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The names of the one list that are not in the other.
fn missing<'n>(names: &'n [String], others: &[String]) -> Vec<&'n str> {
    names.iter().filter(|name| !others.contains(name)).map(String::as_str).collect()
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
