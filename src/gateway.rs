//! The line: what becomes of a request, ruled in one place and without I/O.
//!
//! [`Gateway::step`] walks the line of the crate's front page from its beginning, with what is known, until it can send, must
//! refuse, or has to ask somebody. Whoever drives it answers the question with [`Journey::learn`] and steps again. The fetch
//! event, its short way, and the native tests drive this one; nothing that it decides is decided anywhere else.

use std::rc::Rc;

use crate::answer;
use crate::audit::Entry;
use crate::browser;
use crate::caller::{Acting, Caller, Callers};
use crate::config::{Config, ConfigError, Level};
use crate::deadline::{Deadline, Why};
use crate::guard::{Guards, Stay};
use crate::identity::entry::{self, Stored, Verdict};
use crate::identity::membership::{self, Membership, Memberships, Person};
use crate::identity::{self, IdentityMap};
use crate::impersonation::{Name, Ruling, Wish};
use crate::keys::{self, KeyRing, Keys, KeysError};
use crate::protocol::{self, Protocol};
use crate::record::Record;
use crate::request::Request;
use crate::review::{self, Attributes};
use crate::session::Relay;
use crate::session::standing;
use crate::signature;
use crate::target::Target;
use crate::token::{Claims, Reason, Untrusted};
use crate::upstream::{self, Offers};

mod journey;
mod own;

pub use journey::{Answer, Found, Journey, Plan, Question, Review, Step, Unanswered};

/// How long an upgrade may wait for its answer, in milliseconds.
const UPGRADE_MILLISECONDS: u32 = 30_000;

/// How long an ordinary request may wait for the head of its answer, in milliseconds: a little more than kube-apiserver's
/// own limit (`--request-timeout`, a minute), which then speaks first.
const ANSWER_MILLISECONDS: u32 = 65_000;

/// How long a caller is remembered where Workers KV is bound, in seconds. The store itself answers what was true half a minute ago
/// (`cacheTtl` in `edge/rim.js`), so that a change is seen within a minute in all.
const REMEMBER_SECONDS: u64 = 30;

/// What one isolate keeps from one request to the next.
#[derive(Debug)]
pub struct Gateway<'m> {
    config: Result<Config, ConfigError>,
    map: IdentityMap<'m>,
    guards: Guards<'m>,
    has_store: bool,
    ring: KeyRing,
    memberships: Memberships,
    callers: Callers,
    acting: Acting,
}

impl<'m> Gateway<'m> {
    /// A gateway that knows nobody yet. `has_store` says whether Workers KV can be asked.
    #[must_use]
    pub fn new(config: Result<Config, ConfigError>, map: IdentityMap<'m>, guards: Guards<'m>, has_store: bool) -> Self {
        Self {
            config,
            map,
            guards,
            has_store,
            ring: KeyRing::default(),
            memberships: Memberships::default(),
            callers: Callers::default(),
            acting: Acting::default(),
        }
    }

    /// Where to fetch the certs from, unless a fetch is under way. `now` is in seconds since the Unix epoch.
    pub fn begin_renewal(&mut self, now: u64) -> Option<String> {
        let config = self.config.as_ref().ok()?;
        self.ring.ask(now).then(|| format!("{}/cdn-cgi/access/certs", config.issuer))
    }

    /// Takes what that fetch brought: its text, or nothing. Callers whose key is no longer published are forgotten. Gives what
    /// is to be written of a failure.
    pub fn renew(&mut self, jwks: Option<&str>, now: u64) -> Option<Record> {
        let keys = jwks.ok_or(KeysError::Unreachable).and_then(Keys::parse);
        let failure = keys.as_ref().err().map(|error| failed("no keys", &error.to_string()));
        if let Ok(keys) = &keys {
            self.callers.retain(keys);
        }
        self.ring.renew(keys, now);
        failure
    }

    /// Takes what a fetch of a person's identity brought: its text, or nothing. Gives what is to be written of a failure, which is
    /// not remembered.
    pub fn enrol(&mut self, person: Person, identity: Option<&str>, now: u64) -> Option<Record> {
        let read = |text| Membership::read(text, &person, &self.map);
        match identity.ok_or(membership::Error::Unreachable).and_then(read) {
            Ok(membership) => self.memberships.remember(person, membership, now),
            Err(error) => return Some(failed("no groups", &error.to_string())),
        }
        None
    }

