//! What went wrong, as a sentence that says what to do.

use std::fmt;

/// A command that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// It was refused, or failed: exit status 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// The command line is wrong: exit status 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 2 }
    }

    /// What was wrong has been said already.
    pub(crate) fn said(status: u8) -> Self {
        Self { message: String::new(), status }
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Says of an error what was being done.
pub(crate) trait Because<T> {
    /// The error as a failure, after `what` and a colon.
    fn because(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Because<T> for Result<T, E> {
    fn because(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}
