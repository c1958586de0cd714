//! `kubectl access sessions`: which streams were recorded or bounded, what was seen in them, and whether it is still what was recorded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::explain::encode;
use crate::failure::{Because, Failure};
use crate::kubectl::Kubectl;
use crate::print;
use crate::text::{counted, labelled, moment, seconds, shell_words, span, table, visible, visible_json};
use answers::{Chunk, Manifest, PATH, Page, State, Summary, is_id};
pub(crate) use answers::{Scope, Status, read};

mod answers;
mod play;
mod verify;

/// How many a page has at most.
const PAGE: usize = 100;

/// How many a list may have.
const MAX_LIMIT: usize = 100_000;

/// The columns of a list.
const HEADINGS: [&str; 8] = ["ID", "STATE", "USER", "NAMESPACE/POD", "KIND", "STARTED", "LASTED", "EXIT"];

/// What is to be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// The newest sessions; your own, if you may not list those of others
    #[command(after_long_help = LIST_EXAMPLES)]
    List(List),
    /// Who, what, where, when, and how it ended
    #[command(after_long_help = SHOW_EXAMPLES)]
    Show(Show),
    /// Plays the recording in this terminal; Ctrl-C ends it
    #[command(after_long_help = PLAY_EXAMPLES)]
    Play(Play),
    /// Ends a live session; its user is told why
    #[command(after_long_help = END_EXAMPLES)]
    End(End),
    /// Whether the recording is what the gateway wrote: exit status 0 for `ok` alone
    #[command(after_long_help = VERIFY_EXAMPLES)]
    Verify(Verify),
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  kubectl access sessions list --live
  kubectl access sessions play 8204352649123-81b637d8fcd2c6da-4f350c310174471e";

const LIST_EXAMPLES: &str = "\
Examples:
  # What goes on now, and what bob did on a day
  kubectl access sessions list --live
  kubectl access sessions list --user bob@example.com --day 2026-11-25

  # For a program
  kubectl access sessions list --namespace team-a --limit 1000 -o json";

const SHOW_EXAMPLES: &str = "\
Examples:
  kubectl access sessions show 8204352649123-81b637d8fcd2c6da-4f350c310174471e";

const PLAY_EXAMPLES: &str = "\
Examples:
  # Four times as fast, and no wait longer than half a second
  kubectl access sessions play 8204352649123-81b637d8fcd2c6da-4f350c310174471e --speed 4 --idle 0.5

  # For other players
  kubectl access sessions play 8204352649123-81b637d8fcd2c6da-4f350c310174471e --save web.cast";

const END_EXAMPLES: &str = "\
Examples:
  kubectl access sessions end 8204352649123-81b637d8fcd2c6da-4f350c310174471e --reason 'maintenance at 18:00'";

