//! `kubectl access setup`: cluster, user and context in the kubeconfig that kubectl itself would write.
//!
//! It is kubectl that writes them, into copies; what changed is shown, and put in the place of the files when somebody says yes. So
//! there is no second writer of kubeconfigs, and a file that kubectl cannot read is left as it is.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::Value;
use similar::TextDiff;
use tempfile::NamedTempFile;

use crate::failure::{Because, Failure};
use crate::host::Host;
use crate::kubectl::Kubectl;
use crate::place;
use crate::print;
use crate::standing::Standing;
use crate::text::visible;

/// Keys whose values are secrets, or may be.
const SECRETS: [&str; 12] = [
    "token",
    "password",
    "client-key-data",
    "client-certificate-data",
    "id-token",
    "refresh-token",
    "access-token",
    "client-secret",
    "value",
    "cookie",
    "secret",
    "key",
];

/// What the contexts's user is where Access knows the caller by something else: kubectl asks for a password without one.
const ANY_TOKEN: &str = "access";

/// The longest line that is shown whole, in bytes.
const MAX_SHOWN: usize = 120;

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

/// A kubeconfig, and the copy that kubectl may write.
struct File {
    path: PathBuf,
    copy: PathBuf,
    before: Option<String>,
}

/// Writes the context.
pub(crate) fn run(setup: &Setup) -> Result<(), Failure> {
    let dir = place::passing()?;
    let files = copies(&paths(setup)?, dir.path())?;
    let kubectl = Kubectl::plain(&setup.kubectl);
    let standing = if setup.service_token { Some(Standing::make(&setup.host)?) } else { None };
    let name = setup.context.as_deref().unwrap_or(setup.host.authority());
    for args in commands(setup, name, standing.as_ref(), &files)? {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let list = env::join_paths(files.iter().map(|file| &file.copy)).because("the names of the kubeconfigs")?;
        kubectl.with_kubeconfigs(&list, &args).map_err(|failure| named(&failure, &files))?;
    }
    let mut changed = Vec::new();
    for file in &files {
        let after = match fs::read_to_string(&file.copy) {
            Ok(after) => after,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Failure::new(format!("{}: {error}", file.path.display()))),
        };
        if file.before.as_deref() != Some(&after) {
            keeps_all_else(file, &after, name)?;
            changed.push((file, after));
        }
    }
    if changed.is_empty() {
        return print::line(format_args!("Nothing to change: the context {} is there already.", visible(name)));
    }
    for (file, after) in &changed {
        print::text(diff(file, after))?;
    }
    ask(setup.yes)?;
    for (file, after) in &changed {
        write(file, after)?;
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
        return Ok(listed);
    }
    let home =
        env::home_dir().ok_or_else(|| Failure::new("there is no home folder: name the file with --kubeconfig FILE"))?;
    Ok(vec![home.join(".kube").join("config")])
}

/// Copies what is there. What is not there is not there in the copy either: kubectl chooses the file by that.
fn copies(paths: &[PathBuf], dir: &Path) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    for (place, path) in paths.iter().enumerate() {
        let before = match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::new(format!(
                    "{} is a link that leads nowhere: mend it, or remove it",
                    path.display()
                )));
            }
            Err(error) => return Err(Failure::new(format!("{}: {error}", path.display()))),
        };
        let copy = dir.join(place.to_string());
        if let Some(text) = &before {
            fs::write(&copy, text).because("a private copy of the kubeconfig")?;
        }
        files.push(File { path: path.clone(), copy, before });
    }
    Ok(files)
}

/// What kubectl is told, in this order.
fn commands(
    setup: &Setup,
    name: &str,
    standing: Option<&Standing>,
    files: &[File],
) -> Result<Vec<Vec<String>>, Failure> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let mut commands = Vec::new();
    let server = standing.map_or_else(|| setup.host.to_string(), |_| format!("https://127.0.0.1:{}", setup.port));
    let known = |list: &str| files.iter().find_map(|file| entry(file.before.as_deref(), list, name));
    // What another kind of setup left under the same name goes first.
    if known("users").is_some() {
        commands.push(words(&["config", "delete-user", name]));
    }
    if known("clusters").is_some_and(|known| known.pointer("/cluster/server").and_then(Value::as_str) != Some(&server))
    {
        commands.push(words(&["config", "delete-cluster", name]));
    }
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
    commands.push(cluster);
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
    commands.push(user);
    if let Some(standing) = standing {
        let file = path_text(standing.secret())?;
        commands.push(words(&["config", "set", &format!("users.{name}.tokenFile"), file]));
    }
    let mut context = words(&["config", "set-context", name, &format!("--cluster={name}"), &format!("--user={name}")]);
    context.extend(setup.namespace.iter().map(|namespace| format!("--namespace={namespace}")));
    commands.push(context);
    if !setup.keep_current {
        commands.push(words(&["config", "use-context", name]));
    }
    Ok(commands)
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

