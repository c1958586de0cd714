//! A stream that goes on: its ends, its clock and its stores, as [`session::Session`] says.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen_futures::{JsFuture, future_to_promise, spawn_local};
use worker::worker_sys::web_sys;

use super::keep::{Item, closing, hold, save};
use super::streams::{self, Coupled};
use super::{Visit, Way, log, now, review, text, to_text, with_gateway};
use crate::answer;
use crate::caller::Caller;
use crate::gateway::{Journey, Plan};
use crate::head::Head;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::session::end::By;
use crate::session::facts::Facts;
use crate::session::manifest::{self, close};
use crate::session::own::chunk_key;
use crate::session::standing::{self, EVERY_SECONDS, UNKNOWN_SECONDS};
use crate::session::{self, Error, Heard, Relay, Side, roll};

/// How often a stream looks at the clock, in milliseconds.
const TICK_MILLISECONDS: u32 = 1_000;

/// How long an object may say nothing before the runtime has it looked at, in milliseconds.
pub(super) const SILENCE_MILLISECONDS: u32 = 40_000;

/// A stream that goes on.
#[derive(Debug)]
pub(super) struct Live {
    state: JsValue,
    env: JsValue,
    session: RefCell<session::Session>,
    coupled: RefCell<Option<Coupled>>,
    /// Cuts the connection to the cluster.
    cluster: web_sys::AbortController,
    /// What is being stored.
    storing: RefCell<Vec<Promise>>,
    /// What could not be stored.
    left: RefCell<Vec<Item>>,
    is_finished: Cell<bool>,
    entrance: Entrance,
}

/// What a caller entered with.
#[derive(Debug)]
struct Entrance {
    request: web_sys::Request,
    head: String,
    caller: Rc<Caller>,
    relay: Relay,
    /// When it was last known who they are, in seconds since the Unix epoch.
    confirmed: Cell<u64>,
    checks: Cell<u32>,
    /// When the line was last asked, and when the roll was last told, in seconds since the Unix epoch.
    checked: Cell<u64>,
    told: Cell<u64>,
}

impl Live {
    /// A stream that has not been asked for yet.
    pub(super) fn new(
        state: &JsValue,
        visit: &Visit<'_>,
        asked: &Request<'_>,
        caller: &Rc<Caller>,
        facts: Facts,
        relay: &Relay,
    ) -> Result<Self, JsValue> {
        Ok(Self {
            state: state.clone(),
            env: visit.env.clone(),
            session: RefCell::new(session::Session::new(facts, relay, asked.head.received)),
            coupled: RefCell::default(),
            cluster: web_sys::AbortController::new()?,
            storing: RefCell::default(),
            left: RefCell::default(),
            is_finished: Cell::new(false),
            entrance: Entrance {
                request: streams::remember(visit.request)?,
                head: text(visit.head),
                caller: Rc::clone(caller),
                relay: relay.clone(),
                confirmed: Cell::new(asked.head.now()),
                checks: Cell::default(),
                checked: Cell::new(asked.head.now()),
                told: Cell::new(asked.head.now()),
            },
        })
    }

    /// Has the stream counted and its recording begun, both at once, before anything runs.
    async fn admit(&self) -> Result<(), Refusal> {
        let entering = self.tell("enter");
        let beginning = self.session.borrow_mut().take(true, now());
        self.keep();
        let stored = match beginning {
            Some((place, bytes)) => self.store(place, streams::bytes(&bytes)).await,
            None => true,
        };
        self.keep();
        admitted(entering, self.entrance.relay.most).await?;
        if stored { Ok(()) } else { Err(Error::NoStore.into()) }
    }

    /// Opens the stream. One that cannot be opened has ended.
    pub(super) async fn open(
        self: &Rc<Self>,
        visit: &Visit<'_>,
        asked: &Request<'_>,
        plan: &Plan<'_>,
    ) -> Result<web_sys::Response, Refusal> {
        let opened = self.ask(visit, asked, plan).await;
        if let Err(refusal) = &opened {
            // It may still be under way, and would go on with nobody there.
            self.cluster.abort();
            let is_gone = matches!(refusal, Refusal::Answer(answer::Error::Gone));
            let by = if is_gone { By::Client } else { By::Gateway };
            self.session.borrow_mut().stop(by, refusal.to_string(), now());
            self.finish().await;
        }
        opened
    }

    /// Asks the cluster for the stream, and couples both ends.
    async fn ask(
        self: &Rc<Self>,
        visit: &Visit<'_>,
        asked: &Request<'_>,
        plan: &Plan<'_>,
    ) -> Result<web_sys::Response, Refusal> {
        self.admit().await?;
        let outcome = visit.send(&to_text(plan, asked.head.received), Some(&self.cluster.signal())).await?;
        let answer = review(visit.request, asked, &plan.records, outcome).await?;
        if answer.status() != 101 {
            let reason = format!("the API server answered with status {}", answer.status());
            self.session.borrow_mut().stop(By::Cluster, reason, now());
            let live = Rc::clone(self);
            spawn_local(async move { live.finish().await });
            return Ok(answer);
        }
        self.session.borrow_mut().open(&streams::protocol(&answer));
        let coupled = self.couple(&answer)?;
        let answer = coupled.answer();
        self.coupled.replace(Some(coupled));
        // Somebody may have ended it while the cluster was asked.
        self.settle();
        Ok(answer)
    }

