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
