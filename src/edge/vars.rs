//! The Worker's bindings -> [`Config`].

use js_sys::{Array, Reflect};
use wasm_bindgen::JsValue;

use crate::config::{Config, ConfigError, Var, Vars};
use crate::guard::Guards;
use crate::identity::COMPILED;

/// What the variables configure, and whether Workers KV is bound.
pub(super) fn read(env: &JsValue, guards: &Guards<'_>) -> (Result<Config, ConfigError>, bool) {
    let has_identities = binding(env, "IDENTITIES").is_some();
    let config = Config::parse(&Vars {
        access_team_domain: var(env, "ACCESS_TEAM_DOMAIN"),
        access_aud: var(env, "ACCESS_AUD"),
        log_level: var(env, "LOG_LEVEL"),
        enable_k8s_logging: var(env, "ENABLE_K8S_LOGGING"),
        last_hop_key: var(env, "LAST_HOP_KEY"),
        has_kube_api: binding(env, "KUBE_API").is_some(),
        has_identities,
        has_grants: COMPILED.has_granted(),
        contact: var(env, "CONTACT"),
        has_ledger: binding(env, "GRANTS").is_some(),
        max_streams: var(env, "MAX_STREAMS"),
        has_sessions: ["SESSIONS", "ROLL"].iter().all(|name| binding(env, name).is_some()),
        has_recordings: has_recordings(env),
        bounds_sessions: guards.bounds_sessions(),
        may_record: guards.may_record(),
    });
    (config, has_identities)
}

/// Whether there is a bucket for recordings.
pub(super) fn has_recordings(env: &JsValue) -> bool {
    binding(env, "RECORDINGS").is_some()
}

/// Whether there is a page.
pub(super) fn has_page(env: &JsValue) -> bool {
    binding(env, "ASSETS").is_some()
}

fn var(env: &JsValue, name: &str) -> Option<Var> {
    let value = binding(env, name)?;
    if let Some(text) = value.as_string() {
        return Some(Var::Text(text));
    }
    if let Some(is_on) = value.as_bool() {
        return Some(Var::Switch(is_on));
    }
    if Array::is_array(&value) {
        let array = Array::from(&value);
        let list: Option<Vec<String>> = array.iter().map(|item| item.as_string()).collect();
        return Some(list.map_or(Var::Other("an array of other things than text"), Var::List));
    }
    let kind = if value.as_f64().is_some() { "a number" } else { "an object" };
    Some(Var::Other(kind))
}

fn binding(env: &JsValue, name: &str) -> Option<JsValue> {
    let value = Reflect::get(env, &JsValue::from_str(name)).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}
