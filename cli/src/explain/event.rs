//! An `audit.k8s.io/v1` Event, read for who asked what: one of the gateway's log, or of the cluster's own, where the gateway's account
//! impersonates them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::DateTime;
use kube_access::identity::{Error as IdentityError, Extra, name};
use serde::Deserialize;

use super::words::encode;

/// What of an event matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, default)]
    stage: Cow<'a, str>,
    #[serde(borrow, default, rename = "requestURI")]
    request_uri: Cow<'a, str>,
    #[serde(borrow, default)]
    verb: Cow<'a, str>,
    #[serde(default)]
    user: User,
    impersonated_user: Option<User>,
    object_ref: Option<ObjectRef>,
    response_status: Option<Status>,
    #[serde(borrow, default)]
    request_received_timestamp: Cow<'a, str>,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    uid: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
struct ObjectRef {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

#[derive(Debug, Default, Deserialize)]
struct Annotations {
    #[serde(default, rename = "kube-access.dev/decision")]
    decision: String,
    #[serde(default, rename = "kube-access.dev/detail")]
    detail: String,
    #[serde(default, rename = "kube-access.dev/rule")]
    rule: String,
}

/// The extras that say who acts as somebody else, and why.
const ORIGINAL_USER: &str = "kube-access.dev/original-user";
const ORIGINAL_GROUPS: &str = "kube-access.dev/original-groups";
const REASON: &str = "kube-access.dev/reason";

/// What the API server adds to the groups of whoever is impersonated, and nobody may ask for.
const ADDED: &str = "system:authenticated";

/// Who asked what, when, and what became of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// An email address, or a service token's client ID.
    pub(super) name: String,
    /// `sub` of a person.
    pub(super) subject: String,
    /// As whom they entered; empty where they did not.
    pub(super) user: String,
    /// In which groups.
    pub(super) groups: Vec<String>,
    /// By which kind of entry, where that is told.
    pub(super) rule: String,
    /// The method.
    pub(super) method: &'static str,
    /// Path and query, as far as they were logged.
    pub(super) target: String,
    /// Whom they acted as.
    pub(super) acts_as: Option<ActsAs>,
    /// In seconds since the Unix epoch.
    pub(super) at: u64,
    /// Whether it went up to the cluster, as them.
    pub(super) went_up: bool,
    /// Whether the cluster answered it with something else than a refusal.
    pub(super) was_served: bool,
}

/// Whom somebody acted as, as they asked for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ActsAs {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    pub(super) uid: Option<String>,
    /// Keys and values.
    pub(super) extras: Vec<(String, String)>,
    pub(super) reason: Option<String>,
}

impl ActsAs {
    fn of(mut other: User) -> Self {
        let reason = first(&mut other.extra, REASON);
        let extras = other.extra.into_iter().filter(|(key, _)| !name::is_own_extra(key));
        Self {
            user: other.username,
            groups: without_added(other.groups),
            uid: other.uid.filter(|uid| !uid.is_empty()),
            extras: extras.map(|(key, values)| (key, values.join(", "))).collect(),
            reason,
        }
    }

    /// The headers that ask for it.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![("impersonate-user".to_owned(), self.user.clone())];
        if !self.groups.is_empty() {
            headers.push(("impersonate-group".to_owned(), self.groups.join(",")));
        }
        headers.extend(self.uid.iter().map(|uid| ("impersonate-uid".to_owned(), uid.clone())));
        let extras = self.extras.iter().map(|(key, value)| (key.as_str(), value));
        let all = extras.chain(self.reason.iter().map(|reason| ("reason", reason)));
        headers.extend(all.map(|(key, value)| (format!("impersonate-extra-{}", encode(key)), value.clone())));
        headers
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let extras = self.extras.iter().map(|(_, value)| value);
        std::iter::once(&self.user).chain(&self.groups).chain(&self.uid).chain(extras).chain(&self.reason)
    }
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A request.
    Told(Box<Told>),
    /// Another stage of a request that is told elsewhere, or a request of nobody who can be named: nothing to rule on.
    Nothing,
    /// No event.
    Unreadable,
}

