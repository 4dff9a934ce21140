//! Rows of an outbox table of PostgreSQL, each of which becomes one event.
//!
//! An application writes a row to the outbox in the transaction of what it tells; the event comes
//! into being with the commit, or not at all. Which rows are done is kept with each row
//! (`outcome`), not as one position for all: a row that waits is found however late its transaction
//! commits, and no other transaction of the server is ever waited for. Rows are read in the order
//! of their ids among those that are visible. Whoever has seen a committed row and writes another
//! one gets a higher id, and whoever sees that one sees the first: so what depends on something
//! comes after it.
//!
//! Invariants:
//! - a row is marked, or deleted, after its event is durable; so a row is never skipped;
//! - a row has a random id of its own, its event's id, by which the event is known when the row is
//!   offered again. The driver knows what a lost acknowledgement left behind, however long ago; so
//!   a row never becomes two events;
//! - one gateway reads an outbox, by a lock that ends with its connection.
//!
//! What does not hold: a database that goes back in time (a backup, a standby that had not got
//! everything yet) has forgotten marks too, and offers those rows again. Within
//! `retention.dedupe_window` their events are known; later they come a second time, with the same
//! id. A log that goes back in time has lost events whose rows are marked; setting their `outcome`
//! to NULL publishes them again. docs/sources.md says how.

mod fault;
mod rows;
pub(crate) mod schema;
mod session;
mod sql;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::{MakeSource, Outcome, Pulled, Source, SourceFault, SourceState};
use crate::bus::Bus;
use crate::config::PostgresConfig;
use crate::limits;
use fault::PostgresFault;
use session::{Done, Session};

/// What runs an outbox.
pub(super) fn plan(config: &PostgresConfig, bus: &Bus) -> (Arc<SourceState>, MakeSource) {
    let (config, bus) = (Arc::new(config.clone()), bus.clone());
    let state = SourceState::new(&config.name, "postgres");
    let make =
        move || -> Box<dyn Source> { Box::new(PostgresSource::new(config.clone(), bus.clone())) };
    (Arc::new(state), Box::new(make))
}

/// One connection, made at the first pull.
struct PostgresSource {
    config: Arc<PostgresConfig>,
    bus: Bus,
    session: Option<Session>,
    /// The rows that were pulled and not acknowledged yet.
    taken: Vec<rows::Key>,
    /// The last pull said that nothing waits.
    is_idle: bool,
    lag: Lag,
}

/// How many rows wait, counted now and then.
#[derive(Default)]
struct Lag {
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
            lag: Lag::default(),
        }
    }

    async fn look(&mut self) -> Result<Vec<Pulled>, PostgresFault> {
        let max_event_bytes = self.bus.options().max_event_bytes;
        if self.session.is_none() {
            self.session = Some(Session::open(&self.config).await?);
        }
        let session = self.session.as_ref().ok_or(PostgresFault::Closed)?;
        let mut found = session.waiting(max_event_bytes).await?;
        // It is said once, and at once, that nothing waits; only then there is time to wait for
        // news.
        if found.is_empty() && self.is_idle {
            session.news(self.config.poll_interval).await?;
            found = session.waiting(max_event_bytes).await?;
        }
        self.is_idle = found.is_empty();
        self.lag.update(session, found.len()).await?;
        let (keys, pulled) = found
            .iter()
            .map(|row| rows::read(row, max_event_bytes))
            .unzip();
        self.taken = keys;
        Ok(pulled)
    }

    async fn finish(&mut self, outcomes: Vec<Outcome>) -> Result<(), PostgresFault> {
        let session = self.session.as_ref().ok_or(PostgresFault::Closed)?;
        let (mut marked, mut deleted) = (Done::default(), Done::default());
        for (key, outcome) in self.taken.drain(..).zip(outcomes) {
            match outcome {
                Outcome::Published(_) if self.config.delete_after_publish => {
                    deleted.push(key, String::new());
                }
                Outcome::Published(receipt) => {
                    marked.push(key, self.bus.cursor(receipt.vid).to_string());
                }
                Outcome::Refused(reason) => marked.push(key, format!("refused: {reason}")),
            }
        }
        session.mark(&marked).await?;
        session.delete(&deleted).await
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn pull(&mut self) -> Result<Vec<Pulled>, SourceFault> {
        self.look()
            .await
            .map_err(|fault| SourceFault::new(fault.to_string()))
    }

    async fn acknowledge(&mut self, outcomes: Vec<Outcome>) -> Result<(), SourceFault> {
        self.finish(outcomes)
            .await
            .map_err(|fault| SourceFault::new(fault.to_string()))
    }

    fn lag(&self) -> Option<u64> {
        Some(self.lag.rows)
    }
}

impl Lag {
    /// A batch that is not full is all there is; otherwise the rows are counted, but not for each
    /// batch.
    async fn update(&mut self, session: &Session, found: usize) -> Result<(), PostgresFault> {
        if found < limits::SOURCE_BATCH_EVENTS / 2 {
            self.rows = found as u64;
        } else if self
            .counted
            .is_none_or(|at| at.elapsed() >= limits::DATABASE_LAG_INTERVAL)
        {
            self.rows = session.count_waiting().await?;
            self.counted = Some(Instant::now());
        }
        Ok(())
    }
}