const VERIFY_EXAMPLES: &str = "\
Examples:
  kubectl access sessions verify 8204352649123-81b637d8fcd2c6da-4f350c310174471e

  # What was copied from the bucket, without asking the gateway
  kubectl access sessions verify --dir ./8204352649123-81b637d8fcd2c6da-4f350c310174471e";

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those of this user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Those in this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Those in this pod
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// Those that began on this day (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<String>,
    /// Those that have not ended
    #[arg(long)]
    live: bool,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=MAX_LIMIT as u64))]
    limit: u64,
    /// `json` for programs
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// As `list` prints it
    #[arg(value_parser = id)]
    id: String,
    /// `json` for programs: the manifest
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Play {
    /// As `list` prints it
    #[arg(value_parser = id)]
    id: String,
    /// Times as fast
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = positive)]
    speed: f64,
    /// No wait is longer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = not_negative)]
    idle: f64,
    /// Saves it instead, for `asciinema play FILE`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["speed", "idle"])]
    save: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct End {
    /// As `list` prints it
    #[arg(value_parser = id)]
    id: String,
    /// What its user is told
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// As `list` prints it; with --dir it may be left out
    #[arg(value_parser = id, required_unless_present = "dir")]
    id: Option<String>,
    /// A folder with manifest.json and the chunks, as copied from the bucket; no gateway is asked
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Does it.
pub(crate) fn run(kubectl: &Kubectl, sessions: &Sessions) -> Result<(), Failure> {
    match sessions {
        Sessions::List(list) => print_list(kubectl, list),
        Sessions::Show(show) => {
            let answer = kubectl.get(&path_of(&show.id))?;
            if show.output.is_some() {
                print::line(visible_json(&answer))
            } else {
                print::line(manifest_in_words(&read(answer, "the manifest")?, now()?))
            }
        }
        Sessions::Play(play) => {
            let cast = kubectl.stream(&format!("{}/cast", path_of(&play.id)))?;
            match &play.save {
                Some(file) => play::save(cast, file),
                None => play::play(cast, play.speed, play.idle),
            }
        }
        Sessions::End(end) => {
            let reason = end.reason.as_ref().map(|reason| format!("?reason={}", encode(reason))).unwrap_or_default();
            let answer = kubectl.delete(&format!("{}{reason}", path_of(&end.id)))?;
            print::line(succeeded(&read(answer, "the gateway's answer")?, &format!("Session {} was ended.", end.id))?)
        }
        Sessions::Verify(verify) => {
            let verdict = match (&verify.dir, &verify.id) {
                (Some(dir), id) => verify::verify_folder(dir, id.as_deref())?,
                (None, Some(id)) => verify::verify(kubectl, id)?,
                (None, None) => return Err(Failure::usage("expected the ID of a session")),
            };
            print::line(verdict)
        }
    }
}

/// The sentence of a change that was made, or why it was not.
pub(crate) fn succeeded(status: &Status, otherwise: &str) -> Result<String, Failure> {
    let said = visible(&status.message);
    let message = if said.is_empty() { otherwise.to_owned() } else { said };
    if status.status == "Failure" { Err(Failure::new(message)) } else { Ok(message) }
}

fn print_list(kubectl: &Kubectl, list: &List) -> Result<(), Failure> {
    if let Some(day) =
        list.day.as_deref().filter(|day| seconds(&format!("{day}T00:00:00Z")).is_none() || day.len() != 10)
    {
        return Err(Failure::usage(format!("--day {}: a day was expected, such as 2026-11-25", visible(day))));
    }
    let filters = [
        ("user", list.user.as_deref()),
        ("namespace", list.namespace.as_deref()),
        ("pod", list.pod.as_deref()),
        ("day", list.day.as_deref()),
        ("state", list.live.then_some("live")),
    ];
    let query: String =
        filters.iter().filter_map(|(name, value)| Some(format!("&{name}={}", encode((*value)?)))).collect();
    let limit = usize::try_from(list.limit).unwrap_or(MAX_LIMIT);
    let (scope, sessions, has_more) = follow(kubectl, &query, limit)?;
    if list.output.is_some() {
        let value = json!({ "scope": scope, "sessions": sessions, "more": has_more });
        return print::line(visible_json(&value));
    }
    if sessions.is_empty() {
        print::note(if query.is_empty() { "There are no sessions." } else { "No session matches." });
    } else {
        let now = now()?;
        let rows: Vec<Vec<String>> = sessions.iter().map(|session| row(session, now)).collect();
        print::line(table(&HEADINGS, &rows))?;
    }
    if scope == Scope::Own {
        print::note("Only your own: you may not list those of others.");
    }
    if has_more {
        print::note(format_args!("There may be more: --limit {}", (limit * 10).min(MAX_LIMIT)));
    }
    Ok(())
}

/// Follows the gateway's pages to the limit; one may be empty and still not be the last.
fn follow(kubectl: &Kubectl, query: &str, limit: usize) -> Result<(Scope, Vec<Summary>, bool), Failure> {
    // By ID: one that ends while the pages are read is first among those that go on, and then among those that have ended.
    let mut sessions: BTreeMap<String, Summary> = BTreeMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let wanted = limit.saturating_sub(sessions.len()).clamp(1, PAGE);
        let next = cursor.as_deref().map(|cursor| format!("&cursor={}", encode(cursor))).unwrap_or_default();
        let page: Page = read(kubectl.get(&format!("{PATH}?limit={wanted}{query}{next}"))?, "the gateway's list")?;
        sessions.extend(page.sessions.into_iter().map(|session| (session.id.clone(), session)));
        if page.cursor.is_none() || sessions.len() >= limit {
            let has_more = page.cursor.is_some() || sessions.len() > limit;
            let mut sessions = newest_first(sessions);
            sessions.truncate(limit);
            return Ok((page.scope, sessions, has_more));
        }
        if page.cursor == cursor {
            return Err(Failure::new("the gateway's list does not go on: it names the same page as the next again"));
        }
        cursor = page.cursor;
    }
}

