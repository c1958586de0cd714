//! `kubectl access whoami`: who the gateway takes one for, by which rule, until when, and what one may do.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::explain::encode;
use crate::failure::Failure;
use crate::kubectl::Kubectl;
use crate::print;
use crate::sessions::read;
use crate::text::{labelled, moment, table, visible, visible_json};

const PATH: &str = "/.kube-access/me";

/// The columns of rights, and the heading of each.
const VERBS: [(&str, &str); 8] = [
    ("get", "GET"),
    ("list", "LIST"),
    ("watch", "WATCH"),
    ("create", "CREATE"),
    ("update", "UPDATE"),
    ("patch", "PATCH"),
    ("delete", "DELETE"),
    ("deletecollection", "DELETEALL"),
];

const EXAMPLES: &str = "\
Examples:
  kubectl access whoami
  kubectl access whoami --namespace team-a --all

  # By a service token, where it is let in
  kubectl access run --host https://kube-ci.example.com -- kubectl access whoami";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Whoami {
    #[command(flatten)]
    kubectl: Kubectl,
    /// The namespace whose rights are shown
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// Every resource that a rule of RBAC names, and not only the usual ones
    #[arg(long)]
    all: bool,
    /// `json` for programs
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

/// What is read of the answer; docs/api.md has the rest.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    user: String,
    email: Option<String>,
    service_token: Option<String>,
    rule: String,
    groups: Vec<Group>,
    until: Option<String>,
    why: Option<String>,
    act_as: Option<Value>,
    #[serde(default)]
    guards: Vec<Guard>,
    cluster: Option<Cluster>,
    rights: Option<Rights>,
    contact: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Group {
    name: String,
    from: String,
    grant: Option<String>,
    expires: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Guard {
    name: String,
    allow: Option<String>,
    deny: Option<Vec<Value>>,
    record: Option<String>,
    #[serde(rename = "maxSession")]
    max_session: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Cluster {
    host: String,
    version: Option<String>,
    problem: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rights {
    namespace: String,
    is_complete: bool,
    problem: Option<String>,
    #[serde(default)]
    rows: Vec<Row>,
    #[serde(default)]
    wildcards: Vec<Wildcard>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    group: String,
    resource: String,
    #[serde(default)]
    is_usual: bool,
    verbs: serde_json::Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Wildcard {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
}

/// Asks, and prints.
pub(crate) fn run(whoami: &Whoami) -> Result<(), Failure> {
    let answer = whoami.kubectl.get(&format!("{PATH}?namespace={}", encode(&whoami.namespace)))?;
    if whoami.output.is_some() {
        print::line(visible_json(&answer))
    } else {
        print::line(in_words(&read(answer, "the gateway's answer")?, whoami.all))
    }
}

fn in_words(me: &Me, has_all: bool) -> String {
    let name = match (&me.email, &me.service_token) {
        (Some(email), _) => format!("{} ({email})", me.user),
        (None, Some(token)) => format!("{} (service token {token})", me.user),
        (None, None) => me.user.clone(),
    };
    let mut lines =
        vec![labelled("User", &visible(&name)), labelled("Let in by", &visible(&format!("the entry {}", me.rule)))];
    for (place, group) in me.groups.iter().enumerate() {
        let mut text = format!("{}, by {}", group.name, group.from);
        text.extend(group.grant.iter().map(|grant| format!(" {grant}")));
        text.extend(group.expires.as_deref().map(|end| format!(", until {}", moment(end))));
        lines.push(labelled(if place == 0 { "Groups" } else { " " }, &visible(&text)).replacen(" :", "  ", 1));
    }
    if let Some(until) = &me.until {
        let why = match me.why.as_deref() {
            Some("token") => " (your login at Access ends)",
            Some("policy") => " (an entry or a grant ends)",
            _ => "",
        };
        lines.push(labelled("Until", &format!("{}{why}", moment(until))));
    }
    if let Some(act_as) = &me.act_as {
        let names = |list: &str| -> Vec<String> {
            let names = act_as.get(list).and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).map(|name| format!("{} {name}", list.trim_end_matches('s'))).collect()
        };
        let all: Vec<String> = ["users", "groups", "uids", "extras"].into_iter().flat_map(names).collect();
        lines.push(labelled("May act as", &visible(&all.join(", "))));
    }
    for guard in &me.guards {
        lines.push(labelled("Guard", &visible(&guard_in_words(guard))));
    }
    if let Some(cluster) = &me.cluster {
        let version = cluster.version.as_deref().or(cluster.problem.as_deref()).unwrap_or_default();
        lines.push(labelled("Cluster", visible(&format!("{} {version}", cluster.host)).trim_end()));
    }
    if let Some(contact) = &me.contact {
        lines.push(labelled("Ask", &visible(contact)));
    }
    lines.extend(me.rights.as_ref().map(|rights| rights_in_words(rights, has_all)));
    lines.join("\n")
}

fn guard_in_words(guard: &Guard) -> String {
    let mut effects = Vec::new();
    effects.extend(guard.allow.as_ref().map(|preset| format!("{preset} alone")));
    effects.extend(
        guard
            .deny
            .as_ref()
            .map(|rules| format!("denies {} rule{}", rules.len(), if rules.len() == 1 { "" } else { "s" })),
    );
    effects.extend(guard.record.as_ref().map(|what| format!("records {what}")));
    effects.extend(guard.max_session.map(|seconds| {
        format!("ends streams after {}", crate::text::span(i64::try_from(seconds).unwrap_or(i64::MAX)))
    }));
    if effects.is_empty() { guard.name.clone() } else { format!("{}: {}", guard.name, effects.join(", ")) }
}

fn rights_in_words(rights: &Rights, has_all: bool) -> String {
    let rows: Vec<Vec<String>> = rights
        .rows
        .iter()
        .filter(|row| !row.verbs.is_empty() && (row.is_usual || has_all))
        .map(|row| {
            let name =
                if row.group.is_empty() { row.resource.clone() } else { format!("{}.{}", row.resource, row.group) };
            std::iter::once(visible(&name)).chain(VERBS.map(|(verb, _)| verb_in_words(row.verbs.get(verb)))).collect()
        })
        .collect();
    let headings: Vec<&str> = std::iter::once("RESOURCE").chain(VERBS.map(|(_, heading)| heading)).collect();
    let mut lines =
        vec![String::new(), format!("In the namespace {}:", visible(&rights.namespace)), table(&headings, &rows)];
    for wildcard in &rights.wildcards {
        let groups: Vec<&str> =
            wildcard.groups.iter().map(|group| if group.is_empty() { "the core group" } else { group }).collect();
        let text =
            format!("{} of {} in {}", wildcard.verbs.join(", "), wildcard.resources.join(", "), groups.join(", "));
        lines.push(format!("RBAC gives {}, less what guards take.", visible(&text)));
    }
    if !rights.is_complete {
        let problem = rights.problem.as_deref().unwrap_or("the API server could not say all of it");
        lines.push(format!("This is not all: {}", visible(problem)));
    }
    lines.join("\n")
}

/// `yes`, `names`, `guard NAME`, or nothing for no.
fn verb_in_words(right: Option<&Value>) -> String {
    let text = |name: &str| right.and_then(|right| right.get(name)).and_then(Value::as_str);
    let word = match text("is") {
        None => return "-".to_owned(),
        Some("taken") => format!("no ({})", text("by").unwrap_or("a guard")),
        Some("some") => {
            let names = right.and_then(|right| right.get("names")).and_then(Value::as_array);
            let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
            format!("only {}", names.join(","))
        }
        Some(word) => word.to_owned(),
    };
    let except = text("except").map(|guard| format!(", less {guard}")).unwrap_or_default();
    let recorded = if text("recorded").is_some() { ", recorded" } else { "" };
    visible(&format!("{word}{except}{recorded}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_one_is_and_what_one_may_do_fits_a_terminal() {
        let answer = json!({
            "user": "alice", "email": "alice@example.com", "rule": "email", "until": "2026-11-26T18:00:00Z", "why": "token",
            "groups": [{"name": "developers", "from": "email"}, {"name": "sre", "from": "grant", "grant": "g-1", "expires": "2026-11-26T12:00:00Z"}],
            "actAs": {"users": ["breakglass"], "groups": [], "uids": [], "extras": [], "reasonRequired": false},
            "guards": [{"name": "recorded", "record": "output", "maxSession": 14400, "maxBytes": 1, "namespaces": ["*"], "names": ["*"]},
                {"name": "odd\u{1b}", "deny": [{}]}],
            "cluster": {"host": "kube.example.com", "version": "v1.37.2"}, "namespaces": {"names": [], "isComplete": false},
            "rights": {"namespace": "default", "isComplete": false, "problem": "webhook", "urls": [],
                "rows": [{"group": "", "resource": "pods", "isUsual": true, "verbs": {"get": {"is": "yes", "except": "no-web"},
                    "list": {"is": "taken", "by": "no-lists"}, "delete": {"is": "some", "names": ["web"]}, "create": {"is": "yes", "recorded": "output"}}},
                    {"group": "apps", "resource": "deployments", "isUsual": true, "verbs": {}}],
                "wildcards": [{"verbs": ["*"], "groups": ["*"], "resources": ["*"]}]},
            "features": {"sessions": true}, "contact": "the platform team",
        });
        let words = in_words(&read(answer, "the gateway's answer").unwrap(), false);
        for part in [
            "User:         alice (alice@example.com)",
            "Groups:       developers, by email",
            "sre, by grant g-1, until 2026-11-26T12:00:00Z",
            "Until:        2026-11-26T18:00:00Z (your login at Access ends)",
            "May act as:   user breakglass",
            "Guard:        recorded: records output, ends streams after 4h00m",
            "Cluster:      kube.example.com v1.37.2",
            "yes, less no-web",
            "no (no-lists)",
            "only web",
            "yes, recorded",
            "This is not all: webhook",
        ] {
            assert!(words.contains(part), "{part}\n{words}");
        }
        assert!(!words.contains('\u{1b}') && !words.contains("deployments"), "{words}");
    }
}
