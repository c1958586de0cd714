//! What a setup changes, as people are shown it: the documents as they are read, without what is secret in them.

use std::path::Path;

use serde_json::{Map, Value};
use similar::TextDiff;

use super::ANY_TOKEN;
use super::files::File;
use crate::failure::{Because, Failure};
use crate::host::Host;
use crate::text::visible;

/// Keys whose values are secrets, or may be.
const SECRETS: [&str; 12] = [
    "token",
    "password",
    "client-key-data",
    "client-certificate-data",
    "id-token",
    "refresh-token",
    "access-token",
    "client-secret",
    "value",
    "cookie",
    "secret",
    "key",
];

/// In the place of a secret.
const REDACTED: &str = "REDACTED";

/// The longest text that is shown whole, in bytes: a certificate is longer than anybody reads.
const MAX_SHOWN: usize = 120;

/// What changes, in a form that people know, and without secrets.
pub(super) fn diff(file: &File, after: &str) -> Result<String, Failure> {
    let (before, after) = (redacted(file.before.as_deref().unwrap_or_default())?, redacted(after)?);
    let path = file.path.display().to_string();
    let old = if file.before.is_some() { &path } else { "/dev/null" };
    Ok(TextDiff::from_lines(&before, &after).unified_diff().context_radius(3).header(old, &path).to_string())
}

/// The document, written anew: of how a secret was written nothing is left.
fn redacted(yaml: &str) -> Result<String, Failure> {
    if yaml.trim().is_empty() {
        return Ok(String::new());
    }
    let mut config: Value = serde_saphyr::from_str(yaml).map_err(|_| Failure::new("the kubeconfig is no YAML"))?;
    redact(&mut config, "");
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false, compact_list_indent: true };
    let text = serde_saphyr::to_string_with_options(&config, options).because("the kubeconfig")?;
    Ok(text.lines().flat_map(|line| [visible(line), "\n".to_owned()]).collect())
}

/// Takes away the values of members that are secret. `key` is the name of the member that holds this one.
fn redact(value: &mut Value, key: &str) {
    match value {
        Value::Object(members) => {
            // What a program is told may be as secret as its environment; ours is no such program.
            let is_told = members.get("apiVersion").is_some() && !is_own(members);
            for (name, member) in members {
                let is_secret = key == "config" || (name == "args" && is_told);
                redact(member, if is_secret { "value" } else { name });
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, key)),
        Value::String(text) if is_secret(text, key) => REDACTED.clone_into(text),
        Value::String(text) if text.len() > MAX_SHOWN => {
            text.truncate(text.floor_char_boundary(MAX_SHOWN));
            text.push('…');
        }
        Value::Number(_) | Value::Bool(_) if SECRETS.contains(&key) => *value = REDACTED.into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_secret(text: &str, key: &str) -> bool {
    let is_address = text.contains("://") || matches!(key, "server" | "proxy-url");
    (SECRETS.contains(&key) && text != ANY_TOKEN && !text.is_empty()) || (is_address && text.contains('@'))
}

/// Whether an `exec` is what `setup --login` writes, and tells its program nothing else.
fn is_own(exec: &Map<String, Value>) -> bool {
    let command = exec.get("command").and_then(Value::as_str).unwrap_or_default();
    let args: Option<Vec<&str>> =
        exec.get("args").and_then(Value::as_array).and_then(|args| args.iter().map(Value::as_str).collect());
    Path::new(command).file_stem().is_some_and(|name| name == "kubectl-access")
        && matches!(args.as_deref(), Some(["token", host]) if host.parse::<Host>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_138_no_secret_is_in_what_is_shown() {
        let plain = "users:\n- name: a\n  user:\n    token: SECRET\n    client-key-data: SECRET\n    password: \"SECRET\"\n    exec:\n      env:\n      - name: X\n        value: SECRET\n- name: b\n  user:\n    token: access\n";
        let shown = redacted(plain).unwrap();
        assert!(!shown.contains("SECRET") && shown.contains("token: access"), "{shown}");
        for yaml in [
            "users:\n- {name: a, user: {token: SECRET-1, exec: {apiVersion: v1, command: x, args: [--secret=SECRET-2]}}}\n",
            "users:\n- name: b\n  user:\n    client-key-data: >-\n      SECRET-3\n      SECRET-4\n    auth-provider: {name: x, config: {any: SECRET-5}}\n",
            "clusters:\n- {name: c, cluster: {proxy-url: 'http://u:SECRET-6@p', server: 'https://u:SECRET-7@s'}}\n",
            "users:\n- {name: d, user: {password: \"AB\\\n  SECRET-8\", username: d}}\n",
            "users:\n- {name: e, user: {exec: {apiVersion: v1, command: /x/kubectl-access, args: [token, https://k, SECRET-9]}}}\n",
        ] {
            let shown = redacted(yaml).unwrap();
            assert!(!shown.contains("SECRET") && shown.contains(REDACTED), "{shown}");
        }
        let own = "users:\n- {name: e, user: {exec: {apiVersion: v1, command: /x/kubectl-access, args: [token, 'https://k.example.com']}}}\n";
        assert!(redacted(own).unwrap().contains("https://k.example.com"));
    }
}
