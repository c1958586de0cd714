//! `kubectl access`: what people and machines need of a kube-access gateway that kubectl alone cannot do.
//!
//! kubectl runs `kubectl-access` as `kubectl access`. Each command is a file: what it takes, what it does, what it prints.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

mod explain;
mod failure;
mod policy;
mod text;

/// What people and machines need of a kube-access gateway that kubectl alone cannot do.
#[derive(Debug, Parser)]
#[command(name = "kubectl-access", bin_name = "kubectl access", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tells what the gateway would say to a request, offline, and what a new policy would change
    Explain(explain::Explain),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let message = failure.to_string();
            if !message.is_empty() {
                eprintln!("{}", text::visible_lines(&message));
            }
            ExitCode::from(failure.status())
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Explain(explain) => explain::run(explain),
    }
}
