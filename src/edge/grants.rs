//! The object that keeps the grants which are given through the gateway.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Array;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys;
use worker::{DurableObject, Env, State, durable_object};

use super::{log, now, own, plain};
use crate::audit;
use crate::config::Level;
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
        Ok(self.answer(url.rsplit('/').next().unwrap_or_default(), &text).await?.into())
    }
}

impl Grants {
    /// `give` has the key of an entry TAB a grant, and `take` the name of one; then, a line each, when the request came, and what is
    /// written once it is done.
    async fn answer(&self, command: &str, text: &str) -> Result<web_sys::Response, JsValue> {
        let mut lines = text.lines();
        let mut line = || lines.next().unwrap_or_default();
        let (what, received) = (line().to_owned(), line().parse().unwrap_or_default());
        let (done, outcome) = match command {
            "list" => {
                let kept = JsFuture::from(own::lines(&self.state)).await?.as_string();
                return plain(&kept.unwrap_or_default(), 200, "text/plain; charset=utf-8");
            }
            "give" => (201, self.change(move |kept| give(kept, &what)).await?),
            "take" => (200, self.change(move |kept| grant::take(&grant::held(kept, now() / 1000), &what)).await?),
            _ => return plain("", 404, "text/plain; charset=utf-8"),
        };
        let (status, text) = told(outcome);
        let written = match status {
            200 => Some(done),
            // It may hold all the same.
            503 => Some(status),
            _ => None,
        };
        if let Some(status) = written {
            for template in lines {
                log(Level::Info, &audit::fill(template, status, now(), received));
            }
        }
        plain(&text, status, "text/plain; charset=utf-8")
    }

    /// Makes a change.
    async fn change(
        &self,
        decide: impl FnOnce(&str) -> Result<Change, Error> + 'static,
    ) -> Result<Result<(), Error>, JsValue> {
        let outcome = Rc::new(RefCell::new(Err(Error::Unwritable)));
        let tell = Rc::clone(&outcome);
        let decide = Closure::once_into_js(move |kept: String| {
            let decided = decide(&kept);
            let changes = decided.as_ref().map_or(JsValue::UNDEFINED, |change| changes(change, &kept).into());
            *tell.borrow_mut() = decided.map(drop);
            changes
        });
        let is_made = JsFuture::from(own::alter(&self.state, &self.env, &decide)).await?.is_truthy();
        let outcome = outcome.replace(Err(Error::Unwritable));
        Ok(if is_made { outcome } else { Err(Error::Unwritable) })
    }
}

fn give(kept: &str, what: &str) -> Result<Change, Error> {
    let (to, json) = what.split_once('\t').ok_or(Error::Unwritable)?;
    grant::give(&grant::held(kept, now() / 1000), to, json)
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
fn told(outcome: Result<(), Error>) -> (u16, String) {
    match outcome {
        Ok(()) => (200, String::new()),
        Err(Error::NoSuch(id)) => (404, id),
        Err(Error::TooMany(which)) => (409, which),
        Err(_) => (503, String::new()),
    }
}