/// The entry of this name in one of a kubeconfig's lists.
fn entry(yaml: Option<&str>, list: &str, name: &str) -> Option<Value> {
    let config: Value = serde_saphyr::from_str(yaml?).ok()?;
    let entries = config.get(list)?.as_array()?;
    entries.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name)).cloned()
}

/// Whether everything but what is of this name stays. kubectl leaves out what it does not know.
fn keeps_all_else(file: &File, after: &str, name: &str) -> Result<(), Failure> {
    let others = |yaml: &str| -> Option<Value> {
        let mut config: Value = if yaml.trim().is_empty() { Value::Null } else { serde_saphyr::from_str(yaml).ok()? };
        prune(&mut config);
        let Some(config) = config.as_object_mut() else { return Some(Value::Object(serde_json::Map::new())) };
        for member in ["current-context", "apiVersion", "kind"] {
            config.remove(member);
        }
        for list in ["clusters", "users", "contexts"] {
            if let Some(entries) = config.get_mut(list).and_then(Value::as_array_mut) {
                entries.retain(|entry| entry.get("name").and_then(Value::as_str) != Some(name));
                // kubectl sorts them.
                entries.sort_by_key(|entry| entry.get("name").map(Value::to_string));
            }
        }
        config.retain(|_, value| !is_empty(value));
        Some(Value::Object(std::mem::take(config)))
    };
    let before = file.before.as_deref().unwrap_or_default();
    if others(before).is_some_and(|before| others(after) == Some(before)) {
        return Ok(());
    }
    let path = file.path.display();
    Err(Failure::new(format!(
        "{path}: kubectl would leave out something that is in this file beside the context (fields that it does not know): nothing was \
         changed. Name another file with --kubeconfig FILE, and list both in KUBECONFIG"
    )))
}

/// Takes away what says nothing: `preferences: {}` and the like come and go.
fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, member| !is_empty(member));
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What changes, in a form that people know, and without secrets.
fn diff(file: &File, after: &str) -> String {
    let (before, after) = (redacted(file.before.as_deref().unwrap_or_default()), redacted(after));
    let path = file.path.display().to_string();
    let old = if file.before.is_some() { &path } else { "/dev/null" };
    TextDiff::from_lines(&before, &after).unified_diff().context_radius(3).header(old, &path).to_string()
}

/// The text without what is secret in it: by the names of members, however they are written, and by the lines that name them.
fn redacted(yaml: &str) -> String {
    let mut secrets = Vec::new();
    if let Ok(config) = serde_saphyr::from_str::<Value>(yaml) {
        gather(&config, "", &mut secrets);
    }
    // A long one may be folded into several lines. The longest go first, since one may hold another.
    let mut pieces: Vec<&str> = secrets.iter().flat_map(|secret| secret.split_whitespace()).collect();
    pieces.sort_unstable_by_key(|piece| std::cmp::Reverse(piece.len()));
    let mut text = String::with_capacity(yaml.len());
    for line in yaml.lines() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let name = key.trim_start_matches([' ', '-']).trim_matches(['"', '\'']);
        let is_secret = SECRETS.contains(&name) && !value.trim().is_empty() && value.trim() != ANY_TOKEN;
        let mut shown = if is_secret { format!("{key}: REDACTED") } else { line.to_owned() };
        for piece in &pieces {
            shown = shown.replace(piece, "REDACTED");
        }
        let written = writeln!(text, "{}", visible(&shortened(&shown)));
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    text
}

