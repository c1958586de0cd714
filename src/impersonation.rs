//! `--as`: what a caller asks to be, and whether they may.
//!
//! The headers are kubectl's and client-go's (Kubernetes, "User impersonation"). With one's own user they may ask for fewer of one's
//! own groups: fewer rights are free. Anything else has to stand in `act_as` of the caller's entry, name by name, and then the API
//! server is asked, as the caller, whether RBAC lets them impersonate each: one `SelfSubjectAccessReview` a name.

use std::borrow::Cow;

use thiserror::Error;

use crate::head::Head;
use crate::identity::{ActAs, Identity, name};
use crate::review::{self, Attributes};
use crate::target;

/// The most names of one request.
pub const MAX_NAMES: usize = 32;

/// How long a yes is believed, in seconds: as long as the API server's own filter believes one.
pub const SECONDS: u64 = 10;

/// The longest value of an extra, in bytes.
const MAX_VALUE_BYTES: usize = 512;

/// The extra that a caller may give a reason by; [`REASON`] is what the cluster is told.
const GIVEN_REASON: &str = "reason";

/// The keys of the extras that say who acts.
const ORIGINAL_USER: &str = "kube-access.dev/original-user";
const ORIGINAL_GROUPS: &str = "kube-access.dev/original-groups";
const REASON: &str = "kube-access.dev/reason";

/// Why a caller does not act as somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The caller's entry says nothing of it.
    #[error(
        "this gateway does not take impersonation from callers whose entry has no act_as: leave out --as, --as-group, --as-uid and --as-user-extra, or ask its administrator for act_as in your entry (with --as {0} you may name some of your own groups, and have no others then)"
    )]
    Off(String),
    /// Not in `act_as`.
    #[error("you may not act as {0} {1:?} through this gateway: act_as of your entry does not name it")]
    NotNamed(&'static str, String),
    /// `act_as` wants a reason.
    #[error(
        "acting as somebody else takes a reason here: add --as-user-extra reason=WHY (kubectl 1.35 or newer), or as-user-extra in the kubeconfig"
    )]
    NoReason,
    /// RBAC says no.
    #[error(
        "the cluster's RBAC does not let {0} act as {1} {2:?}: it takes a rule with the verb impersonate for that name, bound to you"
    )]
    Denied(String, &'static str, String),
    /// The API server cannot be asked.
    #[error(
        "whether you may act as somebody else cannot be told right now: the API server did not answer the question"
    )]
    Unanswered,
    /// Headers that ask for nothing that there is.
    #[error("this impersonation cannot be read: {0}")]
    Malformed(&'static str),
}

/// What the `Impersonate-…` headers of a request ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish<'a> {
    user: &'a str,
    groups: Vec<&'a str>,
    uid: Option<&'a str>,
    /// Keys and values, in the order of the keys.
    extras: Vec<(Cow<'a, str>, &'a str)>,
    reason: Option<&'a str>,
}

/// What becomes of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It asks for what the caller is.
    Nothing,
    /// Fewer of the caller's own groups.
    Fewer(Impersonated),
    /// The API server is to be asked each of these.
    Review(Impersonated, Vec<Name>),
}

/// Whom a caller acts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impersonated {
    /// The user.
    pub user: String,
    /// The groups, and no others.
    pub groups: Vec<String>,
    /// The UID.
    pub uid: Option<String>,
    /// What is told beside the caller's own extras: who acts, and why.
    pub extras: Vec<(String, String)>,
}

/// A name that the API server is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// `user`, `group`, `UID` or `extra`.
    kind: &'static str,
    /// The key of an extra.
    key: String,
    value: String,
}

impl<'a> Wish<'a> {
    /// Whether a request asks for anything.
    #[must_use]
    pub fn is_there(head: &Head<'_>) -> bool {
        head.headers().iter().any(|(name, _)| name.starts_with("impersonate"))
    }

