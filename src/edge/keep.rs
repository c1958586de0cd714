//! What stays of a stream when it has ended: what is stored in the bucket, and tried again until it is.

use js_sys::Array;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use super::{log, message, now, streams, vars};
use crate::config::Level;
use crate::record::open;
use crate::session::manifest::{self, close};
use crate::session::own::{manifest_key, user_key};

/// How long what could not be stored waits before it is tried again, in milliseconds: twice as long each time, and half an hour at most.
const AGAIN_MILLISECONDS: u32 = 30_000;

/// So many times is the wait doubled.
const DOUBLED: u32 = 6;

/// What is stored: key, bytes, and the summary that a list shows.
#[derive(Debug, Clone)]
pub(super) struct Item(pub(super) String, pub(super) JsValue, pub(super) Option<String>);

/// What is stored at the end: the manifest, with what a list shows of it, and the same for lists of one user's.
pub(super) fn closing(id: &str, user: &str, manifest: &str, summary: &str) -> [Item; 2] {
    let text = |text: &str| JsValue::from_str(text);
    [
        Item(manifest_key(id), text(manifest), Some(summary.to_owned())),
        Item(user_key(user, id), text(""), Some(summary.to_owned())),
    ]
}

/// Closes what an object left that is gone.
pub(super) async fn recover(state: &JsValue, env: &JsValue, known: &Array) {
    if known.get(0).is_array() {
        let tries = known.at(-1).as_string().and_then(|tries| tries.parse().ok()).unwrap_or_default();
        let item = |item: JsValue| {
            let item = Array::from(&item);
            Item(item.get(0).as_string().unwrap_or_default(), item.get(1), item.get(2).as_string())
        };
        let items = known.iter().filter(JsValue::is_array).map(item).collect();
        return store(state, env, items, tries).await;
    }
    let text = |place| known.get(place).as_string().unwrap_or_default();
    let (id, user, manifest, summary) = (text(0), text(1), text(2), text(3));
    let end = manifest::lost(now());
    let summary = manifest::summary(&summary, Some(&end), None);
    save(state, env, closing(&id, &user, &close(&manifest, Some(&end), None), &summary).to_vec()).await;
}

/// Stores what must be stored at the end, and forgets the stream; or has it tried again.
pub(super) async fn save(state: &JsValue, env: &JsValue, items: Vec<Item>) {
    store(state, env, items, 0).await;
}

/// The same, after so many tries.
async fn store(state: &JsValue, env: &JsValue, items: Vec<Item>, tries: u32) {
    let mut items = if vars::has_recordings(env) { items.as_slice() } else { &[] };
    while let Some((Item(key, bytes, summary), rest)) = items.split_first() {
        if let Err(error) = JsFuture::from(streams::store(env, key, bytes, summary.as_deref())).await {
            let milliseconds = AGAIN_MILLISECONDS << tries.min(DOUBLED);
            let detail =
                format!("recordings/{key}, to be tried again in {} s: {}", milliseconds / 1000, message(&error));
            log(Level::Error, &format!(r#"{{"level":"error","message":"not stored","detail":{}"}}"#, open(&detail)));
            return keep(state, items, tries + 1, milliseconds);
        }
        items = rest;
    }
    let _ = JsFuture::from(streams::forget(state)).await;
}

/// Leaves with the object what must be stored, for the runtime to have it tried again.
pub(super) fn hold(state: &JsValue, items: &[Item]) {
    keep(state, items, 0, AGAIN_MILLISECONDS);
}

/// Leaves with the object what is to be stored, and how often that was tried.
fn keep(state: &JsValue, items: &[Item], tries: u32, milliseconds: u32) {
    let left: Array = items
        .iter()
        .map(|Item(key, bytes, summary)| {
            let summary = summary.as_deref().map_or(JsValue::UNDEFINED, JsValue::from_str);
            Array::of3(&JsValue::from_str(key), bytes, &summary)
        })
        .collect();
    left.push(&JsValue::from_str(&tries.to_string()));
    streams::keep(state, &left, milliseconds);
}