/// Reads one line of a log.
pub(super) fn read(line: &[u8]) -> Line {
    let Ok(event) = serde_json::from_slice::<Event<'_>>(line) else {
        return Line::Unreadable;
    };
    if event.request_uri.is_empty() || event.verb.is_empty() {
        return Line::Unreadable;
    }
    match told(event) {
        None => Line::Nothing,
        // No request has lines of its own making in its head.
        Some(told) if told.texts().any(|text| text.contains(['\n', '\r'])) => Line::Unreadable,
        Some(told) => Line::Told(Box::new(told)),
    }
}

impl Told {
    /// What becomes lines of a head.
    fn texts(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.target).chain(self.acts_as.iter().flat_map(ActsAs::texts))
    }
}

fn told(event: Event<'_>) -> Option<Told> {
    let is_clusters = event.user.username.starts_with("system:serviceaccount:");
    // The cluster tells long-running requests twice, and some tell of each that it has come.
    if event.stage == "RequestReceived" || (is_clusters && event.stage == "ResponseStarted") {
        return None;
    }
    let Annotations { decision, detail, rule } = event.annotations;
    let (mut caller, acts_as) = match event.impersonated_user {
        Some(other) if is_clusters => of_cluster(other),
        other => (event.user, other),
    };
    let email = first(&mut caller.extra, Extra::Email.key());
    let subject = first(&mut caller.extra, Extra::Subject.key());
    let name = match (email, &subject) {
        (Some(email), _) => email,
        (None, Some(client_id)) => client_id.clone(),
        (None, None) => stranger(&detail)?.to_owned(),
    };
    let code = event.response_status.map_or(0, |status| status.code);
    let went_up = !caller.username.is_empty() && decision != "refuse";
    let time = DateTime::parse_from_rfc3339(&event.request_received_timestamp).ok();
    Some(Told {
        name,
        subject: subject.unwrap_or_else(|| "replayed".to_owned()),
        user: caller.username,
        groups: without_added(caller.groups),
        rule,
        method: method(&event.verb),
        target: target(&event.request_uri, &event.verb, event.object_ref.as_ref()),
        acts_as: acts_as.map(ActsAs::of),
        at: time.and_then(|time| u64::try_from(time.timestamp()).ok()).unwrap_or_default(),
        went_up,
        was_served: went_up && !matches!(code, 401 | 403),
    })
}

/// The caller, and whom they act as, of whom the gateway's account impersonated.
fn of_cluster(mut impersonated: User) -> (User, Option<User>) {
    let Some(username) = first(&mut impersonated.extra, ORIGINAL_USER) else {
        return (impersonated, None);
    };
    let groups = impersonated.extra.remove(ORIGINAL_GROUPS).unwrap_or_default();
    let own = [Extra::Email, Extra::Subject].map(Extra::key);
    let extra = own.into_iter().filter_map(|key| impersonated.extra.remove_entry(key)).collect();
    (User { username, groups, extra, uid: None }, Some(impersonated))
}

fn first(extra: &mut BTreeMap<String, Vec<String>>, key: &str) -> Option<String> {
    extra.remove(key)?.into_iter().next()
}

fn without_added(mut groups: Vec<String>) -> Vec<String> {
    groups.retain(|group| group != ADDED);
    groups
}

/// Who was in no entry, by the gateway's own sentence.
fn stranger(detail: &str) -> Option<&str> {
    const NAME: &str = "\u{0}";
    let sentence = IdentityError::NotMapped(NAME.to_owned()).to_string();
    let (before, after) = sentence.split_once(NAME)?;
    let name = detail.strip_prefix(before)?.strip_suffix(after)?;
    Some(name.strip_prefix("service token ").unwrap_or(name))
}

/// The method by which a verb is asked for.
fn method(verb: &str) -> &'static str {
    match verb {
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" | "deletecollection" => "DELETE",
        "head" => "HEAD",
        _ => "GET",
    }
}

