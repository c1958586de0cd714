//! The kubeconfigs of a setup: copies for kubectl to write, and how these take the place of the files.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::failure::{Because, Failure};
use crate::kubectl::Kubectl;

/// What ends a sentence on a file in which something would be lost.
const REMEDY: &str = "Name another file with --kubeconfig FILE, and list both in KUBECONFIG";

/// A kubeconfig, the copy that kubectl may write, and one that stays as it is.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) copy: PathBuf,
    untouched: PathBuf,
    pub(super) before: Option<String>,
}

/// Copies what is there. What is not there is not there in the copy either: kubectl chooses the file by that.
pub(super) fn copies(paths: &[PathBuf], dir: &Path) -> Result<Vec<File>, Failure> {
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
        let (copy, untouched) = (dir.join(place.to_string()), dir.join(format!("{place}.before")));
        for copy in [&copy, &untouched] {
            if let Some(text) = &before {
                fs::write(copy, text).because("a private copy of the kubeconfig")?;
            }
        }
        files.push(File { path: path.clone(), copy, untouched, before });
    }
    Ok(files)
}

impl File {
    /// The entry of this name in one of the file's lists, as it was.
    pub(super) fn entry(&self, list: &str, name: &str) -> Option<Value> {
        let config: Value = serde_saphyr::from_str(self.before.as_deref()?).ok()?;
        let entries = config.get(list)?.as_array()?;
        entries.iter().find(|entry| is_named(entry, name)).cloned()
    }

    /// What kubectl made of it, where that is something else.
    pub(super) fn changed(&self) -> Result<Option<String>, Failure> {
        match fs::read_to_string(&self.copy) {
            Ok(after) => Ok(Some(after).filter(|after| self.before.as_ref() != Some(after))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new(format!("{}: {error}", self.path.display()))),
        }
    }

    /// Whether everything but what is of this name stays: kubectl reads the same in both, and has left out nothing that it does not
    /// know. The text is no measure: kubectl adds what it assumes, and leaves out what says nothing.
    pub(super) fn keeps_all_else(&self, kubectl: &Kubectl, after: &str, name: &str) -> Result<(), Failure> {
        let Some(before) = &self.before else { return Ok(()) };
        let path = self.path.display();
        let parsed = |yaml: &str| {
            serde_saphyr::from_str::<Value>(yaml).map(|config| others(config, name)).map_err(|error| {
                // Its words may quote a secret.
                let place = error.location().map(|at| format!(" of line {}", at.line())).unwrap_or_default();
                Failure::new(format!(
                    "{path}: kubectl would leave out something{place}, such as a key that is there twice. Nothing was changed: mend it"
                ))
            })
        };
        let read = |copy: &Path| {
            let config = kubectl.with_kubeconfigs(copy.as_os_str(), &["config", "view", "--raw", "--output=json"]);
            config.and_then(|json| serde_json::from_str(&json).map_err(|error| error.to_string())).because(&path)
        };
        let is_read_alike = others(read(&self.untouched)?, name) == others(read(&self.copy)?, name);
        if is_read_alike && survives(&parsed(before)?, &parsed(after)?) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{path}: kubectl would leave out something that is in this file beside the context (fields that it does not know): nothing was \
             changed. {REMEDY}"
        )))
    }
}

fn is_named(entry: &Value, name: &str) -> bool {
    entry.get("name").and_then(Value::as_str) == Some(name)
}

/// A kubeconfig without what is of this name, in kubectl's order.
fn others(mut config: Value, name: &str) -> Value {
    let Some(members) = config.as_object_mut() else { return config };
    for member in ["current-context", "apiVersion", "kind"] {
        members.remove(member);
    }
    for list in ["clusters", "users", "contexts"] {
        if let Some(entries) = members.get_mut(list).and_then(Value::as_array_mut) {
            entries.retain(|entry| !is_named(entry, name));
            entries.sort_by_key(|entry| entry.get("name").map(Value::to_string));
        }
    }
    members.retain(|_, member| !says_nothing(member));
    config
}

/// Whether every member is still there, unless it said nothing. What the values mean is kubectl's to read.
fn survives(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => before
            .iter()
            .all(|(name, member)| says_nothing(member) || after.get(name).is_some_and(|after| survives(member, after))),
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(before, after)| survives(before, after))
        }
        (Value::Object(_) | Value::Array(_), _) => says_nothing(before),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => true,
    }
}

/// `preferences: {}`, `insecure-skip-tls-verify: false` and the like come and go.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_on) => !is_on,
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(says_nothing),
    }
}

/// Puts each text in its file's place, whole, and each file as it was beside it; the names of these. Whatever can fail fails before the
/// first is touched, if it can.
pub(super) fn replace(changed: &[(&File, String)]) -> Result<Vec<PathBuf>, Failure> {
    let mut ready = changed.iter().map(|(file, after)| Ready::make(file, after)).collect::<Result<Vec<_>, _>>()?;
    let mut kept = Vec::new();
    for Ready { path, before, .. } in &mut ready {
        if let Some(before) = before.take() {
            kept.push(keep(before, path)?);
        }
    }
    for Ready { path, after, lock: _lock, .. } in ready {
        after.persist(&path).because(path.display())?;
    }
    Ok(kept)
}

