//! The newest event of each topic, as long as it is no newer than the request says.
//!
//! A replica looks them up as of its own end, and says where that is: with everything up to the end
//! of the request it knows of each topic whether that has a newer event. Topics that have one
//! behind the request are left out, as with other engines; a reader gets those events live.

use std::sync::Arc;

use super::super::SharedStream;
use super::super::api::{ApiError, DirectGet, StoredMessage, TOO_MANY_SUBJECTS};
use super::complete::{Replicas, Stretch};
use super::plan::Plan;
use super::settle::{ReadOf, Tries, log_of};
use super::{no_further, nothing_to_read, page_of, snapshot};
use crate::cursor::{Epoch, Vid};
use crate::engine::{Page, ReadRequest};
use crate::error::Result;
use crate::limits;

enum Found {
    Page(Page),
    TooManyTopics,
}

/// Reads a page of those events that are the newest of their topic.
pub(in crate::engine::jetstream) async fn newest(
    stream: &Arc<SharedStream>,
    request: ReadRequest,
) -> Result<Page> {
    if request.after >= request.through {
        return Ok(nothing_to_read(stream, &request));
    }
    let state = stream.watch.state();
    let epoch = state.lineage.epoch();
    let of = Plan::of_list(&request.filter, &stream.subjects);

    let mut tries = Tries::of("a snapshot");
    loop {
        let read = read_once(stream, &request, &of, epoch).await;
        match tries.settle(read).await? {
            Some(Found::Page(page)) => return Ok(page),
            Some(Found::TooManyTopics) => return snapshot::page(stream, &request, epoch).await,
            None => {}
        }
    }
}

async fn read_once(
    stream: &SharedStream,
    request: &ReadRequest,
    of: &[String],
    epoch: &Epoch,
) -> std::result::Result<Option<Found>, ApiError> {
    let answer = stream.requests.messages(DirectGet {
        seq: Some(request.after + 1),
        multi_last: of.to_vec(),
        batch: request.budget.events.clamp(1, limits::PAGE_EVENTS),
        max_bytes: request.budget.bytes.clamp(1, limits::PAGE_BYTES),
        ..DirectGet::default()
    });
    let answer = match answer.await {
        Err(error) if error.is(TOO_MANY_SUBJECTS) => return Ok(Some(Found::TooManyTopics)),
        answer => answer?,
    };

    let end = request.through;
    let as_of = match answer.as_of {
        Some(as_of) if as_of < end => return Ok(None),
        Some(as_of) => as_of,
        // Of no topic: the leader has to say so, too.
        None if !has_nothing(stream, request, of).await? => return Ok(None),
        None => end,
    };
    let last = answer.messages.last().map_or(request.after, |m| m.vid);
    let read = Stretch {
        through: if answer.pending > 0 {
            last.min(end)
        } else {
            end
        },
        messages: answer.messages,
    };

    // Also of what is left out the gateway knows by then, so that its readers wait for it.
    let log = log_of(stream, epoch, as_of).await?;
    Ok(log.map(|log| {
        Found::Page(match log {
            ReadOf::SameLog { first } => page_of(stream, request, read, first),
            ReadOf::AnotherLog => no_further(request),
        })
    }))
}

/// Does the leader know of no message of these subjects in the range?
async fn has_nothing(
    stream: &SharedStream,
    request: &ReadRequest,
    of: &[String],
) -> std::result::Result<bool, ApiError> {
    for subjects in of {
        let next = stream.requests.leader_next(request.after + 1, subjects);
        if next.await?.is_some_and(|vid| vid <= request.through) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Visits the newest message of each of these subjects, as of a vid that is returned. None where
/// the replica does not have everything up to `at_least`.
pub(super) async fn newest_of(
    replicas: &impl Replicas,
    subjects: &[String],
    at_least: Vid,
    mut visit: impl FnMut(StoredMessage),
) -> std::result::Result<Option<Vid>, ApiError> {
    let (mut as_of, mut from) = (Vid::MAX, 1);
    loop {
        let asked = replicas.messages(DirectGet {
            seq: Some(from),
            multi_last: subjects.to_vec(),
            batch: limits::NATS_SUBJECTS_AT_ONCE,
            max_bytes: limits::PAGE_BYTES,
            ..DirectGet::default()
        });
        let answer = asked.await?;
        match answer.as_of {
            Some(vid) if vid >= at_least => as_of = as_of.min(vid),
            _ => return Ok(None),
        }
        let pending = answer.pending;
        for message in answer.messages {
            from = message.vid + 1;
            visit(message);
        }
        if pending == 0 {
            return Ok(Some(as_of));
        }
    }
}
