//! `kubectl access setup`: cluster, user and context in the kubeconfig that kubectl itself would write.
//!
//! It is kubectl that writes them, into copies; what changed is shown, and put in the place of the files when somebody says yes. So
//! there is no second writer of kubeconfigs, and a file that kubectl cannot read is left as it is.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::failure::{Because, Failure};
use crate::host::Host;
use crate::kubectl::Kubectl;
use crate::place;
use crate::print;
use crate::standing::Standing;
use crate::text::visible;
use files::{File, copies, replace};
use shown::diff;

mod files;
mod shown;

/// What the contexts's user is where Access knows the caller by something else: kubectl asks for a password without one.
const ANY_TOKEN: &str = "access";

/// The fields of a kubeconfig's user, as kubectl knows them.
const FIELDS_OF_USER: [&str; 15] = [
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "token",
    "tokenFile",
    "act-as",
    "act-as-uid",
    "act-as-groups",
    "act-as-user-extra",
    "username",
    "password",
    "auth-provider",
    "exec",
    "extensions",
];

/// What is to be written.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch")]
pub(crate) struct Setup {
    /// The gateway
    #[arg(value_name = "https://HOST")]
    host: Host,
    /// The name of cluster, user and context [default: HOST]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// This machine has no WARP client: kubectl logs in by a browser (managed OAuth)
    #[arg(long, conflicts_with = "service_token")]
    login: bool,
    /// For a program with a service token: the context leads to `kubectl access connect`, which adds the token
    #[arg(long)]
    service_token: bool,
    /// The port of `kubectl access connect` on this machine
    #[arg(long, value_name = "PORT", default_value_t = 6440, requires = "service_token")]
    port: u16,
    /// The authority that signed the gateway's certificate, if this machine does not trust it
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// The namespace of the context
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Leaves the current context as it is
    #[arg(long)]
    keep_current: bool,
    /// The file, in place of $KUBECONFIG and ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The kubectl to run
    #[arg(long, value_name = "PATH", env = "KUBECTL", default_value = "kubectl")]
    kubectl: PathBuf,
    /// Writes without asking
    #[arg(short, long)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  # A machine with Cloudflare's WARP client: nothing else is needed
  kubectl access setup https://kube.example.com

  # A machine without it: kubectl opens a browser when it has to, and keeps the login in the system's keyring
  kubectl access setup https://kube.example.com --login

  # A machine with a service token (in CI take `kubectl access run`, which needs no setup)
  kubectl access setup https://kube-ci.example.com --service-token
  CF_ACCESS_CLIENT_ID=… CF_ACCESS_CLIENT_SECRET=… kubectl access connect https://kube-ci.example.com --port 6440

kubectl writes the file, and so it looks as kubectl leaves it: comments are not kept, every other entry is. What changes is shown first,
without secrets, and the file as it was stays beside it.";

/// Writes the context.
pub(crate) fn run(setup: &Setup) -> Result<(), Failure> {
    let dir = place::passing()?;
    let files = copies(&paths(setup)?, dir.path())?;
    let kubectl = Kubectl::plain(&setup.kubectl);
    let name = setup.context.as_deref().unwrap_or(setup.host.authority());
    let standing = if setup.service_token { Some(standing(setup, name)?) } else { None };
    let list = env::join_paths(files.iter().map(|file| &file.copy)).because("the names of the kubeconfigs")?;
    for (file, args) in commands(setup, name, standing.as_ref(), &files)? {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let list = file.map_or(list.as_os_str(), |file| file.copy.as_os_str());
        kubectl.with_kubeconfigs(list, &args).map_err(|failure| named(&failure, &files))?;
    }
    let mut changed = Vec::new();
    for file in &files {
        if let Some(after) = file.changed()? {
            file.keeps_all_else(&kubectl, &after, name)?;
            changed.push((file, after));
        }
    }
    if changed.is_empty() {
        return print::line(format_args!("Nothing to change: the context {} is there already.", visible(name)));
    }
    for (file, after) in &changed {
        print::text(diff(file, after)?)?;
    }
    ask(setup.yes)?;
    for kept in replace(&changed)? {
        // What is done is done, whether or not anybody reads of it.
        let _ = print::line(format_args!("The file as it was: {}", kept.display()));
    }
    print::line(next(setup, name))
}

/// The files that kubectl reads, in its order.
fn paths(setup: &Setup) -> Result<Vec<PathBuf>, Failure> {
    if let Some(path) = &setup.kubeconfig {
        return Ok(vec![path.clone()]);
    }
    let listed: Vec<PathBuf> = env::var_os("KUBECONFIG")
        .map(|list| env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    if !listed.is_empty() {
        // One that is listed twice is one.
        let mut known = HashSet::new();
        let mut is_new = |path: &PathBuf| known.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone()));
        return Ok(listed.into_iter().filter(|path| is_new(path)).collect());
    }
    let home =
        env::home_dir().ok_or_else(|| Failure::new("there is no home folder: name the file with --kubeconfig FILE"))?;
    Ok(vec![home.join(".kube").join("config")])
}

