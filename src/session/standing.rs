//! Until when a caller may stay, and whether they stand as they entered.

use std::fmt;

use crate::caller::Caller;

/// How often a stream's caller is looked at again, in seconds.
pub const EVERY_SECONDS: u64 = 10;

/// How old the groups of the identity provider may be then, in seconds.
pub const MEMBERSHIP_SECONDS: u64 = 15;

/// How long a stream goes on while nobody can say who its caller is, in seconds.
pub const UNKNOWN_SECONDS: u64 = 300;

/// When something that stays open ends, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadline {
    /// In seconds since the Unix epoch.
    pub at: u64,
    /// Why then.
    pub why: Why,
}

/// Why something ends at its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The token's end.
    Token,
    /// The end of an entry or of a grant.
    Policy,
    /// What guards give a session, in seconds, and the first of them.
    Guard(u64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("your login at Cloudflare Access ends"),
            Self::Policy => f.write_str("the entry or the grant that lets you in ends"),
            Self::Guard(seconds) => {
                f.write_str("a session here lasts at most ")?;
                let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
                let mut separator = "";
                for (count, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s")] {
                    if count > 0 {
                        write!(f, "{separator}{count} {unit}")?;
                        separator = " ";
                    }
                }
                Ok(())
            }
        }
    }
}

impl Deadline {
    /// The earlier of two.
    #[must_use]
    pub fn or(self, other: Option<Self>) -> Self {
        other.filter(|other| other.at < self.at).unwrap_or(self)
    }
}

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

    #[test]
    fn the_earlier_end_counts_and_its_time_is_in_words() {
        let at = |at, why| Deadline { at, why };
        assert_eq!(at(5, Why::Token).or(Some(at(4, Why::Policy))), at(4, Why::Policy));
        assert_eq!(at(5, Why::Token).or(Some(at(5, Why::Policy))), at(5, Why::Token));
        assert_eq!(at(5, Why::Token).or(None), at(5, Why::Token));
        for (seconds, text) in [(14_400, "4 h"), (5_400, "1 h 30 m"), (45, "45 s"), (90, "1 m 30 s")] {
            assert_eq!(Why::Guard(seconds).to_string(), format!("a session here lasts at most {text}"));
        }
    }
}
