//! What is kept of a login, for its user alone.

use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use keyring_core::Entry;
use serde::{Deserialize, Serialize};

use crate::failure::{Because, Failure};
use crate::host::Host;
use crate::place;
use crate::print;
use crate::text::at;
use crate::upstream::is_safe;

/// The name under which keyrings keep refresh tokens.
const SERVICE: &str = "kube-access";

/// `off` has refresh tokens kept in a file, also where there is a keyring.
const SWITCH: &str = "KUBE_ACCESS_KEYRING";

/// How long is waited in silence for whoever has the lock: so many turns of this length. Who renews a token has it for a moment.
const SILENT_TURNS: u32 = 20;
const TURN: Duration = Duration::from_millis(100);

/// The last moment that RFC 3339 can tell, in seconds since the Unix epoch.
const LAST_MOMENT: i64 = 253_402_300_799;

/// What is in the file. The refresh token is not.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(super) client_id: String,
    pub(super) token_endpoint: String,
    pub(super) revocation_endpoint: Option<String>,
    pub(super) resource: String,
    pub(super) access_token: String,
    /// In seconds since the Unix epoch.
    pub(super) expires: i64,
}

/// Where a gateway's are kept.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    name: String,
    host: String,
}

/// One at a time, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("resource", &self.resource).field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Kept {
    /// When the access token ends, by RFC 3339.
    pub(super) fn end(&self) -> String {
        at(self.expires.clamp(0, LAST_MOMENT).unsigned_abs())
    }
}

impl Store {
    pub(super) fn of(host: &Host) -> Result<Self, Failure> {
        Ok(Self { folder: place::state()?.join("logins"), name: host.file_name(), host: host.to_string() })
    }

    /// Waits for whoever has it, and says so if that takes long: somebody may be logging in.
    pub(super) fn lock(&self) -> Result<Lock, Failure> {
        place::make_private(&self.folder).because(self.folder.display())?;
        let path = self.path("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).because(path.display())?;
        self.wait_for(&file).because(path.display())?;
        Ok(Lock { _file: file })
    }

    fn wait_for(&self, file: &File) -> io::Result<()> {
        for _ in 0..SILENT_TURNS {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => thread::sleep(TURN),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        print::note(format_args!(
            "Waiting for another `kubectl access` on this machine, which logs in at {}.",
            self.host
        ));
        file.lock()
    }

    /// What is in the file. One that cannot be read is as good as none.
    pub(super) fn read(&self) -> Option<Kept> {
        let kept: Kept = serde_json::from_slice(&fs::read(self.path("json")).ok()?).ok()?;
        kept.token_endpoint.parse().is_ok_and(|endpoint| is_safe(&endpoint)).then_some(kept)
    }

    /// Whether anything is in the folder, read or not.
    pub(super) fn is_known(&self) -> bool {
        ["json", "refresh"].iter().any(|kind| self.path(kind).exists())
    }

    pub(super) fn write(&self, kept: &Kept) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(kept).because("the login")?;
        place::write_private(&self.path("json"), &bytes)
    }

    /// The refresh token: from the keyring, or the file beside. One that is no text is as good as none.
    pub(super) fn refresh_token(&self) -> Result<Option<String>, Failure> {
        match fs::read_to_string(self.path("refresh")) {
            Ok(token) => return Ok(Some(token)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
            Err(error) => return Err(Failure::new(format!("{}: {error}", self.path("refresh").display()))),
        }
        match self.with_keyring(Entry::get_password) {
            Some(Ok(token)) => Ok(Some(token)),
            None | Some(Err(keyring_core::Error::NoEntry)) => Ok(None),
            Some(Err(error)) => {
                Err(locked(&error, &format!("or set {SWITCH}=off and run `kubectl access login {}`", self.host)))
            }
        }
    }

    pub(super) fn keep_refresh_token(&self, token: &str) -> Result<(), Failure> {
        if let Some(Ok(())) = self.with_keyring(|entry| entry.set_password(token)) {
            return place::remove(&self.path("refresh"));
        }
        place::write_private(&self.path("refresh"), token.as_bytes())
    }

    /// Forgets everything, or nothing where the keyring does not open: whoever comes again may then have the server forget it too.
    pub(super) fn forget(&self) -> Result<(), Failure> {
        match self.with_keyring(Entry::delete_credential) {
            None | Some(Ok(()) | Err(keyring_core::Error::NoEntry)) => {}
            Some(Err(error)) => return Err(locked(&error, "and log out again: the refresh token may be in it")),
        }
        place::remove(&self.path("json"))?;
        place::remove(&self.path("refresh"))
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.name))
    }

    /// Does it with the entry in this system's keyring; nothing, if there is none that answers. On a thread of its own: a keyring may be
    /// asked by a runtime of its own.
    fn with_keyring<T: Send>(&self, what: impl FnOnce(&Entry) -> T + Send) -> Option<T> {
        if env::var_os(SWITCH).is_some_and(|switch| switch == "off") {
            return None;
        }
        let asking = || {
            keyring()?;
            Entry::new(SERVICE, &self.host).ok().map(|entry| what(&entry))
        };
        thread::scope(|scope| scope.spawn(asking).join().ok().flatten())
    }
}

fn locked(error: &keyring_core::Error, remedy: &str) -> Failure {
    Failure::new(format!("this system's keyring: {error}: unlock it, {remedy}"))
}

#[cfg(target_os = "linux")]
fn keyring() -> Option<()> {
    keyring_core::set_default_store(zbus_secret_service_keyring_store::Store::new().ok()?);
    Some(())
}

#[cfg(target_os = "macos")]
fn keyring() -> Option<()> {
    keyring_core::set_default_store(apple_native_keyring_store::keychain::Store::new().ok()?);
    Some(())
}

#[cfg(windows)]
fn keyring() -> Option<()> {
    keyring_core::set_default_store(windows_native_keyring_store::Store::new().ok()?);
    Some(())
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn keyring() -> Option<()> {
    None
}
