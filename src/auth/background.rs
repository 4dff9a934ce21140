//! What goes on for credentials whatever is asked: keys are fetched, and who is revoked is looked
//! at again.
//!
//! Invariants:
//! - a new configuration takes over what the last one knew, so that it forgets no key;
//! - a list of the revoked that is missing or broken changes nothing: the last one holds.

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use reqwest::Url;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::key_set::KeySet;
use crate::caller::Revocations;
use crate::config::RevokedFile;
use crate::limits;

/// Shared by the [`Authenticator`]s of all configurations of a gateway. A clone is for the same
/// gateway.
///
/// [`Authenticator`]: super::Authenticator
#[derive(Clone)]
pub(crate) struct AuthBackground {
    revocations: Revocations,
    /// Whom an operator has revoked since the start, whatever the file says.
    by_operator: Arc<Mutex<HashSet<Box<str>>>>,
    revoked_file: watch::Sender<Option<PathBuf>>,
    /// Those that some configuration uses.
    key_sets: Arc<Mutex<HashMap<Url, Weak<KeySet>>>>,
}

impl Default for AuthBackground {
    fn default() -> Self {
        AuthBackground {
            revocations: Revocations::default(),
            by_operator: Arc::default(),
            revoked_file: watch::Sender::new(None),
            key_sets: Arc::default(),
        }
    }
}

impl AuthBackground {
    /// The keys at this address: those that are there already, or new ones.
    pub(super) fn key_set(&self, url: &Url) -> Arc<KeySet> {
        let mut key_sets = self.key_sets.lock().unwrap_or_else(PoisonError::into_inner);
        key_sets.retain(|_, set| set.strong_count() > 0);
        if let Some(set) = key_sets.get(url).and_then(Weak::upgrade) {
            return set;
        }
        let set = KeySet::start(url);
        key_sets.insert(url.clone(), Arc::downgrade(&set));
        set
    }

    /// Follows this file from now on.
    pub(super) fn follow(&self, file: Option<&RevokedFile>) -> Revocations {
        // What the configuration has read holds at once.
        let ids = file.map(|file| file.ids.clone());
        self.replace(&ids.unwrap_or_default());
        self.revoked_file
            .send_replace(file.map(|file| file.path.clone()));
        self.revocations.clone()
    }

    /// From now on those of the file are revoked, and those whom an operator has revoked.
    fn replace(&self, of_file: &HashSet<Box<str>>) {
        let by_operator = self.by_operator.lock();
        let by_operator = by_operator.unwrap_or_else(PoisonError::into_inner);
        let all = of_file.union(&by_operator).cloned().collect();
        self.revocations.replace(all);
    }

    /// Revokes whoever is known by this name, at once; says whether the list on disk has it, too.
    pub(super) async fn revoke(&self, name: &str) -> Revoked {
        let path = self.revoked_file.borrow().clone();
        // Durable first, where it can be; a list that cannot be written must not keep it in force.
        let written = match path.clone() {
            Some(path) => append_durably(path, name.into()).await,
            None => Ok(()),
        };
        // What is in the file is taken back there.
        let is_in_file = path.is_some() && written.is_ok();
        if !is_in_file && !self.keep_until_restart(name) {
            return Revoked::TooMany;
        }
        self.revocations.add(name);
        match (path, written) {
            (None, _) => Revoked::UntilRestart,
            (Some(path), Ok(())) => Revoked::InFile(path),
            (Some(path), Err(error)) => Revoked::NotWritten(path, error),
        }
    }

    /// False when there are as many as may be.
    fn keep_until_restart(&self, name: &str) -> bool {
        let by_operator = self.by_operator.lock();
        let mut by_operator = by_operator.unwrap_or_else(PoisonError::into_inner);
        if by_operator.contains(name) {
            return true;
        }
        let has_space = by_operator.len() < limits::MAX_REVOKED_UNTIL_RESTART;
        if has_space {
            by_operator.insert(name.into());
        }
        has_space
    }

