//! Signals that would end this program: some are its command's.

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(unix)]
mod unix {
    use std::fs::{self, File};
    use std::future::poll_fn;
    use std::task::Poll;

    use rustix::process::{Pid, Signal, getpgrp, kill_process};
    use rustix::termios::tcgetpgrp;
    use tokio::process::Child;
    use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

    use crate::failure::{Because, Failure};

    /// What would end this program.
    const ENDING: [Signal; 6] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];

    /// Signals that would end this program, and are its command's.
    #[derive(Debug)]
    pub(crate) struct Signals(Vec<(Signal, Listener)>);

    /// A signal that came.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Came(Signal);

    impl Signals {
        /// Whoever started this program with one ignored, as nohup does, wants the command to ignore it too: to listen would undo that.
        pub(crate) fn listen() -> Result<Self, Failure> {
            let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
            let heard = ENDING.into_iter().filter(|signal| ignored >> (signal.as_raw() - 1) & 1 == 0);
            let listening = heard.map(|heard| Ok((heard, signal(SignalKind::from_raw(heard.as_raw()))?)));
            listening.collect::<std::io::Result<_>>().map(Self).because("signals")
        }

        /// The next one.
        pub(crate) async fn next(&mut self) -> Came {
            poll_fn(|context| {
                let came = self
                    .0
                    .iter_mut()
                    .find_map(|(signal, listener)| listener.poll_recv(context).is_ready().then_some(*signal));
                came.map_or(Poll::Pending, |signal| Poll::Ready(Came(signal)))
            })
            .await
        }
    }

    impl Came {
        /// Passes it to the command, unless the terminal has told it already: Ctrl-C goes to everybody in the foreground.
        pub(crate) fn pass_to(self, child: &Child) {
            let is_of_keyboard = matches!(self.0, Signal::INT | Signal::QUIT);
            let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            if let Some(id) = id.filter(|_| !(is_of_keyboard && is_in_foreground())) {
                // It may have ended a moment ago.
                let _ = kill_process(id, self.0);
            }
        }
    }

    /// By the terminal itself, since stdin may be a pipe.
    fn is_in_foreground() -> bool {
        File::open("/dev/tty").is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
    }

    /// The signals that were ignored at the start, a bit for each: Linux tells them (`proc_pid_status(5)`), others do not.
    fn ignored(status: &str) -> u64 {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_was_ignored_at_the_start_is_told() {
            assert_eq!(ignored("Name:\tx\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n"), 0x1001);
            assert_eq!((ignored(""), ignored("SigIgn:\tx\n")), (0, 0));
        }
    }
}

#[cfg(not(unix))]
pub(crate) use elsewhere::Signals;

#[cfg(not(unix))]
mod elsewhere {
    use tokio::process::Child;

    use crate::failure::Failure;

    /// Ctrl-C, which the console tells the command as well.
    #[derive(Debug)]
    pub(crate) struct Signals;

    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Came;

    impl Signals {
        #[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
        pub(crate) fn listen() -> Result<Self, Failure> {
            Ok(Self)
        }

        pub(crate) async fn next(&mut self) -> Came {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Came
        }
    }

    impl Came {
        pub(crate) fn pass_to(self, _: &Child) {}
    }
}
