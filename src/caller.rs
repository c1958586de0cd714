//! Who was recognised already: verified tokens, remembered until they expire.
//!
//! A token is its own key, whole: nothing but the same bytes finds it. What is remembered is bounded, and is forgotten
//! when its signing key is withdrawn. So is, for a few seconds, whom the API server let somebody act as.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use crate::deadline::{Deadline, Why};
use crate::guard::Held;
use crate::identity::{Identity, Source};
use crate::impersonation::{self, Impersonated};
use crate::keys::{Key, Keys};

/// The most tokens of one generation. There are two, of at most 2 x 8192 tokens, about 1 KiB each as Access signs them.
const MAX_TOKENS: usize = 8192;

/// What a group takes beside its name, in bytes: that it is a text, and where it comes from.
const PER_GROUP: usize = size_of::<String>() + size_of::<Source>();

/// The most bytes of one generation: of its tokens, and twice of its callers' lines, once as lines and once as their parts.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The most callers who are remembered as somebody else: a list is looked through, and those of the last seconds are few.
const MAX_ACTING: usize = 256;

/// A recognised caller: its identity, the guards that hold for it, whom it acts as, and the header lines that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    identity: Identity,
    held: Held,
    acts_as: Option<Impersonated>,
    lines: String,
    ends: Deadline,
    login_ends: u64,
}

/// Callers who act as somebody else, as the API server let them.
#[derive(Debug, Default)]
pub struct Acting(Vec<Permitted>);

#[derive(Debug)]
struct Permitted {
    caller: Rc<Caller>,
    as_other: Rc<Caller>,
    until: u64,
}

/// The tokens that this isolate has verified. The older generation is dropped whole when the younger one is full.
#[derive(Debug, Default)]
pub struct Callers {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    remembered: HashMap<String, Remembered, BuildHasherDefault<TailHasher>>,
    bytes: usize,
}

/// Hashes the end of a token, which is the end of its signature: as good as random, and nobody but Access chooses it, since only
/// verified tokens are remembered. The default hasher reads a whole token, for a twentieth of a small request's time.
#[derive(Debug, Default)]
struct TailHasher(u64);

impl Hasher for TailHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(tail) = bytes.last_chunk() {
            let product = u64::from_le_bytes(*tail).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.0 = product ^ (product >> 32);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug, Clone)]
struct Remembered {
    caller: Rc<Caller>,
    key: Rc<Key>,
    expires: u64,
}

impl Caller {
    /// A caller of this identity.
    #[must_use]
    pub fn new(identity: Identity, held: Held) -> Self {
        let extras = identity.extras().iter().map(|(extra, value)| (name_of(extra.key()), value));
        let lines = lines(identity.user(), identity.groups(), extras);
        Self {
            lines,
            identity,
            held,
            acts_as: None,
            ends: Deadline { at: u64::MAX, why: Why::Token },
            login_ends: u64::MAX,
        }
    }

    /// The same caller, whom what let them in carries so far, and whose login at Access ends then.
    #[must_use]
    pub fn ending(self, ends: Deadline, login_ends: u64) -> Self {
        Self { ends, login_ends, ..self }
    }

    /// The same caller as somebody else. The extras of both are ordered by the names of their headers.
    #[must_use]
    pub fn acting_as(&self, impersonated: Impersonated) -> Self {
        let own = self.identity.extras().iter().map(|(extra, value)| (extra.key(), value));
        let others = impersonated.extras.iter().map(|(key, value)| (key.as_str(), value));
        let mut extras: Vec<(String, &String)> = Vec::new();
        for (key, value) in own.chain(others) {
            let name = name_of(key);
            let place = extras.partition_point(|(known, _)| *known <= name);
            extras.insert(place, (name, value));
        }
        let mut lines = lines(&impersonated.user, &impersonated.groups, extras);
        if let Some(uid) = &impersonated.uid {
            push(&mut lines, "Impersonate-Uid", uid);
        }
        Self { acts_as: Some(impersonated), lines, ..self.clone() }
    }

    /// Who the caller is to the API server.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The guards that hold for the caller.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Whom the caller acts as, if not as themselves.
    #[must_use]
    pub fn acts_as(&self) -> Option<&Impersonated> {
        self.acts_as.as_ref()
    }

    /// The end of the caller's login at Access, in seconds since the Unix epoch.
    #[must_use]
    pub fn login_ends(&self) -> u64 {
        self.login_ends
    }

    /// Until when the caller may stay: the end of their token, entry and grants.
    #[must_use]
    pub fn ends(&self) -> &Deadline {
        &self.ends
    }

    /// The header lines that say who the caller is: one `Impersonate-User`, one `Impersonate-Group` for each group, the extras.
    /// They are the same for every request, so that a webhook authorizer that caches is asked once.
    #[must_use]
    pub fn lines(&self) -> &str {
        &self.lines
    }
}

/// The extras come with the names of their headers.
fn lines<'e>(user: &str, groups: &[String], extras: impl IntoIterator<Item = (String, &'e String)>) -> String {
    let mut lines = String::with_capacity(256);
    push(&mut lines, "Impersonate-User", user);
    for group in groups {
        push(&mut lines, "Impersonate-Group", group);
    }
    for (name, value) in extras {
        push(&mut lines, &name, value);
    }
    lines
}

fn push(lines: &mut String, name: &str, value: &str) {
    lines.extend([name, ":", value, "\n"]);
}

/// An extra's key is percent-encoded in the header's name, as client-go does it.
fn name_of(key: &str) -> String {
    ["Impersonate-Extra-", &key.replace('/', "%2F")].concat()
}

