//! The rim: the only code that knows the Workers runtime. It carries the request along the line, and decides nothing
//! that could be decided without it.
//!
//! `edge/entry.js` is the Worker's module; it calls the exports of this file.

#![allow(unreachable_pub, reason = "wasm-bindgen exports what is pub")]

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use worker::worker_sys::{
    self,
    web_sys::{Request, Response},
};
use worker::{Context, Env};
use worker_macros::event;

use crate::audit::Entry;
use crate::caller::{Caller, Callers};
use crate::config::{Config, ConfigError, Level, Vars};
use crate::head::Head;
use crate::keys::KeyRing;
use crate::refusal::{Refusal, Upstream};
use crate::target::{Protocol, Target};
use crate::token::Untrusted;
use crate::upstream;

mod identity;
mod keys;
mod rim;

/// Paths that the gateway keeps for itself.
const RESERVED: &str = "/.kube-access";

/// Where a monitor may ask whether the Worker runs. The answer is the same for everybody.
const HEALTH: &str = "/.kube-access/healthz";

/// The binding of Workers VPC.
const KUBE_API: &str = "KUBE_API";

/// How long an upgrade may wait for its answer, in milliseconds.
const UPGRADE_MILLISECONDS: u32 = 30_000;

/// How long an ordinary request may wait for the head of its answer, in milliseconds: a little more than kube-apiserver's
/// own limit (`--request-timeout`, a minute), which then speaks first.
const ANSWER_MILLISECONDS: u32 = 65_000;

/// What this isolate keeps from one request to the next.
#[derive(Default)]
struct Isolate {
    config: Option<Result<Rc<Config>, ConfigError>>,
    ring: KeyRing,
    callers: Callers,
    renewal: Option<js_sys::Promise>,
}

impl Isolate {
    /// The caller of this request, if it was recognised before and nothing has to be asked of Access.
    fn recall(&mut self, head: &Head<'_>) -> Option<Rc<Caller>> {
        let is_reliable = self.ring.is_reliable(head.now());
        if is_reliable {
            self.callers.recall(token(head), head.now())
        } else {
            None
        }
    }
}

thread_local! {
    static ISOLATE: RefCell<Isolate> = RefCell::default();

    /// Where `entry.js` writes a head for [`pass`]: as bytes into this memory, which is cheaper than any argument.
    static INBOX: RefCell<Vec<u8>> = RefCell::default();
}

#[event(start)]
fn start() {
    // The hook before it notes that this instance is not to be used again: see entry.js.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        console_error_panic_hook::hook(panic);
        before(panic);
    }));
}

/// Makes the inbox: room for a head of so many bytes. Its address stays the same.
#[wasm_bindgen]
pub fn inbox(bytes: usize) -> *mut u8 {
    INBOX.with_borrow_mut(|inbox| {
        inbox.resize(bytes, 0);
        inbox.as_mut_ptr()
    })
}

/// The short way, for callers who were recognised before. Takes the length of the head in the inbox; gives what to send, as
/// [`plan`] writes it. `None` sends the request the long way, which comes to the same decision, or to a refusal.
#[wasm_bindgen]
pub fn pass(length: usize) -> Option<String> {
    INBOX.with_borrow(|inbox| pass_text(std::str::from_utf8(inbox.get(..length)?).ok()?))
}

fn pass_text(head: &str) -> Option<String> {
    let (head, too_large) = Head::read(head);
    if is_reserved(head.path()) || too_large.is_some() {
        return None;
    }
    let caller = ISOLATE.with_borrow_mut(|isolate| {
        let config = isolate.config.as_ref()?.as_ref().ok()?;
        let leaves_no_line = !config.audit && config.log_level > Level::Debug;
        if leaves_no_line {
            isolate.recall(&head)
        } else {
            None
        }
    })?;
    let target = Target::parse(&head).ok()?;
    let needs_second_look = target.is_proxy() || Protocol::parse(&head) == Ok(Protocol::Spdy);
    if needs_second_look {
        None
    } else {
        plan(&head, &target, &caller).ok()
    }
}

/// The long way: gives a response, or the promise of one.
///
/// What can be refused without asking anybody is refused at once, and the future that does the rest is not even made: V8
/// compiles a function when it is first called, and a new isolate has enough to do.
#[wasm_bindgen]
pub fn attend(request: Request, env: Env, ctx: worker_sys::Context) -> JsValue {
    let text = rim::open(&request);
    let (head, too_large) = Head::read(&text);
    if head.path() == HEALTH && matches!(head.method, "GET" | "HEAD") {
        return rim::answer(200, "text/plain; charset=utf-8", None, Some("ok\n")).into();
    }
    match too_large.map_or_else(|| admit(&head, &env), Err) {
        Ok((config, mut caller)) => future_to_promise(async move {
            let (head, _) = Head::read(&text);
            let ctx = Context::new(ctx);
            let served = serve(&request, &head, &config, &env, &ctx, &mut caller).await;
            Ok(conclude(&head, caller.as_deref(), served).into())
        })
        .into(),
        Err(refusal) => conclude(&head, None, Err(refusal)).into(),
    }
}

