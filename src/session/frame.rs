//! The frames of a stream to a container: a byte for the channel, and what goes through it.
//!
//! Channels and their numbers are those of `v4.channel.k8s.io` and `v5.channel.k8s.io` (k8s.io/apimachinery, `remotecommand`): stdin,
//! stdout, stderr, a `metav1.Status` at the end, the terminal's size. In v5 (KEP-4006) channel 255 closes the one that it names. A
//! forwarded port is a tunnel, whose messages have no channels.

use std::fmt::Write as _;

use crate::json::{Object, items};

/// The subprotocols whose channels can be told apart. The older ones are none of them: `channel.k8s.io` has no status, and the
/// `base64` ones are for browsers.
pub const RECORDABLE: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// What goes through a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// To the command.
    Stdin,
    /// From the command.
    Stdout,
    /// From the command.
    Stderr,
    /// How the command ended.
    Status,
    /// The terminal's size.
    Size,
    /// What has nothing to be recorded.
    Other,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// By itself.
    Exited(i32),
    /// It could not be run, or not to its end.
    Failed(String),
}

impl Channel {
    /// Channel and payload of a message. An empty message has neither.
    #[must_use]
    pub fn split(message: &[u8]) -> (Self, &[u8]) {
        let Some((channel, payload)) = message.split_first() else {
            return (Self::Other, message);
        };
        let channel = match channel {
            0 => Self::Stdin,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Status,
            4 => Self::Size,
            _ => Self::Other,
        };
        (channel, payload)
    }
}

/// A message on stdout or stderr.
#[must_use]
pub fn output(is_stderr: bool, text: &str) -> Vec<u8> {
    [&[1 + u8::from(is_stderr)], text.as_bytes()].concat()
}

/// The message that ends a stream, so that kubectl prints the sentence and exits with 1.
#[must_use]
pub fn farewell(sentence: &str, reason: &str, code: u16) -> Vec<u8> {
    let message = serde_json::to_string(sentence).unwrap_or_default();
    let mut text = String::from("\u{3}");
    let _ =
        write!(text, r#"{{"metadata":{{}},"status":"Failure","message":{message},"reason":"{reason}","code":{code}}}"#);
    text.into_bytes()
}

/// Reads the status of channel 3, in which a command that ended by itself has its exit code as a cause. Nothing, if it is none.
#[must_use]
pub fn outcome(payload: &[u8]) -> Option<Outcome> {
    let status = Object::read(std::str::from_utf8(payload).ok()?).ok()?;
    let text = |name| status.get::<String>(name).ok().flatten().unwrap_or_default();
    if text("status") == "Success" {
        return Some(Outcome::Exited(0));
    }
    if text("status") != "Failure" {
        return None;
    }
    if text("reason") == "NonZeroExitCode" {
        let details = status.raw("details").ok().flatten().and_then(|details| Object::read(details).ok());
        let causes = details.as_ref().and_then(|details| details.raw("causes").ok().flatten());
        let causes = causes.and_then(|causes| items(causes).ok()).unwrap_or_default();
        let codes = causes.into_iter().filter_map(|cause| {
            let cause = Object::read(cause).ok()?;
            let is_code = cause.get::<String>("reason").ok()?.is_some_and(|reason| reason == "ExitCode");
            cause.get::<String>("message").ok()?.filter(|_| is_code)?.parse().ok()
        });
        if let Some(code) = codes.into_iter().next() {
            return Some(Outcome::Exited(code));
        }
    }
    Some(Outcome::Failed(text("message")))
}

/// Reads the terminal's size: columns and rows. What no terminal has is none.
#[must_use]
pub fn size(payload: &[u8]) -> Option<(u16, u16)> {
    let size = Object::read(std::str::from_utf8(payload).ok()?).ok()?;
    let length = |name: &str| size.get::<u16>(name).ok().flatten().filter(|length| *length > 0);
    Some((length("Width")?, length("Height")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_channel_and_what_goes_through_it() {
        for (message, channel, payload) in [
            (&b"\x00in"[..], Channel::Stdin, &b"in"[..]),
            (b"\x01out", Channel::Stdout, b"out"),
            (b"\x02err", Channel::Stderr, b"err"),
            (b"\x03{}", Channel::Status, b"{}"),
            (b"\x04{}", Channel::Size, b"{}"),
            (b"\xff\x00", Channel::Other, b"\x00"),
            (b"\x01", Channel::Stdout, b""),
            (b"", Channel::Other, b""),
        ] {
            assert_eq!(Channel::split(message), (channel, payload));
        }
    }

    #[test]
    fn case_118_the_exit_code_is_read_from_the_status() {
        let failed = |reason: &str, causes: &str| {
            format!(
                r#"{{"metadata":{{}},"status":"Failure","message":"m","reason":"{reason}","details":{{"causes":{causes}}},"code":500}}"#
            )
        };
        let code = |code: &str| failed("NonZeroExitCode", &format!(r#"[{{"reason":"ExitCode","message":"{code}"}}]"#));
        for (text, expected) in [
            (r#"{"metadata":{},"status":"Success"}"#.to_owned(), Some(Outcome::Exited(0))),
            (code("1"), Some(Outcome::Exited(1))),
            (code("137"), Some(Outcome::Exited(137))),
            (code("x"), Some(Outcome::Failed("m".into()))),
            (failed("NonZeroExitCode", "[]"), Some(Outcome::Failed("m".into()))),
            (failed("InternalError", "[]"), Some(Outcome::Failed("m".into()))),
            (r#"{"status":"Failure"}"#.into(), Some(Outcome::Failed(String::new()))),
            (r#"{"status":"Other"}"#.into(), None),
            ("[]".into(), None),
            (String::new(), None),
            ("command terminated".into(), None),
        ] {
            assert_eq!(outcome(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(outcome(b"\xff\xfe"), None);
    }

    #[test]
    fn the_terminals_size_is_columns_and_rows() {
        assert_eq!(size(br#"{"Width":120,"Height":40}"#), Some((120, 40)));
        for text in [r#"{"Width":0,"Height":0}"#, r#"{"Width":120}"#, r#"{"Width":-1,"Height":99999}"#, "[]", ""] {
            assert_eq!(size(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_ends_a_stream_is_a_status_as_kubectl_reads_it() {
        let message = farewell("it \"ended\"\n", "Forbidden", 403);
        let (channel, payload) = Channel::split(&message);
        assert_eq!(channel, Channel::Status);
        assert_eq!(outcome(payload), Some(Outcome::Failed("it \"ended\"\n".into())));
        assert_eq!(Channel::split(&output(false, "a")), (Channel::Stdout, &b"a"[..]));
        assert_eq!(Channel::split(&output(true, "a")), (Channel::Stderr, &b"a"[..]));
    }
}
