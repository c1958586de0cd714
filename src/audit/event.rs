//! The members of an `audit.k8s.io/v1` Event, named as Kubernetes' `k8s.io/apiserver/pkg/apis/audit/v1` names them.
//! `responseStatus` and `stageTimestamp` follow when the answer is known.

use std::borrow::Cow;

use chrono::SecondsFormat;
use serde::{Serialize, Serializer};

use super::{Entry, cut, redact, timestamp};
use crate::identity::Identity;
use crate::refusal::Refusal;
use crate::target::Target;

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
    verb: Cow<'a, str>,
    user: User<'a>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Option::is_none")]
    source_ips: Option<[&'a str; 1]>,
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<ObjectReference<'a>>,
    request_received_timestamp: String,
    annotations: Annotations<'a>,
}

#[derive(Serialize, Default)]
struct User<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "extras")]
    extra: Option<&'a Identity>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectReference<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

#[derive(Serialize)]
struct Annotations<'a> {
    #[serde(rename = "kube-access.dev/decision")]
    decision: &'static str,
    #[serde(rename = "kube-access.dev/detail", skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(rename = "kube-access.dev/rule", skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    #[serde(rename = "kube-access.dev/ray", skip_serializing_if = "Option::is_none")]
    ray: Option<&'a str>,
    #[serde(
        rename = "kube-access.dev/client-kubectl-command",
        skip_serializing_if = "Option::is_none"
    )]
    command: Option<&'a str>,
}

/// What `responseStatus` says of a refusal besides its code.
#[derive(Serialize)]
pub(super) struct Refused {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Refused {
    pub(super) fn of(refusal: &Refusal) -> Self {
        Self {
            status: "Failure",
            reason: refusal.reason(),
            message: refusal.to_string(),
        }
    }
}

impl<'a> Event<'a> {
    pub(super) fn of(entry: &Entry<'a>) -> Self {
        let Entry {
            request,
            caller,
            refusal,
        } = *entry;
        let head = &request.head;
        let target = request.target.as_ref().ok();
        let is_open = refusal.is_none() && target.is_some_and(Target::is_long_running);
        let identity = caller.map(|caller| caller.identity());
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
            request_uri: redact(request),
            verb: target.map_or_else(
                || Cow::Owned(head.method.to_ascii_lowercase()),
                |target| Cow::Borrowed(target.verb),
            ),
            user: identity.map_or_else(User::default, |identity| User {
                username: identity.user(),
                groups: identity.groups(),
                extra: Some(identity),
            }),
            source_ips: head.client_address().map(|address| [address]),
            user_agent: head.header("user-agent").map_or("", cut),
            object_ref: target
                .filter(|target| target.is_resource)
                .map(|target| ObjectReference {
                    resource: &target.resource,
                    namespace: &target.namespace,
                    name: &target.name,
                    api_group: &target.group,
                    api_version: &target.version,
                    subresource: &target.subresource,
                }),
            request_received_timestamp: timestamp(head.received, SecondsFormat::Micros),
            annotations: Annotations {
                decision: match refusal {
                    None | Some(Refusal::Answer(_)) => "forward",
                    Some(_) => "refuse",
                },
                detail: refusal.map(Refusal::detail),
                rule: identity.map(|identity| identity.rule().name()),
                ray: head.ray(),
                command: head.header("kubectl-command").map(cut),
            },
        }
    }
}

fn extras<S: Serializer>(identity: &Option<&Identity>, serializer: S) -> Result<S::Ok, S::Error> {
    let extras = identity.map_or(&[][..], Identity::extras);
    serializer.collect_map(extras.iter().map(|(extra, value)| (extra.key(), [value])))
}
