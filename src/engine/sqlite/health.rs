//! Can the log be written, and if not, why?
//!
//! The writer and the probe note here what they have met; publishers, `/readyz`, gRPC health and
//! the metrics read it. Invariants:
//! - a broken log stays broken until a restart; a full disk and a lock are over by themselves;
//! - a log whose files are no longer those that were opened is broken, and whoever closes it then
//!   leaves what lies under their names alone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::errors;
use super::files::LogFiles;
use crate::error::{Error, Result};
use crate::limits;

/// What is known of the log's health; shared by all of its threads.
pub(super) struct Health {
    files: LogFiles,
    /// When the files were found to be those that were opened.
    files_checked: Mutex<Instant>,
    broken: OnceLock<Error>,
    is_full: AtomicBool,
    /// The write-ahead log could not be copied for want of space.
    cannot_copy: AtomicBool,
    is_locked: AtomicBool,
    /// Times that the writer has had the write lock.
    locks_taken: AtomicU64,
    wal_bytes: AtomicU64,
}

impl Health {
    pub(super) fn new(files: LogFiles) -> Self {
        Health {
            wal_bytes: AtomicU64::new(files.wal_bytes()),
            files,
            files_checked: Mutex::new(Instant::now()),
            broken: OnceLock::new(),
            is_full: AtomicBool::new(false),
            cannot_copy: AtomicBool::new(false),
            is_locked: AtomicBool::new(false),
            locks_taken: AtomicU64::new(0),
        }
    }

    /// Can events be appended? The reason where not.
    pub(super) fn writable(&self) -> Result<()> {
        // The worst first: only a restart mends it.
        self.intact()?;
        if self.is_full.load(Ordering::Relaxed) {
            return Err(errors::storage_full());
        }
        if self.is_locked() {
            return Err(errors::locked());
        }
        Ok(())
    }

    /// Is the log whole, as far as anybody knows?
    pub(super) fn intact(&self) -> Result<()> {
        self.broken.get().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Nothing is written any more; the first reason counts.
    pub(super) fn break_with(&self, why: Error) {
        // What comes later often follows from the first.
        if let Err(later) = self.broken.set(why) {
            tracing::debug!(error = %later, "the log was broken before");
        } else if let Some(why) = self.broken.get() {
            tracing::error!(error = %why, "the log is broken");
        }
    }

    /// Checks the names of the log's files, and breaks the log when they are not its own.
    pub(super) fn check_files(&self) -> Result<()> {
        // A broken log stays so, though its files may be back.
        self.intact()?;
        if let Err(what) = self.files.check() {
            self.break_with(errors::replaced(&what));
            return self.intact();
        }
        *self.last_check() = Instant::now();
        Ok(())
    }

    /// The same, unless that was just done: for the writer, before it answers.
    pub(super) fn check_files_if_due(&self) -> Result<()> {
        let is_due = self.last_check().elapsed() > limits::FILES_CHECK_MAX_AGE;
        if is_due { self.check_files() } else { Ok(()) }
    }

    pub(super) fn files(&self) -> &LogFiles {
        &self.files
    }

    fn last_check(&self) -> MutexGuard<'_, Instant> {
        self.files_checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_locked(&self) -> bool {
        self.is_locked.load(Ordering::Relaxed)
    }

    /// The writer has tried to take the write lock.
    pub(super) fn note_lock(&self, is_taken: bool) {
        self.locks_taken
            .fetch_add(u64::from(is_taken), Ordering::Relaxed);

        // Noted for those who look into a slow minute; each change once.
        let was_locked = self.is_locked.swap(!is_taken, Ordering::Relaxed);
        if was_locked == is_taken {
            tracing::debug!(is_taken, "the write lock of the database has changed hands");
        }
    }

    pub(super) fn locks_taken(&self) -> u64 {
        self.locks_taken.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    pub(super) fn note_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    pub(super) fn cannot_copy(&self) -> bool {
        self.cannot_copy.load(Ordering::Relaxed)
    }

    pub(super) fn note_cannot_copy(&self, cannot_copy: bool) {
        self.cannot_copy.store(cannot_copy, Ordering::Relaxed);
    }

    pub(super) fn wal_bytes(&self) -> u64 {
        self.wal_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn note_wal_bytes(&self, bytes: u64) {
        self.wal_bytes.store(bytes, Ordering::Relaxed);
    }
}
