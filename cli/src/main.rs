//! `kubectl access`: what people and machines need of a kube-access gateway that kubectl alone cannot do.
//!
//! kubectl runs `kubectl-access` as `kubectl access`. Each command is a file: what it takes, what it does, what it prints.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Because, Failure};
use kubectl::Kubectl;

mod explain;
mod failure;
mod forward;
mod grants;
mod host;
mod kubectl;
mod login;
mod place;
mod policy;
mod run;
mod sessions;
mod setup;
mod signals;
mod standing;
mod text;
mod upstream;
mod whoami;

/// What people and machines need of a kube-access gateway that kubectl alone cannot do.
#[derive(Debug, Parser)]
#[command(name = "kubectl-access", bin_name = "kubectl access", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes cluster, user and context into the kubeconfig, and shows what changes first
    Setup(setup::Setup),
    /// Logs in by a browser (Access's managed OAuth): for machines without WARP
    Login(login::Login),
    /// Prints the token of that login: kubectl runs this by itself
    Token(login::Token),
    /// Forgets that login
    Logout(login::Logout),
    /// Runs a program with a way to the gateway: for CI, and machines without WARP
    Run(run::Run),
    /// Keeps a way to the gateway open, for programs that are started by others
    Connect(run::Connect),
    /// Who the gateway takes you for, and what you may do
    Whoami {
        #[command(flatten)]
        kubectl: Kubectl,
        #[command(flatten)]
        whoami: whoami::Whoami,
    },
    /// Gives somebody groups for a time
    Grant {
        #[command(flatten)]
        kubectl: Kubectl,
        #[command(flatten)]
        grant: grants::Grant,
    },
    /// Takes a grant back
    Revoke {
        #[command(flatten)]
        kubectl: Kubectl,
        #[command(flatten)]
        revoke: grants::Revoke,
    },
    /// Which grants hold
    Grants {
        #[command(flatten)]
        kubectl: Kubectl,
        #[command(flatten)]
        grants: grants::Grants,
    },
    /// Streams that were recorded or bounded, and those that go on
    Sessions {
        #[command(flatten)]
        kubectl: Kubectl,
        #[command(subcommand)]
        sessions: sessions::Sessions,
    },
    /// Tells what the gateway would say to a request, offline, and what a new policy would change
    Explain(explain::Explain),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            let message = failure.to_string();
            if !message.is_empty() {
                eprintln!("{}", text::visible_lines(&message));
            }
            ExitCode::from(failure.status())
        }
    }
}

/// The exit status.
fn run(cli: &Cli) -> Result<u8, Failure> {
    match &cli.command {
        Command::Setup(setup) => setup::run(setup).map(|()| 0),
        Command::Login(login) => wait(login::login(login)).map(|()| 0),
        Command::Token(token) => login::token(token, |waiting| wait(waiting.renew())).map(|()| 0),
        Command::Logout(logout) => wait(login::logout(logout)).map(|()| 0),
        Command::Run(run) => wait(run::run(run)),
        Command::Connect(connect) => wait(run::connect(connect)),
        Command::Whoami { kubectl, whoami } => whoami::run(kubectl, whoami).map(|()| 0),
        Command::Grant { kubectl, grant } => grants::grant(kubectl, grant).map(|()| 0),
        Command::Revoke { kubectl, revoke } => grants::revoke(kubectl, revoke).map(|()| 0),
        Command::Grants { kubectl, grants } => grants::list(kubectl, grants).map(|()| 0),
        Command::Sessions { kubectl, sessions } => sessions::run(kubectl, sessions).map(|()| 0),
        Command::Explain(explain) => explain::run(explain).map(|()| 0),
    }
}

fn wait<T>(what: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.because("this machine")?;
    let done = runtime.block_on(what);
    // What still streams is broken off: its program has ended.
    runtime.shutdown_background();
    done
}