/// Path and query. What was taken out of a query of somebody else's API group comes from the other members.
fn target(uri: &str, verb: &str, object: Option<&ObjectRef>) -> String {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut pairs: Vec<Cow<'_, str>> =
        query.split('&').filter(|pair| !pair.is_empty() && *pair != "REDACTED").map(Cow::Borrowed).collect();
    let has = |pairs: &[Cow<'_, str>], name: &str| pairs.iter().any(|pair| pair.split('=').next() == Some(name));
    if verb == "watch" && !has(&pairs, "watch") && !path.contains("/watch/") {
        pairs.push(Cow::Borrowed("watch=true"));
    }
    let name = object.map_or("", |object| object.name.as_str());
    if matches!(verb, "list" | "watch") && !name.is_empty() && !has(&pairs, "fieldSelector") {
        pairs.push(Cow::Owned(format!("fieldSelector={}", encode(&format!("metadata.name={name}")))));
    }
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read_value(event: &Value) -> Line {
        read(event.to_string().as_bytes())
    }

    fn told_of(event: &Value) -> Told {
        match read_value(event) {
            Line::Told(told) => *told,
            other @ (Line::Nothing | Line::Unreadable) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_gateways_event_says_who_asked_what() {
        let event = json!({
            "kind": "Event", "stage": "ResponseComplete", "verb": "list",
            "requestURI": "/apis/example.com/v1/namespaces/n/widgets?REDACTED",
            "user": {"username": "bob@example.com", "groups": ["developers"],
                "extra": {"kube-access.dev/email": ["bob@example.com"], "kube-access.dev/subject": ["id-1"]}},
            "objectRef": {"resource": "widgets", "name": "w"},
            "responseStatus": {"metadata": {}, "code": 200},
            "requestReceivedTimestamp": "2027-01-15T08:00:00.123000Z",
            "annotations": {"kube-access.dev/decision": "forward", "kube-access.dev/rule": "email"},
        });
        let told = told_of(&event);
        assert_eq!(
            (told.name.as_str(), told.subject.as_str(), told.user.as_str()),
            ("bob@example.com", "id-1", "bob@example.com")
        );
        assert_eq!(told.target, "/apis/example.com/v1/namespaces/n/widgets?fieldSelector=metadata.name%3Dw");
        assert_eq!((told.method, told.at, told.was_served), ("GET", 1_800_000_000, true));
    }

    #[test]
    fn the_clusters_event_says_it_of_whom_the_account_impersonates() {
        let event = json!({
            "stage": "ResponseComplete", "verb": "watch", "requestURI": "/api/v1/secrets?watch=1",
            "user": {"username": "system:serviceaccount:kube-access:gateway", "groups": ["system:serviceaccounts"]},
            "impersonatedUser": {"username": "breakglass", "groups": ["sre", "system:masters", "system:authenticated"], "extra": {
                "kube-access.dev/email": ["carol@x.test"], "kube-access.dev/subject": ["id-2"],
                "kube-access.dev/original-user": ["on-call-engineer"], "kube-access.dev/original-groups": ["on-call"],
                "kube-access.dev/reason": ["INC-7"], "example.com/ticket": ["7"],
            }, "uid": "u-1"},
            "responseStatus": {"code": 403}, "requestReceivedTimestamp": "2027-01-15T08:00:00Z",
        });
        let told = told_of(&event);
        assert_eq!((told.user.as_str(), told.groups), ("on-call-engineer", vec!["on-call".to_owned()]));
        let headers = told.acts_as.unwrap().headers();
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        assert_eq!(
            headers,
            [
                "impersonate-user:breakglass",
                "impersonate-group:sre,system:masters",
                "impersonate-uid:u-1",
                "impersonate-extra-example.com%2Fticket:7",
                "impersonate-extra-reason:INC-7",
            ]
        );
        assert!(told.went_up && !told.was_served, "RBAC refused it");
        let mut started = event.clone();
        started["stage"] = "ResponseStarted".into();
        assert_eq!(read_value(&started), Line::Nothing);
    }

    #[test]
    fn whoever_was_in_no_entry_is_known_by_the_gateways_own_sentence() {
        let detail = IdentityError::NotMapped("service token 0f.access".into()).to_string();
        let event = json!({"verb": "get", "requestURI": "/api", "user": {}, "annotations": {
            "kube-access.dev/decision": "refuse", "kube-access.dev/detail": detail}});
        let told = told_of(&event);
        assert_eq!((told.name.as_str(), told.user.as_str(), told.was_served), ("0f.access", "", false));
        let nobody = json!({"verb": "get", "requestURI": "/api", "user": {}, "annotations": {"kube-access.dev/detail": "expired"}});
        assert_eq!(read_value(&nobody), Line::Nothing);
        let mut broken = event.clone();
        broken["requestURI"] = "/api\nimpersonate-user:root".into();
        assert_eq!(read_value(&broken), Line::Unreadable);
        for text in ["", "{}", "[]", "{\"verb\":1}", "{\"requestURI\":\"/\""] {
            assert_eq!(read(text.as_bytes()), Line::Unreadable, "{text}");
        }
    }
}