    /// Listens to both ends and to the clock, until the stream has ended.
    fn couple(self: &Rc<Self>, answer: &web_sys::Response) -> Result<Coupled, JsValue> {
        let live = Rc::clone(self);
        let admit = Closure::<dyn FnMut(u32, usize) -> bool>::new(move |side: u32, bytes: usize| {
            let heard = live.session.borrow_mut().admit(side_of(side), bytes, now());
            live.settle();
            heard == Heard::Pass
        });
        let live = Rc::clone(self);
        let write = Closure::<dyn FnMut(u32, Uint8Array, bool) -> u32>::new(
            move |side: u32, piece: Uint8Array, is_first: bool| {
                let mut session = live.session.borrow_mut();
                session.write(side_of(side), &piece.to_vec(), is_first, now());
                u32::from(session.is_full()) | u32::from(session.is_over()) << 1
            },
        );
        let live = Rc::clone(self);
        let part = Closure::<dyn FnMut(u32, u16)>::new(move |side: u32, code: u16| {
            live.session.borrow_mut().part(side_of(side), code, now());
            live.settle();
        });
        let live = Rc::clone(self);
        let store = Closure::<dyn FnMut() -> Promise>::new(move || live.store_next(false));
        let live = Rc::clone(self);
        let tick = Closure::<dyn FnMut() -> bool>::new(move || live.tick());
        let hear =
            Array::of4(&admit.into_js_value(), &write.into_js_value(), &part.into_js_value(), &store.into_js_value());
        let coupled = streams::couple(&self.state, &self.env, &self.session.borrow().facts().id, answer, &hear)?;
        streams::tick(TICK_MILLISECONDS, &tick.into_js_value());
        Ok(coupled)
    }

    /// Looks at the clock. Whether to look again.
    fn tick(self: &Rc<Self>) -> bool {
        let now = now();
        let message = self.session.borrow_mut().tick(now);
        if let (Some(message), Some(coupled)) = (message, &*self.coupled.borrow()) {
            streams::say(coupled, &message);
        }
        if self.settle() {
            return false;
        }
        let _ = self.store_next(false);
        let Entrance { checked, told, .. } = &self.entrance;
        if is_due(checked, EVERY_SECONDS, now / 1000) {
            let live = Rc::clone(self);
            spawn_local(async move { live.confirm().await });
        }
        if is_due(told, roll::EVERY_SECONDS, now / 1000) {
            let staying = self.tell("stay");
            spawn_local(async move {
                let _ = streams::told(staying).await;
            });
            self.keep();
        }
        true
    }

    /// Whether the caller still stands as they entered: the line is asked again, as if nobody were known.
    async fn confirm(self: &Rc<Self>) {
        let Entrance { request, head, caller, relay, confirmed, checks, .. } = &self.entrance;
        let received = now();
        checks.set(checks.get() + 1);
        let head = Head::restamped(head, received, checks.get());
        let asked = Request::read(&head);
        let visit = Visit { request, env: &self.env, head: &Uint8Array::from(head.as_bytes()) };
        let lost = match visit.walk(&asked, &mut Journey::afresh(), None).await {
            Ok(Way::Send(plan)) => {
                confirmed.set(received / 1000);
                let stay = plan.relay.as_ref().map(|relay| &relay.stay);
                self.session.borrow_mut().bound(plan.caller.ends().clone(), stay);
                let is_recorded_more = plan.relay.is_some_and(|now| now.stay.record > relay.stay.record);
                let more = "more of your sessions is recorded than when this one began: begin it again";
                standing::lost(caller, &plan.caller).or_else(|| is_recorded_more.then(|| more.to_owned()))
            }
            Ok(Way::Own(_)) => None,
            // Nobody can be asked: that takes nothing away yet.
            Err(refusal) if refusal.is_ours() => {
                let is_long = confirmed.get() + UNKNOWN_SECONDS < received / 1000;
                is_long.then(|| format!("who you are could not be told for {} minutes", UNKNOWN_SECONDS / 60))
            }
            Err(Refusal::Unauthenticated(_)) => Some("your login at Cloudflare Access is no longer valid".to_owned()),
            Err(refusal) => Some(refusal.to_string()),
        };
        if let Some(reason) = lost {
            self.stop(By::Policy, &reason);
        }
    }