/// Refuses what nobody has to be asked about, and recalls the caller who was recognised before.
fn admit(head: &Head<'_>, env: &Env) -> Result<(Rc<Config>, Option<Rc<Caller>>), Refusal> {
    if is_reserved(head.path()) {
        return Err(Refusal::Reserved);
    }
    let config = config(env).map_err(Refusal::Misconfigured)?;
    let caller = ISOLATE.with_borrow_mut(|isolate| isolate.recall(head));
    if caller.is_none() {
        Untrusted::parse(token(head)).map_err(Refusal::Unauthenticated)?;
    }
    Ok((config, caller))
}

/// The second look at an answer, or at the failure to get one, to a request that went the short way.
#[wasm_bindgen]
pub async fn settle(head: String, outcome: JsValue) -> Response {
    let (head, _) = Head::read(&head);
    let caller = ISOLATE.with_borrow_mut(|isolate| isolate.recall(&head));
    let served = look_over(outcome.dyn_into().map_err(|error| failure(&error)), &head).await;
    conclude(&head, caller.as_deref(), served)
}

/// The line. Its steps are those of the crate's front page.
async fn serve(
    request: &Request,
    head: &Head<'_>,
    config: &Config,
    env: &Env,
    ctx: &Context,
    known: &mut Option<Rc<Caller>>,
) -> Result<Response, Refusal> {
    let caller = match known {
        Some(caller) => caller,
        None => known.insert(recognise(head, config, env, ctx).await?),
    };
    let target = Target::parse(head)?;
    let plan = plan(head, &target, caller)?;
    let outcome = JsFuture::from(rim::send(&binding(env, KUBE_API), request, &plan)).await;
    look_over(
        outcome
            .and_then(JsCast::dyn_into)
            .map_err(|error| failure(&error)),
        head,
    )
    .await
}

/// What to send, as `send` of `rim.js` reads it.
fn plan(head: &Head<'_>, target: &Target, caller: &Caller) -> Result<String, Refusal> {
    let outgoing = upstream::prepare(head, target, caller)?;
    let milliseconds = match Protocol::parse(head)? {
        Protocol::WebSocket => UPGRADE_MILLISECONDS,
        Protocol::Http | Protocol::Spdy if target.answers_late() => 0,
        Protocol::Http | Protocol::Spdy => ANSWER_MILLISECONDS,
    };
    Ok([
        milliseconds.to_string().as_str(),
        head.target,
        &outgoing.own,
        &outgoing.names,
        outgoing.identity,
    ]
    .join("\n"))
}

/// Token, key, signature, claims, identity; remembered from then on.
async fn recognise(
    head: &Head<'_>,
    config: &Config,
    env: &Env,
    ctx: &Context,
) -> Result<Rc<Caller>, Refusal> {
    let now = head.now();
    let text = token(head);
    let untrusted = Untrusted::parse(text).map_err(Refusal::Unauthenticated)?;
    let key = keys::key(untrusted.key_id(), config, now, ctx).await?;
    let is_authentic = keys::verify(&key, &untrusted).await;
    let signed = untrusted
        .confirm(is_authentic)
        .map_err(Refusal::Unauthenticated)?;
    let claims = signed
        .claims(config, now)
        .map_err(Refusal::Unauthenticated)?;
    let (identity, until) = identity::identify(&claims, now, env).await?;
    let caller = Rc::new(Caller::new(identity));
    ISOLATE.with_borrow_mut(|isolate| {
        isolate
            .callers
            .remember(text, Rc::clone(&caller), key, until);
    });
    Ok(caller)
}

