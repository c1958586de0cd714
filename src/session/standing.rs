//! Whether a caller stands as they entered, and how often that is asked.

use crate::caller::Caller;

/// How often a stream's caller is looked at again, in seconds.
pub const EVERY_SECONDS: u64 = 10;

/// How old the groups of the identity provider may be then, in seconds.
pub const MEMBERSHIP_SECONDS: u64 = 15;

/// How long a stream goes on while nobody can say who its caller is, in seconds.
pub const UNKNOWN_SECONDS: u64 = 300;

/// What a caller has lost of what they entered with, if anything.
#[must_use]
pub fn lost(entered: &Caller, now: &Caller) -> Option<String> {
    let (was, is) = (entered.identity(), now.identity());
    if was.user() != is.user() {
        return Some(format!("you are no longer {}, as whom you entered", was.user()));
    }
    let group = was.groups().iter().find(|group| !is.groups().contains(group))?;
    Some(format!("you are no longer in the group {group}, with which you entered"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Held;
    use crate::identity::tests_support::with_row;

    #[test]
    fn case_123_who_is_less_than_they_entered_as_is_told_so() {
        let caller = |user: &str, groups: &[&str]| {
            Caller::new(with_row(&[user, "\t", &groups.join(",")].concat()), Held::default())
        };
        let entered = caller("alice", &["admins", "devs"]);
        assert_eq!(lost(&entered, &entered), None);
        assert_eq!(lost(&entered, &caller("alice", &["devs", "more", "admins"])), None, "more is nothing lost");
        assert!(lost(&entered, &caller("alice", &["admins"])).unwrap().contains("no longer in the group devs"));
        assert!(lost(&entered, &caller("bob", &["admins", "devs"])).unwrap().contains("no longer alice"));
    }
}
