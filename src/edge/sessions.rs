//! Answers about sessions, from the roll, from the objects and from the bucket of recordings. Who may have them has been ruled.

use js_sys::{Array, Promise};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys;

use super::{Visit, head, json, streams, vars};
use crate::gateway::Journey;
use crate::own::SUCCESS;
use crate::refusal::Refusal;
use crate::session::manifest;
use crate::session::own::{Call, Error, MANIFESTS, Page, Query, State, chunks, manifest_key, user_key};

/// How many names of a bucket, or of the roll, are listed at once.
const LOOKED_AT: u32 = 1000;

pub(super) async fn answer(
    call: &Call,
    visit: &Visit<'_>,
    journey: &Journey<'_>,
) -> Result<web_sys::Response, Refusal> {
    match call {
        Call::List(query) => Ok(json(&list(query, visit).await?)?),
        Call::Manifest(id) => Ok(json(&manifest_of(id, visit).await?)?),
        Call::Chunks(id) => {
            let found: Vec<String> = recorded(id, visit).await?.iter().map(Object::chunk).collect();
            Ok(json(&format!("{{\"chunks\":[{}]}}\n", found.join(",")))?)
        }
        Call::Chunk(id, name) => pieces(id, &[name], 0, "application/octet-stream", visit).await,
        Call::Cast(id) => cast(id, visit).await,
        Call::End(id, reason) => {
            let who = journey.caller().map_or("", |caller| caller.identity().user());
            let given = reason.as_deref().filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
            let (status, _) =
                command(visit, id, "end", &format!("{who} ended it{}", given.unwrap_or_default())).await?;
            if status != 200 {
                return Err(Error::Over(id.clone()).into());
            }
            Ok(json(SUCCESS)?)
        }
    }
}

/// What lies in the bucket.
struct Object {
    name: String,
    summary: String,
    /// In bytes, as digits.
    size: String,
}

struct Found {
    items: Vec<Object>,
    has_more: bool,
}

impl Object {
    fn chunk(&self) -> String {
        format!(r#"{{"name":"{}","size":{}}}"#, self.name, self.size)
    }
}

async fn list(query: &Query, visit: &Visit<'_>) -> Result<String, Refusal> {
    let mut page = Page::default();
    if let Some(after) = query.after(State::Live, &page) {
        let wanted = format!("{after}\n{}\n{LOOKED_AT}\n", query.user.as_deref().unwrap_or_default());
        let (_, lines) = command(visit, "", "list", &wanted).await?;
        let found = lines.lines().filter_map(|line| line.split_once(' '));
        let found: Vec<_> = found.map(|(id, open)| (id.to_owned(), manifest::summary(open, None, None))).collect();
        let has_more = found.len() == LOOKED_AT as usize;
        page.add(query, State::Live, found, has_more);
    }
    if let Some(after) = query.after(State::Ended, &page) {
        let prefix = query.user.as_ref().map_or_else(|| MANIFESTS.to_owned(), |user| user_key(user, ""));
        let found = objects(&prefix, after, visit).await?;
        let items = found.items.into_iter().map(|Object { name, summary, .. }| (name, summary)).collect();
        page.add(query, State::Ended, items, found.has_more);
    }
    Ok(page.json(query))
}

async fn manifest_of(id: &str, visit: &Visit<'_>) -> Result<String, Refusal> {
    if vars::has_recordings(visit.env) {
        let text = read(streams::find(visit.env, &manifest_key(id), Some(visit.request))).await?;
        if let Some(text) = text.as_string() {
            return Ok(text);
        }
    }
    match command(visit, id, "manifest", "").await? {
        (200, text) => Ok(text),
        _ => Err(Error::NoSuch(id.to_owned()).into()),
    }
}

async fn cast(id: &str, visit: &Visit<'_>) -> Result<web_sys::Response, Refusal> {
    let found = recorded(id, visit).await?;
    if found.is_empty() {
        return Err(Error::NoSuch(id.to_owned()).into());
    }
    let names: Vec<&String> = found.iter().map(|item| &item.name).collect();
    let bytes = found.iter().filter_map(|item| item.size.parse::<u64>().ok()).sum();
    pieces(id, &names, bytes, "application/x-asciicast", visit).await
}

/// Chunks of a recording, one after the other: so many bytes in all.
async fn pieces(
    id: &str,
    names: &[&String],
    bytes: u64,
    kind: &str,
    visit: &Visit<'_>,
) -> Result<web_sys::Response, Refusal> {
    if !vars::has_recordings(visit.env) {
        return Err(Error::NoSuch(id.to_owned()).into());
    }
    let names: Array = names.iter().map(|name| JsValue::from_str(name)).collect();
    let body = read(streams::concatenate(visit.env, &chunks(id), &names, &bytes.to_string())).await?;
    let body: web_sys::ReadableStream = body.dyn_into().map_err(|_| Error::NoChunk(id.to_owned()))?;
    let init = head(200, kind, None)?;
    Ok(web_sys::Response::new_with_opt_readable_stream_and_init(Some(&body), &init)?)
}

/// The chunks of a recording: a long one has more than are listed at once.
async fn recorded(id: &str, visit: &Visit<'_>) -> Result<Vec<Object>, Refusal> {
    let prefix = chunks(id);
    let mut all: Vec<Object> = Vec::new();
    loop {
        let after = all.last().map(|item| item.name.clone()).unwrap_or_default();
        let found = objects(&prefix, &after, visit).await?;
        all.extend(found.items);
        if !found.has_more {
            return Ok(all);
        }
    }
}

/// At most [`LOOKED_AT`] objects under a prefix, after one of them. Without a bucket there are none.
async fn objects(prefix: &str, after: &str, visit: &Visit<'_>) -> Result<Found, Refusal> {
    let mut found = Found { items: Vec::new(), has_more: false };
    if !vars::has_recordings(visit.env) {
        return Ok(found);
    }
    let listed = read(streams::list(visit.env, prefix, after, LOOKED_AT, Some(visit.request))).await?;
    let listed = Array::from(&listed).to_vec();
    found.has_more = listed.last().is_some_and(JsValue::is_truthy);
    for item in listed.chunks_exact(3) {
        let [name, summary, size] = item else { continue };
        let text = |value: &JsValue| value.as_string().unwrap_or_default();
        found.items.push(Object { name: text(name), summary: text(summary), size: text(size) });
    }
    Ok(found)
}

async fn read(promise: Promise) -> Result<JsValue, Refusal> {
    JsFuture::from(promise).await.map_err(|_| Error::Unreadable.into())
}

/// Status and text of what an object, or the roll, answers to a command.
async fn command(visit: &Visit<'_>, name: &str, path: &str, body: &str) -> Result<(u16, String), Refusal> {
    let answer = streams::command(visit.env, name, path, body, Some(visit.request));
    Ok(streams::told(answer).await.map_err(|_| Error::Unreadable)?)
}
