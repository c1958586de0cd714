//! Signals that would end this program: some are its command's.

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(unix)]
mod unix {
    use rustix::process::{Pid, getpgrp, kill_process};
    use rustix::termios::tcgetpgrp;
    use tokio::process::Child;
    use tokio::signal::unix::{Signal, SignalKind, signal};

    use crate::failure::{Because, Failure};

    /// Signals that would end this program, and are its command's.
    #[derive(Debug)]
    pub(crate) struct Signals {
        interrupt: Signal,
        terminate: Signal,
        hang_up: Signal,
        quit: Signal,
        user_1: Signal,
        user_2: Signal,
    }

    /// A signal that came.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Came(rustix::process::Signal);

    impl Signals {
        pub(crate) fn listen() -> Result<Self, Failure> {
            let listen = |kind| signal(kind).because("signals");
            Ok(Self {
                interrupt: listen(SignalKind::interrupt())?,
                terminate: listen(SignalKind::terminate())?,
                hang_up: listen(SignalKind::hangup())?,
                quit: listen(SignalKind::quit())?,
                user_1: listen(SignalKind::user_defined1())?,
                user_2: listen(SignalKind::user_defined2())?,
            })
        }

        /// The next one.
        pub(crate) async fn next(&mut self) -> Came {
            use rustix::process::Signal;
            Came(tokio::select! {
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.hang_up.recv() => Signal::HUP,
                _ = self.quit.recv() => Signal::QUIT,
                _ = self.user_1.recv() => Signal::USR1,
                _ = self.user_2.recv() => Signal::USR2,
            })
        }
    }

    impl Came {
        /// Passes it to the command, unless the terminal has told it already: Ctrl-C goes to everybody in the foreground.
        pub(crate) fn pass_to(self, child: &Child) {
            use rustix::process::Signal;
            let is_of_keyboard = matches!(self.0, Signal::INT | Signal::QUIT);
            let is_in_foreground = tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == getpgrp());
            let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            if let Some(id) = id.filter(|_| !(is_of_keyboard && is_in_foreground)) {
                // It may have ended a moment ago.
                let _ = kill_process(id, self.0);
            }
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
