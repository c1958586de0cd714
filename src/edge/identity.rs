//! Claims -> identity, by Workers KV where it is bound, and by the compiled map.

use wasm_bindgen_futures::JsFuture;
use worker::Env;

use super::{binding, rim};
use crate::identity::entry::{self, Verdict};
use crate::identity::{COMPILED, Identity};
use crate::refusal::Refusal;
use crate::token::{Claims, Subject};

/// The binding of Workers KV, which may be missing.
const IDENTITIES: &str = "IDENTITIES";

/// How long a caller is remembered where Workers KV is bound, in seconds. The store itself may answer what was true a
/// minute ago.
const REMEMBER_SECONDS: u64 = 60;

/// Who the caller is, and until when that may be remembered.
pub(super) async fn identify(
    claims: &Claims,
    now: u64,
    env: &Env,
) -> Result<(Identity, u64), Refusal> {
    let store = binding(env, IDENTITIES);
    let (Some(key), false) = (entry::key(claims), store.is_undefined()) else {
        return Ok((by_map(claims)?, claims.expires()));
    };
    let found = JsFuture::from(rim::look(&store, &key)).await;
    let found = found.map_err(|_| unavailable("Workers KV does not answer"))?;
    let verdict = match found.as_string() {
        Some(text) => entry::read(&text, claims, now)
            .map_err(|error| unavailable(&format!("the KV entry {key} cannot be read: {error}")))?,
        None => Verdict::Absent,
    };
    let until = claims.expires().min(now + REMEMBER_SECONDS);
    match verdict {
        Verdict::Absent => Ok((by_map(claims)?, until)),
        Verdict::Denied => Err(Refusal::Denied(name(claims))),
        Verdict::Granted(identity, end) => Ok((identity, end.map_or(until, |end| end.min(until)))),
    }
}

fn by_map(claims: &Claims) -> Result<Identity, Refusal> {
    COMPILED
        .identify(claims)
        .ok_or_else(|| Refusal::NotMapped(name(claims)))
}

fn unavailable(why: &str) -> Refusal {
    Refusal::IdentityUnavailable(why.to_owned())
}

fn name(claims: &Claims) -> String {
    match claims.subject() {
        Subject::User { email, .. } => email.clone(),
        Subject::ServiceToken { client_id } => format!("service token {client_id}"),
        Subject::Nobody => "a token that names nobody".to_owned(),
    }
}