    /// Reads the headers. A list of groups comes joined by commas, which no group's name has.
    fn read(head: &Head<'a>) -> Result<Self, Error> {
        let mut wish = Self::default();
        let mut user = None;
        for &(header, value) in head.headers().iter().filter(|(name, _)| name.starts_with("impersonate")) {
            if value.is_empty() {
                return Err(Error::Malformed("a header is empty"));
            }
            let is_long = value.len() > MAX_VALUE_BYTES && header != "impersonate-group";
            if is_long || !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(Error::Malformed("names and values are printable ASCII, at most 512 characters"));
            }
            match header {
                "impersonate-user" => user = Some(value),
                "impersonate-group" => wish.groups = value.split(',').map(|group| group.trim_matches(' ')).collect(),
                "impersonate-uid" => wish.uid = Some(value),
                _ => {
                    let key =
                        header.strip_prefix("impersonate-extra-").ok_or(Error::Malformed("there is no such header"))?;
                    let key = target::unescape(key).and_then(|key| String::from_utf8(key).ok()).unwrap_or_default();
                    if key == GIVEN_REASON {
                        wish.reason = Some(value);
                    } else if name::is_extra(&key) {
                        wish.extras.push((Cow::Owned(key), value));
                    } else {
                        return Err(Error::Malformed(
                            "the key of an extra is `reason`, or a path below a domain in lower case, such as example.com/ticket",
                        ));
                    }
                }
            }
        }
        wish.user = user.ok_or(Error::Malformed("groups, a UID or extras go with a user: add --as"))?;
        let is_one = |name: &&str| name::is_well_formed(name);
        if !is_one(&wish.user) || !wish.groups.iter().all(is_one) || !wish.uid.iter().all(is_one) {
            return Err(Error::Malformed("one user, and names of 1 to 256 characters without commas"));
        }
        if wish.groups.len() + wish.extras.len() + 2 > MAX_NAMES {
            return Err(Error::Malformed("at most 30 groups and extras"));
        }
        Ok(wish)
    }

    /// What becomes of the wish in these headers, if it is this caller's.
    pub fn rule(head: &Head<'a>, caller: &Identity) -> Result<Ruling, Error> {
        let act_as = caller.act_as();
        let wish = match Self::read(head) {
            Err(_) if act_as == &ActAs::default() => return Err(Error::Off(caller.user().to_owned())),
            wish => wish?,
        };
        let is_own = wish.user == caller.user()
            && wish.uid.is_none()
            && wish.extras.is_empty()
            && wish.reason.is_none()
            && wish.groups.iter().all(|group| caller.groups().iter().any(|own| own == group));
        if is_own && wish.groups.is_empty() {
            return Ok(Ruling::Nothing);
        }
        let impersonated = wish.impersonated(caller);
        if is_own {
            return Ok(Ruling::Fewer(impersonated));
        }
        if act_as == &ActAs::default() {
            return Err(Error::Off(caller.user().to_owned()));
        }
        let names = wish.names();
        for Name { kind, key, value } in &names {
            let (allowed, asked) = match *kind {
                "user" => (&act_as.users, value),
                "group" => (&act_as.groups, value),
                "UID" => (&act_as.uids, value),
                _ => (&act_as.extras, key),
            };
            if !allowed.contains(asked) {
                return Err(Error::NotNamed(kind, asked.clone()));
            }
        }
        if act_as.needs_reason && wish.reason.is_none() {
            return Err(Error::NoReason);
        }
        Ok(Ruling::Review(impersonated, names))
    }

    fn impersonated(&self, caller: &Identity) -> Impersonated {
        let mut groups: Vec<String> = Vec::new();
        for group in &self.groups {
            if !groups.iter().any(|known| known == group) {
                groups.push((*group).to_owned());
            }
        }
        let mut extras = vec![(ORIGINAL_USER.to_owned(), caller.user().to_owned())];
        extras.extend(caller.groups().iter().map(|group| (ORIGINAL_GROUPS.to_owned(), group.clone())));
        extras.extend(self.reason.map(|reason| (REASON.to_owned(), reason.to_owned())));
        extras.extend(self.extras.iter().map(|(key, value)| (key.clone().into_owned(), (*value).to_owned())));
        Impersonated { user: self.user.to_owned(), groups, uid: self.uid.map(str::to_owned), extras }
    }

    fn names(&self) -> Vec<Name> {
        let name = |kind, name: &str| Name { kind, key: String::new(), value: name.to_owned() };
        let extras =
            self.extras.iter().map(|(key, value)| Name { key: key.clone().into_owned(), ..name("extra", value) });
        let groups = self.groups.iter().map(|group| name("group", group));
        let uid = self.uid.map(|uid| name("UID", uid));
        std::iter::once(name("user", self.user)).chain(groups).chain(uid).chain(extras).collect()
    }
}

impl Name {
    /// What RBAC is asked about it.
    #[must_use]
    pub fn question(&self) -> Attributes<'_> {
        let Self { kind, key, value } = self;
        let (group, resource) = match *kind {
            "user" => ("", "users"),
            "group" => ("", "groups"),
            "UID" => ("authentication.k8s.io", "uids"),
            _ => ("authentication.k8s.io", "userextras"),
        };
        Attributes { verb: "impersonate", group, resource, subresource: key, name: value }
    }

    /// Takes the answer.
    pub fn verdict(&self, answer: Option<&str>, caller: &Identity) -> Result<(), Error> {
        if review::is_allowed(answer).ok_or(Error::Unanswered)? {
            return Ok(());
        }
        let name = if self.key.is_empty() { self.value.clone() } else { [&self.key, "=", &self.value].concat() };
        Err(Error::Denied(caller.user().to_owned(), self.kind, name))
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    /// Headers of impersonation, and what could be taken for one.
    pub(crate) const HEADERS: [&str; 13] = [
        "Impersonate-User",
        "Impersonate-Group",
        "Impersonate-Uid",
        "Impersonate-Extra-foo",
        "impersonate-user",
        "IMPERSONATE-GROUP",
        "ImPeRsOnAtE-Uid",
        "Impersonate-Extra-example.org%2Fscope",
        "Impersonate-Future",
        "Impersonate",
        "Impersonate-",
        "Impersonate_User",
        "Impersonate-Extra-",
    ];
}

#[cfg(test)]
mod tests;
