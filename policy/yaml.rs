//! What two readers of YAML could take for two things. Terraform reads `identities.yaml` by YAML 1.1, other tools by rules of their own.

use std::{fmt, mem};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde::Deserializer;
use serde::de::{Error, Visitor};
use serde_saphyr::Location;

use super::{MapError, moment};

/// Words that one reader or another takes for a switch, for nothing, or for a number, in whatever letter case. `true` and
/// `false` are missing: a field of this map expects them, and the others refuse them.
const NO_TEXT: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "null", "~", ".inf", ".nan"];

/// Tabs, which YAML 1.1 takes in fewer places, its line ends that are characters like others in YAML 1.2, and the mark that
/// may stand at the very start.
const OTHER_BLANKS: [char; 5] = ['\t', '\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'];

/// What they may take for something else than what stands there is refused before anybody reads it.
pub(super) fn refuse_what_others_read_otherwise(yaml: &str) -> Result<(), MapError> {
    let refusal = |line: usize, message: String| {
        let line = u64::try_from(line).unwrap_or_default();
        Err(MapError { line, message })
    };
    let unmarked = yaml.strip_prefix('\u{feff}').unwrap_or(yaml);
    for (index, line) in unmarked.split('\n').enumerate() {
        if let Some(blank) = line.chars().find(|char| OTHER_BLANKS.contains(char)) {
            let message = format!("{blank:?}: expected blanks and line feeds only");
            return refusal(index + 1, message);
        }
        if line.starts_with("...") {
            return refusal(index + 1, "expected no end of the document".into());
        }
    }
    let mut has_begun = false;
    let mut place = Place::default();
    for event in parse(yaml) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => return refusal(error.marker().line(), error.to_string()),
        };
        let line = span.start.line();
        let written = span.slice(yaml).unwrap_or_default();
        let may_be_time = place.go_on(&event).is_some_and(|field| field == "expires");
        if let Some(message) = complaint(&event, written, may_be_time) {
            return refusal(line, message);
        }
        if matches!(event, Event::DocumentStart(..)) && mem::replace(&mut has_begun, true) {
            return refusal(line, "a second document: expected one".into());
        }
    }
    Ok(())
}

/// The lists and maps that a reader of the file is in, from the outermost.
#[derive(Default)]
struct Place(Vec<Level>);

struct Level {
    is_map: bool,
    /// Of a map, the field whose value comes next, or none where a field does; of a list, the field that it is the value of.
    field: Option<String>,
}

impl Place {
    /// Goes on to the next part of the file, and tells the field of whose value it is the beginning.
    fn go_on(&mut self, event: &Event<'_>) -> Option<String> {
        if let Event::SequenceEnd | Event::MappingEnd = event {
            self.0.pop();
        }
        if !matches!(event, Event::Scalar(..) | Event::Alias(_) | Event::SequenceStart(..) | Event::MappingStart(..)) {
            return None;
        }
        let field = match self.0.last_mut() {
            Some(Level { is_map: true, field }) if field.is_none() => {
                *field = Some(event.scalar().map_or_else(String::new, |(text, _)| text.to_owned()));
                None
            }
            Some(Level { is_map: true, field }) => field.take(),
            Some(Level { is_map: false, field }) => field.clone(),
            None => None,
        };
        let is_map = matches!(event, Event::MappingStart(..));
        if is_map || matches!(event, Event::SequenceStart(..)) {
            self.0.push(Level { is_map, field: field.clone().filter(|_| !is_map) });
        }
        field
    }
}

fn parse(yaml: &str) -> impl Iterator<Item = Result<(Event<'_>, Span), ScanError>> {
    let options = granit_parser::options! { disallow_directives: true, emit_anchor_events: true };
    Parser::new_from_str_with_options(yaml, options)
}

