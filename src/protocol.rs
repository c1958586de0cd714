//! `Upgrade` and the WebSocket handshake -> [`Protocol`]. RFC 6455 section 4.2.1.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::head::Head;

/// How the client wants to speak after the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP, request and response.
    Http,
    /// A WebSocket.
    WebSocket,
    /// kubectl's older streaming protocol, which no Worker can carry.
    Spdy,
}

/// An upgrade that cannot be made. Nothing of it goes on: behind the gateway the command would run before anybody noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// An `Upgrade` that is none of the known ones, or a WebSocket by another method than GET.
    #[error("the only upgrade that this gateway knows is a WebSocket, by GET")]
    Unknown,
    /// kubectl's SPDY upgrade.
    #[error(
        "this gateway carries WebSockets, not SPDY: use kubectl 1.31 or newer, or set KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true (kubectl 1.29 and 1.30; for port-forward KUBECTL_PORT_FORWARD_WEBSOCKETS=true with kubectl 1.30)"
    )]
    Spdy,
    /// A WebSocket without a proper key, or of another version.
    #[error(
        "the WebSocket handshake is incomplete: it needs Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 16 bytes"
    )]
    Handshake,
}

impl Protocol {
    /// Reads the `Upgrade` header, and for a WebSocket its handshake.
    pub fn parse(head: &Head<'_>) -> Result<Self, Error> {
        let Some(upgrade) = head.header("upgrade") else {
            return Ok(Self::Http);
        };
        if upgrade.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("spdy/")) {
            return Ok(Self::Spdy);
        }
        if !upgrade.eq_ignore_ascii_case("websocket") || head.method != "GET" {
            return Err(Error::Unknown);
        }
        let key = head.header("sec-websocket-key").unwrap_or_default();
        let is_key = STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
        if is_key && head.header("sec-websocket-version") == Some("13") {
            Ok(Self::WebSocket)
        } else {
            Err(Error::Handshake)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(method: &str, headers: &str) -> Result<Protocol, Error> {
        let text = format!("{method}\nhttps://k/api\n0\nid{headers}");
        Protocol::parse(&Head::read(&text).0)
    }

    #[test]
    fn an_upgrade_is_a_websocket_by_get_spdy_or_nothing() {
        let handshake = "\nsec-websocket-key:yPc6qyEdVivBFTmdg5VfRA==\nsec-websocket-version:13";
        for upgrade in ["websocket", "WebSocket", "WEBSOCKET"] {
            let headers = format!("\nupgrade:{upgrade}{handshake}");
            assert_eq!(protocol("GET", &headers), Ok(Protocol::WebSocket));
            assert_eq!(protocol("POST", &headers), Err(Error::Unknown));
        }
        assert_eq!(protocol("GET", ""), Ok(Protocol::Http));
        assert_eq!(protocol("POST", "\nupgrade:SPDY/3.1"), Ok(Protocol::Spdy));
        for upgrade in ["h2c", "", "websocket, h2c", "spdy"] {
            let headers = format!("\nupgrade:{upgrade}{handshake}");
            assert_eq!(protocol("GET", &headers), Err(Error::Unknown), "{upgrade}");
        }
    }

    #[test]
    fn case_165_a_handshake_without_a_key_or_of_another_version_is_refused() {
        let key = "yPc6qyEdVivBFTmdg5VfRA==";
        for (key, version) in [
            ("", "13"),
            ("x", "13"),
            ("yPc6qyEdVivBFTmdg5Vf", "13"),
            ("yPc6qyEdVivBFTmdg5VfRA==, yPc6qyEdVivBFTmdg5VfRA==", "13"),
            (key, "12"),
            (key, "8"),
            (key, ""),
            (key, "13, 13"),
        ] {
            let headers = format!("\nupgrade:websocket\nsec-websocket-key:{key}\nsec-websocket-version:{version}");
            assert_eq!(protocol("GET", &headers), Err(Error::Handshake), "{headers}");
        }
        for lines in ["", "\nsec-websocket-version:13", "\nsec-websocket-key:yPc6qyEdVivBFTmdg5VfRA=="] {
            let headers = format!("\nupgrade:websocket{lines}");
            assert_eq!(protocol("GET", &headers), Err(Error::Handshake), "{lines}");
        }
    }
}