    /// What to do about a request, as far as its journey has come.
    pub fn step<'r, 'a>(&mut self, request: &'r Request<'a>, journey: &mut Journey<'a>) -> Step<'r> {
        self.walk(request, journey).unwrap_or_else(|end| end)
    }

    /// What is to be written of a request that was sent or refused.
    #[must_use]
    pub fn records(&self, entry: &Entry<'_>) -> Vec<Record> {
        match &self.config {
            Ok(config) => entry.records(config.log_level, config.audit),
            Err(_) => entry.records(Level::Info, false),
        }
    }

    /// Who is asked for access; empty where nobody says.
    #[must_use]
    pub fn contact(&self) -> &str {
        self.config.as_ref().map_or("", |config| &config.contact)
    }

    /// Whether lines of this level are written.
    #[must_use]
    pub fn writes(&self, level: Level) -> bool {
        level >= self.config.as_ref().map_or(Level::Info, |config| config.log_level)
    }

    /// The line. Who leaves it early is an `Err`.
    fn walk<'r, 'a>(&mut self, request: &'r Request<'a>, journey: &mut Journey<'a>) -> Result<Step<'r>, Step<'r>> {
        if let Some(excess) = request.excess {
            return Err(excess.into());
        }
        if let Some(call) = crate::own::read(&request.head) {
            return Ok(Step::Own(Box::new(self.answer(request, journey, call?)?)));
        }
        let caller = self.recognise(request, journey)?;
        let target = request.target.as_ref().map_err(|error| *error)?;
        let protocol = request.protocol?;
        browser::check(request)?;
        self.guards.check(caller.held(), target)?;
        let caller = self.act(request, target, journey, caller)?;
        let stay = self.stay(&caller, target);
        let deadline = deadline(&caller, stay.as_ref(), request.head.now());
        let text = target.ending_within(deadline.at.saturating_sub(request.head.now()));
        let is_cut = self.is_cut(target, protocol, stay.as_ref());
        let relay = stay.filter(|_| target.is_stream() && protocol != Protocol::Http);
        let most = self.config.as_ref().map_or(0, |config| config.max_streams);
        let relay = relay.map(|stay| Box::new(Relay { stay, deadline: deadline.clone(), most }));
        let has_channels = relay.is_some() && target.subresource != "portforward";
        let offers = if has_channels { Offers::Recordable } else { Offers::All };
        let mut head = upstream::prepare(&request.head, target, protocol, offers)?;
        let signature = self.sign(request, request.head.method, &text, request.head.audit_id, &caller);
        if let Some(signature) = &signature {
            head.push(signature::HEADER, signature);
        }
        if protocol == Protocol::Spdy && !target.is_stream() {
            // kubectl shows only the answer to its second attempt at a stream, which is SPDY's. Where the API server would
            // refuse the caller anyway, its reason counts: so streams are asked for without the upgrade.
            return Err(protocol::Error::Spdy.into());
        }
        let entry = Entry { request, caller: Some(&caller), refusal: None };
        Ok(Step::Send(Plan {
            milliseconds: patience(target, protocol),
            is_reviewed: answer::is_reviewed(request),
            may_repeat: protocol == Protocol::Spdy && signature.is_none(),
            until: if is_cut { deadline.at.saturating_mul(1000) } else { 0 },
            target: text,
            head,
            records: self.records(&entry).into(),
            caller,
            relay,
        }))
    }

    /// Token, key, signature, claims, identity; remembered from then on.
    fn recognise<'a>(&mut self, request: &Request<'a>, journey: &mut Journey<'a>) -> Result<Rc<Caller>, Step<'static>> {
        if let Some(caller) = &journey.caller {
            return Ok(Rc::clone(caller));
        }
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let now = request.head.now();
        let text = request.head.header("cf-access-jwt-assertion").unwrap_or_default();
        let may_recall = self.ring.is_reliable(now) && !journey.is_afresh;
        let caller = if may_recall { self.callers.recall(text, now) } else { None };
        if let Some(caller) = caller {
            return Ok(Rc::clone(journey.caller.insert(caller)));
        }
        let known = journey.claims.take();
        let claims = known.map_or_else(|| authenticate(text, &self.ring, config, now, journey), Ok)?;
        let claims = journey.claims.insert(claims);
        let store = self.has_store.then_some(&journey.entries);
        let stored = ask_store(claims, store, config.features.grants, &self.map, now)?;
        let since = now.saturating_sub(if journey.is_afresh { standing::MEMBERSHIP_SECONDS } else { now });
        let (membership, known_until) = match ask_membership(&self.map, claims, &self.memberships, since, now) {
            Ok(known) => known,
            Err(_) if journey.has_membership => return Err(identity::Error::GroupsUnknown.into()),
            Err(person) => {
                let url = format!("{}/cdn-cgi/access/get-identity", config.issuer);
                return Err(Step::Ask(Question::Membership(person, url)));
            }
        };
        let (identity, until) = self.map.identify(claims, stored, &membership, now)?;
        let why = if until == claims.expires() { Why::Token } else { Why::Policy };
        let (ends, login_ends) = (Deadline { at: until, why }, claims.expires());
        let until = until.min(known_until).min(if self.has_store { now + REMEMBER_SECONDS } else { u64::MAX });
        let held = self.guards.held_by(identity.user(), identity.groups());
        let caller = Rc::new(Caller::new(identity, held).ending(ends, login_ends));
        // A key that was withdrawn meanwhile vouches for this request, and for none after it.
        if let Some(key) = journey.key.take().filter(|key| self.ring.keys().contains(key)) {
            self.callers.remember(text, Rc::clone(&caller), key, until);
        }
        Ok(Rc::clone(journey.caller.insert(caller)))
    }

    /// The caller as whom they ask to be, if they may: by their entry, and then by the API server, which is asked as the caller.
    fn act(
        &mut self,
        request: &Request<'_>,
        target: &Target<'_>,
        journey: &Journey<'_>,
        caller: Rc<Caller>,
    ) -> Result<Rc<Caller>, Step<'static>> {
        if !Wish::is_there(&request.head) {
            return Ok(caller);
        }
        let (impersonated, names) = match Wish::rule(&request.head, caller.identity())? {
            Ruling::Nothing => return Ok(caller),
            Ruling::Fewer(impersonated) => (impersonated, Vec::new()),
            Ruling::Review(impersonated, names) => (impersonated, names),
        };
        // Guards of the caller hold already, whomever they act as; those of whom they act as hold too.
        let held = self.guards.held_by(&impersonated.user, &impersonated.groups);
        self.guards.check(&held, target)?;
        let now = request.head.now();
        let as_other = Rc::new(caller.acting_as(impersonated));
        if names.is_empty() {
            return Ok(as_other);
        }
        if let Some(known) = self.acting.recall(&caller, &as_other, now) {
            return Ok(known);
        }
        let Some(answers) = &journey.reviews else {
            return Err(Step::Ask(Question::Reviews(self.reviews(request, &caller, &names))));
        };
        for (index, name) in names.iter().enumerate() {
            name.verdict(answers.get(index).and_then(Option::as_deref), caller.identity())?;
        }
        self.acting.remember(caller, Rc::clone(&as_other), now);
        Ok(as_other)
    }

