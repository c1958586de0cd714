//! The rim: the only code that knows the Workers runtime. It carries requests along the line of [`crate::gateway`], asks whom that
//! wants asked, and decides nothing.

#![allow(unreachable_pub, reason = "wasm-bindgen exports what is pub")]

use std::cell::RefCell;

use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys;
use worker::{Context, Env};
use worker_macros::event;

use crate::answer::{self, BEGINNING_BYTES, Outline};
use crate::audit::{self, Entry};
use crate::config::Level;
use crate::gateway::{Gateway, Journey, Plan, Step};
use crate::guard::{self, Guards};
use crate::identity::COMPILED;
use crate::identity::membership::Person;
use crate::own::Reply;
use crate::protocol::Protocol;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::rehearsal;
use crate::request::Request;

mod ask;
mod grants;
mod keep;
mod live;
mod own;
mod rim;
mod roll;
mod session;
mod sessions;
mod streams;
mod vars;

/// What this isolate keeps from one request to the next.
#[derive(Default)]
struct Isolate {
    gateway: Option<Gateway<'static>>,
    renewal: Option<Promise>,
    memberships: Vec<UnderWay>,
}

/// A fetch of a person's identity. What never ends, since the runtime ended the request that began it, is forgotten in time.
struct UnderWay {
    person: Person,
    /// In seconds since the Unix epoch.
    began: u64,
    promise: Promise,
}

thread_local! {
    static ISOLATE: RefCell<Isolate> = RefCell::default();
}

/// Where the line ends for a request that is served.
enum Way<'r> {
    Send(Plan<'r>),
    Own(Box<Reply>),
}

/// A request, and what it came with.
struct Visit<'a> {
    request: &'a web_sys::Request,
    env: &'a JsValue,
    /// The text of [`Request::read`], as JavaScript has it.
    head: &'a Uint8Array,
}

#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
    let _ = rehearsal::run();
}

/// The Worker.
#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, ctx: Context) -> worker::Result<web_sys::Response> {
    let head = rim::open(&request)?;
    let text = text(&head);
    let asked = Request::read(&text);
    let visit = Visit { request: &request, env: &env, head: &head };
    let mut journey = Journey::default();
    let served = visit.serve(&asked, &mut journey, &ctx).await;
    Ok(served.or_else(|refusal| refuse(&asked, &journey, &refusal))?)
}

/// The short way, for requests that need nobody's answer: sends, and gives the promise of what the client gets. `None` leaves the
/// request to [`fetch`]. No future waits here; `settle` is the function below, called when an answer is not plain.
#[wasm_bindgen]
pub fn pass(request: &web_sys::Request, env: &JsValue, settle: &Function) -> Option<Promise> {
    // A new isolate knows nobody.
    ISOLATE.with_borrow(|isolate| isolate.gateway.is_some()).then_some(())?;
    let head = rim::open(request).ok()?;
    let text = text(&head);
    let asked = Request::read(&text);
    let step = with_gateway(env, |gateway| gateway.step(&asked, &mut Journey::default()));
    let Step::Send(plan) = step else {
        return None;
    };
    if plan.may_repeat || plan.relay.is_some() || goes_to_object(&asked, &plan) {
        return None;
    }
    let plan = to_text(&plan, asked.head.received);
    rim::send(env, request, &head, &plan, Some(settle), None).ok()
}

/// The second look at what came back to a request that went the short way.
#[wasm_bindgen]
pub async fn settle(
    head: Uint8Array,
    outcome: JsValue,
    request: web_sys::Request,
) -> Result<web_sys::Response, JsValue> {
    let text = text(&head);
    let asked = Request::read(&text);
    let mut journey = Journey::default();
    // Asked again, the line says again who the caller is and what is to be written.
    let records = with_gateway(&JsValue::UNDEFINED, |gateway| match gateway.step(&asked, &mut journey) {
        Step::Send(plan) => plan.records,
        // What was known when it was sent has been forgotten meanwhile: it was sent all the same.
        Step::Ask(_) | Step::Refuse(_) | Step::Own(_) => {
            gateway.records(&Entry { request: &asked, caller: journey.caller(), refusal: None }).into()
        }
    });
    let outcome = outcome.dyn_into().map_err(|error| failure(&error));
    review(&request, &asked, &records, outcome).await.or_else(|refusal| refuse(&asked, &journey, &refusal))
}

