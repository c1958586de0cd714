//! How a stream ends, and what is said then.

use super::frame;
use crate::record::cut;

/// The longest reason of a WebSocket's close, in bytes (RFC 6455, section 5.5).
pub(super) const MAX_CLOSE_BYTES: usize = 123;

/// The code of a WebSocket that ended without a close (RFC 6455, section 7.4.1).
const NO_CLOSE: u16 = 1006;

/// Who ended a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The client, which went away.
    Client,
    /// The command, which came to its end, or could not be run.
    Command,
    /// The cluster, or the way to it.
    Cluster,
    /// What the caller may, which ended.
    Policy,
    /// Somebody who told the gateway to.
    Order,
    /// The gateway, which could not carry it on.
    Gateway,
    /// The runtime, which ended the object.
    Runtime,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Who ended it.
    pub by: By,
    /// Why, as a sentence.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub(super) at: u64,
    /// With which code the side that ended it closed its WebSocket.
    pub(super) code: u16,
}

/// What is said at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// A message to the client.
    pub message: Option<Vec<u8>>,
    /// The code of the WebSocket's close.
    pub code: u16,
    /// Its reason, at most 123 bytes.
    pub reason: String,
    /// Whether the connection to the cluster is cut. After a close kube-apiserver lets a command of v5 run on, as if no more stdin came.
    pub is_cut: bool,
}

impl By {
    /// The name, as manifests have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Command => "command",
            Self::Cluster => "cluster",
            Self::Policy => "policy",
            Self::Order => "order",
            Self::Gateway => "gateway",
            Self::Runtime => "runtime",
        }
    }

    /// Whether the gateway's side ended it, and neither end of the stream.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Policy | Self::Order | Self::Gateway | Self::Runtime)
    }

    /// The code that closes a WebSocket which this ended.
    pub(super) fn close_code(self) -> u16 {
        match self {
            Self::Policy | Self::Order => 1008,
            Self::Gateway | Self::Runtime | Self::Cluster => 1011,
            Self::Client | Self::Command => 1000,
        }
    }
}

impl End {
    /// What the client is told. Where the cluster has begun a status, nothing can be added to it: the client reads them as one.
    pub(super) fn farewell(&self, has_channels: bool, has_status: bool) -> Farewell {
        let Self { by, reason, code, .. } = self;
        let sentence = format!("this session ended: {reason}");
        let (name, status) = match by {
            By::Policy | By::Order => ("Forbidden", 403),
            By::Gateway | By::Runtime | By::Cluster | By::Client | By::Command => ("InternalError", 500),
        };
        let is_told = matches!(by, By::Client | By::Command);
        Farewell {
            message: (!is_told && has_channels && !has_status).then(|| frame::farewell(&sentence, name, status)),
            // After a status on its channel a close that is no normal one would hide the sentence.
            code: if has_channels { 1000 } else { sendable(*code) },
            reason: if is_told { String::new() } else { cut(&sentence, MAX_CLOSE_BYTES).to_owned() },
            is_cut: by.is_ours() || (*by == By::Client && *code == NO_CLOSE),
        }
    }
}

/// The code of a close, as one may send it: some stand for a close that had none (RFC 6455, section 7.4).
fn sendable(code: u16) -> u16 {
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => code,
        _ => 1011,
    }
}