/// A file that is about to be replaced, and that no other kubectl writes meanwhile.
struct Ready {
    path: PathBuf,
    before: Option<NamedTempFile>,
    after: NamedTempFile,
    lock: Lock,
}

impl Ready {
    fn make(file: &File, after: &str) -> Result<Self, Failure> {
        let shown = file.path.display();
        // A link stays one: what it leads to is written.
        let path =
            if file.before.is_some() { fs::canonicalize(&file.path).because(&shown)? } else { file.path.clone() };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).because(folder.display())?;
        let lock = Lock::take(&path)?;
        let known = fs::metadata(&path).ok();
        if known.as_ref().is_some_and(|known| known.permissions().readonly()) {
            return Err(Failure::new(format!(
                "{shown} is read-only: nothing was changed. Make it writable, or name another file with --kubeconfig FILE"
            )));
        }
        if fs::read_to_string(&path).ok() != file.before {
            return Err(Failure::new(format!(
                "{shown} was changed by somebody else meanwhile, and not by this: try again"
            )));
        }
        let written = |text: &str| private_file(folder, text, known.as_ref()).because(&shown);
        Ok(Self { before: file.before.as_deref().map(written).transpose()?, after: written(after)?, path, lock })
    }
}

/// Gives the file as it was a name that no other has.
fn keep(mut before: NamedTempFile, path: &Path) -> Result<PathBuf, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).because("this machine's clock")?.as_secs();
    for count in 0_u32.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".before-{now}"));
        if count > 0 {
            name.push(format!("-{count}"));
        }
        match before.persist_noclobber(&name) {
            Ok(_) => return Ok(name.into()),
            Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => before = taken.file,
            Err(failed) => return Err(Failure::new(format!("{}: {}", Path::new(&name).display(), failed.error))),
        }
    }
    Err(Failure::new(format!("{}: there are too many copies beside it", path.display())))
}

/// A file without a name as yet, whose owner and permissions are those of the one that it replaces.
fn private_file(folder: &Path, text: &str, known: Option<&Metadata>) -> io::Result<NamedTempFile> {
    // Made for its owner alone, whatever the umask says.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Some(known) = known {
        #[cfg(unix)]
        give_to_owner(file.as_file(), known)?;
        file.as_file().set_permissions(known.permissions())?;
    }
    file.as_file().sync_all()?;
    Ok(file)
}

/// Root may set up somebody else's kubectl, and the file stays theirs.
#[cfg(unix)]
fn give_to_owner(file: &fs::File, known: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let made = file.metadata()?;
    if made.uid() != known.uid() {
        fchown(file, Some(known.uid()), None)?;
    }
    // A group that its owner is not in is nothing that they can give.
    let _ = fchown(file, None, Some(known.gid()));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_kubectl_would_leave_out_is_noticed_and_what_it_adds_is_not() {
        let before = json!({
            "clusters": [{"name": "a", "cluster": {"server": "x", "insecure-skip-tls-verify": false}}],
            "preferences": {"colors": false},
        });
        let after = json!({"clusters": [{"name": "a", "cluster": {"server": "x"}, "added": "IfAvailable"}]});
        assert!(survives(&before, &after));
        for (pointer, value) in [
            ("/clusters/0/cluster", json!({"server": "x", "colour": "red"})),
            ("/clusters/0/cluster", json!({"insecure-skip-tls-verify": true})),
            ("/preferences", json!({"colors": true})),
            ("/clusters", json!([{"name": "a"}, {"name": "b"}])),
        ] {
            let mut before = before.clone();
            *before.pointer_mut(pointer).unwrap() = value;
            assert!(!survives(&before, &after), "{before}");
        }
    }

    #[test]
    fn what_was_is_kept_however_often_a_second_sees_a_change() {
        let dir = crate::place::passing().unwrap();
        let path = dir.path().join("config");
        let mut names: Vec<PathBuf> =
            (0..3).map(|_| keep(private_file(dir.path(), "x", None).unwrap(), &path).unwrap()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 3);
        assert!(names.iter().all(|name| fs::read(name).unwrap() == b"x"));
    }

    #[test]
    fn nothing_is_replaced_unless_everything_can_be() {
        let dir = crate::place::passing().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        for path in &paths {
            fs::write(path, "before").unwrap();
        }
        fs::create_dir(dir.path().join("copies")).unwrap();
        let files = copies(&paths, &dir.path().join("copies")).unwrap();
        let changed: Vec<(&File, String)> = files.iter().map(|file| (file, "after".to_owned())).collect();
        let lock = Lock::take(&paths[1]).unwrap();
        assert!(replace(&changed).unwrap_err().to_string().contains("nothing was changed"));
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "before");
        drop(lock);
        assert_eq!(replace(&changed).unwrap().len(), 2);
        assert!(paths.iter().all(|path| fs::read_to_string(path).unwrap() == "after"));
    }
}
