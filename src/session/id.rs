//! The name of a session: when it began, whose it is, and something that nobody else has.
//!
//! `8235432100123-0123456789abcdef-0123456789abcdef`: milliseconds that go down, so that the newest comes first in a list by name; the
//! beginning of the SHA-256 of the user's name, so that a name says whose it is; the beginning of the request's UUID.

use std::fmt::Write as _;

use hmac_sha256::Hash;

/// From which the milliseconds since the Unix epoch are taken: as long as all that are.
const LAST: u64 = 9_999_999_999_999;

/// How many hexadecimal digits are taken of a digest, and of a UUID.
const DIGITS: usize = 16;

/// The length of a name.
const LENGTH: usize = 13 + 1 + DIGITS + 1 + DIGITS;

/// The name of a session.
#[must_use]
pub fn make(user: &str, began: u64, uuid: &str) -> String {
    let unique: String = uuid.chars().filter(char::is_ascii_hexdigit).take(DIGITS).collect();
    format!("{}-{}-{unique:0>DIGITS$}", before(began), owner(user))
}

/// Where the names of those begin that began at this time, in milliseconds since the Unix epoch.
#[must_use]
pub fn before(began: u64) -> String {
    format!("{:013}", LAST.saturating_sub(began))
}

/// What the names of this user's sessions have in the middle.
#[must_use]
pub fn owner(user: &str) -> String {
    let mut text = hex(&Hash::hash(user.as_bytes()));
    text.truncate(DIGITS);
    text
}

/// Whether a text is such a name.
#[must_use]
pub fn is_one(text: &str) -> bool {
    let is_digit = |(place, byte): (usize, u8)| match place {
        13 | 30 => byte == b'-',
        0..13 => byte.is_ascii_digit(),
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    };
    text.len() == LENGTH && text.bytes().enumerate().all(is_digit)
}

/// Whether a session is this user's.
#[must_use]
pub fn is_of(id: &str, user: &str) -> bool {
    id.get(14..30) == Some(&owner(user))
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_and_whose_and_the_newest_comes_first() {
        let uuid = "0fA34567-89ab-4def-8123-456789abcdef";
        let id = make("alice", 1_800_000_000_000, &uuid.to_lowercase());
        assert_eq!(id, "8199999999999-2bd806c97f0e00af-0fa3456789ab4def");
        assert!(is_one(&id) && is_of(&id, "alice") && !is_of(&id, "bob") && id.starts_with(&before(1_800_000_000_000)));
        assert!(make("alice", 1_800_000_000_001, uuid) < id);
        assert!(is_one(&make("x", 0, "")) && is_one(&make("x", u64::MAX, "zz")));
        for odd in ["", "a", &id[1..], &format!("{id}0"), &id.to_uppercase(), &id.replace('-', "/"), "../../../x"] {
            assert!(!is_one(odd), "{odd}");
        }
    }
}
