//! The team's keys in this isolate: one fetch at a time, and `WebCrypto`.

use std::rc::Rc;

use js_sys::{Object, Promise, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use worker::Context;

use super::{ISOLATE, rim};
use crate::config::{Config, Level};
use crate::keys::{FETCH_SECONDS, Key, Keys, KeysError, MAX_JWKS_BYTES, Plan};
use crate::refusal::Refusal;
use crate::token::{Reason, Untrusted};

/// The key of this `kid`, after a fetch if the rules ask for one. Requests that come during a fetch wait for the same.
pub(super) async fn key(
    id: &str,
    config: &Config,
    now: u64,
    ctx: &Context,
) -> Result<Rc<Key>, Refusal> {
    let plan = ISOLATE.with_borrow(|isolate| isolate.ring.plan(id, now));
    let renewal = match plan {
        Plan::Use(key) => return Ok(key),
        Plan::Fetch => Some(renewal(config, now, ctx)),
        Plan::Unknown | Plan::Unavailable => ISOLATE.with_borrow(|isolate| isolate.renewal.clone()),
    };
    let failure = match renewal {
        Some(renewal) => renew(&renewal, config, now).await.err(),
        None => None,
    };
    match ISOLATE.with_borrow(|isolate| isolate.ring.key(id, now)) {
        Plan::Use(key) => Ok(key),
        Plan::Unknown => Err(Refusal::Unauthenticated(Reason::UnknownKey)),
        Plan::Fetch | Plan::Unavailable => Err(Refusal::KeysUnavailable(
            failure.unwrap_or(KeysError::Unreachable),
        )),
    }
}

/// Whether the signature is the key's.
pub(super) async fn verify(key: &Key, untrusted: &Untrusted<'_>) -> bool {
    let signature = Uint8Array::from(untrusted.signature());
    let verdict = JsFuture::from(rim::verify(
        &key.to_jwk(),
        &signature,
        untrusted.signing_input(),
    ))
    .await;
    verdict.is_ok_and(|verdict| verdict.is_truthy())
}

/// The fetch that is under way, or a new one. It outlives the request that began it, since others wait for it too.
fn renewal(config: &Config, now: u64, ctx: &Context) -> Promise {
    ISOLATE.with_borrow_mut(|isolate| {
        isolate.ring.ask(now);
        let begin = || {
            rim::certs(
                &config.certs_url,
                limit(MAX_JWKS_BYTES),
                milliseconds(FETCH_SECONDS),
            )
        };
        let renewal = isolate.renewal.get_or_insert_with(begin).clone();
        let kept = renewal.clone();
        ctx.wait_until(async move {
            let _ = JsFuture::from(kept).await;
        });
        renewal
    })
}

/// Waits for a fetch, and takes what it brought if nobody has yet.
async fn renew(renewal: &Promise, config: &Config, now: u64) -> Result<(), KeysError> {
    let settled = JsFuture::from(rim::wait(renewal, milliseconds(FETCH_SECONDS + 1))).await;
    let keys = match settled.unwrap_or(JsValue::UNDEFINED).as_string() {
        Some(text) => Keys::parse(&text),
        None => Err(KeysError::Unreachable),
    };
    let is_first = ISOLATE.with_borrow_mut(|isolate| {
        isolate
            .renewal
            .take_if(|current| Object::is(current, renewal))
            .is_some()
    });
    match keys {
        Ok(keys) if is_first => {
            ISOLATE.with_borrow_mut(|isolate| {
                isolate.callers.retain(&keys);
                isolate.ring.renew(keys, now);
            });
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) => {
            if is_first && config.log_level <= Level::Error {
                let line = format!(r#"{{"level":"error","message":"no keys","detail":"{error}"}}"#);
                rim::log("error", &line);
            }
            Err(error)
        }
    }
}

fn limit(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn milliseconds(seconds: u64) -> u32 {
    u32::try_from(seconds * 1000).unwrap_or(u32::MAX)
}
