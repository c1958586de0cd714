//! What a command prints. Whoever reads it may have gone, as `head` has when it has seen enough, and a disk may be full.

use std::fmt::Display;
use std::io::{self, Write as _};

use crate::failure::Failure;

/// The exit status of a program that SIGPIPE ended, as a shell tells it (128 and the signal's number): nobody takes it for a success.
const NOBODY_READS: u8 = 141;

/// Prints a line.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    self::text(format_args!("{text}\n"))
}

/// Prints a text as it is, at once.
pub(crate) fn text(text: impl Display) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    write!(output, "{text}").and_then(|()| output.flush()).map_err(|error| unprinted(&error))
}

/// Says something beside, to whoever is there: a line on stderr.
pub(crate) fn note(text: impl Display) {
    // Nobody is there to be told that nobody is there.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Why something was not printed.
pub(crate) fn unprinted(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::said(NOBODY_READS);
    }
    Failure::new(format!("stdout does not take what there is to print: {error}"))
}