/// What is wrong with a part of the file, which stands there as `written`.
fn complaint(event: &Event<'_>, written: &str, may_be_time: bool) -> Option<String> {
    if event.tag().is_some() {
        return Some("expected no tag: quote what is text".into());
    }
    if let Event::Scalar(_, _, 1.., _) | Event::MappingStart(_, 1.., _) = event {
        return Some("expected an anchor at a list only".into());
    }
    if let Event::Anchor(_, name) = event {
        return (!is_plain_anchor(name)).then(|| format!("anchor {name:?}: expected letters, digits, - and _"));
    }
    match event.scalar()? {
        (_, ScalarStyle::SingleQuoted) => None,
        (_, ScalarStyle::DoubleQuoted) => written.contains(r"\/").then(|| r"\/ is no escape: expected / alone".into()),
        (_, ScalarStyle::Literal | ScalarStyle::Folded) => Some("a block of lines: expected text in one line".into()),
        (_, ScalarStyle::Plain) if written.is_empty() => {
            Some("nothing stands here: expected a value, or the field left out".into())
        }
        (bare, ScalarStyle::Plain) if may_be_time && is_moment(bare) => None,
        (bare, ScalarStyle::Plain) => is_ambiguous(bare).then(|| quote_it(bare)),
    }
}

/// Whether a scalar without quotes may be something else than text: a number of any notation, a date, a time, one of the
/// words, or a piece of a map.
fn is_ambiguous(bare: &str) -> bool {
    let unsigned = bare.trim_start_matches(['+', '-']);
    let digits = unsigned.trim_start_matches('.');
    let is_numeric = digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-_.,: eEtTzZ".contains(&byte));
    is_numeric
        || bare.starts_with(':')
        || bare.contains('?')
        || NO_TEXT.iter().any(|word| word.eq_ignore_ascii_case(unsigned))
}

/// Whether a scalar is a time to every reader, and the same one: `2027-01-31T18:00:00Z`.
fn is_moment(bare: &str) -> bool {
    bare.len() >= 20
        && bare.as_bytes().get(10) == Some(&b'T')
        && bare.ends_with('Z')
        && !bare.contains(['.', ' '])
        && moment(bare).is_some()
}

fn is_plain_anchor(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn quote_it(value: &str) -> String {
    format!("{value:?} may be read as something else than text: quote it")
}

/// What the reader of the types says of a file, with what to do.
pub(super) fn in_words(error: &serde_saphyr::Error, yaml: &str) -> String {
    use serde_saphyr::Error::{DuplicateMappingKey, QuotingRequired, Unexpected};
    if let QuotingRequired { value, .. } = error {
        return quote_it(value);
    }
    if let DuplicateMappingKey { key: Some(key), .. } = error {
        return format!("a duplicate: {key} stands here already, expected it once");
    }
    let Unexpected { expected, location } = error else {
        return error.to_string();
    };
    let expected = match *expected {
        "sequence start" => "a list, such as [a, b]",
        "mapping start" => "fields with their values, such as {field: value}",
        "string scalar" => "one text",
        other => other,
    };
    match field_at(yaml, *location) {
        Some(field) => format!("{field}: expected {expected}"),
        None => format!("expected {expected}"),
    }
}

/// The field whose value stands there, or is a list in which it stands.
fn field_at(yaml: &str, location: Location) -> Option<String> {
    let is_there = |span: &Span| {
        let at = |number: usize| u64::try_from(number).unwrap_or_default();
        at(span.start.line()) == location.line() && at(span.start.col()) + 1 == location.column()
    };
    let mut place = Place::default();
    let fields = parse(yaml).map_while(Result::ok).map(|(event, span)| (place.go_on(&event), span));
    fields.filter(|(_, span)| is_there(span)).find_map(|(field, _)| field)
}

/// `true` or `false`, and no text that says so.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Switch)
}

struct Switch;

impl Visitor<'_> for Switch {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false, without quotes")
    }

    fn visit_bool<E: Error>(self, switch: bool) -> Result<bool, E> {
        Ok(switch)
    }
}
