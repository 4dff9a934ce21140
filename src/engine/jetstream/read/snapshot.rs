//! Snapshots of more topics than the servers look up at once.
//!
//! The leader lists the topics, their newest messages are looked up part by part, and the vids of
//! these are kept, so that each page of the snapshot is a matter of its own messages. Invariants:
//! - a snapshot has a topic's newest event as of its own end or of a later moment, so it serves
//!   each request that ends before that;
//! - one is made at a time, by a task of its own, and whoever waits for it shares it.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::super::SharedStream;
use super::super::api::{ApiError, StoredMessage};
use super::complete::{Replicas as _, Stretch};
use super::newest::newest_of;
use super::plan::Plan;
use super::settle::{ReadOf, Tries, log_of};
use super::topics::SubjectList;
use super::{no_further, page_of};
use crate::cursor::{Epoch, Vid};
use crate::engine::{Page, ReadRequest};
use crate::error::{Error, Result};
use crate::limits;
use crate::topic::Filter;

/// Which events are the newest of their topics.
pub(super) struct Snapshot {
    epoch: Epoch,
    /// Every topic that has an event up to here is in it.
    as_of: Vid,
    /// Sorted.
    vids: Vec<Vid>,
}

impl Snapshot {
    fn serves(&self, request: &ReadRequest, epoch: &Epoch) -> bool {
        self.epoch == *epoch && self.as_of >= request.through
    }

    /// Those that a request asks for.
    fn range(&self, request: &ReadRequest) -> &[Vid] {
        let index_after = |vid| self.vids.partition_point(|v| *v <= vid);
        &self.vids[index_after(request.after)..index_after(request.through)]
    }
}

/// The newest one of each filter.
pub(super) type Snapshots = Cache<Filter, Arc<Snapshot>, SnapshotVids>;

#[derive(Clone)]
pub(super) struct SnapshotVids;

impl Weighter<Filter, Arc<Snapshot>> for SnapshotVids {
    fn weight(&self, _: &Filter, snapshot: &Arc<Snapshot>) -> u64 {
        1 + snapshot.vids.len() as u64
    }
}

pub(super) fn new_snapshots() -> Snapshots {
    let about_so_many = limits::NATS_SNAPSHOT_VIDS / limits::NATS_SUBJECTS_AT_ONCE;
    Cache::with_weighter(
        about_so_many,
        limits::NATS_SNAPSHOT_VIDS as u64,
        SnapshotVids,
    )
}

/// Reads a page of a snapshot of many topics.
pub(super) async fn page(
    stream: &Arc<SharedStream>,
    request: &ReadRequest,
    epoch: &Epoch,
) -> Result<Page> {
    let kept = stream.requests.snapshots.get(&request.filter);
    let snapshot = match kept.filter(|kept| kept.serves(request, epoch)) {
        Some(snapshot) => snapshot,
        None => make(stream, request, epoch).await?,
    };
    let mut tries = Tries::of("a page of a snapshot");
    loop {
        let read = read_once(stream, request, &snapshot).await;
        if let Some(page) = tries.settle(read).await? {
            return Ok(page);
        }
    }
}

async fn read_once(
    stream: &SharedStream,
    request: &ReadRequest,
    snapshot: &Snapshot,
) -> std::result::Result<Option<Page>, ApiError> {
    let range = snapshot.range(request);
    let events = request.budget.events.clamp(1, limits::PAGE_EVENTS);
    let wanted = &range[..range.len().min(events)];
    let max_bytes = request.budget.bytes.min(limits::PAGE_BYTES);
    let found = stream.requests.at(wanted.to_vec(), max_bytes).await?;

    let read = Stretch {
        through: if found.len() < range.len() {
            found.last().map_or(request.after, |(vid, _)| *vid)
        } else {
            request.through
        },
        messages: match all_that_are_left(stream, found).await? {
            Some(messages) => messages,
            None => return Ok(None),
        },
    };
    let log = log_of(stream, &snapshot.epoch, snapshot.as_of).await?;
    Ok(log.map(|log| match log {
        ReadOf::SameLog { first } => page_of(stream, request, read, first),
        ReadOf::AnotherLog => no_further(request),
    }))
}