impl Visit<'_> {
    /// Walks the line to its end.
    async fn walk<'r, 'a>(
        &self,
        asked: &'r Request<'a>,
        journey: &mut Journey<'a>,
        ctx: Option<&Context>,
    ) -> Result<Way<'r>, Refusal> {
        loop {
            match with_gateway(self.env, |gateway| gateway.step(asked, journey)) {
                Step::Ask(question) => {
                    let answer = ask::ask(question, self, asked.head.now(), ctx).await?;
                    journey.learn(answer);
                }
                Step::Refuse(refusal) => return Err(refusal),
                Step::Own(reply) => return Ok(Way::Own(reply)),
                Step::Send(plan) => return Ok(Way::Send(plan)),
            }
        }
    }

    async fn serve<'a>(
        &self,
        asked: &Request<'a>,
        journey: &mut Journey<'a>,
        ctx: &Context,
    ) -> Result<web_sys::Response, Refusal> {
        let plan = match self.walk(asked, journey, Some(ctx)).await? {
            Way::Own(reply) => return own::serve(*reply, self, asked, journey).await,
            Way::Send(plan) => plan,
        };
        if goes_to_object(asked, &plan) {
            return session::hand(self, asked, &plan).await;
        }
        if plan.relay.is_some() {
            // kubectl's second attempt at a stream: it shows the answer to this one.
            session::rehearse(self, asked, &plan).await?;
        }
        self.forward(asked, &plan).await
    }

    /// Sends a request as it is planned, and gives what the client gets.
    async fn forward(&self, asked: &Request<'_>, plan: &Plan<'_>) -> Result<web_sys::Response, Refusal> {
        let text = to_text(plan, asked.head.received);
        let mut outcome = self.send(&text, None).await?;
        if plan.may_repeat && matches!(outcome, Err(answer::Error::Broken(_))) {
            outcome = self.send(&text, None).await?;
        }
        review(self.request, asked, &plan.records, outcome).await
    }

    async fn send(
        &self,
        plan: &str,
        signal: Option<&web_sys::AbortSignal>,
    ) -> Result<Result<web_sys::Response, answer::Error>, Refusal> {
        let sent = rim::send(self.env, self.request, self.head, plan, None, signal)?;
        Ok(JsFuture::from(sent).await.and_then(JsCast::dyn_into).map_err(|error| failure(&error)))
    }
}

/// Whether a request is an object's: a WebSocket in our hands, or one that is cut off at its time.
fn goes_to_object(asked: &Request<'_>, plan: &Plan<'_>) -> bool {
    asked.protocol == Ok(Protocol::WebSocket) && (plan.relay.is_some() || plan.until > 0)
}

/// The cluster's answer as the client gets it, or what is wrong with it. Writes down the one; the other is for [`refuse`].
async fn review(
    request: &web_sys::Request,
    asked: &Request<'_>,
    records: &[Record],
    outcome: Result<web_sys::Response, answer::Error>,
) -> Result<web_sys::Response, Refusal> {
    let response = outcome?;
    let outline = Outline(rim::outline(&response)?);
    let mut beginning = String::new();
    if answer::needs_beginning(asked, outline) {
        let text = rim::peek(&response, BEGINNING_BYTES, request)?;
        beginning = JsFuture::from(text).await.map_err(|error| failure(&error))?.as_string().unwrap_or_default();
    }
    let changes = answer::review(asked, outline, &beginning)?;
    write(asked, records, response.status());
    if changes == answer::Changes::default() {
        return Ok(response);
    }
    Ok(rim::dress(&response, changes.strips, changes.sandboxes, changes.warning)?)
}

