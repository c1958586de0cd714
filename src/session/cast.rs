//! What a session showed, as asciicast v2: a header, then an event a line, `[seconds, code, text]`.
//!
//! The codes are the format's own (docs.asciinema.org, "asciicast v2"): `o` output, `i` input, `r` the terminal's new size, `m` a mark.
//! What a command wrote to stderr is output too, and is told apart by an event `e` before it, with the number of its characters: players
//! pass over codes that they do not know.

use std::io::Write as _;

use serde::Serialize;

/// The most of each direction that is kept of a stream without a terminal, in bytes: it may be a file of any size.
pub const KEPT_BYTES: usize = 64 * 1024;

/// The first line.
#[derive(Debug, Clone, Serialize)]
pub struct Header<'a> {
    version: u8,
    width: u16,
    height: u16,
    /// In seconds since the Unix epoch.
    timestamp: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    command: &'a str,
    title: &'a str,
}

/// The lines that are not yet stored.
#[derive(Debug)]
pub struct Cast {
    lines: Vec<u8>,
    began: u64,
    has_terminal: bool,
    out: Track,
    err: Track,
    input: Track,
    is_cut: bool,
}

/// One direction: bytes come in pieces, and a character may be cut in two.
#[derive(Debug, Default)]
struct Track {
    /// The beginning of a character.
    rest: Vec<u8>,
    kept: usize,
}

/// The directions that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// stdout.
    Out,
    /// stderr.
    Err,
    /// stdin.
    In,
}

impl Cast {
    /// A recording that begins at `began`, in milliseconds since the Unix epoch. Its header is written at once: a client may never
    /// send its terminal's size.
    #[must_use]
    pub fn new(began: u64, has_terminal: bool, command: &str, title: &str) -> Self {
        let header = Header { version: 2, width: 80, height: 24, timestamp: began / 1000, command, title };
        let mut lines = serde_json::to_vec(&header).unwrap_or_default();
        lines.push(b'\n');
        let [out, err, input] = Default::default();
        Self { lines, began, has_terminal, out, err, input, is_cut: false }
    }

    /// Adds what went one way. Of a stream without a terminal only the beginning is kept.
    pub fn add(&mut self, direction: Direction, bytes: &[u8], now: u64) {
        let has_terminal = self.has_terminal;
        let track = match direction {
            Direction::Out => &mut self.out,
            Direction::Err => &mut self.err,
            Direction::In => &mut self.input,
        };
        let most = if has_terminal { usize::MAX } else { KEPT_BYTES - track.kept };
        let kept = bytes.get(..bytes.len().min(most)).unwrap_or_default();
        track.kept += kept.len();
        let text = track.read(kept);
        if kept.len() < bytes.len() && !self.is_cut {
            self.is_cut = true;
            self.event(now, "m", "more than is kept: what follows is counted and hashed");
        }
        if text.is_empty() {
            return;
        }
        if direction == Direction::Err {
            self.event(now, "e", &text.chars().count().to_string());
        }
        self.event(now, if direction == Direction::In { "i" } else { "o" }, &text);
    }

    /// Adds the terminal's size.
    pub fn resize(&mut self, (columns, rows): (u16, u16), now: u64) {
        self.event(now, "r", &format!("{columns}x{rows}"));
    }

    /// Adds a mark, and the halves of characters whose other half never came.
    pub fn finish(&mut self, sentence: &str, now: u64) {
        for direction in [Direction::Out, Direction::Err, Direction::In] {
            let track = match direction {
                Direction::Out => &mut self.out,
                Direction::Err => &mut self.err,
                Direction::In => &mut self.input,
            };
            if !std::mem::take(&mut track.rest).is_empty() {
                self.event(now, if direction == Direction::In { "i" } else { "o" }, "\u{fffd}");
            }
        }
        self.event(now, "m", sentence);
    }

    /// How much is not yet stored, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether all is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes what is not yet stored.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }

