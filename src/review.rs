//! Asking the API server what a caller may: `authorization.k8s.io/v1`, `SelfSubjectAccessReview`, sent as the caller.

use std::borrow::Cow;

use crate::json::Object;
use crate::target::Target;

/// Where the API server is asked.
pub const PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// How long it may take to answer, in milliseconds.
pub const MILLISECONDS: u32 = 5_000;

/// The longest answer that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// What is asked about: `spec.resourceAttributes`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// The verb.
    pub verb: &'static str,
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The resource, in the plural.
    pub resource: &'a str,
    /// The subresource; empty for none.
    pub subresource: &'a str,
    /// The object; empty for all of them.
    pub name: &'a str,
}

impl<'a> Attributes<'a> {
    /// A request for what is asked about, as a guard looks at it.
    #[must_use]
    pub fn target(&self) -> Target<'a> {
        Target {
            verb: self.verb,
            is_resource: true,
            group: Cow::Borrowed(self.group),
            resource: Cow::Borrowed(self.resource),
            subresource: Cow::Borrowed(self.subresource),
            name: Cow::Borrowed(self.name),
            ..Target::default()
        }
    }
}

/// The body of the question.
#[must_use]
pub fn body(asked: Attributes<'_>) -> String {
    let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let Attributes { verb, group, resource, subresource, name } = asked;
    let (subresource, name) = (text(subresource), text(name));
    format!(
        r#"{{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{{"resourceAttributes":{{"verb":"{verb}","group":"{group}","resource":"{resource}","subresource":{subresource},"name":{name}}}}}}}"#
    )
}

/// Reads the answer. Nothing, if it is none.
#[must_use]
pub fn is_allowed(answer: Option<&str>) -> Option<bool> {
    let review = Object::read(answer.filter(|answer| answer.len() <= MAX_BYTES)?).ok()?;
    review.need::<Object<'_>>("status").ok()?.need("allowed").ok()
}
