//! What the gateway answers below `/.kube-access/sessions`. An answer is read once, here.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::text::visible;

/// Where they are.
pub(super) const PATH: &str = "/.kube-access/sessions";

/// A session in a list.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Summary {
    pub(super) id: String,
    pub(super) state: State,
    pub(super) user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<String>,
    pub(super) namespace: String,
    pub(super) pod: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<String>,
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<Vec<String>>,
    pub(super) tty: bool,
    pub(super) recorded: bool,
    pub(super) started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exit_code: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Live,
    Ended,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ended => "ended",
        }
    }
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) scope: Scope,
    pub(super) sessions: Vec<Summary>,
    pub(super) cursor: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    All,
    Own,
}

/// What is known of a session. Of a live one, less: it has no chunks yet, and no digests.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) id: String,
    pub(super) state: State,
    pub(super) caller: Caller,
    pub(super) audit_id: Option<String>,
    pub(super) ray: Option<String>,
    pub(super) guards: Option<Vec<String>>,
    pub(super) target: Target,
    pub(super) protocol: Option<String>,
    pub(super) record: Option<String>,
    pub(super) started: String,
    pub(super) ended: Option<String>,
    pub(super) by: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) exit_code: Option<i64>,
    pub(super) bytes: Option<Bytes>,
    pub(super) sha256: Option<Digests>,
    #[serde(default)]
    pub(super) chunks: Vec<Chunk>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Caller {
    pub(super) user: String,
    pub(super) groups: Option<Vec<String>>,
    pub(super) email: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) grants: Option<Vec<String>>,
    pub(super) acts_as: Option<ActsAs>,
    pub(super) address: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ActsAs {
    pub(super) user: String,
    pub(super) groups: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Target {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: Option<String>,
    pub(super) command: Option<Vec<String>>,
    #[serde(default)]
    pub(super) tty: bool,
    #[serde(default)]
    pub(super) stdin: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Bytes {
    pub(super) stdin: u64,
    pub(super) stdout: u64,
    pub(super) stderr: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Digests {
    pub(super) stdin: Option<String>,
    pub(super) stdout: Option<String>,
    pub(super) stderr: Option<String>,
}

/// A chunk as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Chunk {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) chain: String,
}

/// A chunk as it lies in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) size: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Chunks {
    pub(super) chunks: Vec<Listed>,
}

/// What became of a change, as a `metav1.Status` tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) status: String,
    pub(crate) message: String,
}

/// An answer as what it should be; `origin` names it where it is not.
pub(crate) fn read<T: DeserializeOwned>(answer: Value, origin: &str) -> Result<T, Failure> {
    serde_json::from_value(answer)
        .map_err(|error| Failure::new(format!("{origin} is not as expected: {}", visible(&error.to_string()))))
}

/// Whether a text can be the ID of a session. It becomes part of a path, so nothing else passes.
pub(super) fn is_id(text: &str) -> bool {
    (10..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
