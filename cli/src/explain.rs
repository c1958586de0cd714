//! `kubectl access explain`: the whole ruling, offline, by the gateway's own code.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use clap::Args;
use kube_access::caller::Caller;
use kube_access::deadline::Why;
use kube_access::gateway::{Journey, Question};
use kube_access::guard::{Guards, Record};
use kube_access::refusal::Refusal;
use kube_access::request::Request;
use kube_access::target::Target;
use serde::Serialize;
use serde_json::Value;

use crate::failure::{Because, Failure};
use crate::policy::Policy;
use crate::print;
use crate::text::{at, labelled, seconds, shell_words, visible, visible_json};
use ruling::{Asker, Bench, Ruling};
use words::Asked;
pub(crate) use words::encode;

mod event;
mod replay;
mod ruling;
mod words;

/// What is to be explained.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Explain {
    /// Whom the ruling is about: an email address, or the client ID of a service token
    #[arg(long = "as-caller", value_name = "WHO", required_unless_present = "replay", conflicts_with = "replay")]
    caller: Option<String>,
    /// The groups that they are in at the identity provider, by ID, as `idp_group` entries name them
    #[arg(long, value_name = "ID,…", value_delimiter = ',', conflicts_with = "replay")]
    groups: Vec<String>,
    /// The login method of Access by which they came (its ID), where an entry asks for one
    #[arg(long, value_name = "ID", conflicts_with = "replay")]
    idp: Option<String>,
    /// What Workers KV has of them: JSON in this file, as docs/policy.md has it
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    entry: Option<PathBuf>,
    /// When: a time by RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "replay")]
    at: Option<String>,
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "identities.yaml")]
    policy: PathBuf,
    /// A method and a path, in place of kubectl's words
    #[arg(long, value_name = "REQUEST", conflicts_with_all = ["replay", "kubectl"])]
    request: Option<String>,
    /// Rules on each audit event of this file (`-` for stdin) by --policy and by --against, and tells what differs
    #[arg(long, value_name = "FILE", requires = "against", conflicts_with = "kubectl")]
    replay: Option<PathBuf>,
    /// The policy that may take its place
    #[arg(long, value_name = "FILE", requires = "replay")]
    against: Option<PathBuf>,
    /// `json` for programs
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
    /// What kubectl would be told
    #[arg(value_name = "KUBECTL'S WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    kubectl: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  # May bob enter this pod, and what would the cluster be asked?
  kubectl access explain --as-caller bob@example.com exec pod/web -n team-a

  # A program, and somebody on call
  kubectl access explain --as-caller 0123456789abcdef.access delete deployment web -n team-a
  kubectl access explain --as-caller carol@example.com --groups 7335d417-61da-459d-899c-0a01c76a2f94 get secrets -A --as breakglass

  # Any request
  kubectl access explain --as-caller bob@example.com --request 'GET /api/v1/namespaces/team-a/secrets?watch=1'

  # What would a new policy change for what was done last month? Exit status 1 when anybody loses anything, or nobody can tell
  kubectl access explain --replay audit.jsonl --against new.yaml

The ruling is the Worker's own code: nothing is asked, and nothing is sent. Exit status: 0 it goes up, 1 it is refused, 2 the command
line is wrong.";

/// The steps of the line, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Stage {
    Request,
    Token,
    Identity,
    Target,
    Browser,
    Guards,
    As,
    Head,
}

#[derive(Debug, Serialize)]
struct Step {
    #[serde(rename = "step")]
    stage: Stage,
    /// `passes`, `refuses` or `not reached`.
    outcome: &'static str,
    detail: String,
}

/// All that is told.
#[derive(Debug, Default, Serialize)]
struct Explanation {
    verdict: &'static str,
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Refused>,
    /// The head that goes up: the request's line, then its lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    head: Vec<String>,
    /// What becomes of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// What the cluster's RBAC is asked, as commands that ask it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rbac: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Refused {
    status: u16,
    reason: &'static str,
    message: String,
}