    /// Looks again and again who is revoked, and has whoever is being served be checked when that
    /// changes.
    pub(crate) async fn watch_revocations(self, recheck: impl Fn()) {
        let mut file = self.revoked_file.subscribe();
        let mut watched = WatchedFile::default();
        loop {
            let path = file.borrow_and_update().clone();
            let Some(path) = path else {
                watched = WatchedFile::default();
                if file.changed().await.is_err() {
                    return;
                }
                recheck(); // another configuration may have another list
                continue;
            };
            if let Some(ids) = watched.look_again(&path).await {
                tracing::info!(names = ids.len(), "the list of the revoked was read");
                self.replace(&ids);
                recheck();
            }
            // Sooner, when there is another configuration.
            if timeout(limits::REVOKED_FILE_INTERVAL, file.changed())
                .await
                .is_ok()
            {
                watched = WatchedFile::default();
                recheck();
            }
        }
    }
}

/// How long a revocation by an operator holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// It is in this file.
    InFile(PathBuf),
    /// No file is configured.
    UntilRestart,
    /// Until the restart, because this file cannot be written.
    NotWritten(PathBuf, String),
    /// It does not hold: no file takes it, and as many as may be hold until the restart.
    TooMany,
}

async fn append_durably(path: PathBuf, name: String) -> Result<(), String> {
    let appended = spawn_blocking(move || append_line(&path, &name)).await;
    let appended = appended.map_err(|error| error.to_string())?;
    appended.map_err(|error| error.to_string())
}

/// Appends a line of its own, also behind one without an end.
fn append_line(path: &Path, name: &str) -> io::Result<()> {
    let mut file = File::options().append(true).read(true).open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let before = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{before}{name}\n").as_bytes())?;
    file.sync_all()
}

/// What was seen of a file.
#[derive(Default)]
struct WatchedFile {
    stamp: Option<FileStamp>,
    /// Reported once.
    trouble: String,
}

/// What changes when a file is written or replaced.
#[derive(PartialEq, Eq)]
struct FileStamp {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
}

impl FileStamp {
    fn of(metadata: &Metadata) -> Self {
        FileStamp {
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            bytes: metadata.len(),
            inode: metadata.ino(),
        }
    }

    /// Would another change be seen? Those that follow each other closely have the same time.
    fn is_settled(&self) -> bool {
        let age = self.modified.elapsed().unwrap_or_default();
        age > limits::REVOKED_FILE_INTERVAL
    }
}

impl WatchedFile {
    /// Who is in it, if that may have changed since the last look.
    async fn look_again(&mut self, path: &Path) -> Option<HashSet<Box<str>>> {
        match self.read_changed(path).await {
            Ok(ids) => {
                self.trouble.clear();
                ids
            }
            Err(error) => {
                self.report(error);
                None
            }
        }
    }

    async fn read_changed(&mut self, path: &Path) -> Result<Option<HashSet<Box<str>>>, String> {
        // Before it is read, so that what is written meanwhile is seen the next time.
        let metadata = tokio::fs::metadata(path).await;
        let stamp = FileStamp::of(&metadata.map_err(|error| error.to_string())?);
        if self.stamp.as_ref() == Some(&stamp) {
            return Ok(None);
        }
        let path = path.to_owned();
        let ids = spawn_blocking(move || RevokedFile::read(&path)).await;
        let ids = ids.map_err(|error| error.to_string())??;
        self.stamp = Some(stamp).filter(FileStamp::is_settled);
        Ok(Some(ids))
    }

    fn report(&mut self, error: String) {
        if self.trouble != error {
            tracing::error!(
                error,
                "auth.revoked_file cannot be read; the last list holds"
            );
            self.trouble = error;
        }
        self.stamp = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_names_hold_until_the_restart_than_may() {
        let auth = AuthBackground::default();
        let names = (1..limits::MAX_REVOKED_UNTIL_RESTART).map(|n| n.to_string().into());
        auth.by_operator.lock().expect("unlocked").extend(names);
        for (name, expected) in [
            ("alice", Revoked::UntilRestart),
            ("bob", Revoked::TooMany),
            ("alice", Revoked::UntilRestart),
        ] {
            assert_eq!(auth.revoke(name).await, expected, "{name}");
        }
    }
}