/// The newest come first, and those of one second in the order of their IDs, which is the gateway's.
fn newest_first(sessions: BTreeMap<String, Summary>) -> Vec<Summary> {
    let mut sessions: Vec<Summary> = sessions.into_values().collect();
    sessions.sort_by_key(|session| std::cmp::Reverse(seconds(&session.started)));
    sessions
}

fn row(session: &Summary, now: i64) -> Vec<String> {
    let lasted =
        lasted(session.state, &session.started, session.ended.as_deref(), now).unwrap_or_else(|| "?".to_owned());
    let end = match (session.exit_code, &session.by) {
        (Some(code), _) => code.to_string(),
        (None, None) => "-".to_owned(),
        (None, Some(by)) => {
            let parts = [Some(by.as_str()), session.reason.as_deref()];
            visible(&parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": "))
        }
    };
    vec![
        visible(&session.id),
        session.state.name().to_owned(),
        visible(&session.user),
        visible(&format!("{}/{}", session.namespace, session.pod)),
        format!("{}{}", visible(&session.kind), if session.recorded { "" } else { ", not recorded" }),
        moment(&session.started),
        lasted,
        end,
    ]
}

fn lasted(state: State, started: &str, ended: Option<&str>, now: i64) -> Option<String> {
    let end = match (ended, state) {
        (Some(ended), _) => seconds(ended)?,
        (None, State::Live) => now,
        (None, State::Ended) => return None,
    };
    Some(span(end - seconds(started)?))
}

