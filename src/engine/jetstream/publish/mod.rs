//! Publishing in groups: each is one atomic batch of the stream (ADR-50 of NATS).
//!
//! - `link`: the connection to publish by, and answers on it
//! - `plan`: which events of a group are sent, and what their publishers are answered
//! - `copying`: batches of a log that is copied
//! - `attempt`: one try to store them
//! - `answer`: what JetStream says to it
//! - `settle`: tries until it is known what has become of a group
//! - `earlier_tries`: has one of them stored what the stream knows?
//! - `probe`: which ids does the stream know?
//! - `health`: can events be appended?
//!
//! A try without an answer may have stored everything, and may do so later. So each group has an id
//! of its own, or all of its events have one, and the same ids are sent again until an answer
//! comes: whichever try reaches the stream first is the only one that it takes. Each try has a name
//! that is stored with it, so what an earlier one has stored is no duplicate. Past the deadline the
//! publisher is asked to come back with the same ids; for events without ids nobody can settle it
//! then.
//!
//! Invariants:
//! - one group is under way at a time, so events of one publisher keep their order;
//! - events of a batch have neighbouring vids in their order, and each batch is stored as a whole
//!   or not at all;
//! - a vid is answered only after the stream has acknowledged it;
//! - nothing stays in a broken connection for longer than the stream remembers ids, and nothing is
//!   sent again so late that it might have forgotten them.

mod answer;
mod attempt;
pub(super) mod copying;
mod earlier_tries;
mod health;
mod link;
mod plan;
mod probe;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{JetStreamOptions, SharedStream, message};
use crate::engine::{Appended, Receipt};
use crate::error::{Error, ErrorKind, Result};
use crate::event::NewEvent;
use crate::limits;
use health::PublishHealth;
use link::Link;

/// The one that appends for this gateway.
pub(super) struct Publisher {
    stream: Arc<SharedStream>,
    health: PublishHealth,
    lane: Mutex<Lane>,
}

/// What the group that is under way has to itself.
struct Lane {
    stream: Arc<SharedStream>,
    options: JetStreamOptions,
    dedupe_window: Duration,
    /// None before the first group, and after a connection that has failed.
    link: Option<Link>,
    /// Tries in a row that nobody has answered.
    silent_tries: u32,
    /// When a group was last given up.
    gave_up_at: Option<Instant>,
    /// Names this gateway in the ids of its groups.
    nonce: String,
    batches_so_far: u64,
}

/// A batch, and the id of the group that begins with it.
struct Batch {
    events: Vec<NewEvent>,
    group_id: String,
}

type BatchAnswer = Result<Vec<Receipt>>;

impl Publisher {
    /// `dedupe_window`: for how long the stream remembers ids.
    pub(super) fn new(
        stream: Arc<SharedStream>,
        options: JetStreamOptions,
        dedupe_window: Duration,
    ) -> Self {
        let lane = Lane {
            stream: stream.clone(),
            options,
            dedupe_window,
            link: None,
            silent_tries: 0,
            gave_up_at: None,
            nonce: random_name(),
            batches_so_far: 0,
        };
        Publisher {
            stream,
            health: PublishHealth::default(),
            lane: Mutex::new(lane),
        }
    }

    /// Can events be appended, as far as anybody knows? The reason where not.
    pub(super) fn writable(&self) -> Result<()> {
        self.check_vids()?;
        self.health.writable()
    }

    /// Appends batches in the given order, each all or none.
    ///
    /// # Errors
    /// No vids are left. What becomes of the batches is in their answers.
    pub(super) async fn append(&self, batches: Vec<Vec<NewEvent>>) -> Result<Appended> {
        self.check_vids()?;
        let mut lane = self.lane.lock().await;
        let mut answers = Vec::with_capacity(batches.len());
        for group in groups_of(batches) {
            answers.extend(lane.append(group).await);
        }
        self.health.note(&answers);
        Ok(Appended {
            batches: answers,
            ..Appended::default()
        })
    }

    /// JetStream would go on beyond the largest vid.
    fn check_vids(&self) -> Result<()> {
        let last = self.stream.watch.state().bounds.last;
        if last <= limits::MAX_VID - limits::NATS_RESERVED_VIDS {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::StorageFull,
            format!("the log is at vid {last} and has no vids left; go on with a new stream"),
        ))
    }
}

impl Lane {
    async fn append(&mut self, group: Vec<Vec<NewEvent>>) -> Vec<BatchAnswer> {
        let batches = group.into_iter().map(|events| self.name(events));
        let batches: Vec<_> = batches.collect();
        self.append_group(&batches).await
    }

    fn name(&mut self, events: Vec<NewEvent>) -> Batch {
        self.batches_so_far += 1;
        Batch {
            events,
            group_id: message::id_of_group(&self.nonce, self.batches_so_far),
        }
    }
}

/// The batches, cut into groups that JetStream takes as one; a larger batch is a group by itself.
fn groups_of(batches: Vec<Vec<NewEvent>>) -> Vec<Vec<Vec<NewEvent>>> {
    let mut groups: Vec<Vec<Vec<NewEvent>>> = Vec::new();
    let mut events = 0;
    for batch in batches {
        events += batch.len();
        match groups.last_mut() {
            Some(group) if events <= limits::NATS_BATCH_EVENTS => group.push(batch),
            _ => {
                events = batch.len();
                groups.push(vec![batch]);
            }
        }
    }
    groups
}

/// A name that nobody else chooses. It is stored with each event, so it is short.
fn random_name() -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(8)
        .collect()
}
