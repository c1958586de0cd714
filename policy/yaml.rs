//! What two readers of YAML could take for two things. Terraform reads `identities.yaml` by YAML 1.1, other tools by rules of their own.

use std::mem;

use granit_parser::{Event, Parser, ScalarStyle};

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
    let options = granit_parser::options! { disallow_directives: true, emit_anchor_events: true };
    let mut has_begun = false;
    let mut is_time = false;
    for event in Parser::new_from_str_with_options(yaml, options) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => return refusal(error.marker().line(), error.to_string()),
        };
        let line = span.start.line();
        let written = span.slice(yaml).unwrap_or_default();
        if let Some(message) = complaint(&event, written).filter(|_| !(is_time && is_moment(written))) {
            return refusal(line, message);
        }
        is_time = written == "expires";
        if matches!(event, Event::DocumentStart(..)) && mem::replace(&mut has_begun, true) {
            return refusal(line, "a second document: expected one".into());
        }
    }
    Ok(())
}

/// What is wrong with a part of the file, which stands there as `written`.
fn complaint(event: &Event<'_>, written: &str) -> Option<String> {
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
        && !bare.contains(['.', ' ', 't', 'z'])
        && moment(bare).is_some()
}

fn is_plain_anchor(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

pub(super) fn quote_it(value: &str) -> String {
    format!("{value:?} may be read as something else than text: quote it")
}