/// The values of members that are secret. `key` is the name of the member that holds this one.
fn gather(value: &Value, key: &str, secrets: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                // What a program is told may be as secret as its environment; ours is no such program.
                let is_of_program = name == "args" && members.get("apiVersion").is_some() && !is_own(members);
                let name = if is_of_program || key == "config" { "value" } else { name };
                gather(member, name, secrets);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, key, secrets)),
        Value::String(text) => {
            let has_password = key == "proxy-url" && text.contains('@');
            if (SECRETS.contains(&key) && text != ANY_TOKEN && !text.is_empty()) || has_password {
                secrets.push(text.clone());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether an `exec` is what `setup --login` writes.
fn is_own(exec: &serde_json::Map<String, Value>) -> bool {
    let command = exec.get("command").and_then(Value::as_str).unwrap_or_default();
    Path::new(command).file_stem().is_some_and(|name| name == "kubectl-access")
}

/// A certificate is longer than anybody reads.
fn shortened(line: &str) -> String {
    if line.len() <= MAX_SHOWN {
        line.to_owned()
    } else {
        format!("{}…", line.get(..line.floor_char_boundary(MAX_SHOWN)).unwrap_or_default())
    }
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

/// Puts the text in the file's place, whole or not at all, and the file as it was beside it.
fn write(file: &File, after: &str) -> Result<(), Failure> {
    let shown = file.path.display();
    // A link stays one: what it leads to is written.
    let path = if file.before.is_some() { fs::canonicalize(&file.path).because(&shown)? } else { file.path.clone() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).because(folder.display())?;
    let _lock = Lock::take(&path)?;
    let permissions = match fs::metadata(&path) {
        Ok(metadata) if metadata.permissions().readonly() => {
            return Err(Failure::new(format!(
                "{shown} is read-only: nothing was changed. Make it writable, or name another file with --kubeconfig FILE"
            )));
        }
        Ok(metadata) => Some(metadata.permissions()),
        Err(_) => None,
    };
    if fs::read_to_string(&path).ok() != file.before {
        return Err(Failure::new(format!(
            "{shown} was changed by somebody else meanwhile, and not by this: try again"
        )));
    }
    if let Some(before) = &file.before {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).because("this machine's clock")?.as_secs();
        let mut name = path.clone().into_os_string();
        name.push(format!(".before-{now}"));
        private_file(folder, before, permissions.clone(), Path::new(&name))?;
        // What is begun is done, whether or not anybody reads of it.
        let _ = print::line(format_args!("The file as it was: {}", Path::new(&name).display()));
    }
    private_file(folder, after, permissions, &path)
}

fn private_file(folder: &Path, text: &str, permissions: Option<fs::Permissions>, path: &Path) -> Result<(), Failure> {
    // Made for its owner alone, whatever the umask says.
    let mut file = NamedTempFile::new_in(folder).because(folder.display())?;
    file.write_all(text.as_bytes()).because(path.display())?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions).because(path.display())?;
    }
    file.as_file().sync_all().because(path.display())?;
    file.persist(path).because(path.display())?;
    Ok(())
}

/// kubectl's own lock: a file of this name, while somebody writes.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self, Failure> {
        let mut name = path.to_owned().into_os_string();
        name.push(".lock");
        let lock = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(_) => Ok(Self(lock)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::new(format!(
                "another kubectl writes this file, and nothing was changed: try again. If none does, remove {}",
                lock.display()
            ))),
            Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_138_no_secret_is_in_what_is_shown() {
        let yaml = "users:\n- name: a\n  user:\n    token: SECRET\n    client-key-data: SECRET\n    password: \"SECRET\"\n    exec:\n      env:\n      - name: X\n        value: SECRET\n- name: b\n  user:\n    token: access\n";
        let shown = redacted(yaml);
        assert!(!shown.contains("SECRET") && shown.contains("token: access"), "{shown}");
        let folded = "users:\n- {name: a, user: {token: SECRET-1, exec: {apiVersion: v1, command: x, args: [--secret=SECRET-2]}}}\n- name: b\n  user:\n    client-key-data: >-\n      SECRET-3\n      SECRET-4\n    auth-provider: {name: x, config: {any: SECRET-5}}\nclusters:\n- {name: c, cluster: {proxy-url: 'http://u:SECRET-6@p'}}\n";
        assert!(!redacted(folded).contains("SECRET"), "{}", redacted(folded));
    }

    #[test]
    fn what_kubectl_would_leave_out_is_noticed() {
        let file = |before: &str| File { path: "config".into(), copy: "copy".into(), before: Some(before.to_owned()) };
        let before = "apiVersion: v1\nclusters:\n- {name: b, cluster: {server: x}}\n- {name: a, cluster: {server: y}}\npreferences: {}\n";
        let after = "clusters:\n- {name: a, cluster: {server: y}}\n- {name: b, cluster: {server: x}}\n- {name: new, cluster: {server: z}}\ncurrent-context: new\n";
        assert!(keeps_all_else(&file(before), after, "new").is_ok());
        assert!(keeps_all_else(&file(before), &after.replace("server: x", "server: q"), "new").is_err());
        let unknown = before.replace("server: x", "server: x, colour: red");
        assert!(keeps_all_else(&file(&unknown), after, "new").unwrap_err().to_string().contains("does not know"));
        assert!(
            keeps_all_else(&file(""), after.split_once("- {name: new").unwrap().1.split_once('\n').unwrap().1, "new")
                .is_ok()
        );
    }
}
