//! What lines of the log are made of. All text in them is escaped, so that nobody can forge a line.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::config::Level;

/// A line or an event, whose holes [`crate::audit::fill`] fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How severe it is.
    pub level: Level,
    /// JSON, with holes for what only the answer tells.
    pub template: String,
}

/// JSON without its last character, safe to be shown: what could break a line, hide text or turn it around is escaped.
pub(crate) fn open(value: &impl Serialize) -> String {
    let mut json = Vec::with_capacity(2048);
    let mut json = match serde_json::to_writer(&mut json, value) {
        Ok(()) => String::from_utf8(json).unwrap_or_default(),
        Err(_) => String::new(),
    };
    json.pop();
    if json.is_ascii() && !json.contains('\u{7f}') {
        return json;
    }
    let is_unsafe = |character: char| {
        matches!(character, '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || ('\u{e0000}'..='\u{e007f}').contains(&character)
    };
    let mut safe = String::with_capacity(json.len() + 32);
    for character in json.chars() {
        if is_unsafe(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

/// A text that somebody gave, as it may stand on a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

/// RFC 3339 in UTC.
pub(crate) fn timestamp(milliseconds: u64, format: SecondsFormat) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(DateTime::from_timestamp_millis);
    time.unwrap_or_default().to_rfc3339_opts(format, true)
}

/// The beginning of a text, of at most so many bytes.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// The beginning of a text that takes at most so many bytes as JSON in ASCII.
pub(crate) fn cut_escaped(text: &str, bytes: usize) -> &str {
    let mut left = bytes;
    let is_over = |&(_, character): &(usize, char)| {
        let size = match character {
            '"' | '\\' => 2,
            ' '..='~' => 1,
            _ => 6 * character.len_utf16(),
        };
        left.checked_sub(size).map(|rest| left = rest).is_none()
    };
    let end = text.char_indices().find(is_over).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or_default()
}
