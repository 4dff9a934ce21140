//! The right to pull from sources, which one gateway of a log has at a time.
//!
//! A record next to the log names its holder, who writes it again each second. Invariants:
//! - a gateway counts as the holder for [`limits::SOURCE_LEASE`] from the moment when it sent the
//!   last write that was accepted, and no longer, whether or not anything reaches it meanwhile;
//! - another gateway takes over once it has itself seen the record unchanged for longer than that,
//!   so clocks of different machines are never compared;
//! - each write names the revision that it replaces, so of two gateways that write at once one is
//!   refused.
//!
//! A gateway may lose the lease between its last look and an event that it publishes; the ids of
//! events make that harmless.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::limits;

/// A gateway that holds the lease, or wants to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseHolder {
    /// Random, made at each start.
    pub(super) id: String,
    /// The name of its machine, for a person to read.
    pub(super) host: String,
}

impl LeaseHolder {
    /// This gateway, under a new id.
    pub(super) fn this_gateway() -> Self {
        let host = nix::unistd::gethostname().unwrap_or_default();
        LeaseHolder {
            id: format!("{:016x}", fastrand::u64(..)),
            host: host.to_string_lossy().into_owned(),
        }
    }
}

/// The record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseRecord {
    /// Another one after each write; 0 where there is no record yet.
    pub(super) revision: u64,
    /// None where nobody holds it.
    pub(super) holder: Option<LeaseHolder>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseWrite {
    /// The record has this revision now.
    Accepted(u64),
    /// It had another revision than the one that was to be replaced.
    Outdated,
}

/// Why the record cannot be read or written now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct LeaseError(pub(super) String);

/// Where the record is kept. Each call takes a bounded time.
#[async_trait]
pub(super) trait LeaseStore: Send + Sync + 'static {
    /// The record, as whoever decides on it knows it.
    async fn read(&self) -> Result<LeaseRecord, LeaseError>;

    /// Replaces the record of this revision. After an error it may have been replaced or not.
    async fn write(
        &self,
        holder: Option<&LeaseHolder>,
        replaced: u64,
    ) -> Result<LeaseWrite, LeaseError>;
}

