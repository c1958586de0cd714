//! What guards ask of what stays open.

/// What the guards that hold ask of something that stays open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stay {
    /// What of a stream is recorded.
    pub record: Record,
    /// When it ends at the latest, in seconds from its beginning.
    pub seconds: Option<u64>,
    /// How many bytes each direction of a stream may carry.
    pub bytes: u64,
    /// The names of the guards that ask.
    pub guards: Vec<String>,
}

/// What of a stream is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// Nothing.
    #[default]
    Nothing,
    /// What comes back.
    Output,
    /// What is typed as well.
    Input,
}

impl Stay {
    /// The strictest of both, such as the caller's and that of whom they act as.
    #[must_use]
    pub fn and(mut self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        self.record = self.record.max(other.record);
        self.seconds = self.seconds.into_iter().chain(other.seconds).min();
        self.bytes = self.bytes.min(other.bytes);
        for guard in other.guards {
            if !self.guards.contains(&guard) {
                self.guards.push(guard);
            }
        }
        self
    }
}
