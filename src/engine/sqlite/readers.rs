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
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::errors;
use super::health::Health;
use super::wal_check::before_closing;
use crate::error::{Error, Result};

/// Steps of SQLite's machine between two looks at whether somebody still waits: about 0.1 ms.
const STEPS_BETWEEN_LOOKS: std::ffi::c_int = 10_000;

/// A bounded set of connections that only read. Clones share it.
#[derive(Clone)]
pub(super) struct Readers {
    permits: Arc<Semaphore>,
    idle: Arc<IdleConnections>,
}

/// Connections that nobody uses, as many as there are free permits.
struct IdleConnections {
    /// Held for a push or a pop only.
    connections: Mutex<Vec<Connection>>,
    health: Arc<Health>,
}

impl IdleConnections {
    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for IdleConnections {
    fn drop(&mut self) {
        for connection in self.connections().iter() {
            before_closing(&self.health, connection);
        }
    }
}

/// A connection that is in use, and the right to use it.
struct LentConnection {
    connection: Option<Connection>,
    idle: Arc<IdleConnections>,
    /// Given back after the connection.
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>, health: Arc<Health>) -> Self {
        Readers {
            permits: Arc::new(Semaphore::new(connections.len())),
            idle: Arc::new(IdleConnections {
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

        // A task of its own: whoever waits for a turn must not depend on being polled.
        let reading = tokio::spawn(async move { readers.run_here(read, asked_for).await });
        let done = AbortOnDropHandle::new(reading).await;
        drop(waiting);
        done.unwrap_or_else(|e| Err(ended(&e)))
    }

    async fn run_here<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        asked_for: Weak<()>,
    ) -> Result<T> {
        // Taken before the connection, so that there is one for each permit.
        let permit = self.permits.clone().acquire_owned().await;
        let lent = self.lend(permit.map_err(|_| Error::closing())?);

        // The connection goes along and comes back with the thread, also when it panics.
        let done = tokio::task::spawn_blocking(move || lent.read(read, asked_for)).await;
        match done {
            Ok(done) => done.map_err(|e| errors::of_reading(&e)),
            Err(e) => Err(ended(&e)),
        }
    }

    fn lend(&self, permit: OwnedSemaphorePermit) -> LentConnection {
        let connection = self.idle.connections().pop();
        LentConnection {
            connection: Some(connection.expect("a permit stands for an idle connection")),
            idle: self.idle.clone(),
            _permit: permit,
        }
    }
}

impl LentConnection {
    /// Reads, unless and until nobody waits for it.
    fn read<T>(
        mut self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
        asked_for: Weak<()>,
    ) -> rusqlite::Result<T> {
        let connection = self.connection.as_mut().expect("lent until it is dropped");
        let has_left = move || asked_for.strong_count() == 0;
        // While it waited for its turn, for one.
        if has_left() {
            return Err(interrupted());
        }
        // Checked again while it reads; replaces the handler of the read before.
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(has_left))?;
        read(connection)
    }
}

impl Drop for LentConnection {
    fn drop(&mut self) {
        self.idle.connections().extend(self.connection.take());
    }
}

/// The task of a read has panicked, or the runtime ends.
fn ended(error: &JoinError) -> Error {
    Error::internal(format!("failed to read the log: {error}"))
}

/// As SQLite says it of a read that was broken off.
fn interrupted() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), None)
}
