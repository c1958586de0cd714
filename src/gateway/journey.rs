//! What is known of a request on its way along the line, and what comes next: who is asked, what is sent.

use std::borrow::Cow;
use std::rc::Rc;

use crate::caller::Caller;
use crate::identity::membership::Person;
use crate::keys::Key;
use crate::own::Reply;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::review;
use crate::session::Relay;

use crate::token::{Claims, Untrusted};
use crate::upstream::Outgoing;

/// What has been learnt for one request.
#[derive(Debug, Default)]
pub struct Journey<'a> {
    pub(super) token: Option<Untrusted<'a>>,
    pub(super) has_certs: bool,
    pub(super) key: Option<Rc<Key>>,
    pub(super) is_authentic: Option<bool>,
    pub(super) claims: Option<Claims>,
    pub(super) entries: Option<Found>,
    pub(super) has_membership: bool,
    pub(super) caller: Option<Rc<Caller>>,
    pub(super) reviews: Option<Vec<Option<String>>>,
    pub(super) body: Option<Result<String, Unanswered>>,
    pub(super) grants: Option<Result<String, Unanswered>>,
    pub(super) is_afresh: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum Step<'r> {
    /// Send this to the cluster.
    Send(Plan<'r>),
    /// Answer this, which is for the gateway itself.
    Own(Box<Reply>),
    /// Refuse.
    Refuse(Refusal),
    /// Ask this, tell the journey, and step again.
    Ask(Question),
}

/// What has to be asked of others.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// The team's certs: by a fetch now, or the one that is under way. [`renew`](super::Gateway::renew) takes what it brings.
    Certs,
    /// Whether the signature is RSASSA-PKCS1-v1_5 with SHA-256 over the input.
    Signature {
        /// The key, as a JWK.
        jwk: String,
        /// What was signed.
        input: String,
        /// The signature's bytes.
        signature: Vec<u8>,
    },
    /// The text under each of these keys of Workers KV.
    Entries(Vec<String>),
    /// A person's identity: by a fetch of this URL as them, or by the one for the same person that is under way.
    /// [`enrol`](super::Gateway::enrol) takes what it brings.
    Membership(Person, String),
    /// The API server's answers to these.
    Reviews(Vec<Review>),
    /// The body, of at most so many bytes.
    Body(usize),
    /// All grants that are kept: see [`held`](crate::grant::held).
    Grants,
}

/// A request of the gateway's own, as the caller.
#[derive(Debug, PartialEq, Eq)]
pub struct Review {
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub target: &'static str,
    /// The form in which the answer is wanted.
    pub accept: &'static str,
    /// The head's lines, `name:value`.
    pub lines: String,
    /// The body, JSON in one line; empty for none.
    pub body: String,
    /// The longest answer that is read, in bytes.
    pub most: usize,
}

/// The answer to the [`Question`] of the same name.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Whatever the fetch brought has been taken.
    Certs,
    /// Whether it is.
    Signature(bool),
    /// The texts.
    Entries(Found),
    /// Whatever the fetch brought has been taken.
    Membership,
    /// The text of each answer with status 200 or 201, in their order.
    Reviews(Vec<Option<String>>),
    /// The text, unless it is longer or none.
    Body(Result<String, Unanswered>),
    /// The lines.
    Grants(Result<String, Unanswered>),
}

/// What Workers KV has under some keys, in their order.
pub type Found = Result<Vec<Option<String>>, Unanswered>;

/// Whoever was asked did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unanswered;

/// What to send.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan<'r> {
    /// How long the head of the answer may take, in milliseconds; 0 without a bound.
    pub milliseconds: u32,
    /// Whether even a plain answer must be given to [`answer::review`](crate::answer::review).
    pub is_reviewed: bool,
    /// Whether to send it once more when the connection breaks. Nothing runs of a stream that is asked for without its upgrade, and
    /// `kubectl proxy` closes the connection of the WebSocket that was declined before it, without saying so. What is signed is sent
    /// once: a last hop that asks for signatures would refuse it the second time.
    pub may_repeat: bool,
    /// Path and query.
    pub target: Cow<'r, str>,
    /// The head.
    pub head: Outgoing,
    /// Whose request it is: [`Caller::lines`] belong to the head.
    pub caller: Rc<Caller>,
    /// What is to be written once the answer is there.
    pub records: Box<[Record]>,
    /// When an answer that stays open is cut off, in milliseconds since the Unix epoch; 0 for never. A WebSocket is by an object.
    pub until: u64,
    /// Whether it is a stream that has to be in our hands.
    pub relay: Option<Box<Relay>>,
}

impl Default for Review {
    fn default() -> Self {
        let (lines, body) = (String::new(), String::new());
        Self { method: "GET", target: "/", accept: "application/json", lines, body, most: review::MAX_BYTES }
    }
}

impl<E: Into<Refusal>> From<E> for Step<'_> {
    fn from(error: E) -> Self {
        Self::Refuse(error.into())
    }
}

impl Journey<'_> {
    /// A journey on which nobody is known from before: whether somebody who entered still may.
    #[must_use]
    pub fn afresh() -> Self {
        Self { is_afresh: true, ..Self::default() }
    }

    /// Who asks, once that is known.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.as_deref()
    }

    /// Takes the answer to the question that was asked last.
    pub fn learn(&mut self, answer: Answer) {
        match answer {
            Answer::Certs => self.has_certs = true,
            Answer::Signature(is_authentic) => self.is_authentic = Some(is_authentic),
            Answer::Entries(entries) => self.entries = Some(entries),
            Answer::Membership => self.has_membership = true,
            Answer::Reviews(reviews) => self.reviews = Some(reviews),
            Answer::Body(body) => self.body = Some(body),
            Answer::Grants(grants) => self.grants = Some(grants),
        }
    }
}