fn manifest_in_words(manifest: &Manifest, now: i64) -> String {
    let Manifest { caller, target, bytes, sha256, chunks, .. } = manifest;
    let listed =
        |names: &Option<Vec<String>>| names.as_ref().map(|names| names.join(", ")).filter(|text| !text.is_empty());
    let sizes: u64 = chunks.iter().map(|chunk| chunk.size).sum();
    let digest = |of: fn(&answers::Digests) -> &Option<String>| {
        sha256.as_ref().and_then(|digests| of(digests).as_ref()).map(|digest| format!("SHA-256 {digest}"))
    };
    let rows: Vec<(&str, Option<String>)> = vec![
        ("ID", Some(manifest.id.clone())),
        ("State", Some(manifest.state.name().to_owned())),
        (
            "User",
            Some(match &caller.email {
                Some(email) => format!("{} ({email})", caller.user),
                None => caller.user.clone(),
            }),
        ),
        ("Groups", listed(&caller.groups)),
        (
            "Acts as",
            caller.acts_as.as_ref().map(|other| {
                let groups = other.groups.iter().flatten().map(String::as_str);
                std::iter::once(other.user.as_str()).chain(groups).collect::<Vec<_>>().join(", ")
            }),
        ),
        ("Grants", listed(&caller.grants)),
        ("Subject", caller.subject.clone()),
        ("Address", caller.address.clone()),
        (
            "Session",
            Some(format!(
                "{}{}{}",
                target.kind,
                if target.tty { " with a terminal" } else { "" },
                if target.stdin { ", stdin open" } else { "" }
            )),
        ),
        ("Pod", Some(format!("{}/{}", target.namespace, target.pod))),
        ("Container", target.container.clone()),
        ("Command", target.command.as_ref().filter(|words| !words.is_empty()).map(|words| shell_words(words))),
        ("Protocol", manifest.protocol.clone()),
        ("Guards", listed(&manifest.guards)),
        ("Recorded", manifest.record.clone()),
        ("Started", Some(moment(&manifest.started))),
        ("Ended", manifest.ended.as_deref().map(moment)),
        ("Lasted", lasted(manifest.state, &manifest.started, manifest.ended.as_deref(), now)),
        ("Ended by", manifest.by.clone()),
        ("Reason", manifest.reason.clone()),
        ("Exit code", manifest.exit_code.map(|code| code.to_string())),
        (
            "Bytes",
            bytes
                .as_ref()
                .map(|bytes| format!("stdin {}, stdout {}, stderr {}", bytes.stdin, bytes.stdout, bytes.stderr)),
        ),
        ("  stdin", digest(|digests| &digests.stdin)),
        ("  stdout", digest(|digests| &digests.stdout)),
        ("  stderr", digest(|digests| &digests.stderr)),
        (
            "Chunks",
            (!chunks.is_empty())
                .then(|| format!("{}, {}", counted(chunks.len() as u64, "chunk"), counted(sizes, "byte"))),
        ),
        ("Chain ends", chunks.last().map(|Chunk { chain, .. }| chain.clone())),
        ("Audit ID", manifest.audit_id.clone()),
        ("Ray", manifest.ray.clone()),
    ];
    let shown = rows.into_iter().filter_map(|(label, value)| {
        value.filter(|value| !value.is_empty()).map(|value| labelled(label, &visible(&value)))
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn path_of(id: &str) -> String {
    format!("{PATH}/{id}")
}

fn id(text: &str) -> Result<String, String> {
    if is_id(text) { Ok(text.to_owned()) } else { Err("this is no ID of a session; list prints them".to_owned()) }
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "a number above 0 was expected".to_owned())
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "a number of seconds was expected".to_owned())
}

/// Now, in seconds since the Unix epoch.
pub(crate) fn now() -> Result<i64, Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).because("this machine's clock")?;
    i64::try_from(since.as_secs()).because("this machine's clock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_one_second_keep_the_gateways_order() {
        let started = |id: &str, second: u32| {
            let session = json!({
                "id": id, "state": "ended", "user": "bob", "namespace": "n", "pod": "p", "kind": "exec", "recorded": true, "tty": false,
                "started": format!("2026-11-25T10:00:0{second}Z"),
            });
            (id.to_owned(), read::<Summary>(session, "a session").unwrap())
        };
        // An ID begins with the milliseconds that are left.
        let found: BTreeMap<_, _> =
            (0..50).rev().map(|left| started(&format!("{left:02}"), u32::from(left < 25))).collect();
        let ids: Vec<String> = newest_first(found).into_iter().map(|session| session.id).collect();
        assert!(ids.len() == 50 && ids.is_sorted(), "{ids:?}");
    }

    #[test]
    fn a_manifest_is_told_with_what_it_has_and_nothing_in_it_acts_on_a_terminal() {
        let manifest = json!({
            "id": "8204352649123-81b637d8fcd2c6da", "state": "ended",
            "caller": {"user": "bob", "email": "bob@example.com", "groups": ["developers"], "acts_as": {"user": "x"}},
            "target": {"kind": "exec", "namespace": "default", "pod": "web", "command": ["sh", "-c", "\u{1b}[31m"], "tty": true},
            "started": "2026-11-25T10:00:00Z", "ended": "2026-11-25T10:00:42Z", "exit_code": 7,
            "bytes": {"stdin": 1, "stdout": 2, "stderr": 3}, "sha256": {"stdout": "ab"},
            "chunks": [{"name": "00000", "size": 10, "sha256": "aa", "chain": "cc"}],
        });
        let words = manifest_in_words(&read(manifest, "the manifest").unwrap(), 0);
        for line in [
            "User:         bob (bob@example.com)",
            "Session:      exec with a terminal",
            "Command:      sh -c $'\\x1b[31m'",
            "Lasted:       42s",
            "Exit code:    7",
            "  stdout:     SHA-256 ab",
            "Chunks:       1 chunk, 10 bytes",
            "Chain ends:   cc",
        ] {
            assert!(words.lines().any(|found| found == line || found.replace("\\\\", "\\") == line), "{line}\n{words}");
        }
        assert!(!words.contains('\u{1b}'));
        let wrong = read::<Manifest>(json!({"id": 1}), "the manifest").unwrap_err();
        assert!(wrong.to_string().starts_with("the manifest is not as expected"));
    }

    #[test]
    fn nothing_but_an_id_becomes_part_of_a_path() {
        assert!(id("8204352649123-81b637d8fcd2c6da-4f350c310174471e").is_ok());
        for text in ["", "short", "../../api/v1/secrets", "8204352649123/cast", "8204352649123?x=1", "ABCDEFGHIJKLMN"] {
            assert!(id(text).is_err(), "{text}");
        }
        assert!(positive("0").is_err() && positive("inf").is_err() && not_negative("0").is_ok());
    }
}
