//! A data folder that is read from outside, also while a gateway has it.
//!
//! Invariants:
//! - nothing in the folder is changed: no lock is taken, no epoch begun, no write-ahead log copied;
//! - what is read has been committed, and so synced, by the gateway that wrote it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;

use super::connect::{connect_reader, set_checkpoint_on_close};
use super::folder::DATABASE;
use super::recognize::{check_version, recognize};
use super::refusal::{OpenCause, OpenResult, of_opening};
use super::writer_state::WriterState;
use super::{epochs, errors, reader, schema};
use crate::cursor::Vid;
use crate::engine::import::{CopyError, CopySource};
use crate::engine::{LogState, OpenError, Page, PageBudget, ReadRequest};
use crate::limits;
use crate::topic::Filter;

/// A log in a data folder, for reading.
pub(crate) struct SqliteSource {
    /// Held for one read.
    connection: Arc<Mutex<Connection>>,
}

impl SqliteSource {
    /// Opens the log in a data folder.
    ///
    /// # Errors
    /// There is none, or it is not one of today's version.
    pub(crate) fn open(data_dir: &Path) -> OpenResult<Self> {
        let path = data_dir.join(DATABASE);
        if !path.exists() {
            return Err(no_log(data_dir));
        }
        recognize(&path)?;
        let connection = connect(&path).map_err(|e| of_opening(data_dir, e))?;

        // An older one is brought up to date by whoever may write it.
        let version = connection.pragma_query_value(None, "user_version", |r| r.get(0));
        let version = version.map_err(|e| of_opening(data_dir, e))?;
        check_version(&path, version)?;
        if version != schema::VERSION {
            return Err(older(data_dir));
        }
        Ok(SqliteSource {
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CopyError> {
        let connection = self.connection.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            read(&connection)
        });
        let read = reading.await;
        let read = read.map_err(|error| CopyError::new(format!("reading broke off: {error}")))?;
        Ok(read.map_err(|error| errors::of_reading(&error))?)
    }
}

fn connect(path: &Path) -> Result<Connection, OpenCause> {
    let connection = connect_reader(path)?;
    // The gateway's, or left to the next one.
    set_checkpoint_on_close(&connection, false)?;
    Ok(connection)
}

#[async_trait]
impl CopySource for SqliteSource {
    async fn state(&self) -> Result<LogState, CopyError> {
        self.run(|connection| {
            let snapshot = connection.unchecked_transaction()?;
            let lineage = epochs::load_lineage(&snapshot)?;
            Ok(WriterState::load(&snapshot)?.log_state(&lineage))
        })
        .await
    }

    async fn read(&self, after: Vid, through: Vid) -> Result<Page, CopyError> {
        let request = ReadRequest {
            after,
            through,
            filter: Filter::everything(),
            budget: PageBudget::of_events(limits::PAGE_EVENTS),
        };
        self.run(move |connection| {
            let snapshot = connection.unchecked_transaction()?;
            reader::read(&snapshot, &request, None)
        })
        .await
    }
}

fn no_log(data_dir: &Path) -> OpenError {
    OpenError::new(format!(
        "there is no log in {}. Give the data folder of a gateway, with {DATABASE} in it",
        data_dir.display()
    ))
}

fn older(data_dir: &Path) -> OpenError {
    OpenError::new(format!(
        "the log in {} is of an older vidette. Start this vidette on it once, then copy it",
        data_dir.display()
    ))
}
