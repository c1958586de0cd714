//! What stays of a stream when it has ended: what is stored in the bucket, and tried again until it is.

use js_sys::Array;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use super::{now, streams, vars};
use crate::session::manifest::{self, close};
use crate::session::own::{manifest_key, user_key};

/// How long what could not be stored waits before it is tried again, in milliseconds.
const AGAIN_MILLISECONDS: u32 = 30_000;

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
        let item = |item: JsValue| {
            let item = Array::from(&item);
            Item(item.get(0).as_string().unwrap_or_default(), item.get(1), item.get(2).as_string())
        };
        return save(state, env, known.iter().map(item).collect()).await;
    }
    let text = |place| known.get(place).as_string().unwrap_or_default();
    let (id, user, manifest, summary) = (text(0), text(1), text(2), text(3));
    let end = manifest::lost(now());
    let summary = manifest::summary(&summary, Some(&end), None);
    save(state, env, closing(&id, &user, &close(&manifest, Some(&end), None), &summary).to_vec()).await;
}

/// Stores what must be stored at the end, and forgets the stream; or has it tried again.
pub(super) async fn save(state: &JsValue, env: &JsValue, items: Vec<Item>) {
    let mut items = if vars::has_recordings(env) { items } else { Vec::new() }.into_iter();
    while let Some(item) = items.next() {
        let Item(key, bytes, summary) = &item;
        if JsFuture::from(streams::store(env, key, bytes, summary.as_deref())).await.is_err() {
            let left = std::iter::once(item).chain(items);
            let left: Array = left
                .map(|Item(key, bytes, summary)| {
                    let summary = summary.map_or(JsValue::UNDEFINED, |summary| JsValue::from_str(&summary));
                    Array::of3(&JsValue::from_str(&key), &bytes, &summary)
                })
                .collect();
            return streams::keep(state, &left, AGAIN_MILLISECONDS);
        }
    }
    let _ = JsFuture::from(streams::forget(state)).await;
}
