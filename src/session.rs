//! A stream in our hands: exec, attach and port-forward for which a guard says `record` or `max_session`.
//!
//! Such a stream goes through an object of its own (`edge/session.rs`), and [`Session`] says what becomes of each message: it is written
//! down, counted and hashed, and then handed on. It ends at the earliest of the caller's token, entry and grant and of what guards give
//! it; when its caller no longer stands as they entered; on command; and when it would carry more than memory allows, since the runtime
//! has no back pressure: what one side does not take waits in the object. Whatever ends it is a sentence on the terminal.
//!
//! Out of scope: sockets, stores and clocks (`edge`), and whether a stream comes here ([`crate::gateway`]).

use std::fmt;

use chrono::SecondsFormat;
use hmac_sha256::Hash;
use serde::Serialize;

use crate::config::Level;
use crate::deadline::{Deadline, Why};
use crate::guard::Stay;
use crate::record::{self, Record, open};

pub mod cast;
pub mod end;
pub mod facts;
pub mod frame;
pub mod id;
pub mod manifest;
pub mod own;
pub mod roll;
pub mod standing;

use cast::{Cast, Direction};
use end::{By, End, Farewell};
use facts::Facts;
use frame::{Channel, Outcome};
use manifest::Chunk;

/// How much more than one direction may carry both may carry together, in bytes. All of it may be waiting.
const SLACK_BYTES: u64 = 16 * 1024 * 1024;

/// How large a message may be whatever has gone on, in bytes. The runtime has up to four copies of a message that goes on: a larger one
/// passes while four of it have room beside all that may wait.
const MESSAGE_BYTES: u64 = 4 * 1024 * 1024;
const COPIES: u64 = 4;

/// The longest status of a command that is read, in bytes.
const STATUS_BYTES: usize = 256 * 1024;

/// How large a chunk of a recording becomes before it is stored, in bytes.
const CHUNK_BYTES: usize = 1024 * 1024;

/// How long a chunk waits to become that large, in milliseconds.
const CHUNK_MILLISECONDS: u64 = 10_000;

/// How long before the end the caller is warned, in seconds.
const WARNING_SECONDS: u64 = 300;

/// Why a stream cannot be in our hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller has so many already.
    #[error(
        "you have {0} streams open that are recorded or bounded, and may have no more: end one of them (`npm run sessions -- list --live` shows them)"
    )]
    TooMany(usize),
    /// They cannot be counted.
    #[error("this stream would be recorded or bounded, and cannot be counted right now: try again in a moment")]
    NoRoll,
    /// It cannot be recorded.
    #[error("this stream must be recorded, and the recordings cannot be written right now: nothing was run")]
    NoStore,
    /// Whose it is has just changed.
    #[error("who you are here has just changed, and not all of this gateway knows it yet: try again in a minute")]
    Changed,
}

/// What the line says of a stream that is to be in our hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// What the guards ask of it.
    pub stay: Stay,
    /// When it ends at the latest.
    pub deadline: Deadline,
    /// How many of them its user may have.
    pub most: usize,
}

/// A stream.
#[derive(Debug)]
pub struct Session {
    facts: Facts,
    protocol: String,
    /// When it began, in seconds since the Unix epoch.
    began: u64,
    deadline: Deadline,
    most: u64,
    is_warned: bool,
    cast: Option<Cast>,
    /// stdin, stdout and stderr.
    counts: [Count; 3],
    /// From the client and from the cluster, in bytes.
    carried: [u64; 2],
    /// The channels of the messages that are being written down, from the client and from the cluster.
    channels: [Channel; 2],
    /// What the cluster says of the command's end, as far as it has come.
    status: Vec<u8>,
    outcome: Option<Outcome>,
    end: Option<End>,
    chunks: Vec<Chunk>,
    /// When the last chunk was taken, in milliseconds since the Unix epoch.
    taken: u64,
}

#[derive(Clone, Copy, Default)]
struct Count {
    bytes: u64,
    /// Of nothing that the recording holds whole: its chunks have digests.
    hash: Option<Hash>,
}

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

