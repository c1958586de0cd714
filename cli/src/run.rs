//! `kubectl access run` and `connect`: a program, or whoever is at the terminal, with a forwarder to the gateway.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;

use clap::Args;
use tokio::process::Command;

use crate::failure::{Because, Failure};
use crate::forward::credential::VARIABLES;
use crate::forward::{Forwarder, Way};
use crate::host::Host;
use crate::place;
use crate::print;
use crate::signals::Signals;
use crate::standing::{Credentials, Standing, create_private};
use crate::text::shell_words;

/// What is to be run.
#[derive(Debug, Args)]
#[command(after_long_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    /// The gateway
    #[arg(long, value_name = "https://HOST", env = "KUBE_ACCESS_HOST")]
    host: Host,
    #[command(flatten)]
    way: Way,
    /// The program and what it is told
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

const RUN_EXAMPLES: &str = "\
Examples:
  # In CI, with an Access service token in CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET
  kubectl access run --host https://kube-ci.example.com -- kubectl apply -f deployment.yaml
  kubectl access run --host https://kube-ci.example.com -- helm upgrade --install web ./chart

  # As yourself, by `cloudflared access login https://kube.example.com`
  kubectl access run --host https://kube.example.com -- k9s

COMMAND gets a kubeconfig of its own in KUBECONFIG, which is gone when it ends, and not the service token. It leads to a port of this
machine, where nobody else is served. Signals go to COMMAND, and its exit status is this one's. HTTPS_PROXY and NO_PROXY are heeded.";

/// What is to be connected.
#[derive(Debug, Args)]
#[command(after_long_help = CONNECT_EXAMPLES)]
pub(crate) struct Connect {
    /// The gateway
    #[arg(value_name = "https://HOST", env = "KUBE_ACCESS_HOST")]
    host: Host,
    #[command(flatten)]
    way: Way,
    /// The port on this machine; with it, contexts of `setup --service-token` lead here [default: any]
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Where the kubeconfig is written, and removed from at the end [default: a private folder]
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

const CONNECT_EXAMPLES: &str = "\
Examples:
  # Until Ctrl-C; the kubeconfig's name is printed
  kubectl access connect https://kube.example.com

  # For a context that `kubectl access setup https://kube-ci.example.com --service-token --port 6440` wrote
  kubectl access connect https://kube-ci.example.com --port 6440";

/// Runs the program; its exit status is ours.
pub(crate) async fn run(run: &Run) -> Result<u8, Failure> {
    let credentials = Credentials::make()?;
    let forwarder = Forwarder::start(&run.host, &run.way, &credentials, 0).await?;
    let dir = place::passing()?;
    let file = dir.path().join("kubeconfig");
    let config = credentials.kubeconfig(run.host.authority(), forwarder.port, run.way.namespace.as_deref());
    create_private(&file, &config).because(file.display())?;
    let (program, args) = run.command.split_first().ok_or_else(|| Failure::usage("expected a COMMAND"))?;
    let mut command = Command::new(program);
    command.args(args).env("KUBECONFIG", &file);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    for (name, value) in no_proxy() {
        command.env(name, value);
    }
    // Before it starts, so that no signal is lost.
    let mut signals = Signals::listen()?;
    let mut child = command
        .spawn()
        .map_err(|error| Failure::new(format!("{}: {error}", shell_words(&[program.to_string_lossy()]))))?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.because("the command")?,
            signal = signals.next() => signal.pass_to(&child),
        }
    };
    drop(dir);
    Ok(code_of(status))
}

/// Connects until a signal comes.
pub(crate) async fn connect(connect: &Connect) -> Result<u8, Failure> {
    let standing = Standing::at(&connect.host)?.read().ok().filter(|_| connect.port != 0);
    let credentials = standing.map_or_else(Credentials::make, Ok)?;
    let forwarder = Forwarder::start(&connect.host, &connect.way, &credentials, connect.port).await?;
    let mut signals = Signals::listen()?;
    let dir = place::passing()?;
    let file = connect.write.clone().unwrap_or_else(|| dir.path().join("kubeconfig"));
    let config = credentials.kubeconfig(connect.host.authority(), forwarder.port, connect.way.namespace.as_deref());
    create_private(&file, &config).map_err(|error| {
        let remedy =
            if error.kind() == std::io::ErrorKind::AlreadyExists { ": name a file that is not there yet" } else { "" };
        Failure::new(format!("{}: {error}{remedy}", file.display()))
    })?;
    let printed = print::line(format_args!("export KUBECONFIG={}", shell_words(&[file.to_string_lossy()])));
    if printed.is_ok() {
        print::note(format_args!("Forwarding 127.0.0.1:{} to {} until Ctrl-C.", forwarder.port, connect.host));
        signals.next().await;
    }
    // The folder goes by itself; a file that somebody named does not. Another's that has taken its place is not this one's to remove.
    if connect.write.is_some() && fs::read_to_string(&file).is_ok_and(|text| text.contains(credentials.secret())) {
        place::remove(&file)?;
    }
    printed.map(|()| 0)
}

/// Where proxies are set, programs that do not know better would ask them for this machine's own port.
fn no_proxy() -> Vec<(&'static str, String)> {
    let is_set =
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].iter().any(|name| env::var_os(name).is_some());
    let mut variables = Vec::new();
    for name in ["NO_PROXY", "no_proxy"].into_iter().filter(|_| is_set) {
        let known =
            env::var(name).or_else(|_| env::var("NO_PROXY")).or_else(|_| env::var("no_proxy")).unwrap_or_default();
        let separator = if known.is_empty() { "" } else { "," };
        variables.push((name, format!("{known}{separator}127.0.0.1")));
    }
    variables
}

#[cfg(unix)]
fn code_of(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    // As a shell tells of a program that a signal ended.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(not(unix))]
fn code_of(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
