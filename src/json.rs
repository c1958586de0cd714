//! JSON objects that others wrote. serde reads a struct from an array too, by position; nobody here writes one.

use serde::Deserialize;

/// Reads an object, and nothing but an object.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let is_object = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    if is_object { serde_json::from_str(text).ok() } else { None }
}
