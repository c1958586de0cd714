//! Until when something that stays open may.

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

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
