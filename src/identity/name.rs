//! Which user and group names may ever be sent to the cluster.
//!
//! `build.rs` compiles this file too: the map is held to the same rules when it is written and when it is read, and what Workers KV has
//! to those of the map.

/// The longest user or group name, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// The most groups that one entry may name, and the most names that its `act_as` may have. With 256 bytes each they stay far below the 128 KB that a request's head may have.
pub const MAX_GROUPS: usize = 300;

/// The one `system:` group that an entry may ask for, and only in so many words.
pub const MASTERS: &str = "system:masters";

/// Whether `name` is safe as the value of one `Impersonate-*` header line: 1 to 256 bytes of printable ASCII, no comma,
/// no blank at either end.
///
/// Commas are out because `Headers` objects join repeated lines by ", ", and a joined line is one group to the API
/// server. Blanks at the ends are out because HTTP trims them, so the cluster would see another name.
#[must_use]
pub fn is_well_formed(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b',')
        && !name.starts_with(' ')
        && !name.ends_with(' ')
}

/// What stands for the caller's address, in lower case, in an entry's `user`.
pub const EMAIL_PLACEHOLDER: &str = "{email}";

/// Checks that a name may be given to somebody. The error says what was expected.
pub fn check(name: &str) -> Result<(), &'static str> {
    check_form(name)?;
    if is_reserved(name) { Err("it is reserved: names that begin with system: belong to Kubernetes") } else { Ok(()) }
}

/// Checks that a name is well-formed. The error says what was expected.
pub fn check_form(name: &str) -> Result<(), &'static str> {
    let expected = "expected 1 to 256 printable ASCII characters, no comma, no blank at either end";
    if is_well_formed(name) { Ok(()) } else { Err(expected) }
}

/// Checks that a user has the caller's address once at most, and only where the caller has one.
pub fn check_placeholders(user: &str, has_address: bool) -> Result<(), &'static str> {
    match user.matches(EMAIL_PLACEHOLDER).count() {
        0 => Ok(()),
        _ if !has_address => Err("a service token has no email: expected a user without {email}"),
        1 => Ok(()),
        _ => Err("{email} may stand once"),
    }
}

/// Checks that a name is the same for everybody.
pub fn check_literal(name: &str) -> Result<(), &'static str> {
    let why = "{email} stands for the caller's address in an entry's user alone: expected a name without it";
    if name.contains(EMAIL_PLACEHOLDER) { Err(why) } else { Ok(()) }
}

/// Whether an entry of the map can name this address, domain or client ID: 1 to 256 bytes of visible ASCII, no comma.
#[must_use]
pub fn is_key(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Whether an entry of the map can name this group of an identity provider: 1 to 256 bytes of printable ASCII, no blank at either
/// end. It is compared with what the provider says, and never sent.
#[must_use]
pub fn is_group_id(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim_matches(' ').len() == text.len()
}

/// Whether `key` is one that an extra of an impersonated user may have: a path below a domain, in lower case. The API server takes
/// no other in constrained impersonation (KEP-5284).
#[must_use]
pub fn is_extra(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._/".contains(&byte);
    let is_path = |(domain, path): (&str, &str)| domain.contains('.') && !path.is_empty() && !path.ends_with('/');
    key.len() <= MAX_NAME_BYTES && key.bytes().all(is_plain) && key.split_once('/').is_some_and(is_path)
}

/// Whether an extra's key is the gateway's own to give.
#[must_use]
pub fn is_own_extra(key: &str) -> bool {
    key.starts_with("kube-access.dev/")
}

/// Whether Kubernetes keeps `name` for itself: `system:masters`, `system:serviceaccount:…`, `system:node:…` and so on.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("system:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_36_37_a_name_that_cannot_be_one_header_line_is_malformed() {
        let long = "g".repeat(MAX_NAME_BYTES + 1);
        for name in ["", "a,b", "x,system:masters", "a\rb", "a\nb", "a\0b", " a", "a ", "grüppe", "\u{7f}", "\t", &long]
        {
            assert!(!is_well_formed(name), "{name:?}");
        }
        for name in ["a", "platform admins", "oidc:team/x", "alice@example.com", &long[1..]] {
            assert!(is_well_formed(name), "{name:?}");
        }
    }

    #[test]
    fn case_85_the_key_of_an_extra_is_a_path_below_a_domain_in_lower_case() {
        for key in ["example.com/ticket", "a.b/c.d-e_f/g", "kube-access.dev.example.com/x"] {
            assert!(is_extra(key), "{key}");
        }
        for key in [
            "",
            "ticket",
            "example.com",
            "example.com/",
            "Example.com/x",
            "example.com/ü",
            "a b.c/d",
            "com/x",
            "a.b/%2f",
        ] {
            assert!(!is_extra(key), "{key}");
        }
    }

    #[test]
    fn case_34_35_names_of_the_system_are_reserved() {
        for name in [
            "system:admin",
            "system:anonymous",
            "system:serviceaccount:a:b",
            "system:node:n",
            "System:Masters",
            MASTERS,
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["system", "systems:x", "my-system:masters", "é"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