    /// What the guards ask of something that stays open, those of the caller and those of whom they act as.
    fn stay(&self, caller: &Caller, target: &Target<'_>) -> Option<Stay> {
        let others = caller.acts_as().map(|other| self.guards.held_by(&other.user, &other.groups));
        let of_others = others.and_then(|held| self.guards.stay(&held, target));
        match self.guards.stay(caller.held(), target) {
            Some(own) => Some(own.and(of_others)),
            None => of_others,
        }
    }

    /// Whether what stays open is cut off when its caller's time is over. A watch ends by itself. A WebSocket that carries logs is cut off
    /// as they are by HTTP, and a workload's where a guard says until when, if there are objects that can do it: every other is the runtime's.
    fn is_cut(&self, target: &Target<'_>, protocol: Protocol, stay: Option<&Stay>) -> bool {
        let has_objects = self.config.as_ref().is_ok_and(|config| config.features.sessions);
        let is_bounded = target.subresource == "log" || stay.is_some_and(|stay| stay.seconds.is_some());
        target.is_long_running()
            && target.verb != "watch"
            && match protocol {
                Protocol::Http => true,
                Protocol::WebSocket => has_objects && is_bounded && !target.is_stream(),
                Protocol::Spdy => false,
            }
    }

    /// One request for each name. Each has an `Audit-ID` of its own, since a last hop takes no signature twice.
    fn reviews(&self, request: &Request<'_>, caller: &Caller, names: &[Name]) -> Vec<Review> {
        let review = |(index, name): (usize, &Name)| self.review(request, caller, index, name.question());
        names.iter().enumerate().map(review).collect()
    }

    /// What the API server is asked about the caller.
    fn review(&self, request: &Request<'_>, caller: &Caller, index: usize, asked: Attributes<'_>) -> Review {
        let body = review::body(asked);
        self.ask(request, caller, index, Review { method: "POST", target: review::PATH, body, ..Review::default() })
    }

    /// A request of the gateway's own: its head, as that of the caller.
    fn ask(&self, request: &Request<'_>, caller: &Caller, index: usize, review: Review) -> Review {
        let audit_id = format!("{}-{index}", request.head.audit_id);
        let accept = review.accept;
        let mut lines = format!("Accept:{accept}\nContent-Type:application/json\nAudit-ID:{audit_id}\n");
        if let Some(signature) = self.sign(request, review.method, review.target, &audit_id, caller) {
            lines.extend([signature::HEADER, ":", &signature, "\n"]);
        }
        lines.push_str(caller.lines());
        Review { lines, ..review }
    }

