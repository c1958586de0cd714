//! `/.kube-access/sessions`: what was recorded, what goes on, and the end of it.
//!
//! One's own sessions are everybody's. Those of others are for whom the cluster's RBAC lets `list`, `get` or `delete` the resource
//! `sessions` of the API group `kube-access.dev`, which exists for that alone.

use chrono::NaiveDate;

use super::{id, manifest};
use crate::guard::words::OWN_GROUP;
use crate::head::Head;
use crate::json::Object;
use crate::record::{cut, printable};
use crate::review::Attributes;
use crate::target;

/// Where they are.
pub const PATH: &str = "/.kube-access/sessions";

/// How many a page has at most.
const MAX_LIMIT: usize = 100;

/// How many a page has unless it is told.
const LIMIT: usize = 50;

/// How a cursor among those that go on begins.
const LIVE: &str = "live:";

/// The longest reason that somebody gives for an end, in bytes.
const MAX_REASON_BYTES: usize = 200;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The sessions that there are and were, the newest first.
    List(Query),
    /// All that is known of one.
    Manifest(String),
    /// The chunks of its recording.
    Chunks(String),
    /// A chunk of it, by its name.
    Chunk(String, String),
    /// Its recording.
    Cast(String),
    /// Its end, for a reason; without one, for what the body says.
    End(String, Option<String>),
}

/// Which sessions a list is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// At most so many.
    limit: usize,
    cursor: Cursor,
    /// Those of this user.
    pub user: Option<String>,
    namespace: Option<String>,
    pod: Option<String>,
    /// Those that began on this day (UTC): the beginnings of its first and last name in the order of names.
    day: Option<(String, String)>,
    state: Option<State>,
    /// Whether others' were wanted, and are not for the caller.
    is_narrowed: bool,
}

/// After which session a page begins, and where: among those that go on, which come first, or among those that have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cursor {
    state: State,
    id: String,
}

/// Whether a session goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// It does.
    #[default]
    Live,
    /// It has ended.
    Ended,
}

/// What a page has, and where the next begins.
#[derive(Debug, Default)]
pub struct Page {
    sessions: Vec<String>,
    cursor: Option<String>,
}

/// Why a call is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such path, or method.
    #[error("the gateway itself has nothing at this path")]
    Unknown,
    /// An option that cannot be read.
    #[error(
        "{0} cannot be read: limit is a number from 1 to {MAX_LIMIT}, day is YYYY-MM-DD, state is live or ended, cursor is what the page before has"
    )]
    Option(&'static str),
    /// RBAC says no.
    #[error(
        "the cluster's RBAC does not let {0} {1} the sessions of others: it takes the ClusterRole kube-access:auditor, bound to you"
    )]
    Denied(String, &'static str),
    /// The API server cannot be asked.
    #[error(
        "whether you may see the sessions of others cannot be told right now: the API server did not answer the question"
    )]
    Unanswered,
    /// No such session.
    #[error("there is no session {0}: `npm run sessions -- list` shows those that there are")]
    NoSuch(String),
    /// No such part of its recording.
    #[error("the recording of the session {0} has no such chunk")]
    NoChunk(String),
    /// The session has ended.
    #[error("the session {0} has ended already")]
    Over(String),
    /// Nothing is bound.
    #[error(
        "this gateway keeps no sessions: its administrator can have Terraform make what they need (sessions = true)"
    )]
    Off,
    /// The bucket cannot be read.
    #[error("the recordings cannot be read right now: try again in a moment")]
    Unreadable,
}

/// Reads a request for sessions. Nothing, if it is for something else.
#[must_use]
pub fn read(head: &Head<'_>) -> Option<Result<Call, Error>> {
    let (path, query) = target::split(head.target);
    let rest = path.strip_prefix(PATH)?;
    let parts: Vec<&str> = rest.split('/').collect();
    let option = |name| target::values(query, name).next();
    let call = match (head.method, parts.as_slice()) {
        ("GET", [""]) => Query::read(option).map(Call::List),
        (_, ["", id, ..]) if !id::is_one(id) => Err(Error::NoSuch(id.chars().take(64).collect())),
        ("GET", ["", id]) => Ok(Call::Manifest((*id).to_owned())),
        ("GET", ["", id, "chunks"]) => Ok(Call::Chunks((*id).to_owned())),
        ("GET", ["", id, "chunks", name]) if manifest::is_name(name) => {
            Ok(Call::Chunk((*id).to_owned(), (*name).to_owned()))
        }
        ("GET", ["", id, "cast"]) => Ok(Call::Cast((*id).to_owned())),
        ("DELETE", ["", id]) => Ok(Call::End((*id).to_owned(), Some(reason(option("reason"))))),
        ("POST", ["", id, "end"]) => Ok(Call::End((*id).to_owned(), None)),
        (_, [start, ..]) if !start.is_empty() => return None,
        _ => Err(Error::Unknown),
    };
    Some(call)
}

