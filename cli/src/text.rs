//! Text for a terminal. What the gateway tells was typed by those whom an auditor looks at: a command, a reason or a pod's name must
//! not move the cursor, change a colour or turn the reading direction of what stands beside it.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};

/// The text with each character that would act on a terminal written out.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if !acts(character) => shown.push(character),
            _ => {
                let code = u32::from(character);
                let written = match code {
                    0..0x80 => write!(shown, "\\x{code:02x}"),
                    0x80..0x1_0000 => write!(shown, "\\u{code:04x}"),
                    _ => write!(shown, "\\U{code:08x}"),
                };
                debug_assert!(written.is_ok(), "a String takes everything");
            }
        }
    }
    shown
}

/// The same, but for the ends of lines.
pub(crate) fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// JSON, indented, in which no character acts on a terminal.
pub(crate) fn visible_json(value: &serde_json::Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n' || !acts(character) {
            shown.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                shown.extend(["\\u", &format!("{unit:04x}")]);
            }
        }
    }
    shown
}

/// Control, format and separator characters (Unicode's Cc, Cf, Zl and Zp).
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// Rows below their headings, in columns as wide as they must be.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |row: &[String], column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let widest = rows.iter().map(|row| cell(row, column)).max().unwrap_or_default();
            widest.max(headings.get(column).map_or(0, |heading| heading.chars().count()))
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut headings.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// A label, then its value in a column of its own.
pub(crate) fn labelled(label: &str, value: &str) -> String {
    format!("{:14}{value}", format!("{label}:"))
}

/// A moment to the second, in UTC, as the cluster's audit log has it. What is no time is shown as it came.
pub(crate) fn moment(rfc3339: &str) -> String {
    match DateTime::parse_from_rfc3339(rfc3339) {
        Ok(time) => time.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Secs, true),
        Err(_) => visible(rfc3339),
    }
}

/// The seconds since the Unix epoch of a time by RFC 3339.
pub(crate) fn seconds(rfc3339: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(rfc3339).ok().map(|time| time.timestamp())
}

/// A time of so many seconds since the Unix epoch, in UTC.
pub(crate) fn at(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map_or_else(|| "never".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// So many seconds in words: 42s, 3m12s, 2h05m, 3d04h.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let pair = |large: i64, unit: &str, small: i64, small_unit: &str| {
        format!("{}{unit}{:02}{small_unit}", seconds / large, seconds % large / small)
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => pair(60, "m", 1, "s"),
        3600..86_400 => pair(3600, "h", 60, "m"),
        _ => pair(86_400, "d", 3600, "h"),
    }
}

/// `1 chunk`, `2 chunks`, `1,000 chunks`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Digits in groups of three.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A command as it may be typed into a shell again, so that where a word ends is seen.
pub(crate) fn shell_words<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|word| shell_word(word.as_ref())).collect::<Vec<_>>().join(" ")
}

fn shell_word(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-{}".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    if visible(word) == word {
        return format!("'{}'", word.replace('\'', "'\\''"));
    }
    format!("$'{}'", visible(&word.replace('\\', "\\\\").replace('\'', "\\'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_140_174_nothing_that_is_printed_acts_on_a_terminal() {
        let odd = "a\u{1b}[31m\n\u{9b}\u{202e}\u{2028}\u{e0041}é日";
        assert_eq!(visible(odd), "a\\x1b[31m\\n\\u009b\\u202e\\u2028\\U000e0041é日");
        assert_eq!(visible_lines("a\nb\u{7}"), "a\nb\\x07");
        let json = visible_json(&serde_json::json!({ "a": odd }));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["a"], odd);
        assert!(json.chars().all(|character| character == '\n' || !acts(character)), "{json}");
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_no_line_ends_in_blanks() {
        let rows = vec![vec!["a".into(), "été".into(), String::new()], vec!["bbbb".into(), "c".into(), "d".into()]];
        assert_eq!(table(&["ONE", "TWO", "X"], &rows), "ONE    TWO   X\na      été\nbbbb   c     d");
    }

    #[test]
    fn times_and_counts_are_read_by_people() {
        for (seconds, words) in [(-1, "0s"), (59, "59s"), (192, "3m12s"), (7500, "2h05m"), (273_600, "3d04h")] {
            assert_eq!(span(seconds), words);
        }
        assert_eq!(moment("2026-11-25T10:00:00.123+02:00"), "2026-11-25T08:00:00Z");
        assert_eq!((counted(1, "chunk"), counted(1_234_567, "event")), ("1 chunk".into(), "1,234,567 events".into()));
        assert_eq!(at(u64::MAX), "never");
    }

    #[test]
    fn a_command_can_be_typed_again() {
        assert_eq!(shell_words(&["sh", "-c", "a 'b'", "", "\u{1b}'"]), "sh -c 'a '\\''b'\\''' '' $'\\x1b\\''");
    }
}
