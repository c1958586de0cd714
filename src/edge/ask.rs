//! Whom the line wants asked: Access for its certs and for a person's identity, `WebCrypto` for a signature, Workers KV for an entry,
//! the API server for what a caller may.

use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use worker::Context;

use super::{ISOLATE, Isolate, UnderWay, Visit, log, message, own, rim, with_gateway};
use crate::answer;
use crate::gateway::{Answer, Question, Review, Unanswered};
use crate::identity::membership::{self, Person};
use crate::keys::{FETCH_SECONDS, MAX_JWKS_BYTES};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::review;

/// How long Workers KV may take, in milliseconds.
const STORE_MILLISECONDS: u32 = 5_000;

/// How long anybody waits for a person's identity, in milliseconds: a little longer than its fetch may take.
const MEMBERSHIP_MILLISECONDS: u32 = membership::MILLISECONDS + 1_000;

/// Asks. The only error is a client that went away meanwhile: whoever does not answer is an answer.
pub(super) async fn ask(
    question: Question,
    visit: &Visit<'_>,
    now: u64,
    ctx: Option<&Context>,
) -> Result<Answer, Refusal> {
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
        Question::Entries(keys) => {
            let keys: Array = keys.iter().map(|key| JsValue::from_str(key)).collect();
            let found = rim::look(visit.env, &keys, STORE_MILLISECONDS, request);
            let found = settled(found).await?.map_err(|_| Unanswered);
            Ok(Answer::Entries(found.map(|texts| Array::from(&texts).iter().map(|text| text.as_string()).collect())))
        }
        Question::Membership(person, url) => {
            let membership = membership(person, &url, visit, now, ctx);
            settled(rim::within(&membership, MEMBERSHIP_MILLISECONDS, request)).await?.ok();
            Ok(Answer::Membership)
        }
        Question::Reviews(reviews) => {
            let sent = Array::new();
            for Review { method, target, lines, body, most, .. } in &reviews {
                let milliseconds = review::MILLISECONDS;
                let sending = rim::review(visit.env, method, target, lines, body, *most, milliseconds, request);
                let Ok(sending) = sending else { return Ok(Answer::Reviews(Vec::new())) };
                sent.push(&sending.into());
            }
            let texts = settled(Ok(Promise::all(&sent))).await?.ok();
            let texts = texts.iter().flat_map(|texts| Array::from(texts).to_vec());
            Ok(Answer::Reviews(texts.map(|text| text.as_string()).collect()))
        }
        Question::Body(bytes) => {
            let text = settled(own::body(request, bytes)).await?;
            Ok(Answer::Body(text.ok().and_then(|text| text.as_string()).ok_or(Unanswered)))
        }
        Question::Grants => Ok(Answer::Grants(own::kept(visit).await.map_err(|_| Unanswered))),
    }
}

/// The fetch of the certs that is under way, or a new one.
fn renewal(env: &JsValue, now: u64, ctx: Option<&Context>) -> Promise {
    if let Some(url) = with_gateway(env, |gateway| gateway.begin_renewal(now)) {
        let fetch = rim::access(&url, MAX_JWKS_BYTES, FETCH_SECONDS * 1_000, None);
        let renewal = fetched(fetch, ctx, move |isolate, text| isolate.gateway.as_mut()?.renew(text, now));
        ISOLATE.with_borrow_mut(|isolate| isolate.renewal = Some(renewal));
    }
    let renewal = ISOLATE.with_borrow(|isolate| isolate.renewal.clone());
    renewal.unwrap_or_else(|| Promise::resolve(&JsValue::UNDEFINED))
}

/// The fetch of a person's identity that is under way, or a new one.
fn membership(person: Person, url: &str, visit: &Visit<'_>, now: u64, ctx: Option<&Context>) -> Promise {
    let under_way = ISOLATE.with_borrow_mut(|isolate| {
        isolate.memberships.retain(|known| now <= known.began + u64::from(MEMBERSHIP_MILLISECONDS / 1_000));
        let of_person = isolate.memberships.iter().find(|known| known.person == person);
        of_person.map(|known| known.promise.clone())
    });
    if let Some(promise) = under_way {
        return promise;
    }
    let fetch = rim::access(url, membership::MAX_BYTES, membership::MILLISECONDS, Some(visit.request));
    let whose = person.clone();
    let membership = fetched(fetch, ctx, move |isolate, text| {
        isolate.memberships.retain(|known| known.person != whose);
        isolate.gateway.as_mut()?.enrol(whose, text, now)
    });
    let under_way = UnderWay { person, began: now, promise: membership.clone() };
    ISOLATE.with_borrow_mut(|isolate| isolate.memberships.push(under_way));
    membership
}

/// Hands the gateway what a fetch brings. It outlives the request that began it, since others wait for it too; it has an end of its
/// own. An object needs nobody to wait for it.
fn fetched(
    fetch: Result<Promise, JsValue>,
    ctx: Option<&Context>,
    take: impl FnOnce(&mut Isolate, Option<&str>) -> Option<Record> + 'static,
) -> Promise {
    let taken = future_to_promise(async move {
        let text = match fetch {
            Ok(fetch) => JsFuture::from(fetch).await.ok(),
            Err(_) => None,
        };
        let text = text.and_then(|text| text.as_string());
        if let Some(record) = ISOLATE.with_borrow_mut(|isolate| take(isolate, text.as_deref())) {
            log(record.level, &record.template);
        }
        Ok(JsValue::UNDEFINED)
    });
    if let Some(ctx) = ctx {
        let kept = taken.clone();
        ctx.wait_until(async move {
            let _ = JsFuture::from(kept).await;
        });
    }
    taken
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
