//! The object that counts the streams in our hands.

use std::cell::RefCell;

use worker::worker_sys::web_sys;
use worker::{DurableObject, Env, State, durable_object};

use super::{now, plain};
use crate::session::roll;

/// One for all streams, by the name `roll`: see [`roll::Roll`].
#[durable_object(fetch)]
#[derive(Debug)]
pub struct Roll {
    streams: RefCell<roll::Roll>,
}

impl DurableObject for Roll {
    fn new(_: State, _: Env) -> Self {
        Self { streams: RefCell::default() }
    }

    async fn fetch(&self, request: worker::Request) -> worker::Result<worker::Response> {
        let request = request.inner();
        let url = request.url();
        let text = wasm_bindgen_futures::JsFuture::from(request.text()?).await?.as_string().unwrap_or_default();
        Ok(worker::Response::from(self.answer(&url, &text)?))
    }
}

impl Roll {
    /// `enter` and `try` have the lines ID, user, how many they may have, summary; `stay` and `leave` the same. `list` has the ID after
    /// which it begins, the user or nothing, and how many it may have.
    fn answer(&self, url: &str, text: &str) -> Result<web_sys::Response, wasm_bindgen::JsValue> {
        let mut lines = text.splitn(4, '\n');
        let mut line = || lines.next().unwrap_or_default();
        let (id, user, most, summary) = (line(), line(), line().parse().unwrap_or_default(), line());
        let mut streams = self.streams.borrow_mut();
        let now = now() / 1000;
        let (status, body) = match url.rsplit('/').next().unwrap_or_default() {
            "enter" => (if streams.enter(id, user, summary, most, now) { 200 } else { 429 }, String::new()),
            "try" => (if streams.has_place(user, most, now) { 200 } else { 429 }, String::new()),
            "stay" => {
                streams.stay(id, user, summary, now);
                (200, String::new())
            }
            "leave" => {
                streams.leave(id);
                (200, String::new())
            }
            "list" => (200, streams.list(id, user, most, now).join("\n")),
            _ => (404, String::new()),
        };
        plain(&body, status, "text/plain; charset=utf-8")
    }
}
