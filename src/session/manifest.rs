//! What is known of a session and of its recording, as JSON.
//!
//! The text is written from its beginning, and can be closed at any time: what an object that is gone has left of it is closed by the
//! one that comes after it. Each chunk's hash is chained to the one before, so that no chunk can be edited, left out or added:
//! the chain of a chunk is the SHA-256 of the text `PREVIOUS NAME SIZE SHA256`, where the previous of the first is the session's ID.

use std::fmt::Write as _;

use hmac_sha256::Hash;

use super::end::{By, End};
use super::id;
use crate::record::{self, cut};

/// The longest reason that a list shows, in bytes.
const MAX_REASON_BYTES: usize = 300;

/// A chunk of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// In bytes.
    pub size: usize,
    /// In hexadecimal digits, once it is stored.
    pub sha256: Option<String>,
}

/// The name of a chunk: names and chunks have the same order.
#[must_use]
pub fn name(place: usize) -> String {
    format!("{place:05}")
}

/// Whether a text is the name of a chunk.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() >= 5 && text.parse().is_ok_and(|place| name(place) == text)
}

/// Adds what went through, stdin, stdout and stderr as bytes and the digests that there are, and the chunks that are stored.
pub(super) fn add(text: &mut String, id: &str, protocol: &str, counts: &[(u64, Option<String>); 3], chunks: &[Chunk]) {
    let names = ["stdin", "stdout", "stderr"];
    let bytes = names.iter().zip(counts).map(|(name, (bytes, _))| format!(r#""{name}":{bytes}"#));
    let hashes =
        names.iter().zip(counts).filter_map(|(name, (_, hash))| Some(format!(r#""{name}":"{}""#, hash.as_ref()?)));
    let (bytes, hashes) = (bytes.collect::<Vec<_>>().join(","), hashes.collect::<Vec<_>>().join(","));
    let _ = write!(text, r#","protocol":{},"bytes":{{{bytes}}},"sha256":{{{hashes}}},"chunks":["#, quoted(protocol));
    let links = chain(id, chunks).zip(chunks).enumerate();
    for (place, (link, Chunk { size, sha256 })) in links {
        let (comma, name, sha256) =
            (if place == 0 { "" } else { "," }, name(place), sha256.as_deref().unwrap_or_default());
        let _ = write!(text, r#"{comma}{{"name":"{name}","size":{size},"sha256":"{sha256}","chain":"{link}"}}"#);
    }
    text.push(']');
}

/// The chain, a link for each chunk. What comes after one that is not stored belongs to no chain.
pub(super) fn chain(id: &str, chunks: &[Chunk]) -> impl Iterator<Item = String> {
    let mut previous = id.to_owned();
    let stored =
        chunks.iter().enumerate().map_while(|(place, chunk)| Some((place, chunk.size, chunk.sha256.as_ref()?)));
    stored.map(move |(place, size, sha256)| {
        let link = format!("{previous} {} {size} {sha256}", name(place));
        previous = id::hex(&Hash::hash(link.as_bytes()));
        previous.clone()
    })
}

/// Closes the JSON of a manifest or of a summary: with the end, where there is one.
#[must_use]
pub fn close(open: &str, end: Option<&End>, exit_code: Option<i32>) -> String {
    let mut text = open.to_owned();
    match end {
        None => text.push_str(r#","state":"live""#),
        Some(End { by, reason, at, .. }) => {
            let (at, by, reason) = (super::timestamp(*at), by.name(), quoted(reason));
            let _ = write!(text, r#","state":"ended","ended":"{at}","by":"{by}","reason":{reason}"#);
        }
    }
    if let Some(code) = exit_code {
        let _ = write!(text, r#","exit_code":{code}"#);
    }
    text.push('}');
    text
}

/// The JSON of a summary, as it may lie with an object of the bucket: in ASCII, and not long.
#[must_use]
pub fn summary(open: &str, end: Option<&End>, exit_code: Option<i32>) -> String {
    let short = end.map(|end| End { reason: cut(&end.reason, MAX_REASON_BYTES).to_owned(), ..end.clone() });
    close(open, short.as_ref(), exit_code).chars().fold(String::new(), |mut text, character| {
        if character.is_ascii() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
        text
    })
}

/// How a session ended whose object is gone.
#[must_use]
pub fn lost(now: u64) -> End {
    let reason = "the object that carried it was ended by the runtime: what came after the last chunk is lost";
    End { by: By::Runtime, reason: reason.into(), at: now, code: By::Runtime.close_code() }
}

fn quoted(text: &str) -> String {
    let mut quoted = record::open(&text);
    quoted.push('"');
    quoted
}