/// The reason that a body gives: `reason` of an object.
#[must_use]
pub fn reason_of(body: &str) -> String {
    reason(Object::read(body).ok().and_then(|body| body.get("reason").ok().flatten()))
}

/// The reason that somebody gives, as it may stand on a terminal.
fn reason(given: Option<String>) -> String {
    let reason = printable(&given.unwrap_or_default());
    cut(&reason, MAX_REASON_BYTES).trim_end().to_owned()
}

impl Call {
    /// What the API server is asked, unless this is for everybody.
    #[must_use]
    pub fn question(&self, user: &str) -> Option<Attributes<'_>> {
        let (verb, name) = match self {
            Self::List(query) if query.user.as_deref() == Some(user) => return None,
            Self::List(_) => ("list", ""),
            Self::Manifest(id) | Self::Chunks(id) | Self::Chunk(id, _) | Self::Cast(id) => ("get", id.as_str()),
            Self::End(id, _) => ("delete", id.as_str()),
        };
        (!id::is_of(name, user)).then_some(Attributes {
            verb,
            group: OWN_GROUP,
            resource: "sessions",
            name,
            subresource: "",
        })
    }

    /// The same for somebody who may see their own alone; or that it is not for them.
    pub fn narrowed(self, user: &str) -> Result<Self, Error> {
        match self {
            Self::List(query) if query.user.as_deref().is_none_or(|wanted| wanted == user) => {
                Ok(Self::List(Query { user: Some(user.to_owned()), is_narrowed: true, ..query }))
            }
            Self::List(_) => Err(Error::Denied(user.to_owned(), "list")),
            Self::End(..) => Err(Error::Denied(user.to_owned(), "end")),
            Self::Manifest(_) | Self::Chunks(_) | Self::Chunk(..) | Self::Cast(_) => {
                Err(Error::Denied(user.to_owned(), "see"))
            }
        }
    }
}

impl Query {
    fn read(option: impl Fn(&'static str) -> Option<String>) -> Result<Self, Error> {
        let limit = match option("limit").map(|limit| limit.parse()) {
            None => LIMIT,
            Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
            Some(_) => return Err(Error::Option("limit")),
        };
        let cursor = option("cursor").map_or(Some(Cursor::default()), |text| Cursor::read(&text));
        let cursor = cursor.ok_or(Error::Option("cursor"))?;
        let state = match option("state").as_deref() {
            None => None,
            Some("live") => Some(State::Live),
            Some("ended") => Some(State::Ended),
            Some(_) => return Err(Error::Option("state")),
        };
        let day = option("day").map(|day| bounds(&day).ok_or(Error::Option("day"))).transpose()?;
        let (user, namespace, pod) = (option("user"), option("namespace"), option("pod"));
        Ok(Self { limit, cursor, user, namespace, pod, day, state, is_narrowed: false })
    }

    /// The name after which a page has sessions of this state, if it can: those that have ended come after all that go on.
    #[must_use]
    pub fn after(&self, state: State, page: &Page) -> Option<&str> {
        let is_over = self.cursor.state == State::Ended && state == State::Live;
        let is_wanted = self.state.is_none_or(|wanted| wanted == state);
        let id = if self.cursor.state == state { self.cursor.id.as_str() } else { "" };
        let first = self.day.as_ref().map_or("", |(first, _)| first);
        (is_wanted && !is_over && page.cursor.is_none()).then(|| id.max(first))
    }

    /// Whether a name lies behind all that the list can have.
    fn is_behind(&self, id: &str) -> bool {
        self.day.as_ref().is_some_and(|(_, last)| id > last.as_str())
    }

    /// Whether the list has the session of this summary.
    fn takes(&self, summary: &str) -> bool {
        let Ok(summary) = Object::read(summary) else { return false };
        let has = |name, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| summary.need::<String>(name).is_ok_and(|text| text == *wanted))
        };
        let is_of_day = self
            .day
            .as_ref()
            .is_none_or(|(first, last)| summary.need::<String>("id").is_ok_and(|id| id > *first && id <= *last));
        is_of_day && has("user", &self.user) && has("namespace", &self.namespace) && has("pod", &self.pod)
    }
}