/// The two ends of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who asked for it.
    Client,
    /// Where the command runs.
    Cluster,
}

impl Side {
    /// What this side has of two, the client's first.
    fn of<T>(self, [client, cluster]: &mut [T; 2]) -> &mut T {
        if self == Self::Client { client } else { cluster }
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The other side gets it.
    Pass,
    /// Nobody gets it.
    Drop,
    /// Nobody gets it, and the stream has to end: see [`Session::farewell`].
    Stop,
}

/// The line of the log when a stream has ended. The last link of its chain tells later whether the recording is what it was.
#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    message: &'static str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    session: &'a str,
    user: &'a str,
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<String>,
}

impl Session {
    /// A stream that begins now, in milliseconds since the Unix epoch, and has not been asked for yet.
    #[must_use]
    pub fn new(facts: Facts, relay: &Relay, now: u64) -> Self {
        let is_kept_whole = facts.is_recorded() && facts.has_terminal();
        let counts = [true, !is_kept_whole, !is_kept_whole].map(Count::new);
        let cast = facts.is_recorded().then(|| Cast::new(now, facts.has_terminal(), &facts.command(), &facts.title()));
        Self {
            protocol: String::new(),
            began: now / 1000,
            deadline: relay.deadline.clone(),
            most: relay.stay.bytes,
            is_warned: relay.deadline.at < now / 1000 + WARNING_SECONDS,
            cast,
            counts,
            carried: [0; 2],
            channels: [Channel::Other; 2],
            status: Vec::new(),
            outcome: None,
            end: None,
            chunks: Vec::new(),
            taken: now,
            facts,
        }
    }

    /// Whose it is, and to what.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Hears that both ends speak this subprotocol.
    pub fn open(&mut self, protocol: &str) {
        protocol.clone_into(&mut self.protocol);
    }

    /// Rules on a message of so many bytes that has come. One that may pass is written down when its turn to go on has come.
    pub fn admit(&mut self, from: Side, bytes: usize, now: u64) -> Heard {
        if !self.takes(from) {
            return Heard::Drop;
        }
        let bytes = bytes as u64;
        let mut carried = self.carried;
        let room = (self.most + 2 * SLACK_BYTES).saturating_sub(carried.iter().sum());
        if bytes > MESSAGE_BYTES && COPIES * bytes >= room {
            let limit = in_units(MESSAGE_BYTES);
            let reason = format!(
                "a message is too large for a stream that is recorded or bounded: send it in pieces of at most {limit}"
            );
            self.stop(By::Gateway, reason, now);
            return Heard::Stop;
        }
        let way = from.of(&mut carried);
        *way += bytes;
        if *way > self.most || carried.iter().sum::<u64>() > self.most + SLACK_BYTES {
            let limit = in_units(self.most);
            let reason = format!(
                "a stream that is recorded or bounded carries at most {limit} each way, and this one would carry more"
            );
            self.stop(By::Gateway, reason, now);
            return Heard::Stop;
        }
        self.carried = carried;
        Heard::Pass
    }

    /// Whether messages from this side go on. A command that has ended takes no stdin: what is still sent to it would only be in the way
    /// of its last words.
    fn takes(&self, from: Side) -> bool {
        self.end.is_none() && (from == Side::Cluster || !self.is_over())
    }

    /// Writes down a piece of a message that goes on. The first begins with the channel of all of them.
    pub fn write(&mut self, from: Side, piece: &[u8], is_first: bool, now: u64) {
        if !self.takes(from) {
            return;
        }
        if self.facts.is_tunnel() {
            self.count(usize::from(from == Side::Cluster), piece);
            return;
        }
        let way = from.of(&mut self.channels);
        let (channel, payload) = if is_first { Channel::split(piece) } else { (*way, piece) };
        *way = channel;
        match (from, channel) {
            (Side::Client, Channel::Stdin) => {
                self.count(0, payload);
                if self.facts.keeps_input() {
                    self.keep(Direction::In, payload, now);
                }
            }
            (Side::Cluster, Channel::Stdout) => {
                self.count(1, payload);
                self.keep(Direction::Out, payload, now);
            }
            (Side::Cluster, Channel::Stderr) => {
                self.count(2, payload);
                self.keep(Direction::Err, payload, now);
            }
            (Side::Cluster, Channel::Status) => self.read_status(payload),
            (Side::Client, Channel::Size) => {
                let size = frame::size(payload).filter(|_| is_first);
                if let (Some(cast), Some(size)) = (&mut self.cast, size) {
                    cast.resize(size, now);
                }
            }
            _ => {}
        }
    }