/// Explains, and tells whether it goes up.
pub(crate) fn run(explain: &Explain) -> Result<(), Failure> {
    let policy = Policy::read(&explain.policy)?;
    if let (Some(events), Some(against)) = (&explain.replay, &explain.against) {
        return replay::run(events, &policy, &Policy::read(against)?, explain.output.is_some());
    }
    let who = asker(explain)?;
    let asked = match &explain.request {
        Some(request) => words::read_request(request)?,
        None => words::read_words(&explain.kubectl)?,
    };
    let now = match &explain.at {
        Some(time) => seconds(time).and_then(|seconds| u64::try_from(seconds).ok()).ok_or_else(|| {
            Failure::usage(format!("--at {time}: expected a time by RFC 3339, such as 2027-01-31T18:00:00Z"))
        })?,
        None => SystemTime::now().duration_since(UNIX_EPOCH).because("this machine's clock")?.as_secs(),
    };
    let explanation = explain_one(&policy, &who, &asked, now)?;
    if explain.output.is_some() {
        let value = serde_json::to_value(&explanation).because("the explanation")?;
        print::line(visible_json(&value))?;
    } else {
        print::text(in_words(&explanation))?;
    }
    if explanation.refusal.is_some() { Err(Failure::said(1)) } else { Ok(()) }
}

fn asker(explain: &Explain) -> Result<Asker, Failure> {
    let entry = match &explain.entry {
        Some(file) => Some(
            fs::read_to_string(file)
                .map_err(|error: io::Error| Failure::new(format!("{}: {error}", file.display())))?,
        ),
        None => None,
    };
    let name = explain.caller.clone().unwrap_or_default();
    if name.is_empty() || name.contains(['\n', '\t']) {
        return Err(Failure::usage("--as-caller: expected an email address, or the client ID of a service token"));
    }
    let idp = explain.idp.clone().unwrap_or_default();
    Ok(Asker { groups: explain.groups.clone(), idp, entry, ..Asker::named(&name) })
}