/// Answers a refused request, and writes down why.
fn refuse(asked: &Request<'_>, journey: &Journey<'_>, refusal: &Refusal) -> Result<web_sys::Response, JsValue> {
    let entry = Entry { request: asked, caller: journey.caller(), refusal: Some(refusal) };
    let (records, page) =
        with_gateway(&JsValue::UNDEFINED, |gateway| (gateway.records(&entry), refusal.page(asked, gateway.contact())));
    let is_own = page.is_some() || crate::own::read(&asked.head).is_some();
    let answer = page.unwrap_or_else(|| refusal.answer(asked));
    write(asked, &records, answer.status);
    let init = head(answer.status, answer.content_type, answer.retry_after)?;
    let response = web_sys::Response::new_with_opt_str_and_init(Some(&answer.body), &init)?;
    if is_own { own::secured(response, own::policy_of(answer.content_type)) } else { Ok(response) }
}

/// An answer of the gateway's own. The runtime leaves the body out where the method is HEAD.
fn plain(body: &str, status: u16, content_type: &str) -> Result<web_sys::Response, JsValue> {
    web_sys::Response::new_with_opt_str_and_init(Some(body), &head(status, content_type, None)?)
}

fn json(text: &str) -> Result<web_sys::Response, JsValue> {
    plain(text, 200, "application/json")
}

fn head(status: u16, content_type: &str, retry_after: Option<u32>) -> Result<web_sys::ResponseInit, JsValue> {
    let headers = web_sys::Headers::new()?;
    headers.set("content-type", content_type)?;
    headers.set("cache-control", "no-store")?;
    if let Some(seconds) = retry_after {
        headers.set("retry-after", &seconds.to_string())?;
    }
    let init = web_sys::ResponseInit::new();
    init.set_status(status);
    init.set_headers(&headers);
    Ok(init)
}

/// The text of a head. The runtime gives well-formed text; of anything else nothing is served.
fn text(head: &Uint8Array) -> String {
    String::from_utf8(head.to_vec()).unwrap_or_default()
}

fn write(asked: &Request<'_>, records: &[Record], status: u16) {
    for record in records {
        let answered = now();
        log(record.level, &audit::fill(&record.template, status, answered, asked.head.received));
    }
}

/// Milliseconds since the Unix epoch.
fn now() -> u64 {
    worker::Date::now().as_millis()
}

/// One line of the log, by the method of the console that gives it its severity.
fn log(level: Level, line: &str) {
    match level {
        Level::Debug => worker::console_debug!("{line}"),
        Level::Info => worker::console_log!("{line}"),
        Level::Warn => worker::console_warn!("{line}"),
        Level::Error => worker::console_error!("{line}"),
    }
}

/// A plan as `send` of `rim.js` reads it.
fn to_text(plan: &Plan<'_>, received: u64) -> String {
    let mut text = String::with_capacity(4096);
    let numbers = format!("{} {} {received} {}", plan.milliseconds, u8::from(plan.is_reviewed), plan.until);
    for part in [&numbers, &*plan.target, &plan.head.lines, &plan.head.names, plan.caller.lines()] {
        text.extend([part, "\n"]);
    }
    for record in &plan.records {
        text.extend([record.level.method(), ":", &record.template, "\n"]);
    }
    text
}

/// The gateway of this isolate, configured by its first request.
fn with_gateway<T>(env: &JsValue, work: impl FnOnce(&mut Gateway<'static>) -> T) -> T {
    ISOLATE.with_borrow_mut(|isolate| {
        let gateway = isolate.gateway.get_or_insert_with(|| {
            let guards = Guards::parse(guard::COMPILED);
            let (config, has_store) = vars::read(env, &guards);
            Gateway::new(config, COMPILED, guards, has_store)
        });
        work(gateway)
    })
}

/// A call into the runtime that threw.
impl From<JsValue> for Refusal {
    fn from(error: JsValue) -> Self {
        Self::Failed(message(&error))
    }
}

fn failure(error: &JsValue) -> answer::Error {
    answer::Error::parse(&message(error))
}

fn message(error: &JsValue) -> String {
    let error = error.dyn_ref::<js_sys::Error>();
    error.map_or_else(String::new, |error| String::from(error.message()))
}