impl Acting {
    /// A caller as somebody else, if the API server has said so a moment ago. `now` is in seconds since the Unix epoch.
    #[must_use]
    pub fn recall(&self, caller: &Caller, as_other: &Caller, now: u64) -> Option<Rc<Caller>> {
        let is_known =
            |known: &&Permitted| known.until > now && *known.caller == *caller && *known.as_other == *as_other;
        self.0.iter().find(is_known).map(|known| Rc::clone(&known.as_other))
    }

    /// Remembers what the API server said.
    pub fn remember(&mut self, caller: Rc<Caller>, as_other: Rc<Caller>, now: u64) {
        if self.0.len() >= MAX_ACTING {
            self.0.retain(|known| known.until > now);
        }
        if self.0.len() >= MAX_ACTING {
            self.0.clear();
        }
        self.0.push(Permitted { caller, as_other, until: now + impersonation::SECONDS });
    }
}

impl Callers {
    /// The caller of a token that was verified before and has not expired. `now` is in seconds since the Unix epoch.
    pub fn recall(&mut self, token: &str, now: u64) -> Option<Rc<Caller>> {
        if let Some(found) = self.young.remembered.get(token) {
            return (found.expires > now).then(|| Rc::clone(&found.caller));
        }
        let found = self.old.remembered.get(token).filter(|found| found.expires > now)?.clone();
        let caller = Rc::clone(&found.caller);
        self.insert(token, found);
        Some(caller)
    }

    /// Remembers whom a verified token names, until `expires`.
    pub fn remember(&mut self, token: &str, caller: Rc<Caller>, key: Rc<Key>, expires: u64) {
        self.insert(token, Remembered { caller, key, expires });
    }

    /// Forgets the tokens whose signing key is no longer published.
    pub fn retain(&mut self, keys: &Keys) {
        for generation in [&mut self.young, &mut self.old] {
            generation.remembered.retain(|_, remembered| keys.contains(&remembered.key));
            generation.bytes = generation.remembered.iter().map(|(token, remembered)| remembered.weight(token)).sum();
        }
    }

    fn insert(&mut self, token: &str, remembered: Remembered) {
        let weight = remembered.weight(token);
        if self.young.remembered.len() >= MAX_TOKENS || self.young.bytes + weight > MAX_BYTES {
            self.old = std::mem::take(&mut self.young);
        }
        if self.young.remembered.insert(token.to_owned(), remembered).is_none() {
            self.young.bytes += weight;
        }
    }
}

impl Remembered {
    fn weight(&self, token: &str) -> usize {
        token.len() + 2 * self.caller.lines.len() + self.caller.identity.groups().len() * PER_GROUP
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests_support::identity;
    use crate::keys::tests_support::{key, keys};

    fn callers(tokens: &[(&str, u64)]) -> Callers {
        let mut callers = Callers::default();
        for (token, expires) in tokens {
            callers.remember(token, Rc::new(Caller::new(identity(), Held::default())), key("a"), *expires);
        }
        callers
    }

    #[test]
    fn case_40_171_each_group_has_a_line_of_its_own_and_no_line_differs_by_request() {
        let lines = "Impersonate-User:alice\nImpersonate-Group:admins\nImpersonate-Group:devs\n\
            Impersonate-Extra-kube-access.dev%2Femail:alice@example.com\n\
            Impersonate-Extra-kube-access.dev%2Fsubject:id-1\n";
        assert_eq!(Caller::new(identity(), Held::default()).lines(), lines);
    }

    #[test]
    fn case_145_only_the_same_token_is_recalled() {
        let mut callers = callers(&[("head.body.signature", 10)]);
        assert!(callers.recall("head.body.signature", 9).is_some());
        for other in
            ["head.body.signaturf", "head.body.", "head.body", "head.body.signature ", "HEAD.body.signature", ""]
        {
            assert!(callers.recall(other, 9).is_none(), "{other}");
        }
    }

    #[test]
    fn an_expired_token_is_not_recalled() {
        let mut callers = callers(&[("token", 10)]);
        assert!(callers.recall("token", 9).is_some());
        assert!(callers.recall("token", 10).is_none());
    }

    #[test]
    fn case_21_tokens_of_a_withdrawn_key_are_forgotten() {
        let mut callers = callers(&[("token", 10)]);
        callers.retain(&keys(&["a", "b"]));
        assert!(callers.recall("token", 9).is_some());
        callers.retain(&keys(&["b"]));
        assert!(callers.recall("token", 9).is_none());
    }

    #[test]
    fn case_145_what_is_remembered_is_bounded_and_what_is_used_stays() {
        let mut callers = callers(&[("used", 10)]);
        for index in 0..3 * MAX_TOKENS {
            callers.remember(
                &format!("token-{index}"),
                Rc::new(Caller::new(identity(), Held::default())),
                key("a"),
                10,
            );
            if index % 1000 == 0 {
                assert!(callers.recall("used", 9).is_some());
            }
        }
        assert!(callers.young.remembered.len() <= MAX_TOKENS && callers.old.remembered.len() <= MAX_TOKENS);
        assert!(callers.recall("token-0", 9).is_none());
        let large = "x".repeat(MAX_BYTES / 4);
        for index in 0..9 {
            callers.remember(
                &format!("{large}{index}"),
                Rc::new(Caller::new(identity(), Held::default())),
                key("a"),
                10,
            );
        }
        assert!(callers.young.bytes <= MAX_BYTES && callers.old.bytes <= MAX_BYTES);
    }
}