    /// A channel is a stream of bytes: what comes on this one is one JSON document, in as many messages as the cluster likes.
    fn read_status(&mut self, payload: &[u8]) {
        if self.outcome.is_none() {
            let left = STATUS_BYTES - self.status.len();
            self.status.extend_from_slice(payload.get(..left).unwrap_or(payload));
            self.outcome = frame::outcome(&self.status);
        }
    }

    /// Looks at the clock: what is to be said to the client, if anything. The stream may have ended then.
    pub fn tick(&mut self, now: u64) -> Option<Vec<u8>> {
        let seconds = now / 1000;
        if seconds >= self.deadline.at {
            self.stop(By::Policy, self.deadline.why.to_string(), now);
            return None;
        }
        if self.is_warned || seconds + WARNING_SECONDS < self.deadline.at || self.facts.is_tunnel() {
            return None;
        }
        self.is_warned = true;
        let is_stderr = !self.facts.has_terminal();
        let line = if is_stderr { "\n" } else { "\r\n" };
        let left = until(self.deadline.at - seconds);
        let text = format!("{line}kube-access: this session ends in {left}: {}{line}", self.deadline.why);
        self.keep(if is_stderr { Direction::Err } else { Direction::Out }, text.as_bytes(), now);
        Some(frame::output(is_stderr, &text))
    }

    /// Brings the end nearer, where what lets the caller in ends sooner by now, or guards ask for more. A later end changes nothing.
    pub fn bound(&mut self, ends: Deadline, stay: Option<&Stay>) {
        let seconds = stay.and_then(|stay| stay.seconds);
        let ends = ends.or(seconds.map(|seconds| Deadline { at: self.began + seconds, why: Why::Guard(seconds) }));
        self.most = stay.map_or(self.most, |stay| self.most.min(stay.bytes));
        if ends.at < self.deadline.at {
            self.deadline = ends;
            self.is_warned = false;
        }
    }

    /// Ends the stream, unless it has ended.
    pub fn stop(&mut self, by: By, reason: impl Into<String>, now: u64) {
        self.finish(by, reason.into(), by.close_code(), now);
    }

    fn finish(&mut self, by: By, reason: String, code: u16, now: u64) {
        if self.end.is_some() {
            return;
        }
        if let Some(cast) = &mut self.cast {
            cast.finish(&reason, now);
        }
        self.end = Some(End { by, reason, at: now, code });
    }

    /// Hears that a side has closed its end.
    pub fn part(&mut self, from: Side, code: u16, now: u64) {
        let (by, reason) = match (&self.outcome, from) {
            (Some(Outcome::Exited(0)), _) => (By::Command, "the command ended".to_owned()),
            (Some(Outcome::Exited(code)), _) => (By::Command, format!("the command ended with exit code {code}")),
            (Some(Outcome::Failed(why)), _) => (By::Command, format!("the command could not be run to its end: {why}")),
            (None, Side::Client) => (By::Client, format!("the client went away (close code {code})")),
            (None, Side::Cluster) if self.facts.is_tunnel() => {
                (By::Cluster, format!("the cluster closed the port (close code {code})"))
            }
            (None, Side::Cluster) => {
                (By::Cluster, format!("the connection to the container broke off (close code {code})"))
            }
        };
        self.finish(by, reason, code, now);
    }