impl Cursor {
    fn read(text: &str) -> Option<Self> {
        let (state, id) = text.strip_prefix(LIVE).map_or((State::Ended, text), |id| (State::Live, id));
        id::is_one(id).then(|| Self { state, id: id.to_owned() })
    }
}

impl Page {
    /// Adds what a list has of the names and summaries that were found in order. `has_more`: more may be found.
    pub fn add(&mut self, query: &Query, state: State, found: Vec<(String, String)>, has_more: bool) {
        let last = self.fill(query, found, has_more);
        self.cursor = last.map(|id| if state == State::Live { [LIVE, &id].concat() } else { id });
    }

    /// The name after which there may be more.
    fn fill(&mut self, query: &Query, found: Vec<(String, String)>, has_more: bool) -> Option<String> {
        let mut last = None;
        for (name, summary) in found {
            if query.is_behind(&name) {
                return None;
            }
            if query.takes(&summary) {
                self.sessions.push(summary);
            }
            last = Some(name);
            if self.sessions.len() == query.limit {
                return last;
            }
        }
        last.filter(|_| has_more)
    }

    /// The answer to a list.
    #[must_use]
    pub fn json(&self, query: &Query) -> String {
        let scope = if query.is_narrowed { "own" } else { "all" };
        let cursor = self.cursor.as_ref().map(|cursor| format!(r#","cursor":"{cursor}""#)).unwrap_or_default();
        format!("{{\"scope\":\"{scope}\",\"sessions\":[{}]{cursor}}}\n", self.sessions.join(","))
    }
}

/// Where the manifests lie, by session. Keys begin with `recordings/`, which `edge/session.js` adds.
pub const MANIFESTS: &str = "manifests/";

/// Where a manifest lies.
#[must_use]
pub fn manifest_key(id: &str) -> String {
    [MANIFESTS, id].concat()
}

/// Where the names of a user's sessions lie.
#[must_use]
pub fn user_key(user: &str, id: &str) -> String {
    format!("users/{}/{id}", id::owner(user))
}

/// Where a chunk of a recording lies; below it by `name`.
#[must_use]
pub fn chunk_key(id: &str, place: usize) -> String {
    [&chunks(id), manifest::name(place).as_str()].concat()
}

/// Where the chunks of a recording lie.
#[must_use]
pub fn chunks(id: &str) -> String {
    format!("chunks/{id}/")
}

/// The names between which those of a day lie.
fn bounds(day: &str) -> Option<(String, String)> {
    let (year, rest) = day.split_once('-').filter(|(year, _)| year.len() == 4)?;
    let (month, day) = rest.split_once('-').filter(|(month, day)| month.len() == 2 && day.len() == 2)?;
    let day = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
    let start = u64::try_from(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis()).ok()?;
    // Names go down. The last begins like the start of the day, and all that begin like it come after that text itself.
    Some((id::before(start + 86_400_000 - 1), format!("{}~", id::before(start))))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const UUID: &str = "0fa34567-89ab-4def-8123-456789abcdef";

    fn query(text: &str) -> Query {
        let text = format!("GET\nhttps://k{PATH}{text}\n0\nid");
        let (head, _) = Head::read(&text);
        match read(&head) {
            Some(Ok(Call::List(query))) => query,
            other => unreachable!("{other:?}"),
        }
    }

    fn summary(user: &str, pod: &str, began: u64) -> String {
        let id = id::make(user, began, UUID);
        json!({ "id": id, "user": user, "namespace": "n", "pod": pod }).to_string()
    }

    #[test]
    fn a_list_has_what_it_is_asked_for() {
        let monday = 1_795_478_400_000; // 2026-11-24T00:00:00Z
        for (text, began, is_taken) in [
            ("", monday, true),
            ("?user=alice&namespace=n&pod=web", monday, true),
            ("?user=bob", monday, false),
            ("?pod=we", monday, false),
            ("?namespace=", monday, false),
            ("?day=2026-11-24", monday, true),
            ("?day=2026-11-24", monday + 86_399_999, true),
            ("?day=2026-11-24", monday - 1, false),
            ("?day=2026-11-24", monday + 86_400_000, false),
        ] {
            let (query, summary) = (query(text), summary("alice", "web", began));
            assert_eq!(query.takes(&summary), is_taken, "{text} {began}");
            // The walk through the bucket begins before, and ends behind, all that are taken.
            let id = id::make("alice", began, "");
            let after = query.after(State::Ended, &Page::default()).unwrap();
            assert!(!is_taken || (id.as_str() > after && !query.is_behind(&id)), "{text} {began}");
        }
        assert!(!query("").takes("no summary") || query("").user.is_none());
        let id = id::make("alice", monday, "");
        let (query, page) = (query(&format!("?cursor={id}&day=2026-11-24")), Page::default());
        assert_eq!(query.after(State::Ended, &page), Some(&*id));
    }

    #[test]
    fn a_page_ends_at_its_limit_at_the_days_end_or_with_what_was_found() {
        let monday: u64 = 1_795_478_400_000; // 2026-11-24T00:00:00Z
        let found = |days: &[i64]| {
            let one = |day: &i64| {
                let began = monday.saturating_add_signed(day * 86_400_000);
                (id::make("alice", began, ""), summary("alice", "web", began))
            };
            days.iter().map(one).collect::<Vec<_>>()
        };
        for (text, days, has_more, taken, next) in [
            ("?limit=2", &[3, 2, 1][..], false, 2, Some(2)),
            ("?limit=2", &[3, 2], false, 2, Some(2)),
            ("?limit=3", &[3, 2], false, 2, None),
            ("?limit=3", &[3, 2], true, 2, Some(2)),
            ("?pod=other", &[3, 2], true, 0, Some(2)),
            ("?day=2026-11-24", &[0], true, 1, Some(0)),
            ("?day=2026-11-24", &[0, -1], true, 1, None),
            ("", &[], true, 0, None),
        ] {
            let next = next.map(|day| found(&[day]).remove(0).0);
            for (state, cursor) in [(State::Live, next.as_ref().map(|id| format!("live:{id}"))), (State::Ended, next)] {
                let mut page = Page::default();
                page.add(&query(text), state, found(days), has_more);
                assert_eq!((page.sessions.len(), page.cursor), (taken, cursor), "{text}");
            }
        }
    }

    #[test]
    fn what_goes_on_comes_first_and_all_pages_together_have_each_session_once() {
        let user = |began| if began == 2 { "bob" } else { "alice" };
        let name = |began| id::make(user(began), began, UUID);
        let of = |began| (name(began), summary(user(began), "web", began));
        let [live, ended] = [0..5, 5..9].map(|all| all.rev().map(of).collect::<Vec<_>>());
        // What the roll and the bucket have: three at once.
        let look = |all: &[(String, String)], after: &str| -> (Vec<(String, String)>, bool) {
            let behind: Vec<_> = all.iter().filter(|(id, _)| id.as_str() > after).cloned().collect();
            (behind.iter().take(3).cloned().collect(), behind.len() > 3)
        };
        for (options, expected) in [
            ("", [4, 3, 2, 1, 0, 8, 7, 6, 5].as_slice()),
            ("&state=live", &[4, 3, 2, 1, 0]),
            ("&state=ended", &[8, 7, 6, 5]),
            ("&user=alice", &[4, 3, 1, 0, 8, 7, 6, 5]),
            ("&user=bob&state=live", &[2]),
        ] {
            for limit in 1..=10 {
                let (mut all, mut cursor) = (Vec::new(), String::new());
                loop {
                    let query = query(&format!("?limit={limit}{options}{cursor}"));
                    let mut page = Page::default();
                    for (state, sessions) in [(State::Live, &live), (State::Ended, &ended)] {
                        if let Some(after) = query.after(state, &page) {
                            let (found, has_more) = look(sessions, after);
                            page.add(&query, state, found, has_more);
                        }
                    }
                    let page: Value = serde_json::from_str(&page.json(&query)).unwrap();
                    let sessions = page["sessions"].as_array().unwrap();
                    assert!(sessions.len() <= limit && page["scope"] == "all", "{options}, {limit} at most");
                    all.extend(sessions.iter().map(|session| session["id"].clone()));
                    match page["cursor"].as_str() {
                        Some(next) => cursor = format!("&cursor={next}"),
                        None => break,
                    }
                }
                let expected: Vec<_> = expected.iter().map(|began| name(*began)).collect();
                assert_eq!(all, expected, "{options}, {limit} a page");
            }
        }
    }

    #[test]
    fn a_reason_may_stand_on_a_terminal() {
        for (given, expected) in
            [("a\u{1b}[2Jb\n", "a [2Jb"), ("  x ", "x"), (&"\u{e9}".repeat(200), &"\u{e9}".repeat(100)), ("", "")]
        {
            assert_eq!(reason(Some(given.to_owned())), expected);
        }
        assert_eq!(reason(None), "");
    }
}
