//! The rim: the only code that knows the Workers runtime. It carries the request along the line, and decides nothing
//! that could be decided without it.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys::{Request, Response};
use worker::{Context, Env, event};

use crate::audit::Entry;
use crate::caller::{Caller, Callers};
use crate::config::{Config, ConfigError, Vars};
use crate::head::Head;
use crate::identity::COMPILED;
use crate::keys::KeyRing;
use crate::refusal::{Refusal, Upstream};
use crate::target::{Protocol, Target};
use crate::token::{Subject, Untrusted};
use crate::upstream;

mod keys;
mod rim;

/// Paths that the gateway keeps for itself.
const RESERVED: &str = "/.kube-access";

/// Where a monitor may ask whether the Worker runs. The answer is the same for everybody.
const HEALTH: &str = "/.kube-access/healthz";

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

thread_local! {
    static ISOLATE: RefCell<Isolate> = RefCell::default();
}

#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, ctx: Context) -> worker::Result<Response> {
    let text = rim::open(&request);
    let (head, too_large) = Head::read(&text);
    if head.path() == HEALTH && matches!(head.method, "GET" | "HEAD") {
        return Ok(rim::answer(
            200,
            "text/plain; charset=utf-8",
            None,
            Some("ok\n"),
        ));
    }
    let mut caller = None;
    let config = config(&env);
    let served = match (too_large, &config) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(error)) => Err(Refusal::Misconfigured(error.clone())),
        (None, Ok(config)) => serve(&request, &head, config, &env, &ctx, &mut caller).await,
    };
    let (response, refusal) = match served {
        Ok(response) => (response, None),
        Err(refusal) => (refuse(&head, &refusal), Some(refusal)),
    };
    record(
        &head,
        config.ok().as_deref(),
        caller.as_deref(),
        refusal.as_ref(),
        response.status(),
    );
    Ok(response)
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
    if head.path().starts_with(RESERVED) {
        return Err(Refusal::Reserved);
    }
    let caller = recognise(head, config, ctx).await?;
    let caller = &*known.insert(caller);
    let target = Target::parse(head)?;
    let lines = upstream::prepare(head, caller)?;
    let milliseconds = if target.is_long_running() {
        0
    } else {
        ANSWER_MILLISECONDS
    };
    let binding = binding(env);
    let response = match JsFuture::from(rim::send(
        &binding,
        request,
        head.target,
        &lines,
        milliseconds,
    ))
    .await
    {
        Ok(response) => response.unchecked_into::<Response>(),
        Err(error) => return Err(Refusal::Upstream(Upstream::parse(&words(&error)))),
    };
    look_over(response, head, &target).await
}

/// Token, key, signature, claims, identity; or the memory of all five.
async fn recognise(head: &Head<'_>, config: &Config, ctx: &Context) -> Result<Rc<Caller>, Refusal> {
    let now = head.now();
    let text = head.header("cf-access-jwt-assertion").unwrap_or_default();
    let remembered = ISOLATE.with_borrow_mut(|isolate| {
        if isolate.ring.is_reliable(now) {
            isolate.callers.recall(text, now)
        } else {
            None
        }
    });
    if let Some(caller) = remembered {
        return Ok(caller);
    }
    let untrusted = Untrusted::parse(text).map_err(Refusal::Unauthenticated)?;
    let key = keys::key(untrusted.key_id(), config, now, ctx).await?;
    let is_authentic = keys::verify(&key, &untrusted).await;
    let signed = untrusted
        .confirm(is_authentic)
        .map_err(Refusal::Unauthenticated)?;
    let claims = signed
        .claims(config, now)
        .map_err(Refusal::Unauthenticated)?;
    let identity = COMPILED
        .identify(&claims)
        .ok_or_else(|| Refusal::NotMapped(name(claims.subject())))?;
    let caller = Rc::new(Caller::new(identity));
    ISOLATE.with_borrow_mut(|isolate| {
        isolate
            .callers
            .remember(text, Rc::clone(&caller), key, claims.expires());
    });
    Ok(caller)
}

/// Passes the cluster's answer through, unless it is not the cluster's.
async fn look_over(
    response: Response,
    head: &Head<'_>,
    target: &Target,
) -> Result<Response, Refusal> {
    let outline = rim::Outline::of(&response);
    let status = outline.status();
    if status == 101
        && !(outline.has_websocket() && Protocol::parse(head) == Ok(Protocol::WebSocket))
    {
        return Err(Refusal::Upstream(Upstream::Garbled(
            "status 101 without a WebSocket".into(),
        )));
    }
    if let Some(failure) =
        Upstream::of_answer(status, outline.is_html_error() && !target.is_proxy())
    {
        return Err(Refusal::Upstream(failure));
    }
    if status == 500 && outline.is_text_error() {
        let start = JsFuture::from(rim::peek(&response, 256))
            .await
            .ok()
            .and_then(|text| text.as_string());
        if let Some(error) = start.filter(|text| text.starts_with("ProxyError: ")) {
            return Err(Refusal::Upstream(Upstream::parse(&error)));
        }
    }
    Ok(if outline.must_be_stripped() {
        rim::strip(&response)
    } else {
        response
    })
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
fn record(
    head: &Head<'_>,
    config: Option<&Config>,
    caller: Option<&Caller>,
    refusal: Option<&Refusal>,
    status: u16,
) {
    let mut entry = Entry {
        head,
        caller,
        refusal,
        status,
        answered: 0,
    };
    let is_logged = config.is_none_or(|config| entry.level() >= config.log_level);
    let is_audited = config.is_some_and(|config| config.audit);
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
        has_kube_api: !binding(env).is_undefined(),
    })
}

fn binding(env: &Env) -> JsValue {
    js_sys::Reflect::get(env, &JsValue::from_str("KUBE_API")).unwrap_or(JsValue::UNDEFINED)
}

fn name(subject: &Subject) -> String {
    match subject {
        Subject::User { email, .. } => email.clone(),
        Subject::ServiceToken { client_id } => format!("service token {client_id}"),
        Subject::Nobody => "a token that names nobody".to_owned(),
    }
}

fn words(error: &JsValue) -> String {
    error
        .dyn_ref::<js_sys::Error>()
        .map(|error| String::from(error.message()))
        .unwrap_or_default()
}
