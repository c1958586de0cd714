//! The members of an `audit.k8s.io/v1` Event, named as Kubernetes' `k8s.io/apiserver/pkg/apis/audit/v1` names them.
//! `responseStatus` and `stageTimestamp` follow when the answer is known.

use std::borrow::Cow;

use chrono::SecondsFormat;
use serde::{Serialize, Serializer};

use super::{Entry, MAX_OF_CLIENT, redact};
use crate::caller::Caller;
use crate::guard::words::OWN_GROUP;
use crate::record::{cut, timestamp};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<User<'a>>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Option::is_none")]
    source_ips: Option<[&'a str; 1]>,
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<Texts<'a, 6>>,
    request_received_timestamp: String,
    annotations: Texts<'a, 5>,
}

#[derive(Serialize, Default)]
struct User<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<Extras<'a>>,
}

/// Keys and values.
struct Extras<'a>(Vec<(&'a str, &'a str)>);

/// Members that are text, in this order, without the empty ones.
struct Texts<'a, const N: usize>([(&'static str, Cow<'a, str>); N]);

impl<'a> Extras<'a> {
    /// Ordered by key, whatever the order was.
    fn new(extras: impl Iterator<Item = (&'a str, &'a String)>) -> Self {
        let mut extras: Vec<_> = extras.map(|(key, value)| (key, value.as_str())).collect();
        extras.sort_by_key(|(key, _)| *key);
        Self(extras)
    }
}

impl Serialize for Extras<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // One member for each key: of several grants all are told.
        let by_key = self.0.chunk_by(|(one, _), (other, _)| one == other);
        serializer.collect_map(by_key.filter_map(|extras| {
            let values: Vec<&str> = extras.iter().map(|(_, value)| *value).collect();
            Some((extras.first()?.0, values))
        }))
    }
}

impl<const N: usize> Serialize for Texts<'_, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = self.0.iter().filter(|(_, text)| !text.is_empty());
        serializer.collect_map(members.map(|(name, text)| (name, text)))
    }
}

impl<'a> Event<'a> {
    pub(super) fn of(entry: &Entry<'a>) -> Self {
        let Entry { request, caller, refusal } = *entry;
        let head = &request.head;
        let target = request.target.as_ref().ok();
        let is_open = refusal.is_none() && target.is_some_and(Target::is_long_running);
        let identity = caller.map(Caller::identity);
        let decision = match refusal {
            None | Some(Refusal::Answer(_)) => "forward",
            Some(_) => "refuse",
        };
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: "Metadata",
            audit_id: head.audit_id,
            stage: if is_open { "ResponseStarted" } else { "ResponseComplete" },
            request_uri: redact(request),
            verb: target
                .map_or_else(|| Cow::Owned(head.method.to_ascii_lowercase()), |target| Cow::Borrowed(target.verb)),
            user: identity.map_or_else(User::default, |identity| User {
                username: identity.user(),
                uid: None,
                groups: identity.groups(),
                extra: Some(Extras::new(identity.extras().iter().map(|(extra, value)| (extra.key(), value)))),
            }),
            impersonated_user: caller.and_then(Caller::acts_as).map(|other| User {
                username: &other.user,
                uid: other.uid.as_deref(),
                groups: &other.groups,
                extra: Some(Extras::new(other.extras.iter().map(|(key, value)| (key.as_str(), value)))),
            }),
            source_ips: head.client_address().map(|address| [address]),
            user_agent: head.header("user-agent").map_or("", |text| cut(text, MAX_OF_CLIENT)),
            object_ref: target.filter(|target| target.is_resource).map(object_reference),
            request_received_timestamp: timestamp(head.received, SecondsFormat::Micros),
            annotations: Texts([
                ("kube-access.dev/decision", decision.into()),
                ("kube-access.dev/detail", refusal.map(Refusal::detail).unwrap_or_default().into()),
                ("kube-access.dev/rule", identity.map_or("", |identity| identity.rule().name()).into()),
                ("kube-access.dev/ray", head.ray().unwrap_or_default().into()),
                (
                    "kube-access.dev/client-kubectl-command",
                    head.header("kubectl-command").map_or("", |text| cut(text, MAX_OF_CLIENT)).into(),
                ),
            ]),
        }
    }
}

impl<'a> Event<'a> {
    /// That of a grant which was given or taken back.
    pub(super) fn of_change(entry: &Entry<'a>, verb: &'static str, id: &'a str) -> Self {
        let reference = Texts([
            ("resource", Cow::Borrowed("grants")),
            ("namespace", Cow::Borrowed("")),
            ("name", Cow::Borrowed(id)),
            ("apiGroup", Cow::Borrowed(OWN_GROUP)),
            ("apiVersion", Cow::Borrowed("")),
            ("subresource", Cow::Borrowed("")),
        ]);
        Self { level: "Request", verb: Cow::Borrowed(verb), object_ref: Some(reference), ..Self::of(entry) }
    }
}

fn object_reference<'a>(target: &'a Target<'_>) -> Texts<'a, 6> {
    Texts([
        ("resource", Cow::Borrowed(&target.resource)),
        ("namespace", Cow::Borrowed(&target.namespace)),
        ("name", Cow::Borrowed(&target.name)),
        ("apiGroup", Cow::Borrowed(&target.group)),
        ("apiVersion", Cow::Borrowed(&target.version)),
        ("subresource", Cow::Borrowed(&target.subresource)),
    ])
}