    /// The signature of what is sent as somebody, where the last hop asks for one.
    fn sign(
        &self,
        request: &Request<'_>,
        method: &str,
        target: &str,
        audit_id: &str,
        caller: &Caller,
    ) -> Option<String> {
        let key = self.config.as_ref().ok()?.last_hop_key.as_ref()?;
        Some(signature::sign(key, request.head.now(), method, target, audit_id, caller.lines()))
    }
}

/// When something that stays open ends.
fn deadline(caller: &Caller, stay: Option<&Stay>, now: u64) -> Deadline {
    let of_guards = stay.and_then(|stay| stay.seconds);
    caller.ends().clone().or(of_guards.map(|seconds| Deadline { at: now + seconds, why: Why::Guard(seconds) }))
}

/// The claims of a token whose signature is its key's.
fn authenticate<'a>(
    text: &'a str,
    ring: &KeyRing,
    config: &Config,
    now: u64,
    journey: &mut Journey<'a>,
) -> Result<Claims, Step<'static>> {
    let untrusted = journey.token.take().map_or_else(|| Untrusted::parse(text), Ok)?;
    let plan = if journey.has_certs { ring.key(untrusted.key_id(), now) } else { ring.plan(untrusted.key_id(), now) };
    let question = match (plan, journey.is_authentic) {
        (keys::Plan::Use(key), None) => {
            let question = Question::Signature {
                jwk: key.to_jwk(),
                input: untrusted.signing_input().to_owned(),
                signature: untrusted.signature().to_owned(),
            };
            journey.key = Some(key);
            question
        }
        (keys::Plan::Use(key), Some(is_authentic)) => {
            let is_same = journey.key.as_ref() == Some(&key);
            return Ok(untrusted.confirm(is_authentic && is_same)?.claims(config, now)?);
        }
        (keys::Plan::Fetch, _) => Question::Certs,
        (keys::Plan::Unknown, _) => return Err(Reason::UnknownKey.into()),
        (keys::Plan::Unavailable, _) => return Err(ring.failure().into()),
    };
    journey.token = Some(untrusted);
    Err(Step::Ask(question))
}

/// What Workers KV has of the caller, where it is bound: their own entry, and what was granted through the gateway.
fn ask_store(
    claims: &Claims,
    store: Option<&Option<Found>>,
    has_ledger: bool,
    map: &IdentityMap<'_>,
    now: u64,
) -> Result<Stored, Step<'static>> {
    let (Some(found), Some(key)) = (store, entry::key(claims)) else {
        return Ok(Stored::default());
    };
    let grants_key = if has_ledger { entry::grants_key(&key) } else { None };
    let Some(found) = found else {
        return Err(Step::Ask(Question::Entries([Some(key), grants_key].into_iter().flatten().collect())));
    };
    let Ok(found) = found else {
        return Err(identity::Error::Unavailable("Workers KV does not answer".to_owned()).into());
    };
    let text = |place: usize| found.get(place).and_then(Option::as_deref);
    let unread = |key: &str, error| identity::Error::Unavailable(format!("the KV entry {key} cannot be read: {error}"));
    let verdict = text(0).map_or(Ok(Verdict::Stored(Stored::default())), |text| entry::read(text, claims, now));
    let mut stored = match verdict.map_err(|error| unread(&key, error))? {
        Verdict::Denied => return Err(identity::Error::Denied(claims.name()).into()),
        Verdict::Stored(stored) => stored,
    };
    if let (Some(key), Some(text)) = (grants_key, text(1)) {
        stored.add(text, map, now).map_err(|error| unread(&key, error))?;
    }
    Ok(stored)
}

/// The groups of a caller at the identity provider that the map names, as they were since then, and until when that is believed; or who
/// has to be asked about. Nobody is, where the map names none, and no service token.
fn ask_membership(
    map: &IdentityMap<'_>,
    claims: &Claims,
    memberships: &Memberships,
    since: u64,
    now: u64,
) -> Result<membership::Known, Person> {
    let person = if map.idp_groups.is_empty() { None } else { Person::of(claims) };
    let Some(person) = person else {
        return Ok((Rc::default(), u64::MAX));
    };
    let told = [Membership::of_token(claims, map, since, now), memberships.recall(&person, since, now)];
    // What was learnt last counts.
    told.into_iter().flatten().max_by_key(|(_, until)| *until).ok_or(person)
}

fn failed(message: &str, detail: &str) -> Record {
    let template = format!(r#"{{"level":"error","message":"{message}","detail":"{detail}"}}"#);
    Record { level: Level::Error, template }
}

/// How long the head of the answer may take.
fn patience(target: &Target<'_>, protocol: Protocol) -> u32 {
    match protocol {
        Protocol::WebSocket => UPGRADE_MILLISECONDS,
        Protocol::Http | Protocol::Spdy if target.is_long_running() => 0,
        Protocol::Http | Protocol::Spdy => ANSWER_MILLISECONDS,
    }
}