/// The messages, without those that are gone by now. None where a replica lacks one that the leader
/// has.
async fn all_that_are_left(
    stream: &SharedStream,
    found: Vec<(Vid, Option<StoredMessage>)>,
) -> std::result::Result<Option<Vec<StoredMessage>>, ApiError> {
    let first = stream.watch.state().bounds.first;
    let all = stream.subjects.all();
    let mut messages = Vec::with_capacity(found.len());
    for (vid, message) in found {
        match message {
            Some(message) => messages.push(message),
            None if vid < first => {}
            None if stream.requests.leader_next(vid, &all).await? == Some(vid) => return Ok(None),
            None => {}
        }
    }
    Ok(Some(messages))
}

/// Makes a snapshot that serves this request, or waits for another one who does.
async fn make(
    stream: &Arc<SharedStream>,
    request: &ReadRequest,
    epoch: &Epoch,
) -> Result<Arc<Snapshot>> {
    let (stream, request, epoch) = (stream.clone(), request.clone(), epoch.clone());
    let making = tokio::spawn(async move {
        let turn = stream.requests.lists.acquire();
        let _turn = timeout(limits::NATS_LIST_QUEUE, turn)
            .await
            .map_err(|_| Error::behind())?;
        let kept = stream.requests.snapshots.get(&request.filter);
        if let Some(kept) = kept.filter(|kept| kept.serves(&request, &epoch)) {
            return Ok(kept);
        }
        let made = Arc::new(take(&stream, &request, &epoch).await?);
        stream
            .requests
            .snapshots
            .insert(request.filter, made.clone());
        Ok(made)
    });
    let made = AbortOnDropHandle::new(making).await;
    made.unwrap_or_else(|error| {
        Err(Error::internal(format!(
            "taking a snapshot failed: {error}"
        )))
    })
}

async fn take(stream: &SharedStream, request: &ReadRequest, epoch: &Epoch) -> Result<Snapshot> {
    let mut snapshot = Snapshot {
        epoch: epoch.clone(),
        as_of: Vid::MAX,
        vids: Vec::new(),
    };
    for matching in Plan::of_list(&request.filter, &stream.subjects) {
        let mut list = SubjectList::new(&stream.api, matching);
        while let Some(part) = list.next().await? {
            snapshot.as_of = snapshot.as_of.min(part.as_of);
            for names in part.names.chunks(limits::NATS_SUBJECTS_AT_ONCE) {
                snapshot.add(stream, names, request.through).await?;
            }
        }
    }
    snapshot.end();

    let mut tries = Tries::of("the log of a snapshot");
    loop {
        let log = log_of(stream, epoch, snapshot.as_of).await;
        match tries.settle(log).await? {
            Some(ReadOf::SameLog { .. }) if snapshot.serves(request, epoch) => return Ok(snapshot),
            Some(_) => return Err(Error::behind()),
            None => {}
        }
    }
}

impl Snapshot {
    /// Adds the newest messages of some subjects.
    async fn add(&mut self, stream: &SharedStream, names: &[String], at_least: Vid) -> Result<()> {
        let mut tries = Tries::of("the newest of some topics");
        loop {
            // Kept once all is there: what a try that fails has found may be out of date.
            let mut vids = Vec::with_capacity(names.len());
            let visit = |message: StoredMessage| vids.push(message.vid);
            let as_of = newest_of(&stream.requests, names, at_least, visit).await;
            if let Some(as_of) = tries.settle(as_of).await? {
                self.vids.extend(vids);
                self.as_of = self.as_of.min(as_of);
                return self.check_size();
            }
        }
    }

    fn end(&mut self) {
        self.vids.retain(|vid| *vid <= self.as_of);
        self.vids.sort_unstable();
        self.vids.dedup();
    }

    fn check_size(&self) -> Result<()> {
        if self.vids.len() <= limits::NATS_SNAPSHOT_TOPICS {
            return Ok(());
        }
        Err(Error::too_large(format!(
            "the snapshot has more than {} topics; use a narrower filter",
            limits::NATS_SNAPSHOT_TOPICS
        )))
    }
}