    /// Whether it has ended, and all that stays of it is stored.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished.get()
    }

    /// The manifest so far.
    pub(super) fn manifest(&self) -> String {
        close(&self.session.borrow().manifest(), None, None)
    }

    /// Ends the stream.
    pub(super) fn stop(self: &Rc<Self>, by: By, reason: &str) {
        self.session.borrow_mut().stop(by, reason, now());
        self.settle();
    }

    /// Says farewell, if the stream has ended. Whether it has.
    fn settle(self: &Rc<Self>) -> bool {
        if self.session.borrow().end().is_none() {
            return false;
        }
        if let Some(coupled) = self.coupled.take() {
            let farewell = self.session.borrow().farewell();
            streams::bid(&coupled, farewell.message.as_deref(), farewell.code, &farewell.reason, farewell.is_cut);
            if farewell.is_cut {
                self.cluster.abort();
            }
            let live = Rc::clone(self);
            spawn_local(async move { live.finish().await });
        }
        true
    }

    /// Stores what is left, gives the place back, and writes down how it ended.
    async fn finish(self: &Rc<Self>) {
        let _ = self.store_next(true);
        let storing: Array = self.storing.take().into_iter().collect();
        let _ = JsFuture::from(Promise::all(&storing)).await;
        let (items, record) = {
            let session = self.session.borrow();
            let (facts, end, code) = (session.facts(), session.end(), session.exit_code());
            let summary = manifest::summary(&facts.summary(), end, code);
            let mut items = self.left.take();
            let has_left = !items.is_empty();
            items.extend(closing(&facts.id, facts.user(), &close(&session.manifest(), end, code), &summary));
            if has_left {
                // To try again takes its time, and the runtime may end the object meanwhile.
                hold(&self.state, &items);
            }
            (items, session.record())
        };
        let is_wanted = with_gateway(&self.env, |gateway| gateway.writes(record.level));
        if is_wanted {
            log(record.level, &record.template);
        }
        save(&self.state, &self.env, items).await;
        self.is_finished.set(true);
        let _ = streams::told(self.tell("leave")).await;
    }

    /// Stores the next chunk, if there is one that is due: each is when it is the last. One that cannot be stored ends the stream.
    fn store_next(self: &Rc<Self>, is_last: bool) -> Promise {
        let next = self.session.borrow_mut().take(is_last, now());
        let Some((place, bytes)) = next else { return Promise::resolve(&JsValue::UNDEFINED) };
        let (live, bytes) = (Rc::clone(self), streams::bytes(&bytes));
        let storing = future_to_promise(async move {
            if !live.store(place, bytes).await {
                live.stop(By::Gateway, "what is done here cannot be recorded any more");
            }
            if !live.is_finished.get() {
                live.keep();
            }
            Ok(JsValue::UNDEFINED)
        });
        self.storing.borrow_mut().push(storing.clone());
        storing
    }

    /// Stores a chunk. What cannot be stored now is tried again after the end.
    async fn store(&self, place: usize, bytes: JsValue) -> bool {
        let key = chunk_key(&self.session.borrow().facts().id, place);
        let stored = JsFuture::from(streams::store(&self.env, &key, &bytes, None)).await;
        let digest = JsFuture::from(streams::digest(&bytes)).await.ok().and_then(|digest| digest.as_string());
        self.session.borrow_mut().stored(place, digest.unwrap_or_default());
        if stored.is_ok() {
            streams::release(&bytes);
        } else {
            self.left.borrow_mut().push(Item(key, bytes, None));
        }
        stored.is_ok()
    }

    /// Tells the roll of this stream.
    fn tell(&self, what: &str) -> Result<Promise, JsValue> {
        let session = self.session.borrow();
        let facts = session.facts();
        let body = format!("{}\n{}\n{}\n{}", facts.id, facts.user(), self.entrance.relay.most, facts.summary());
        streams::command(&self.env, "", what, &body, None)
    }

    /// Leaves with the runtime what is known, for the object that comes after this one.
    fn keep(&self) {
        let session = self.session.borrow();
        let facts = session.facts();
        let known = [&facts.id, facts.user(), &session.manifest(), &facts.summary()];
        let known: Array = known.into_iter().map(JsValue::from_str).collect();
        streams::keep(&self.state, &known, SILENCE_MILLISECONDS);
    }
}

/// Whether the roll lets a stream in.
pub(super) async fn admitted(answer: Result<Promise, JsValue>, most: usize) -> Result<(), Error> {
    match streams::told(answer).await {
        Ok((200, _)) => Ok(()),
        Ok((429, _)) => Err(Error::TooMany(most)),
        _ => Err(Error::NoRoll),
    }
}

/// Whether something was done so many seconds ago. It is done now then.
fn is_due(last: &Cell<u64>, every: u64, now: u64) -> bool {
    let is_due = now >= last.get() + every;
    if is_due {
        last.set(now);
    }
    is_due
}

fn side_of(side: u32) -> Side {
    if side == 0 { Side::Client } else { Side::Cluster }
}
