//! The connections that only read, and whose turn it is.
//!
//! A reader may leave at any moment, or stop to ask for its answer while its own peer reads
//! nothing. Invariants:
//! - a read has its permit and its connection for as long as it runs, whatever becomes of the one
//!   who asked: both travel with it and come back together, also when it panics;
//! - waiting for a turn is a task of its own, so that nobody holds a turn without using it;
//! - a read that nobody waits for any more does not begin, or is broken off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rusqlite::{Connection, ffi};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::fault;
use super::health::Health;
use crate::error::{Error, Result};

/// Steps of SQLite's machine between two looks at whether somebody still waits: about 0.1 ms.
const STEPS_BETWEEN_LOOKS: std::ffi::c_int = 10_000;

/// A bounded set of connections that only read. Clones share it.
#[derive(Clone)]
pub(super) struct Readers {
    permits: Arc<Semaphore>,
    idle: Arc<Idle>,
}

/// Connections that nobody uses, as many as there are free permits.
struct Idle {
    /// Held for a push or a pop only.
    connections: Mutex<Vec<Connection>>,
    health: Arc<Health>,
}

impl Idle {
    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for connection in self.connections().iter() {
            self.health.before_closing(connection);
        }
    }
}

/// A connection that is in use, and the right to use it.
struct Lent {
    connection: Option<Connection>,
    idle: Arc<Idle>,
    /// Given back after the connection.
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>, health: Arc<Health>) -> Self {
        Readers {
            permits: Arc::new(Semaphore::new(connections.len())),
            idle: Arc::new(Idle {
                connections: Mutex::new(connections),
                health,
            }),
        }
    }

    /// Runs a read on a thread that may block; waits for its turn when all readers are busy.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let waiting = Arc::new(());
        let asked_for = Arc::downgrade(&waiting);
        let readers = self.clone();
        let reading = tokio::spawn(async move { readers.run_here(read, asked_for).await });
        let done = AbortOnDropHandle::new(reading).await;
        drop(waiting);
        done.unwrap_or_else(|e| Err(Error::internal(format!("reading the log failed: {e}"))))
    }

    async fn run_here<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        asked_for: Weak<()>,
    ) -> Result<T> {
        let permit = self.permits.clone().acquire_owned().await;
        let lent = self.lend(permit.map_err(|_| Error::closing())?);
        let done = tokio::task::spawn_blocking(move || lent.read(read, asked_for)).await;
        match done {
            Ok(done) => done.map_err(|e| fault::of_reading(&e)),
            Err(e) => Err(Error::internal(format!("reading the log failed: {e}"))),
        }
    }

    fn lend(&self, permit: OwnedSemaphorePermit) -> Lent {
        let connection = self.idle.connections().pop();
        Lent {
            connection: Some(connection.expect("a permit stands for an idle connection")),
            idle: self.idle.clone(),
            _permit: permit,
        }
    }
}

impl Lent {
    /// Reads, unless and until nobody waits for it.
    fn read<T>(
        mut self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
        asked_for: Weak<()>,
    ) -> rusqlite::Result<T> {
        let connection = self.connection.as_mut().expect("lent until it is dropped");
        let has_left = move || asked_for.strong_count() == 0;
        if has_left() {
            return Err(interrupted());
        }
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(has_left))?;
        read(connection)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.idle.connections().extend(self.connection.take());
    }
}

/// As SQLite says it of a read that was broken off.
fn interrupted() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), None)
}
