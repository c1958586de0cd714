//! The bindings of `rim.js`: what is cheaper in JavaScript than across the Wasm boundary. A call that throws is an error here,
//! and never a trap.

use js_sys::{Array, Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys::{AbortSignal, Request, Response};

#[wasm_bindgen(module = "/src/edge/rim.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    pub(super) fn open(request: &Request) -> Result<Uint8Array, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn reopen(request: &Request) -> Result<Uint8Array, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn send(
        env: &JsValue,
        request: &Request,
        head: &Uint8Array,
        plan: &str,
        settle: Option<&Function>,
        signal: Option<&AbortSignal>,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn outline(response: &Response) -> Result<u32, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn peek(response: &Response, bytes: u32, request: &Request) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn dress(
        response: &Response,
        strips: bool,
        sandboxes: bool,
        warning: Option<&str>,
    ) -> Result<Response, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn access(
        url: &str,
        bytes: usize,
        milliseconds: u32,
        request: Option<&Request>,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn review(
        env: &JsValue,
        method: &str,
        target: &str,
        lines: &str,
        body: &str,
        bytes: usize,
        milliseconds: u32,
        request: &Request,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn within(promise: &Promise, milliseconds: u32, request: &Request) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn look(env: &JsValue, keys: &Array, milliseconds: u32, request: &Request) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    pub(super) fn verify(jwk: &str, signature: &Uint8Array, input: &str, request: &Request)
    -> Result<Promise, JsValue>;
}