/// Passes the cluster's answer through, unless it is not the cluster's.
async fn look_over(
    outcome: Result<Response, Upstream>,
    head: &Head<'_>,
) -> Result<Response, Refusal> {
    let response = outcome.map_err(Refusal::Upstream)?;
    let target = Target::parse(head)?;
    let outline = rim::Outline::of(&response);
    let status = outline.status();
    if status == 101
        && !(outline.has_websocket() && Protocol::parse(head) == Ok(Protocol::WebSocket))
    {
        return Err(Refusal::Upstream(Upstream::Garbled(
            "status 101 without a WebSocket".into(),
        )));
    }
    if Protocol::parse(head) == Ok(Protocol::Spdy) && is_missing_upgrade(&response, status).await {
        return Err(Refusal::Spdy);
    }
    // What a workload answers is the workload's, whatever it looks like.
    if !target.is_proxy()
        && let Some(failure) = failure_in(&response, outline).await
    {
        return Err(Refusal::Upstream(failure));
    }
    Ok(if outline.must_be_stripped() {
        rim::strip(&response)
    } else {
        response
    })
}

/// Whether a stream that was asked for without SPDY would have been opened with it: the API server misses the upgrade.
async fn is_missing_upgrade(response: &Response, status: u16) -> bool {
    if status != 400 {
        return status < 400;
    }
    let start = JsFuture::from(rim::peek(response, 1024)).await.ok();
    start
        .and_then(|text| text.as_string())
        .is_some_and(|text| text.contains("Upgrade request required"))
}

/// The failure of a hop on the way to the cluster, where the answer tells of one.
async fn failure_in(response: &Response, outline: rim::Outline) -> Option<Upstream> {
    if outline.status() == 500 && outline.is_text_error() {
        let start = JsFuture::from(rim::peek(response, 256)).await.ok()?;
        return Upstream::of_text(&start.as_string()?);
    }
    Upstream::of_answer(outline.status(), outline.is_html_error())
}

/// Writes down what became of a request, and answers it.
fn conclude(
    head: &Head<'_>,
    caller: Option<&Caller>,
    served: Result<Response, Refusal>,
) -> Response {
    let (response, refusal) = match served {
        Ok(response) => (response, None),
        Err(refusal) => (refuse(head, &refusal), Some(refusal)),
    };
    record(head, caller, refusal.as_ref(), response.status());
    response
}

fn refuse(head: &Head<'_>, refusal: &Refusal) -> Response {
    let answer = refusal.answer(head);
    let body = if head.method == "HEAD" {
        None
    } else {
        Some(answer.body.as_str())
    };
    rim::answer(answer.status, answer.content_type, answer.retry_after, body)
}

/// One line in the log, where its level is wanted, and one audit event, where those are.
fn record(head: &Head<'_>, caller: Option<&Caller>, refusal: Option<&Refusal>, status: u16) {
    let config = ISOLATE.with_borrow(|isolate| isolate.config.clone().and_then(Result::ok));
    let mut entry = Entry {
        head,
        caller,
        refusal,
        status,
        answered: 0,
    };
    let is_logged = config
        .as_ref()
        .is_none_or(|config| entry.level() >= config.log_level);
    let is_audited = config.as_ref().is_some_and(|config| config.audit);
    if !is_logged && !is_audited {
        return;
    }
    entry.answered = worker::Date::now().as_millis();
    if is_logged {
        rim::log(entry.level().name(), &entry.line());
    }
    if is_audited {
        rim::log("log", &entry.event());
    }
}

/// The configuration, read from the Worker's bindings once.
fn config(env: &Env) -> Result<Rc<Config>, ConfigError> {
    ISOLATE.with_borrow_mut(|isolate| {
        isolate
            .config
            .get_or_insert_with(|| read_config(env).map(Rc::new))
            .clone()
    })
}

fn read_config(env: &Env) -> Result<Config, ConfigError> {
    let var = |name: &str| env.var(name).ok().map(|value| value.to_string());
    let (team, aud) = (var("ACCESS_TEAM_DOMAIN"), var("ACCESS_AUD"));
    let (level, audit) = (var("LOG_LEVEL"), var("ENABLE_K8S_LOGGING"));
    Config::parse(Vars {
        access_team_domain: team.as_deref(),
        access_aud: aud.as_deref(),
        log_level: level.as_deref(),
        enable_k8s_logging: audit.as_deref(),
        has_kube_api: !binding(env, KUBE_API).is_undefined(),
    })
}

fn binding(env: &Env, name: &str) -> JsValue {
    js_sys::Reflect::get(env, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

/// The token that Access signed for this request; several are joined by the runtime, and are none.
fn token<'a>(head: &Head<'a>) -> &'a str {
    head.header("cf-access-jwt-assertion").unwrap_or_default()
}

fn is_reserved(path: &str) -> bool {
    path.strip_prefix(RESERVED)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads what a failed `fetch` threw.
fn failure(error: &JsValue) -> Upstream {
    let words = error
        .dyn_ref::<js_sys::Error>()
        .map(|error| String::from(error.message()));
    Upstream::parse(&words.unwrap_or_default())
}