fn explain_one(policy: &Policy, who: &Asker, asked: &Asked, now: u64) -> Result<Explanation, Failure> {
    let mut bench = Bench::new(policy)?;
    let token = who.token();
    let mut headers: Vec<(&str, &str)> = vec![("user-agent", "kubectl")];
    headers.extend(asked.impersonation.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let text = ruling::head(&asked.method, &asked.target, &token, now, &headers);
    let request = Request::read(&text);
    let mut journey = Journey::default();
    let mut reviews = Vec::new();
    let ruling = bench.rule(&request, &mut journey, who, now, &mut |question| {
        if let Question::Reviews(asked) = question {
            reviews.extend(asked.iter().map(|review| review.body.clone()));
        }
    });
    let guards = policy.guards();
    let caller = journey.caller();
    Ok(match ruling {
        Ruling::Sent(plan) => {
            let mut head = vec![format!("{} {}", asked.method, plan.target)];
            head.extend(plan.head.lines.lines().chain(plan.caller.lines().lines()).map(str::to_owned));
            let mut explanation = told(Ok(()), &request, Some(&plan.caller), &guards, now);
            explanation.head = head;
            explanation.rbac = questions(&reviews, caller, &request, &plan.caller);
            explanation.stream = plan.relay.as_ref().map(|relay| {
                let recorded = match relay.stay.record {
                    Record::Nothing => "bounded, not recorded",
                    Record::Output => "recorded: what is shown",
                    Record::Input => "recorded: what is shown and what is typed",
                };
                let ends = format!("it ends at {} ({})", at(relay.deadline.at), relay.deadline.why);
                format!("{recorded}, by {}; {ends}; {} bytes each way", relay.stay.guards.join(", "), relay.stay.bytes)
            });
            explanation
        }
        Ruling::Refused(refusal) => {
            let mut explanation = told(Err(&refusal), &request, caller, &guards, now);
            let message = refusal.to_string();
            explanation.refusal = Some(Refused { status: refusal.status(), reason: refusal.reason(), message });
            explanation
        }
        Ruling::Own => {
            let mut explanation = told(Ok(()), &request, caller, &guards, now);
            explanation.verdict = "answered by the gateway itself";
            explanation
        }
    })
}

/// The steps, with what each has to say.
fn told(
    outcome: Result<(), &Refusal>,
    request: &Request<'_>,
    caller: Option<&Caller>,
    guards: &Guards<'_>,
    now: u64,
) -> Explanation {
    let ends = outcome.err().map(stage_of);
    let steps = [
        Stage::Request,
        Stage::Token,
        Stage::Identity,
        Stage::Target,
        Stage::Browser,
        Stage::Guards,
        Stage::As,
        Stage::Head,
    ];
    let step = |step: Stage| {
        let (outcome, detail) = match ends {
            Some(end) if step > end => ("not reached", String::new()),
            Some(end) if step == end => ("refuses", outcome.err().map(ToString::to_string).unwrap_or_default()),
            _ => ("passes", detail_of(step, request, caller, guards, now)),
        };
        Step { stage: step, outcome, detail }
    };
    let verdict = if ends.is_some() { "refused" } else { "goes up" };
    Explanation { verdict, steps: steps.map(step).into(), ..Explanation::default() }
}

/// Where on the line a refusal is spoken.
fn stage_of(refusal: &Refusal) -> Stage {
    #[allow(clippy::wildcard_enum_match_arm, reason = "whatever else is refused is refused when the head is made")]
    match refusal {
        Refusal::Head(_) | Refusal::Misconfigured(_) => Stage::Request,
        Refusal::Unauthenticated(_) | Refusal::KeysUnavailable(_) => Stage::Token,
        Refusal::Identity(_) => Stage::Identity,
        Refusal::Target(_) => Stage::Target,
        Refusal::Browser(_) => Stage::Browser,
        Refusal::Guard(_) => Stage::Guards,
        Refusal::Impersonation(_) => Stage::As,
        _ => Stage::Head,
    }
}

fn detail_of(step: Stage, request: &Request<'_>, caller: Option<&Caller>, guards: &Guards<'_>, now: u64) -> String {
    match step {
        Stage::Request => format!("{} {}", request.head.method, request.head.target),
        Stage::Token => "taken as signed by Access, for this application, and not ended".to_owned(),
        Stage::Identity => caller.map(|caller| identity_in_words(caller, now)).unwrap_or_default(),
        Stage::Target => request.target.as_ref().map(target_in_words).unwrap_or_default(),
        Stage::Browser => "no web page made it".to_owned(),
        Stage::Guards => {
            let names: Vec<&str> = caller.map(|caller| guards.names(caller.held()).collect()).unwrap_or_default();
            if names.is_empty() {
                "none holds for this caller".to_owned()
            } else {
                format!("{} hold and let it pass", names.join(", "))
            }
        }
        Stage::As => match caller.and_then(Caller::acts_as) {
            Some(other) if other.groups.is_empty() => format!("acts as {}", other.user),
            Some(other) => format!("acts as {} in {}", other.user, other.groups.join(", ")),
            None => "as themselves".to_owned(),
        },
        Stage::Head => "only what may go on, then the lines that name the caller".to_owned(),
    }
}

fn identity_in_words(caller: &Caller, now: u64) -> String {
    let identity = caller.identity();
    let groups = if identity.groups().is_empty() { "no group".to_owned() } else { identity.groups().join(", ") };
    let ends = caller.ends();
    let end = if ends.why == Why::Policy {
        format!("; until {} ({}s from now)", at(ends.at), ends.at.saturating_sub(now))
    } else {
        String::new()
    };
    format!("{} in {groups}, by the entry {}{end}", identity.user(), identity.rule().name())
}

fn target_in_words(target: &Target<'_>) -> String {
    if !target.is_resource {
        return format!("{} {}", target.verb, target.url);
    }
    let subresource = if target.subresource.is_empty() { String::new() } else { format!("/{}", target.subresource) };
    let group = if target.group.is_empty() { String::new() } else { format!(".{}", target.group) };
    let mut words = format!("{} {}{group}{subresource}", target.verb, target.resource);
    if !target.name.is_empty() {
        words.extend([" ", &format!("{:?}", target.name)]);
    }
    match (&*target.namespace, target.resource == "namespaces") {
        ("", _) | (_, true) => {}
        (namespace, false) => words.extend([" in ", namespace]),
    }
    words
}

/// What RBAC is asked, as commands for whoever may ask for others.
fn questions(reviews: &[String], caller: Option<&Caller>, request: &Request<'_>, acting: &Caller) -> Vec<String> {
    let mut commands = Vec::new();
    if let Some(caller) = caller {
        let identity = caller.identity();
        commands.extend(reviews.iter().filter_map(|body| {
            let review: Value = serde_json::from_str(body).ok()?;
            let attributes = review.get("spec")?.get("resourceAttributes")?;
            let text = |name: &str| attributes.get(name).and_then(Value::as_str).unwrap_or_default();
            let resource = match text("group") {
                "" => text("resource").to_owned(),
                group => format!("{}.{group}", text("resource")),
            };
            let asked = Review {
                verb: text("verb"),
                resource,
                subresource: text("subresource"),
                name: text("name"),
                namespace: "",
            };
            Some(asked.command(identity.user(), identity.groups()))
        }));
    }
    let (user, groups) = match acting.acts_as() {
        Some(other) => (other.user.as_str(), other.groups.as_slice()),
        None => (acting.identity().user(), acting.identity().groups()),
    };
    let Ok(target) = &request.target else { return commands };
    if !target.is_resource {
        let words = ["kubectl", "auth", "can-i", target.verb, &target.url, "--as", user];
        commands.push(with_groups(words.map(str::to_owned).into(), groups));
        return commands;
    }
    // A WebSocket is a GET: the verb get, and since Kubernetes 1.35 the verb create as well. SPDY's is a POST.
    let verbs: &[&str] = if target.is_stream() { &["create", "get"] } else { &[target.verb] };
    for verb in verbs {
        let resource = match &*target.group {
            "" => target.resource.to_string(),
            group => format!("{}.{group}", target.resource),
        };
        let review = Review {
            verb,
            resource,
            subresource: &target.subresource,
            name: &target.name,
            namespace: &target.namespace,
        };
        commands.push(review.command(user, groups));
    }
    commands
}

struct Review<'a> {
    verb: &'a str,
    resource: String,
    subresource: &'a str,
    name: &'a str,
    namespace: &'a str,
}

