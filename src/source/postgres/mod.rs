//! Rows of an outbox table of PostgreSQL, each of which becomes one event.
//!
//! An application writes a row to the outbox in the same transaction as the change that the row
//! reports; the event comes into being with the commit, or not at all. Which rows are done is kept
//! with each row (`outcome`), not as one position for all: a waiting row is found however late its
//! transaction commits, and the gateway never waits for another transaction of the server. Rows are
//! read in the order of their ids among those that are visible. Whoever has seen a committed row
//! and writes another one gets a higher id, and whoever sees the second row sees the first: so an
//! event that depends on another one comes after it.
//!
//! Invariants:
//! - a row is marked, or deleted, after its event is durable, so no row is skipped;
//! - a row has a random id of its own, which is its event's id and identifies the event when the
//!   row is offered again. The driver knows the ids whose acknowledgement was lost, however long
//!   ago, so no row becomes two events;
//! - one gateway reads an outbox, guarded by a lock that ends with its connection.
//!
//! Limits: a database that goes back in time (a backup, a standby that had not received everything)
//! has lost marks too, and offers those rows again. Within `retention.dedupe_window` their events
//! are recognized; later they come a second time, with the same id. A log that goes back in time
//! has lost events whose rows are marked; setting their `outcome` to NULL publishes them again.
//! docs/sources.md says how.

mod error;
mod rows;
pub(crate) mod schema;
mod session;
mod sql;
mod template;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::state::SourceState;
use super::work::{MakeSource, Pulled, Source, SourceError, WorkOutcome};
use crate::bus::Bus;
use crate::config::PostgresConfig;
use crate::limits;
use error::PostgresError;
use rows::{FinishedRows, RowKey};
use session::PostgresSession;

/// The source of one outbox.
pub(super) fn plan(config: &PostgresConfig, bus: &Bus) -> (Arc<SourceState>, MakeSource) {
    // Called again for each connection, so everything it needs is shared.
    let (config, bus) = (Arc::new(config.clone()), bus.clone());
    let state = SourceState::new(&config.name, "postgres");
    let make =
        move || Box::new(PostgresSource::new(config.clone(), bus.clone())) as Box<dyn Source>;
    (Arc::new(state), Arc::new(make))
}

/// One connection, made at the first pull.
struct PostgresSource {
    config: Arc<PostgresConfig>,
    bus: Bus,
    session: Option<PostgresSession>,
    /// The rows that were pulled and are not acknowledged yet.
    taken: Vec<RowKey>,
    /// The last pull found no row.
    is_idle: bool,
    lag: OutboxLag,
}

/// How many rows wait, counted now and then.
#[derive(Default)]
struct OutboxLag {
    rows: u64,
    counted: Option<Instant>,
}

impl PostgresSource {
    fn new(config: Arc<PostgresConfig>, bus: Bus) -> Self {
        PostgresSource {
            config,
            bus,
            session: None,
            taken: Vec::new(),
            is_idle: false,
            lag: OutboxLag::default(),
        }
    }

    /// Reads the oldest waiting rows.
    async fn read_rows(&mut self) -> Result<Vec<Pulled>, PostgresError> {
        // Connecting here, not earlier, lets a database that is down delay only its own source.
        if self.session.is_none() {
            self.session = Some(PostgresSession::open(&self.config).await?);
        }
        let session = self.session.as_ref().ok_or(PostgresError::Closed)?;

        // Larger data could not become an event, so it is not even transferred.
        let max_event_bytes = self.bus.options().max_event_bytes;
        let found = self.find_rows(session, max_event_bytes).await?;

        // After an empty answer the next pull may wait for a notification.
        self.is_idle = found.is_empty();
        self.lag.update(session, found.len()).await?;

        // The keys are needed to mark the rows, in the order pulled.
        let read = found.iter().map(|row| rows::read(row, max_event_bytes));
        let (keys, pulled) = read.unzip();
        self.taken = keys;
        Ok(pulled)
    }

    async fn find_rows(
        &self,
        session: &PostgresSession,
        max_event_bytes: usize,
    ) -> Result<Vec<Row>, PostgresError> {
        let found = session.waiting(max_event_bytes).await?;

        // The first empty answer is passed on at once, so that the source shows as up and idle;
        // only the next pull waits for a notification.
        if !found.is_empty() || !self.is_idle {
            return Ok(found);
        }
        session.notified(self.config.poll_interval).await?;
        session.waiting(max_event_bytes).await
    }

    /// Marks or deletes the rows that were pulled last.
    async fn finish_rows(&mut self, outcomes: Vec<WorkOutcome>) -> Result<(), PostgresError> {
        let (marked, deleted) = self.sort_out(outcomes);
        let session = self.session.as_ref().ok_or(PostgresError::Closed)?;

        // An error after the first statement leaves rows waiting, which are recognized by their
        // ids.
        session.mark(&marked).await?;
        session.delete(&deleted).await
    }

    /// The rows to mark, and the rows to delete.
    fn sort_out(&mut self, outcomes: Vec<WorkOutcome>) -> (FinishedRows, FinishedRows) {
        let (mut marked, mut deleted) = (FinishedRows::default(), FinishedRows::default());

        // Outcomes come in the order in which the rows were pulled.
        for (key, outcome) in self.taken.drain(..).zip(outcomes) {
            match outcome {
                // Dead letters keep their rows even then, so that nothing is lost to a mistake.
                WorkOutcome::Published(_) if self.config.delete_after_publish => {
                    deleted.push(key, String::new());
                }
                WorkOutcome::Published(receipt) => {
                    marked.push(key, self.bus.cursor(receipt.vid).to_string());
                }
                WorkOutcome::Refused(reason) => marked.push(key, format!("refused: {reason}")),
            }
        }
        (marked, deleted)
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn pull(&mut self) -> Result<Vec<Pulled>, SourceError> {
        Ok(self.read_rows().await?)
    }

    async fn acknowledge(&mut self, outcomes: Vec<WorkOutcome>) -> Result<(), SourceError> {
        Ok(self.finish_rows(outcomes).await?)
    }

    fn lag(&self) -> Option<u64> {
        Some(self.lag.rows)
    }
}

impl From<PostgresError> for SourceError {
    fn from(error: PostgresError) -> Self {
        SourceError::new(error.to_string())
    }
}

impl OutboxLag {
    /// A batch that is not full holds all the rows that wait. Otherwise they are counted, but not
    /// for each batch.
    async fn update(
        &mut self,
        session: &PostgresSession,
        found: usize,
    ) -> Result<(), PostgresError> {
        if found < limits::SOURCE_BATCH_EVENTS / 2 {
            self.rows = found as u64;
        } else if self.is_due() {
            // Counting reads the whole index of waiting rows.
            self.rows = session.count_waiting().await?;
            self.counted = Some(Instant::now());
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        let interval = limits::DATABASE_LAG_INTERVAL;
        self.counted.is_none_or(|at| at.elapsed() >= interval)
    }
}
