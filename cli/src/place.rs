//! Where this program keeps what it must, for its user alone.

use std::env;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::failure::{Because, Failure};

/// The folder of what outlives a run: `$XDG_STATE_HOME/kube-access`, or what this system has in its place.
pub(crate) fn state() -> Result<PathBuf, Failure> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::home_dir().ok_or_else(|| Failure::new("there is no home folder: set HOME"));
    let base = match folder("XDG_STATE_HOME") {
        Some(base) => base,
        None if cfg!(windows) => match folder("LOCALAPPDATA") {
            Some(base) => base,
            None => home()?,
        },
        None if cfg!(target_os = "macos") => home()?.join("Library").join("Application Support"),
        None => home()?.join(".local").join("state"),
    };
    Ok(base.join("kube-access"))
}

/// Writes a file whole or not at all, for its owner alone.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_private(folder).because(folder.display())?;
    let mut file = NamedTempFile::new_in(folder).because(folder.display())?;
    file.write_all(bytes).because(path.display())?;
    file.persist(path).because(path.display())?;
    Ok(())
}

/// Makes a folder, and those above it, that their owner alone may read.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A folder that its owner alone may read, and that goes away with the value.
pub(crate) fn passing() -> Result<TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("kube-access-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().because("a private folder")
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::new(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_kept_is_for_its_owner_alone_whatever_is_above_it() {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let dir = passing().unwrap();
        let file = dir.path().join("a").join("b").join("c");
        write_private(&file, b"secret").unwrap();
        assert_eq!((mode(dir.path()), mode(&dir.path().join("a")), mode(&file)), (0o700, 0o700, 0o600));
        remove(&file).unwrap();
        remove(&file).unwrap();
        assert!(!file.exists());
    }
}