impl Review<'_> {
    fn command(&self, user: &str, groups: &[String]) -> String {
        let Self { verb, resource, subresource, name, namespace } = self;
        let named = if name.is_empty() { resource.clone() } else { format!("{resource}/{name}") };
        let mut words: Vec<String> = ["kubectl", "auth", "can-i", verb, &named].map(str::to_owned).into();
        if !subresource.is_empty() {
            words.push(format!("--subresource={subresource}"));
        }
        if namespace.is_empty() {
            words.push("-A".to_owned());
        } else {
            words.extend(["-n".to_owned(), (*namespace).to_owned()]);
        }
        words.extend(["--as".to_owned(), user.to_owned()]);
        with_groups(words, groups)
    }
}

fn with_groups(mut words: Vec<String>, groups: &[String]) -> String {
    for group in groups {
        words.extend(["--as-group".to_owned(), group.clone()]);
    }
    shell_words(&words)
}

fn in_words(explanation: &Explanation) -> String {
    let mut lines = Vec::new();
    for step in &explanation.steps {
        let name = match step.stage {
            Stage::Request => "request",
            Stage::Token => "token",
            Stage::Identity => "identity",
            Stage::Target => "target",
            Stage::Browser => "browser",
            Stage::Guards => "guards",
            Stage::As => "as",
            Stage::Head => "head",
        };
        lines.push(format!("{name:10}{:13}{}", step.outcome, visible(&step.detail)).trim_end().to_owned());
    }
    lines.push(String::new());
    lines.push(labelled("Verdict", explanation.verdict));
    if let Some(refused) = &explanation.refusal {
        lines
            .push(labelled("Answer", &format!("{} {}: {}", refused.status, refused.reason, visible(&refused.message))));
    }
    if let Some(stream) = &explanation.stream {
        lines.push(labelled("Stream", &visible(stream)));
    }
    if !explanation.head.is_empty() {
        lines.push("\nWhat goes up:".to_owned());
        lines.extend(explanation.head.iter().map(|line| format!("  {}", visible(line))));
    }
    if !explanation.rbac.is_empty() {
        lines.push("\nWhat the cluster's RBAC then decides; whoever may impersonate asks it by:".to_owned());
        lines.extend(explanation.rbac.iter().map(|command| format!("  {}", visible(command))));
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests;
