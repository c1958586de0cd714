//! What the gateway answers by itself: its page, and what it is asked under `/.kube-access`. Who may have it has been ruled.

use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys;

use super::{Visit, failure, head, json, plain, sessions, streams, vars, with_gateway, write};
use crate::answer;
use crate::audit::{self, Entry};
use crate::gateway::Journey;
use crate::grant;
use crate::own::{Error, HOME, Reply, SUCCESS};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::request::Request;

#[wasm_bindgen(module = "/src/edge/own.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    pub(super) fn body(request: &web_sys::Request, bytes: usize) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    fn file(env: &JsValue, name: &str, request: &web_sys::Request) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    fn ledger(env: &JsValue, path: &str, body: &str, request: &web_sys::Request) -> Result<Promise, JsValue>;

    pub(super) fn lines(state: &JsValue) -> Promise;

    #[wasm_bindgen(js_name = change)]
    pub(super) fn alter(state: &JsValue, env: &JsValue, decide: &JsValue) -> Promise;
}

/// What the page may do in a browser: what it brings itself. Text becomes HTML by its player's policy alone: see `dev/page-player.ts`.
const OF_PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types asciinema-player";

/// What the answer to a stranger may do.
const OF_STRANGERS: &str =
    "default-src 'none'; style-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// What anything else may do.
const OF_DATA: &str = "default-src 'none'; frame-ancestors 'none'";

pub(super) async fn serve(
    reply: Reply,
    visit: &Visit<'_>,
    asked: &Request<'_>,
    journey: &Journey<'_>,
) -> Result<web_sys::Response, Refusal> {
    let entry = Entry { request: asked, caller: journey.caller(), refusal: None };
    let records = with_gateway(visit.env, |gateway| gateway.records(&entry));
    let (answer, policy) = match reply {
        Reply::Health => return Ok(plain("ok\n", 200, "text/plain; charset=utf-8")?),
        Reply::Moved => {
            let answer = plain("", 302, "text/plain; charset=utf-8")?;
            answer.headers().set("location", HOME)?;
            (answer, OF_DATA)
        }
        Reply::File(name) => (page(&name, visit).await?, OF_PAGE),
        Reply::Json(text) => (json(&text)?, OF_DATA),
        Reply::Download(name, text) => {
            let answer = plain(&text, 200, "application/yaml")?;
            answer.headers().set("content-disposition", &format!("attachment; filename=\"{name}\""))?;
            (answer, OF_DATA)
        }
        Reply::Sessions(call) => (sessions::answer(&call, visit, journey).await?, OF_DATA),
        Reply::Grants(whose, opening) => {
            let kept = kept(visit).await?;
            let held = grant::held(&kept, asked.head.now());
            (json(&grant::page(&opening, &held, &whose))?, OF_DATA)
        }
        Reply::Give(to, grant, is_for_somebody) => {
            let kept = grant.json();
            let given = grant::in_full(&to, &kept);
            let records = audit::change(&entry, "create", &grant.id, &given);
            change(visit, asked, "give", &format!("{to}\t{kept}"), &records).await?;
            let told = [&grant::noted(given, is_for_somebody), "\n"].concat();
            return Ok(secured(plain(&told, 201, "application/json")?, OF_DATA)?);
        }
        Reply::Take(id, taken) => {
            let records = audit::change(&entry, "delete", &id, &taken);
            change(visit, asked, "take", &id, &records).await?;
            return Ok(secured(json(SUCCESS)?, OF_DATA)?);
        }
    };
    write(asked, &records, answer.status());
    Ok(secured(answer, policy)?)
}

/// Has the object make a change, and write it down: a client that goes away meanwhile takes nothing off the record.
async fn change(
    visit: &Visit<'_>,
    asked: &Request<'_>,
    command: &str,
    what: &str,
    records: &[Record],
) -> Result<(), Refusal> {
    let mut body = format!("{what}\n{}", asked.head.received);
    for record in records {
        body.extend(["\n", &record.template]);
    }
    self::command(visit, command, &body).await.map(drop)
}

/// A file of the page.
async fn page(name: &str, visit: &Visit<'_>) -> Result<web_sys::Response, Refusal> {
    if !vars::has_page(visit.env) {
        return Err(Refusal::Own(Error::NoPage));
    }
    let found = JsFuture::from(file(visit.env, name, visit.request)?).await.map_err(|error| failure(&error))?;
    let found: web_sys::Response = found.into();
    if !matches!(found.status(), 200 | 304) {
        return Err(Refusal::Own(Error::Unknown));
    }
    let init = head(found.status(), &found.headers().get("content-type")?.unwrap_or_default(), None)?;
    let answer = web_sys::Response::new_with_opt_readable_stream_and_init(found.body().as_ref(), &init)?;
    answer.headers().set("cache-control", "private, no-cache")?;
    if let Some(tag) = found.headers().get("etag")? {
        answer.headers().set("etag", &tag)?;
    }
    Ok(answer)
}

/// An answer of the gateway's own, with what a browser is told so that no other page makes anything of it.
pub(super) fn secured(answer: web_sys::Response, policy: &str) -> Result<web_sys::Response, JsValue> {
    let headers = answer.headers();
    for (name, value) in [
        ("content-security-policy", policy),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        headers.set(name, value)?;
    }
    Ok(answer)
}

/// What a refusal may do in a browser.
pub(super) fn policy_of(content_type: &str) -> &'static str {
    if content_type.starts_with("text/html") { OF_STRANGERS } else { OF_DATA }
}

/// All grants that are kept.
pub(super) async fn kept(visit: &Visit<'_>) -> Result<String, Refusal> {
    command(visit, "list", "").await
}

/// What the object that keeps the grants answers.
async fn command(visit: &Visit<'_>, path: &str, body: &str) -> Result<String, Refusal> {
    let unwritable = || Refusal::from(grant::Error::Unwritable);
    let told = streams::told(ledger(visit.env, path, body, visit.request)).await.map_err(|error| {
        let failure = failure(&error);
        if failure == answer::Error::Gone { failure.into() } else { unwritable() }
    });
    match told? {
        (200, text) => Ok(text),
        (404, id) => Err(grant::Error::NoSuch(id).into()),
        (409, which) => Err(grant::Error::TooMany(which).into()),
        _ => Err(unwritable()),
    }
}
