//! Whom the line wants asked: Access for its certs, `WebCrypto` for a signature, Workers KV for an entry.

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use worker::Context;

use super::{ISOLATE, Visit, log, message, rim, with_gateway};
use crate::answer;
use crate::gateway::{Answer, Question, Unanswered};
use crate::keys::{FETCH_SECONDS, MAX_JWKS_BYTES};
use crate::refusal::Refusal;

/// How long Workers KV may take, in milliseconds.
const STORE_MILLISECONDS: u32 = 5_000;

/// Asks. The only error is a client that went away meanwhile: whoever does not answer is an answer.
pub(super) async fn ask(question: Question, visit: &Visit<'_>, now: u64, ctx: &Context) -> Result<Answer, Refusal> {
    let request = visit.request;
    match question {
        Question::Certs => {
            let renewal = renewal(visit.env, now, ctx);
            settled(rim::within(&renewal, FETCH_SECONDS * 1_000 + 1_000, request)).await?.ok();
            Ok(Answer::Certs)
        }
        Question::Signature { jwk, input, signature } => {
            let signature = Uint8Array::from(signature.as_slice());
            let verdict = settled(rim::verify(&jwk, &signature, &input, request)).await?;
            Ok(Answer::Signature(verdict.is_ok_and(|verdict| verdict.is_truthy())))
        }
        Question::Entry(key) => {
            let found = rim::look(visit.env, &key, STORE_MILLISECONDS, request);
            let found = settled(found).await?.map_err(|_| Unanswered);
            Ok(Answer::Entry(found.map(|text| text.as_string())))
        }
    }
}

/// The fetch of the certs that is under way, or a new one. It outlives the request that began it, since others wait for it too;
/// it has an end of its own.
fn renewal(env: &JsValue, now: u64, ctx: &Context) -> Promise {
    if let Some(url) = with_gateway(env, |gateway| gateway.begin_renewal(now)) {
        let renewal = future_to_promise(async move {
            let text = match rim::certs(&url, MAX_JWKS_BYTES, FETCH_SECONDS * 1_000) {
                Ok(fetch) => JsFuture::from(fetch).await.ok(),
                Err(_) => None,
            };
            let text = text.and_then(|text| text.as_string());
            let line = with_gateway(&JsValue::UNDEFINED, |gateway| gateway.renew(text.as_deref(), now));
            if let Some(record) = line {
                log(record.level, &record.template);
            }
            Ok(JsValue::UNDEFINED)
        });
        let kept = renewal.clone();
        ctx.wait_until(async move {
            let _ = JsFuture::from(kept).await;
        });
        ISOLATE.with_borrow_mut(|isolate| isolate.renewal = Some(renewal));
    }
    let renewal = ISOLATE.with_borrow(|isolate| isolate.renewal.clone());
    renewal.unwrap_or_else(|| Promise::resolve(&JsValue::UNDEFINED))
}

/// What became of a wait, unless the client went away.
async fn settled(wait: Result<Promise, JsValue>) -> Result<Result<JsValue, JsValue>, Refusal> {
    let outcome = match wait {
        Ok(promise) => JsFuture::from(promise).await,
        Err(error) => Err(error),
    };
    match &outcome {
        Err(error) if message(error) == answer::GONE => Err(answer::Error::Gone.into()),
        _ => Ok(outcome),
    }
}
