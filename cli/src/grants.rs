//! `kubectl access grant`, `revoke` and `grants`: groups for a time, without a deploy.

use chrono::{DateTime, SecondsFormat};
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::kubectl::Kubectl;
use crate::print;
use crate::sessions::{Scope, now, read, succeeded};
use crate::text::{moment, seconds, span, table, visible, visible_json};

const PATH: &str = "/.kube-access/grants";

/// The longest grant, in seconds: the gateway refuses a longer one too.
const LONGEST: i64 = 30 * 86_400;

#[derive(Debug, Args)]
#[command(after_long_help = GRANT_EXAMPLES)]
pub(crate) struct Grant {
    #[command(flatten)]
    kubectl: Kubectl,
    /// An email address, or the client ID of a service token
    #[arg(value_name = "WHO")]
    who: String,
    /// The groups, of those that the policy lists for granting and RBAC lets you give
    #[arg(long, value_name = "GROUP,…", value_delimiter = ',', required = true)]
    groups: Vec<String>,
    /// For how long, such as 2h, 90m or 1d (at most 30d)
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    seconds: i64,
    /// Why: it is kept with the grant, 1 to 200 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// `json` for programs
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

const GRANT_EXAMPLES: &str = "\
Examples:
  kubectl access grant bob@example.com --groups on-call --for 2h --reason INC-7
  kubectl access grants
  kubectl access grant 0123456789abcdef.access --groups deployers --for 1d --reason 'the move to the new registry'

The gateway sees a change everywhere within a minute. Who may give a group is for the cluster's RBAC: the ClusterRole kube-access:granter.";

#[derive(Debug, Args)]
#[command(after_long_help = REVOKE_EXAMPLES)]
pub(crate) struct Revoke {
    #[command(flatten)]
    kubectl: Kubectl,
    /// As `grant` and `grants` print it
    #[arg(value_name = "ID", value_parser = id)]
    id: String,
}

const REVOKE_EXAMPLES: &str = "\
Examples:
  kubectl access revoke g-01j9x4";

#[derive(Debug, Args)]
#[command(after_long_help = GRANTS_EXAMPLES)]
pub(crate) struct Grants {
    #[command(flatten)]
    kubectl: Kubectl,
    /// `json` for programs
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

const GRANTS_EXAMPLES: &str = "\
Examples:
  kubectl access grants
  kubectl access grants -o json";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    id: String,
    email: Option<String>,
    service_token: Option<String>,
    groups: Vec<String>,
    expires: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    by: String,
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Listing {
    scope: Scope,
    #[serde(default)]
    groups: Vec<Grantable>,
    grants: Vec<Given>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grantable {
    name: String,
    #[serde(default)]
    may_give: bool,
}

/// Gives groups to somebody.
pub(crate) fn grant(grant: &Grant) -> Result<(), Failure> {
    let expires = now()?.checked_add(grant.seconds).and_then(|end| DateTime::from_timestamp(end, 0));
    let expires = expires.ok_or_else(|| Failure::usage("--for: a time until 30 days from now was expected"))?;
    let key = if grant.who.contains('@') { "email" } else { "serviceToken" };
    let body = json!({
        key: grant.who, "groups": grant.groups, "reason": grant.reason,
        "expires": expires.to_rfc3339_opts(SecondsFormat::Secs, true),
    });
    let answer = grant.kubectl.post(PATH, &body)?;
    if grant.output.is_some() {
        return print::line(visible_json(&answer));
    }
    let given: Given = read(answer, "the gateway's answer")?;
    let whom = given.email.or(given.service_token).unwrap_or_else(|| grant.who.clone());
    if let Some(note) = &given.note {
        print::note(visible(note));
    }
    let take_back = format!("kubectl access revoke {}", visible(&given.id));
    print::note(format_args!("It is seen everywhere within a minute. To take it back: {take_back}"));
    let groups = given.groups.join(", ");
    print::line(visible(&format!("{}: {whom} has {groups} until {}", given.id, moment(&given.expires))))
}

/// Takes a grant back.
pub(crate) fn revoke(revoke: &Revoke) -> Result<(), Failure> {
    let answer = revoke.kubectl.delete(&format!("{PATH}/{}", revoke.id))?;
    let done = succeeded(&read(answer, "the gateway's answer")?, &format!("The grant {} was taken back.", revoke.id))?;
    print::note("It is seen everywhere within a minute.");
    print::line(done)
}

/// Which grants hold.
pub(crate) fn list(grants: &Grants) -> Result<(), Failure> {
    let answer = grants.kubectl.get(PATH)?;
    if grants.output.is_some() {
        return print::line(visible_json(&answer));
    }
    let listing: Listing = read(answer, "the gateway's list")?;
    let now = now()?;
    if listing.grants.is_empty() {
        print::note("No grant holds.");
    } else {
        let rows: Vec<Vec<String>> = listing.grants.iter().map(|given| row(given, now)).collect();
        print::line(table(&["ID", "WHO", "GROUPS", "UNTIL", "LEFT", "BY", "REASON"], &rows))?;
    }
    let may_give: Vec<&str> =
        listing.groups.iter().filter(|group| group.may_give).map(|group| group.name.as_str()).collect();
    if !may_give.is_empty() {
        print::note(format_args!("You may give: {}", visible(&may_give.join(", "))));
    }
    if listing.scope == Scope::Own {
        print::note("Only what was given to you: you may not list those of others.");
    }
    Ok(())
}

fn row(given: &Given, now: i64) -> Vec<String> {
    let who = given.email.as_deref().or(given.service_token.as_deref()).unwrap_or_default();
    let left = seconds(&given.expires).map_or_else(|| "?".to_owned(), |end| span(end - now));
    let cells = [&given.id, who, &given.groups.join(", "), &moment(&given.expires), &left, &given.by, &given.reason];
    cells.map(visible).into()
}

/// The seconds of a time such as 2h, 90m, 1h30m or 7d.
fn duration(text: &str) -> Result<i64, String> {
    let expected = || "expected days, hours and minutes, such as 2h, 90m, 1h30m or 7d, at most 30d".to_owned();
    let (mut sum, mut rest) = (0_i64, text);
    for (unit, seconds) in [('d', 86_400), ('h', 3600), ('m', 60)] {
        if let Some((count, after)) = rest.split_once(unit) {
            let count: i64 = count.parse::<u16>().map_err(|_| expected())?.into();
            sum += count * seconds;
            rest = after;
        }
    }
    if rest.is_empty() && (60..=LONGEST).contains(&sum) { Ok(sum) } else { Err(expected()) }
}

/// It becomes part of a path, so nothing else passes.
fn id(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (3..=64).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("this is no ID of a grant; grants prints them".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them_and_bounded() {
        for (text, seconds) in [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("7d", 604_800), ("30d", LONGEST)] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
        for text in ["", "h", "2", "2h30", "-1h", "31d", "0m", "1.5h", "2 h", "m2h", "99999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_grant_is_a_row_in_which_nothing_acts_on_a_terminal() {
        let given = json!({"id": "g-1", "email": "bob@example.com", "groups": ["on-call"], "expires": "1970-01-01T02:00:00Z",
            "given": "1970-01-01T00:00:00Z", "reason": "INC-7\u{1b}[31m", "by": "alice"});
        let row = row(&read(given, "a grant").unwrap(), 0);
        assert_eq!(
            row,
            ["g-1", "bob@example.com", "on-call", "1970-01-01T02:00:00Z", "2h00m", "alice", "INC-7\\x1b[31m"]
        );
        assert!(id("g-01j9").is_ok() && id("../x").is_err() && id("").is_err());
    }
}
