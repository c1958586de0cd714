//! The bindings of `rim.js`: what is cheaper in JavaScript than across the Wasm boundary.

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys::{Request, Response};

#[wasm_bindgen(raw_module = "./rim.js")]
extern "C" {
    pub(super) fn open(request: &Request) -> String;

    pub(super) fn send(binding: &JsValue, request: &Request, plan: &str) -> Promise;

    pub(super) fn outline(response: &Response) -> u32;

    pub(super) fn peek(response: &Response, bytes: u32) -> Promise;

    pub(super) fn strip(response: &Response) -> Response;

    pub(super) fn answer(
        status: u16,
        content_type: &str,
        retry_after: Option<u32>,
        body: Option<&str>,
    ) -> Response;

    pub(super) fn certs(url: &str, bytes: u32, milliseconds: u32) -> Promise;

    pub(super) fn look(namespace: &JsValue, key: &str) -> Promise;

    pub(super) fn wait(promise: &Promise, milliseconds: u32) -> Promise;

    pub(super) fn verify(jwk: &str, signature: &Uint8Array, input: &str) -> Promise;

    pub(super) fn log(level: &str, line: &str);
}

/// What `outline` says of a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outline(u32);

impl Outline {
    pub(super) fn of(response: &Response) -> Self {
        Self(outline(response))
    }

    pub(super) fn status(self) -> u16 {
        u16::try_from(self.0 & 0xffff).unwrap_or_default()
    }

    pub(super) fn has_websocket(self) -> bool {
        self.0 & 1 << 16 != 0
    }

    pub(super) fn must_be_stripped(self) -> bool {
        self.0 & 1 << 17 != 0
    }

    pub(super) fn is_html_error(self) -> bool {
        self.0 & 1 << 18 != 0
    }

    pub(super) fn is_text_error(self) -> bool {
        self.0 & 1 << 19 != 0
    }
}
