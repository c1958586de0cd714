//! Who has which streams open: the one place that counts them.
//!
//! It is kept in memory alone. A stream says again and again that it is there, so that a roll that was lost is whole again in a moment,
//! and a stream that died without a word gives its place back.

/// How often a stream says that it is there, in seconds.
pub const EVERY_SECONDS: u64 = 15;

/// How long a place is kept for a stream that says nothing, in seconds.
const KEPT_SECONDS: u64 = 45;

/// The streams that are open, in the order of their names.
#[derive(Debug, Default)]
pub struct Roll(Vec<Open>);

#[derive(Debug)]
struct Open {
    id: String,
    user: String,
    /// As [`super::facts::Facts::summary`] makes it.
    summary: String,
    /// When it said last that it is there, in seconds since the Unix epoch.
    seen: u64,
}

impl Roll {
    /// Takes a stream in, unless its user has so many already. `now` is in seconds since the Unix epoch.
    pub fn enter(&mut self, id: &str, user: &str, summary: &str, most: usize, now: u64) -> bool {
        let is_in = self.0.iter().any(|open| open.id == id);
        let may_enter = is_in || self.has_place(user, most, now);
        if may_enter {
            self.stay(id, user, summary, now);
        }
        may_enter
    }

    /// Whether a user may have another stream.
    pub fn has_place(&mut self, user: &str, most: usize, now: u64) -> bool {
        self.forget(now);
        self.0.iter().filter(|open| open.user == user).count() < most
    }

    /// Hears that a stream is there, whether it is known or not.
    pub fn stay(&mut self, id: &str, user: &str, summary: &str, now: u64) {
        if let Some(open) = self.0.iter_mut().find(|open| open.id == id) {
            open.seen = now;
            return;
        }
        let place = self.0.iter().position(|open| open.id.as_str() > id).unwrap_or(self.0.len());
        let open = Open { id: id.to_owned(), user: user.to_owned(), summary: summary.to_owned(), seen: now };
        self.0.insert(place, open);
    }

    /// Hears that a stream has ended.
    pub fn leave(&mut self, id: &str) {
        self.0.retain(|open| open.id != id);
    }

    /// At most so many lines of an ID and a summary without its end, the newest first: those after an ID, of one user or of everybody.
    pub fn list(&mut self, after: &str, user: &str, most: usize, now: u64) -> Vec<String> {
        self.forget(now);
        let wanted = self.0.iter().filter(|open| open.id.as_str() > after && (user.is_empty() || open.user == user));
        wanted.take(most).map(|open| [&open.id, " ", &open.summary].concat()).collect()
    }

    fn forget(&mut self, now: u64) {
        self.0.retain(|open| open.seen + KEPT_SECONDS > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_147_a_user_has_so_many_places_and_no_more() {
        let mut roll = Roll::default();
        assert!(roll.enter("b", "alice", "B", 2, 100) && roll.enter("a", "alice", "A", 2, 100));
        assert!(!roll.enter("c", "alice", "C", 2, 100));
        assert!(roll.enter("a", "alice", "A", 2, 100), "who is in is in");
        assert!(roll.enter("d", "bob", "D", 2, 100), "others have places of their own");
        assert_eq!(roll.list("", "", 9, 100), ["a A", "b B", "d D"]);
        roll.leave("a");
        assert!(roll.enter("c", "alice", "C", 2, 100));
    }

    #[test]
    fn a_stream_that_says_nothing_gives_its_place_back_within_a_minute() {
        let mut roll = Roll::default();
        assert!(roll.enter("a", "alice", "A", 1, 100));
        roll.stay("a", "alice", "A", 100 + EVERY_SECONDS);
        assert!(!roll.enter("b", "alice", "B", 1, 100 + EVERY_SECONDS + KEPT_SECONDS - 1));
        assert!(roll.enter("b", "alice", "B", 1, 100 + EVERY_SECONDS + KEPT_SECONDS));
    }

    #[test]
    fn a_roll_that_was_lost_is_whole_when_all_have_spoken() {
        let mut roll = Roll::default();
        roll.stay("a", "alice", "A", 100);
        assert!(!roll.enter("b", "alice", "B", 1, 100));
        assert_eq!(roll.list("", "", 9, 100), ["a A"]);
        assert_eq!(roll.list("", "", 9, 100 + KEPT_SECONDS), [""; 0]);
    }

    #[test]
    fn a_list_goes_on_where_it_stopped_and_is_never_longer_than_was_asked_for() {
        let mut roll = Roll::default();
        for (id, user) in [("d", "alice"), ("a", "alice"), ("c", "bob"), ("b", "alice")] {
            roll.stay(id, user, "{", 100);
        }
        assert_eq!(roll.list("", "", 2, 100), ["a {", "b {"]);
        assert_eq!(roll.list("b", "", 2, 100), ["c {", "d {"]);
        assert_eq!(roll.list("a", "alice", 2, 100), ["b {", "d {"]);
        assert_eq!(roll.list("d", "", 2, 100), [""; 0]);
    }
}