    /// A line.
    fn event(&mut self, now: u64, code: &str, text: &str) {
        let elapsed = now.saturating_sub(self.began);
        let _ = write!(self.lines, "[{}.{:03}, \"{code}\", ", elapsed / 1000, elapsed % 1000);
        let _ = serde_json::to_writer(&mut self.lines, text);
        self.lines.extend_from_slice(b"]\n");
    }
}

impl Track {
    /// What is whole of these bytes and of what was left before them. What is no UTF-8 becomes U+FFFD.
    fn read(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.rest.len());
        let mut rest = self.rest.as_slice();
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => error,
            };
            let (valid, broken) = rest.split_at(error.valid_up_to());
            text.push_str(std::str::from_utf8(valid).unwrap_or_default());
            let Some(length) = error.error_len() else {
                rest = broken;
                break;
            };
            text.push('\u{fffd}');
            rest = broken.get(length..).unwrap_or_default();
        }
        self.rest = rest.to_vec();
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn events(cast: &mut Cast) -> Vec<Value> {
        let text = String::from_utf8(cast.take()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_cast_is_a_header_and_an_event_a_line() {
        let mut cast = Cast::new(1_800_000_000_500, true, "sh -c \"x\"", "alice: exec default/web");
        cast.resize((120, 40), 1_800_000_000_500);
        cast.add(Direction::Out, b"\x1b[1mhi\x1b[0m\r\n", 1_800_000_001_501);
        cast.add(Direction::Err, "é!".as_bytes(), 1_800_000_011_500);
        cast.add(Direction::In, b"x", 1_800_000_011_501);
        cast.finish("the command ended", 1_800_000_011_502);
        let header = json!({ "version": 2, "width": 80, "height": 24, "timestamp": 1_800_000_000, "command": "sh -c \"x\"",
            "title": "alice: exec default/web" });
        assert_eq!(
            events(&mut cast),
            [
                header,
                json!([0.0, "r", "120x40"]),
                json!([1.001, "o", "\u{1b}[1mhi\u{1b}[0m\r\n"]),
                json!([11.0, "e", "2"]),
                json!([11.0, "o", "é!"]),
                json!([11.001, "i", "x"]),
                json!([11.002, "m", "the command ended"]),
            ]
        );
        assert!(cast.is_empty());
    }

    #[test]
    fn what_has_no_terminal_is_kept_up_to_a_limit_each_way() {
        let mut cast = Cast::new(0, false, "tar", "t");
        cast.add(Direction::Out, &vec![b'a'; KEPT_BYTES - 1], 0);
        cast.add(Direction::Out, b"bcd", 0);
        cast.add(Direction::Out, b"efg", 0);
        cast.add(Direction::Err, b"still", 0);
        let events = events(&mut cast);
        let texts: Vec<&str> = events[1..].iter().map(|event| event[1].as_str().unwrap()).collect();
        assert_eq!(texts, ["o", "m", "o", "e", "o"]);
        assert_eq!((events[3][2].as_str(), events[5][2].as_str()), (Some("b"), Some("still")));
    }

    #[test]
    fn half_a_character_is_not_lost_at_the_end() {
        let mut cast = Cast::new(0, true, "", "t");
        cast.add(Direction::Out, "é".as_bytes().get(..1).unwrap(), 0);
        cast.finish("end", 0);
        assert_eq!(events(&mut cast)[1..], [json!([0.0, "o", "\u{fffd}"]), json!([0.0, "m", "end"])]);
    }

    proptest! {
        #[test]
        fn bytes_read_in_any_pieces_are_the_text_of_all_of_them(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            text in "\\PC{0,16}",
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let all = [bytes.as_slice(), text.as_bytes()].concat();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
            places.sort_unstable();
            places.push(all.len());
            let (mut track, mut read, mut from) = (Track::default(), String::new(), 0);
            for to in places {
                read.push_str(&track.read(&all[from..to]));
                from = to;
            }
            let rest = String::from_utf8_lossy(&track.rest).into_owned();
            prop_assert_eq!(read + &rest, String::from_utf8_lossy(&all));
            prop_assert!(track.rest.len() < 4);
        }
    }
}