/// The right to pull from sources, as one gateway sees it. Where it is dropped without
/// [`SourceLease::release`], others wait until it has expired.
pub struct SourceLease {
    held_until: watch::Receiver<Option<Instant>>,
    wanted: watch::Sender<bool>,
    released: CancellationToken,
    keeper: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl SourceLease {
    /// A lease that nobody asks for yet.
    pub(super) fn new(store: impl LeaseStore, holder: LeaseHolder) -> Self {
        let (held, held_until) = watch::channel(None);
        let (wanted, is_wanted) = watch::channel(false);
        let released = CancellationToken::new();
        let keeper = LeaseKeeper {
            store,
            holder,
            held,
            seen: None,
            reported: Reported::Nothing,
            is_failing: false,
        };
        let keeping: JoinHandle<()> = tokio::spawn(keeper.run(is_wanted, released.clone()));
        SourceLease {
            held_until,
            wanted,
            released,
            keeper: Mutex::new(Some(AbortOnDropHandle::new(keeping))),
        }
    }

    /// One that is held as a test says.
    #[cfg(test)]
    pub(crate) fn held_until(held_until: watch::Receiver<Option<Instant>>) -> Self {
        SourceLease {
            held_until,
            wanted: watch::Sender::new(false),
            released: CancellationToken::new(),
            keeper: Mutex::new(None),
        }
    }

    /// Does this gateway hold it at this moment?
    pub fn is_held(&self) -> bool {
        is_in_future(*self.held_until.borrow())
    }

    /// Asks for it, from here on, and waits until this gateway holds it.
    pub async fn gained(&self) {
        self.wanted.send_replace(true);
        let mut held_until = self.held_until.clone();
        let gained = held_until.wait_for(|until| is_in_future(*until));
        // Once released it is not asked for again.
        if gained.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until this gateway does not hold it.
    pub async fn lost(&self) {
        let mut held_until = self.held_until.clone();
        loop {
            let until = *held_until.borrow_and_update();
            let Some(until) = until.filter(|until| *until > Instant::now()) else {
                return;
            };
            tokio::select! {
                () = sleep_until(until) => {}
                changed = held_until.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Gives it away for good, so that another gateway can take it at once. Call this when nothing
    /// is pulled any more.
    pub async fn release(&self) {
        self.released.cancel();
        let keeper = self.take_keeper();
        // What cannot be given away expires.
        if let Some(keeper) = keeper {
            let _ = timeout(limits::SOURCE_LEASE_RELEASE_WAIT, keeper).await;
        }
    }

    fn take_keeper(&self) -> Option<AbortOnDropHandle<()>> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        keeper.take()
    }
}

fn is_in_future(moment: Option<Instant>) -> bool {
    moment.is_some_and(|moment| moment > Instant::now())
}

/// A record, and when this gateway saw it first.
struct SeenRecord {
    record: LeaseRecord,
    since: Instant,
}

/// What was logged last.
#[derive(PartialEq, Eq)]
enum Reported {
    Nothing,
    Held,
    HeldBy(LeaseHolder),
}

/// Asks for the lease, and renews it.
struct LeaseKeeper<S> {
    store: S,
    holder: LeaseHolder,
    held: watch::Sender<Option<Instant>>,
    /// None where it has to be read.
    seen: Option<SeenRecord>,
    reported: Reported,
    is_failing: bool,
}

impl<S: LeaseStore> LeaseKeeper<S> {
    async fn run(mut self, mut wanted: watch::Receiver<bool>, released: CancellationToken) {
        tokio::select! {
            wanted = wanted.wait_for(|wanted| *wanted) => if wanted.is_err() { return },
            () = released.cancelled() => return,
        }
        // Between steps, so that no write is under way whose outcome is unknown.
        while !released.is_cancelled() {
            let started = Instant::now();
            self.step(started).await;
            tokio::select! {
                () = sleep_until(self.next_step(started)) => {}
                () = released.cancelled() => {}
            }
        }
        self.give_away().await;
    }

    /// Reads the record where it is not known to be this gateway's, and writes it where it may.
    async fn step(&mut self, now: Instant) {
        let done = if self.is_mine() {
            let written = self.write(now).await;
            // It may have been written all the same, or the record may be gone.
            if written.is_err() {
                self.seen = None;
            }
            written
        } else {
            self.look_and_take().await
        };
        self.tell_errors(done);
        self.tell_holder();
    }

    async fn look_and_take(&mut self) -> Result<(), LeaseError> {
        let record = self.store.read().await?;
        let is_known = self.seen.as_ref().is_some_and(|seen| seen.record == record);
        let now = Instant::now();
        if !is_known {
            self.seen = Some(SeenRecord { record, since: now });
        }
        if self.free_from().is_some_and(|free_from| free_from <= now) {
            self.write(now).await?;
        }
        Ok(())
    }

    /// `sent` is a moment before the write is sent: others count from a later one.
    async fn write(&mut self, sent: Instant) -> Result<(), LeaseError> {
        let Some(seen) = &self.seen else {
            return Ok(());
        };
        let replaced = seen.record.revision;
        match self.store.write(Some(&self.holder), replaced).await? {
            LeaseWrite::Accepted(revision) => {
                let record = LeaseRecord {
                    revision,
                    holder: Some(self.holder.clone()),
                };
                self.seen = Some(SeenRecord {
                    record,
                    since: sent,
                });
                self.held.send_replace(Some(sent + limits::SOURCE_LEASE));
            }
            // By another gateway, or by a write of this one that seemed to have failed.
            LeaseWrite::Outdated => self.seen = None,
        }
        Ok(())
    }

    fn is_mine(&self) -> bool {
        let seen = self.seen.as_ref();
        let holder = seen.and_then(|seen| seen.record.holder.as_ref());
        holder == Some(&self.holder)
    }

    /// When the record that was seen may be replaced.
    fn free_from(&self) -> Option<Instant> {
        let seen = self.seen.as_ref()?;
        let expires = match &seen.record.holder {
            Some(holder) if *holder != self.holder => limits::SOURCE_LEASE_TAKEOVER,
            _ => std::time::Duration::ZERO,
        };
        Some(seen.since + expires)
    }

    fn next_step(&self, started: Instant) -> Instant {
        if self.is_mine() {
            return started + limits::SOURCE_LEASE_RENEWAL;
        }
        let look = started + limits::SOURCE_LEASE_LOOK;
        match self.free_from() {
            Some(free_from) if free_from > started => look.min(free_from),
            _ => look,
        }
    }

    async fn give_away(&mut self) {
        self.held.send_replace(None);
        let Some(seen) = self.seen.take().filter(|seen| {
            let holder = seen.record.holder.as_ref();
            holder == Some(&self.holder)
        }) else {
            return;
        };
        match self.store.write(None, seen.record.revision).await {
            Ok(LeaseWrite::Accepted(_)) => {
                tracing::info!("the lease of the sources was released");
            }
            Ok(LeaseWrite::Outdated) => {}
            Err(error) => {
                tracing::warn!(%error, "the lease of the sources was not released; it expires");
            }
        }
    }

    fn tell_errors(&mut self, done: Result<(), LeaseError>) {
        // Each attempt fails alike; only a change is worth a line.
        let was_failing = std::mem::replace(&mut self.is_failing, done.is_err());
        match done {
            Err(error) if !was_failing => tracing::warn!(
                %error,
                "the lease of the sources cannot be read or renewed; without it nothing is pulled"
            ),
            Ok(()) if was_failing => tracing::info!("the lease of the sources answers again"),
            _ => {}
        }
    }

    fn tell_holder(&mut self) {
        let is_held = is_in_future(*self.held.borrow());
        if self.reported == Reported::Held && !is_held {
            tracing::warn!("the lease of the sources is lost: this gateway pulls nothing for now");
            self.reported = Reported::Nothing;
        }
        let holder = self
            .seen
            .as_ref()
            .and_then(|seen| seen.record.holder.as_ref());
        let now = match holder {
            _ if is_held => Reported::Held,
            Some(other) if *other != self.holder => Reported::HeldBy(other.clone()),
            _ => return,
        };
        if now == self.reported {
            return;
        }
        let LeaseHolder { id, host } = &self.holder;
        match &now {
            Reported::Held => {
                tracing::info!(id, host, "this gateway holds the lease of the sources");
            }
            Reported::HeldBy(LeaseHolder { id, host }) => {
                tracing::info!(id, host, "another gateway holds the lease of the sources");
            }
            Reported::Nothing => {}
        }
        self.reported = now;
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
