//! The object that keeps the grants which are given through the gateway.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Array;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys;
use worker::{DurableObject, Env, State, durable_object};

use super::{now, own, plain};
use crate::grant::{self, Change, Error};

/// One for all grants, by the name `grants`. It makes one change at a time, each in Workers KV as well.
#[durable_object(fetch)]
#[derive(Debug)]
pub struct Grants {
    state: JsValue,
    env: Env,
}

impl DurableObject for Grants {
    fn new(state: State, env: Env) -> Self {
        Self { state: state._inner().into(), env }
    }

    async fn fetch(&self, request: worker::Request) -> worker::Result<worker::Response> {
        let request = request.inner();
        let url = request.url();
        let text = JsFuture::from(request.text()?).await?.as_string().unwrap_or_default();
        Ok(self.answer(url.rsplit('/').next().unwrap_or_default(), text).await?.into())
    }
}

impl Grants {
    /// `give` has the key of an entry TAB a grant, and `take` the name of one: its answer is what was taken.
    async fn answer(&self, command: &str, text: String) -> Result<web_sys::Response, JsValue> {
        let (status, text) = match command {
            "list" => (200, JsFuture::from(own::lines(&self.state)).await?.as_string().unwrap_or_default()),
            "give" => told(self.change(move |kept| give(kept, &text)).await?),
            "take" => told(self.change(move |kept| take(kept, &text)).await?),
            _ => (404, String::new()),
        };
        plain(&text, status, "text/plain; charset=utf-8")
    }

    /// Makes a change, of which something is told.
    async fn change(
        &self,
        decide: impl FnOnce(&str) -> Result<(Change, String), Error> + 'static,
    ) -> Result<Result<String, Error>, JsValue> {
        let told = Rc::new(RefCell::new(Err(Error::Unwritable)));
        let tell = Rc::clone(&told);
        let decide = Closure::once_into_js(move |kept: String| {
            let decided = decide(&kept);
            let changes = decided.as_ref().map_or(JsValue::UNDEFINED, |(change, _)| changes(change, &kept).into());
            *tell.borrow_mut() = decided.map(|(_, text)| text);
            changes
        });
        let is_made = JsFuture::from(own::change(&self.state, &self.env, &decide)).await?.is_truthy();
        let told = told.replace(Err(Error::Unwritable));
        Ok(if is_made { told } else { Err(Error::Unwritable) })
    }
}

fn give(kept: &str, text: &str) -> Result<(Change, String), Error> {
    let (to, json) = text.split_once('\t').ok_or(Error::Unwritable)?;
    Ok((grant::give(&grant::held(kept, now() / 1000), to, json)?, String::new()))
}

fn take(kept: &str, id: &str) -> Result<(Change, String), Error> {
    let held = grant::held(kept, now() / 1000);
    let taken = held.iter().find(|grant| grant.id == id).map(grant::Held::json);
    Ok((grant::take(&held, id)?, taken.unwrap_or_default()))
}

/// A change as `change` of `own.js` reads it.
fn changes(change: &Change, kept: &str) -> Array {
    let Change { to, text, until, gives } = change;
    let ended = grant::ended(kept, now() / 1000);
    let ended = ended.into_iter().filter(|key| key != to).map(JsValue::from_str);
    #[allow(clippy::cast_precision_loss, reason = "seconds since the Unix epoch are far below 2^53")]
    let until = JsValue::from_f64(*until as f64);
    [JsValue::from_str(to), JsValue::from_str(text), until, JsValue::from_bool(*gives)]
        .into_iter()
        .chain(ended)
        .collect()
}

/// An outcome as status and text: see `command` of `own.rs`.
fn told(outcome: Result<String, Error>) -> (u16, String) {
    match outcome {
        Ok(text) => (200, text),
        Err(Error::NoSuch(_)) => (404, String::new()),
        Err(Error::TooMany(which)) => (409, which),
        Err(_) => (503, String::new()),
    }
}