/// What kubectl is told: of one of the files, or of all of them.
type Told<'a> = (Option<&'a File>, Vec<String>);

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What takes away what another kind of setup left under this name, in each file that has it: kubectl reads them as one.
fn leftovers<'a>(name: &str, server: &str, files: &'a [File]) -> Vec<Told<'a>> {
    let mut commands = Vec::new();
    for file in files {
        if file.entry("users", name).is_some() {
            commands.push((Some(file), words(&["config", "delete-user", name])));
        }
        let cluster = file.entry("clusters", name);
        if cluster.is_some_and(|known| known.pointer("/cluster/server").and_then(Value::as_str) != Some(server)) {
            commands.push((Some(file), words(&["config", "delete-cluster", name])));
        }
    }
    commands
}

/// What kubectl is told, in this order.
fn commands<'a>(
    setup: &Setup,
    name: &str,
    standing: Option<&Standing>,
    files: &'a [File],
) -> Result<Vec<Told<'a>>, Failure> {
    let server = standing.map_or_else(|| setup.host.to_string(), |_| format!("https://127.0.0.1:{}", setup.port));
    let mut commands = leftovers(name, &server, files);
    let mut cluster = words(&["config", "set-cluster", name, &format!("--server={server}")]);
    let authority = match (standing, &setup.certificate_authority) {
        (Some(standing), _) => Some(standing.certificate().to_owned()),
        (None, authority) => authority.clone(),
    };
    if let Some(authority) = authority {
        let shown = authority.display();
        let pem = fs::read(&authority).because(&shown)?;
        if !pem.starts_with(b"-----BEGIN") {
            return Err(Failure::new(format!("{shown}: expected a certificate in PEM")));
        }
        cluster.push(format!("--certificate-authority={}", path_text(&authority)?));
        cluster.push("--embed-certs=true".to_owned());
    }
    commands.push((None, cluster));
    let mut user = words(&["config", "set-credentials", name]);
    if setup.login {
        let program = env::current_exe().because("the path of this program")?;
        // kubectl before 1.30 has no option for what v1 demands; the version before does not demand it.
        let is_known = Kubectl::plain(&setup.kubectl).text(&["config", "set-credentials", "--help"], None);
        if is_known?.contains("--exec-interactive-mode") {
            user.extend(words(&[
                "--exec-api-version=client.authentication.k8s.io/v1",
                "--exec-interactive-mode=IfAvailable",
            ]));
        } else {
            user.push("--exec-api-version=client.authentication.k8s.io/v1beta1".to_owned());
        }
        user.extend(words(&[
            // An absolute path: programs with windows are started without the shell's.
            &format!("--exec-command={}", path_text(&program)?),
            "--exec-arg=token",
            &format!("--exec-arg={}", setup.host),
        ]));
        if let Some(authority) = &setup.certificate_authority {
            let authority = fs::canonicalize(authority).because(authority.display())?;
            user.push(format!("--exec-env=SSL_CERT_FILE={}", path_text(&authority)?));
        }
    } else if standing.is_none() {
        user.push(format!("--token={ANY_TOKEN}"));
    }
    commands.push((None, user));
    if let Some(standing) = standing {
        let file = path_text(standing.secret())?;
        commands.push((None, words(&["config", "set", &format!("users.{name}.tokenFile"), file])));
    }
    let mut context = words(&["config", "set-context", name, &format!("--cluster={name}"), &format!("--user={name}")]);
    context.extend(setup.namespace.iter().map(|namespace| format!("--namespace={namespace}")));
    commands.push((None, context));
    if !setup.keep_current {
        commands.push((None, words(&["config", "use-context", name])));
    }
    Ok(commands)
}

/// What the forwarder is known by. `kubectl config set` tells where the name of a user ends by the names of its fields.
fn standing(setup: &Setup, name: &str) -> Result<Standing, Failure> {
    if let Some(field) = name.split('.').skip(1).find(|label| FIELDS_OF_USER.contains(label)) {
        return Err(Failure::usage(format!(
            "kubectl cannot write a user of the name {}, in which it reads {field} as a field: name another with --context NAME",
            visible(name)
        )));
    }
    Standing::make(&setup.host)
}

fn path_text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure::new(format!("{}: expected a path that is text", path.display())))
}

/// kubectl's complaint, with the names of the files in place of their copies'.
fn named(failure: &str, files: &[File]) -> Failure {
    let mut text = failure.trim().to_owned();
    for file in files {
        text = text.replace(&*file.copy.to_string_lossy(), &file.path.to_string_lossy());
    }
    Failure::new(format!("kubectl does not take the kubeconfig, and nothing was changed. {}", visible(&text)))
}

fn ask(is_agreed: bool) -> Result<(), Failure> {
    if is_agreed {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("Nothing was changed: nobody can be asked here. Say --yes to have it written."));
    }
    print::text("Write this? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).because("the terminal")?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new("Nothing was changed."))
    }
}

/// What to type next.
fn next(setup: &Setup, name: &str) -> String {
    let context = if setup.keep_current { format!(" --context {name}") } else { String::new() };
    let host = &setup.host;
    if setup.service_token {
        return format!(
            "Start `kubectl access connect {host} --port {}`, then: kubectl{context} auth whoami",
            setup.port
        );
    }
    let mut text = format!("Next: kubectl{context} auth whoami");
    if setup.login {
        text.push_str(
            "\nWhere kuberc allows programs by name (credentialPluginPolicy: Allowlist, kubectl 1.35 or newer), allow this one: its path \
             stands in the user's exec.command.",
        );
    }
    text
}
