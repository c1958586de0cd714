//! The members of an `audit.k8s.io/v1` Event, named as Kubernetes' `k8s.io/apiserver/pkg/apis/audit/v1` names them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::{Entry, cut, redact, timestamp};
use crate::caller::Caller;
use crate::head::Head;
use crate::refusal::Refusal;
use crate::target::Target;
use crate::upstream;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: &'static str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: &'static str,
    #[serde(rename = "requestURI")]
    request_uri: Cow<'a, str>,
    verb: String,
    user: User<'a>,
    #[serde(rename = "sourceIPs")]
    source_ips: Vec<&'a str>,
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<ObjectReference>,
    response_status: ResponseStatus,
    request_received_timestamp: String,
    stage_timestamp: String,
    annotations: BTreeMap<&'static str, Cow<'a, str>>,
}

#[derive(Serialize, Default)]
struct User<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<&'static str, [&'a str; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectReference {
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
}

#[derive(Serialize)]
struct ResponseStatus {
    metadata: Empty,
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Serialize)]
struct Empty {}

impl<'a> Event<'a> {
    pub(super) fn of(entry: &Entry<'a>) -> Self {
        let Entry {
            head,
            caller,
            refusal,
            ..
        } = *entry;
        let target = Target::parse(head).ok();
        let is_open = refusal.is_none() && target.as_ref().is_some_and(Target::is_long_running);
        let verb = target.as_ref().map(|target| target.verb.to_owned());
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: "Metadata",
            audit_id: head.audit_id,
            stage: if is_open {
                "ResponseStarted"
            } else {
                "ResponseComplete"
            },
            request_uri: redact(head),
            verb: verb.unwrap_or_else(|| head.method.to_ascii_lowercase()),
            user: caller.map_or_else(User::default, |caller| User::of(caller, head)),
            source_ips: upstream::client_address(head).into_iter().collect(),
            user_agent: head.header("user-agent").map_or("", cut),
            object_ref: target
                .filter(|target| target.is_resource)
                .map(ObjectReference::of),
            response_status: ResponseStatus {
                metadata: Empty {},
                code: entry.status,
                status: refusal.map(|_| "Failure"),
                reason: refusal.map(Refusal::reason),
                message: refusal.map(Refusal::to_string),
            },
            request_received_timestamp: timestamp(head.received),
            stage_timestamp: timestamp(entry.answered),
            annotations: annotations(entry),
        }
    }
}

impl<'a> User<'a> {
    fn of(caller: &'a Caller, head: &Head<'a>) -> Self {
        let identity = caller.identity();
        let extras = identity
            .extras()
            .iter()
            .map(|(extra, value)| (extra.key(), [value.as_str()]));
        let ray = upstream::ray(head).map(|ray| ("kube-access.dev/ray", [ray]));
        Self {
            username: identity.user(),
            groups: identity.groups(),
            extra: extras.chain(ray).collect(),
        }
    }
}

impl ObjectReference {
    fn of(target: Target) -> Self {
        Self {
            resource: target.resource,
            namespace: target.namespace,
            name: target.name,
            api_group: target.group,
            api_version: target.version,
            subresource: target.subresource,
        }
    }
}

fn annotations<'a>(entry: &Entry<'a>) -> BTreeMap<&'static str, Cow<'a, str>> {
    let decision = if entry.refusal.is_some() {
        "refuse"
    } else {
        "forward"
    };
    let annotations = [
        ("kube-access.dev/decision", Some(decision.into())),
        (
            "kube-access.dev/detail",
            entry.refusal.map(|refusal| refusal.detail().into()),
        ),
        (
            "kube-access.dev/rule",
            entry
                .caller
                .map(|caller| caller.identity().rule().name().into()),
        ),
        (
            "kube-access.dev/ray",
            upstream::ray(entry.head).map(Cow::from),
        ),
        (
            "kube-access.dev/client-kubectl-command",
            entry
                .head
                .header("kubectl-command")
                .map(|command| cut(command).into()),
        ),
    ];
    annotations
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}
