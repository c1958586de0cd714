//! Whose stream it is, and to what: what its manifest says of it, and the lists.

use serde::Serialize;

use crate::caller::Caller;
use crate::guard::Record;
use crate::identity::Extra;
use crate::impersonation::Impersonated;
use crate::record::{cut, cut_escaped, open};
use crate::request::Request;
use crate::target::Target;

use super::{Relay, id};

/// The longest command that a list shows, in bytes, and in words.
const SHOWN_COMMAND: usize = 200;

/// The longest name that a list shows, in bytes as JSON in ASCII: no user's is longer, nor any of Kubernetes' own. What a list says of a
/// session lies beside an object of the bucket, where R2 takes 8,192 bytes in all.
const SHOWN_NAME: usize = 512;

/// What is known of a stream before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    version: u8,
    /// See [`id`].
    pub id: String,
    caller: Who,
    audit_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ray: Option<String>,
    guards: Vec<String>,
    target: What,
    record: &'static str,
    started: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Who {
    user: String,
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    grants: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acts_as: Option<Other>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Other {
    user: String,
    groups: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct What {
    kind: String,
    namespace: String,
    pod: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    command: Vec<String>,
    tty: bool,
    stdin: bool,
}

/// What a list says of a session.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    id: &'a str,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    namespace: &'a str,
    pod: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<&'a str>>,
    tty: bool,
    recorded: bool,
    started: &'a str,
}

impl Facts {
    /// The facts of a request that the line lets pass as this caller.
    #[must_use]
    pub fn of(request: &Request<'_>, target: &Target<'_>, caller: &Caller, relay: &Relay) -> Self {
        let head = &request.head;
        let identity = caller.identity();
        let extras = |wanted| {
            identity.extras().iter().filter(move |(extra, _)| *extra == wanted).map(|(_, value)| value.clone())
        };
        Self {
            version: 1,
            id: id::make(identity.user(), head.received, head.audit_id),
            caller: Who {
                user: identity.user().to_owned(),
                groups: identity.groups().to_owned(),
                email: extras(Extra::Email).next(),
                subject: extras(Extra::Subject).next(),
                grants: extras(Extra::Grant).collect(),
                acts_as: caller
                    .acts_as()
                    .map(|Impersonated { user, groups, .. }| Other { user: user.clone(), groups: groups.clone() }),
                address: head.client_address().map(str::to_owned),
            },
            audit_id: head.audit_id.to_owned(),
            ray: head.ray().map(str::to_owned),
            guards: relay.stay.guards.clone(),
            target: What {
                kind: target.subresource.clone().into_owned(),
                namespace: target.namespace.clone().into_owned(),
                pod: target.name.clone().into_owned(),
                container: target.values("container").next().filter(|name| !name.is_empty()),
                command: target.values("command").collect(),
                tty: target.is_on("tty"),
                stdin: target.is_on("stdin"),
            },
            record: match relay.stay.record {
                Record::Nothing => "nothing",
                Record::Output => "output",
                Record::Input => "input",
            },
            started: super::timestamp(head.received),
        }
    }

    /// The caller's user name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.caller.user
    }

    /// The `Audit-ID` of its request.
    #[must_use]
    pub fn audit_id(&self) -> &str {
        &self.audit_id
    }

    /// Whether anything is kept of what goes through: it is counted and hashed in any case.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.record != "nothing"
    }

    /// Whether stdin is kept as well.
    #[must_use]
    pub fn keeps_input(&self) -> bool {
        self.record == "input"
    }

    /// Whether a terminal is at the other end.
    #[must_use]
    pub fn has_terminal(&self) -> bool {
        self.target.tty
    }

    /// Whether it is a forwarded port.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        self.target.kind == "portforward"
    }

    /// The command, as one would type it.
    #[must_use]
    pub fn command(&self) -> String {
        self.target.command.join(" ")
    }

    /// The first line of a player.
    #[must_use]
    pub fn title(&self) -> String {
        let What { kind, namespace, pod, .. } = &self.target;
        format!("{}: {kind} {namespace}/{pod}", self.caller.user)
    }

    /// What a list says of it, as JSON that has no end yet: see [`super::manifest::close`].
    #[must_use]
    pub fn summary(&self) -> String {
        let mut left = SHOWN_COMMAND;
        let mut command = Vec::new();
        for word in self.target.command.iter().take(SHOWN_COMMAND) {
            let shown = cut(word, left);
            command.push(shown);
            left -= shown.len();
            if left == 0 {
                break;
            }
        }
        open(&Summary {
            id: &self.id,
            user: shown(&self.caller.user),
            email: self.caller.email.as_deref().map(shown),
            namespace: shown(&self.target.namespace),
            pod: shown(&self.target.pod),
            container: self.target.container.as_deref().map(shown),
            kind: &self.target.kind,
            command: (!command.is_empty()).then_some(command),
            tty: self.target.tty,
            recorded: self.is_recorded(),
            started: &self.started,
        })
    }
}

/// A name as a list shows it.
fn shown(name: &str) -> &str {
    cut_escaped(name, SHOWN_NAME)
}