    /// What the client is told at the end. A command's own end has told it already.
    #[must_use]
    pub fn farewell(&self) -> Farewell {
        let nothing = Farewell { message: None, code: 1000, reason: String::new(), is_cut: false };
        self.end.as_ref().map_or(nothing, |end| end.farewell(!self.facts.is_tunnel(), !self.status.is_empty()))
    }

    /// Whether so much waits to be stored that nothing more should be read before it is.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.cast.as_ref().is_some_and(|cast| cast.len() >= CHUNK_BYTES)
    }

    /// Takes a chunk to be stored: its place and its bytes. Without `must`, only if it is large or old enough.
    pub fn take(&mut self, must: bool, now: u64) -> Option<(usize, Vec<u8>)> {
        let is_due = must || self.is_full() || now.saturating_sub(self.taken) >= CHUNK_MILLISECONDS;
        let cast = self.cast.as_mut().filter(|cast| is_due && !cast.is_empty())?;
        self.taken = now;
        let bytes = cast.take();
        let place = self.chunks.len();
        self.chunks.push(Chunk { size: bytes.len(), sha256: None });
        Some((place, bytes))
    }

    /// Hears that a chunk is stored, by the SHA-256 of what was stored, in hexadecimal digits.
    pub fn stored(&mut self, place: usize, sha256: String) {
        if let Some(chunk) = self.chunks.get_mut(place) {
            chunk.sha256 = Some(sha256);
        }
    }

    /// The manifest so far, as JSON that has no end yet: see [`manifest::close`].
    #[must_use]
    pub fn manifest(&self) -> String {
        let mut text = open(&self.facts);
        manifest::add(&mut text, &self.facts.id, &self.protocol, &self.counts.map(Count::read), &self.chunks);
        text
    }

    /// Whether the command has ended, or the stream.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.outcome.is_some() || self.end.is_some()
    }

    /// The exit code of the command, once it is known.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.outcome {
            Some(Outcome::Exited(code)) => Some(code),
            Some(Outcome::Failed(_)) | None => None,
        }
    }

    /// What is to be written of the end. The command's own words are for the manifest alone.
    #[must_use]
    pub fn record(&self) -> Record {
        let end = self.end.as_ref();
        let line = Line {
            level: Level::Info.name(),
            message: "session ended",
            audit_id: self.facts.audit_id(),
            session: &self.facts.id,
            user: self.facts.user(),
            by: end.map_or("", |end| end.by.name()),
            reason: end.filter(|end| end.by.is_ours()).map(|end| end.reason.as_str()),
            exit_code: self.exit_code(),
            chain: manifest::chain(&self.facts.id, &self.chunks).last(),
        };
        Record { level: Level::Info, template: [&open(&line), "}"].concat() }
    }

    fn count(&mut self, place: usize, bytes: &[u8]) {
        if let Some(count) = self.counts.get_mut(place) {
            count.bytes += bytes.len() as u64;
            if let Some(hash) = &mut count.hash {
                hash.update(bytes);
            }
        }
    }

    fn keep(&mut self, direction: Direction, bytes: &[u8], now: u64) {
        if let Some(cast) = &mut self.cast {
            cast.add(direction, bytes, now);
        }
    }
}

/// A size in the largest unit that it is whole in.
fn in_units(bytes: u64) -> String {
    let (mebibytes, kibibytes) = (bytes / (1024 * 1024), bytes / 1024);
    if kibibytes.is_multiple_of(1024) { format!("{mebibytes} MiB") } else { format!("{kibibytes} KiB") }
}

/// How soon something ends, as one says it.
fn until(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} seconds") } else { format!("{} minutes", (seconds + 30) / 60) }
}

/// RFC 3339 in UTC, of milliseconds since the Unix epoch.
fn timestamp(milliseconds: u64) -> String {
    record::timestamp(milliseconds, SecondsFormat::Millis)
}

impl Count {
    fn new(is_hashed: bool) -> Self {
        Self { bytes: 0, hash: is_hashed.then(Hash::default) }
    }

    fn read(self) -> (u64, Option<String>) {
        (self.bytes, self.hash.map(|hash| id::hex(&hash.finalize())))
    }
}

#[cfg(test)]
mod tests;
