//! The bindings of `session.js`: the sockets and stores of streams in our hands.

use js_sys::{Array, Object, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys::{Request, Response};

#[wasm_bindgen(module = "/src/edge/session.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    pub(super) fn hand(env: &JsValue, request: &Request, name: &str, stamp: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn command(
        env: &JsValue,
        name: &str,
        path: &str,
        body: &str,
        request: Option<&Request>,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn remember(request: &Request) -> Result<Request, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn couple(
        state: &JsValue,
        env: &JsValue,
        name: &str,
        answer: &Response,
        hear: &Array,
    ) -> Result<Coupled, JsValue>;

    /// Both ends of a stream, and what the client is answered.
    #[wasm_bindgen(extends = Object)]
    #[derive(Debug, Clone)]
    pub(super) type Coupled;

    #[wasm_bindgen(method, getter)]
    pub(super) fn answer(this: &Coupled) -> Response;

    pub(super) fn protocol(answer: &Response) -> String;

    pub(super) fn say(coupled: &Coupled, message: &[u8]);

    pub(super) fn bid(coupled: &Coupled, message: Option<&[u8]>, code: u16, reason: &str, is_cut: bool);

    pub(super) fn tick(milliseconds: u32, then: &JsValue);

    pub(super) fn wait() -> Promise;

    pub(super) fn store(env: &JsValue, key: &str, bytes: &JsValue, summary: Option<&str>) -> Promise;

    pub(super) fn digest(bytes: &JsValue) -> Promise;

    pub(super) fn release(bytes: &JsValue);

    #[wasm_bindgen(catch)]
    pub(super) fn probe(env: &JsValue, name: &str) -> Result<Promise, JsValue>;

    pub(super) fn keep(state: &JsValue, known: &JsValue, milliseconds: u32);

    pub(super) fn kept(state: &JsValue) -> Promise;

    pub(super) fn rouse(state: &JsValue, milliseconds: u32);

    pub(super) fn forget(state: &JsValue) -> Promise;

    pub(super) fn find(env: &JsValue, key: &str, request: Option<&Request>) -> Promise;

    pub(super) fn list(env: &JsValue, prefix: &str, after: &str, limit: u32, request: Option<&Request>) -> Promise;

    pub(super) fn concatenate(env: &JsValue, prefix: &str, names: &Array, bytes: &str) -> Promise;
}

/// A copy of bytes that JavaScript keeps.
pub(super) fn bytes(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

/// Status and text of an object's answer to a command, as `tell` of `rim.js` gives them.
pub(super) async fn told(answer: Result<Promise, JsValue>) -> Result<(u16, String), JsValue> {
    let answer = JsFuture::from(answer?).await?.as_string().unwrap_or_default();
    let (status, text) = answer.split_at_checked(3).unwrap_or_default();
    Ok((status.parse().unwrap_or_default(), text.to_owned()))
}
