//! `kubectl access`: what people and machines need of a kube-access gateway that kubectl alone cannot do.
//!
//! kubectl runs `kubectl-access` as `kubectl access`. Each command is a file: what it takes, what it does, what it prints.

// Rust's own macros panic where nobody reads any more: see `print`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

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
mod print;
mod run;
mod sessions;
mod setup;
mod signals;
mod standing;
mod text;
mod upstream;
mod whoami;

/// The program's name, by which kubectl finds it.
const NAME: &str = "kubectl-access";

/// What people and machines need of a kube-access gateway that kubectl alone cannot do
#[derive(Debug, Parser)]
#[command(name = NAME, bin_name = "kubectl access", version, disable_help_subcommand = true, after_help = START)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes cluster, user and context into the kubeconfig, and shows what changes first
    Setup(setup::Setup),
    /// Logs in by a browser (Access's managed OAuth): for machines without WARP
    #[command(after_long_help = LOGIN)]
    Login(login::Login),
    /// Prints the token of that login: kubectl runs this by itself
    #[command(after_long_help = TOKEN)]
    Token(login::Token),
    /// Forgets that login
    #[command(after_long_help = LOGOUT)]
    Logout(login::Logout),
    /// Runs a program with a way to the gateway: for CI, and machines without WARP
    Run(run::Run),
    /// Keeps a way to the gateway open, for programs that are started by others
    Connect(run::Connect),
    /// Who the gateway takes you for, and what you may do
    Whoami(whoami::Whoami),
    /// Gives somebody groups for a time
    Grant(grants::Grant),
    /// Takes a grant back
    Revoke(grants::Revoke),
    /// Which grants hold
    Grants(grants::Grants),
    /// Streams that were recorded or bounded, and those that go on
    #[command(after_long_help = sessions::EXAMPLES)]
    Sessions {
        #[command(flatten)]
        kubectl: Kubectl,
        #[command(subcommand)]
        sessions: sessions::Sessions,
    },
    /// Prints what has a shell complete the words of this program
    #[command(after_long_help = COMPLETION)]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Writes man pages into a folder
    #[command(after_long_help = MAN)]
    Man {
        /// The folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Tells what the gateway would say to a request, offline, and what a new policy would change
    Explain(explain::Explain),
}

const START: &str = "\
Where to begin:
  kubectl access setup https://kube.example.com          a machine with WARP; --login where there is none
  kubectl access run --host https://HOST -- COMMAND      in CI, with a service token
  kubectl access whoami                                  who one is there, and what one may do
  kubectl access explain --as-caller WHO get secrets     why something is refused, without asking anybody

`kubectl access COMMAND --help` has examples for each.";

const LOGIN: &str = "\
Examples:
  kubectl access login https://kube.example.com

  # Where no browser can be opened from here: prints the address
  kubectl access login https://kube.example.com --no-browser";

const TOKEN: &str = "\
Examples:
  kubectl access token https://kube.example.com

`kubectl access setup --login` has kubectl run it.";

const LOGOUT: &str = "\
Examples:
  kubectl access logout https://kube.example.com";

const MAN: &str = "\
Examples:
  kubectl-access man ~/.local/share/man/man1";

const COMPLETION: &str = "\
Examples:
  kubectl-access completion bash > ~/.local/share/bash-completion/completions/kubectl-access
  kubectl-access completion zsh > ~/.zfunc/_kubectl-access

They complete `kubectl-access`, as whose plugin kubectl runs it.";

fn main() -> ExitCode {
    match Cli::try_parse().map_or_else(|error| told(&error), |cli| run(&cli)) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            let message = failure.to_string();
            if !message.is_empty() {
                print::note(text::visible_lines(&message));
            }
            ExitCode::from(failure.status())
        }
    }
}

/// Prints help, the version, or what is wrong in the command line.
fn told(error: &clap::Error) -> Result<u8, Failure> {
    match error.print() {
        Err(unprinted) if !error.use_stderr() => Err(print::unprinted(&unprinted)),
        _ => Ok(u8::try_from(error.exit_code()).unwrap_or(2)),
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
        Command::Whoami(whoami) => whoami::run(whoami).map(|()| 0),
        Command::Grant(grant) => grants::grant(grant).map(|()| 0),
        Command::Revoke(revoke) => grants::revoke(revoke).map(|()| 0),
        Command::Grants(grants) => grants::list(grants).map(|()| 0),
        Command::Sessions { kubectl, sessions } => sessions::run(kubectl, sessions).map(|()| 0),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), NAME, &mut script);
            print::text(String::from_utf8_lossy(&script)).map(|()| 0)
        }
        Command::Man { dir } => {
            fs::create_dir_all(dir).because(dir.display())?;
            let command = Cli::command().bin_name(NAME);
            clap_mangen::generate_to(command, dir).because(dir.display()).map(|()| 0)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_explains_itself() {
        let command = Cli::command();
        command.clone().debug_assert();
        for command in all_below(&command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let name = argument.get_id();
                assert!(argument.get_help().is_some(), "{} {name}", command.get_name());
            }
        }
    }

    #[test]
    fn help_has_examples_for_every_command_each_of_which_is_a_command_line() {
        for command in all_below(&Cli::command()) {
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let lines = help.lines().filter_map(|line| {
                line.strip_prefix("  kubectl access ").or_else(|| line.strip_prefix("  kubectl-access "))
            });
            let examples: Vec<&str> = lines.collect();
            let name = command.get_name();
            assert!(help.starts_with("Examples:\n"), "{name}: {help}");
            assert!(examples.iter().any(|line| line.split(' ').any(|word| word == name)), "{name}: {help}");
            for line in examples {
                let parsed = Cli::try_parse_from(std::iter::once(NAME.to_owned()).chain(words(line)));
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }

    fn all_below(command: &clap::Command) -> Vec<&clap::Command> {
        command.get_subcommands().flat_map(|below| [vec![below], all_below(below)].concat()).collect()
    }

    /// The words of a line, as a shell has them: up to where their output goes.
    fn words(line: &str) -> Vec<String> {
        let line = line.split_once(" > ").map_or(line, |(line, _)| line);
        let parts = line.split('\'').enumerate();
        let words = parts.flat_map(|(place, part)| {
            let is_quoted = place % 2 == 1;
            if is_quoted { vec![part.to_owned()] } else { part.split_whitespace().map(str::to_owned).collect() }
        });
        words.collect()
    }
}
