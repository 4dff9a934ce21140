//! Reading the stream.
//!
//! Invariants:
//! - what is returned is complete, and of the log that the engine knew when it was asked: an answer
//!   is believed once the leader has confirmed, afterwards, that it is still that log;
//! - a read ends within a bounded time, with what was asked for or with an error;
//! - requests are made by tasks of their own: a reader that stands still meanwhile, because its
//!   peer reads nothing, holds up no other.

mod by_leader;
mod complete;
mod copied;
mod newest;
mod plan;
mod requests;
mod settle;
mod snapshot;
mod topics;

use std::sync::Arc;

use super::SharedStream;
use super::api::{ApiError, StoredMessage};
use super::message;
use crate::cursor::{Epoch, Vid};
use crate::engine::{Page, ReadRequest};
use crate::error::Result;
use crate::event::Event;
use crate::limits;
use crate::topic::Filter;
use by_leader::read_by_leader;
use complete::{Amount, Range, Stretch, read_range};
use plan::Plan;
use settle::{ReadOf, Tries, log_of};

pub(super) use newest::newest;
pub(super) use requests::Requests;
pub(super) use topics::topics;

/// Reads a page.
pub(super) async fn page(stream: &SharedStream, request: ReadRequest) -> Result<Page> {
    if request.after >= request.through {
        return Ok(nothing_to_read(stream, &request));
    }
    let state = stream.watch.state();
    let epoch = state.lineage.epoch();
    let plan = Plan::of_pages(&request.filter, &stream.subjects);
    let range = Range {
        after: request.after,
        through: request.through,
    };
    let amount = amount_of(&request, &plan);

    let mut tries = Tries::of("a page");
    loop {
        let read = if tries.are_unanswered() || stream.requests.has_unreadable(range) {
            read_by_leader(stream, range, amount).await.map(Some)
        } else {
            read_range(&stream.requests, &plan.subjects, range, amount).await
        };
        let page = checked_page(stream, &request, epoch, read).await;
        if let Some(page) = tries.settle(page).await? {
            return Ok(page);
        }
    }
}

async fn checked_page(
    stream: &SharedStream,
    request: &ReadRequest,
    epoch: &Epoch,
    read: std::result::Result<Option<Stretch>, ApiError>,
) -> std::result::Result<Option<Page>, ApiError> {
    let Some(read) = read? else { return Ok(None) };
    let log = log_of(stream, epoch, read.through).await?;
    Ok(log.map(|log| match log {
        ReadOf::SameLog { first } => page_of(stream, request, read, first),
        ReadOf::AnotherLog => no_further(request),
    }))
}

/// The vid behind which all events of this time or later are, by the leader's word: a replica that
/// lags would leave some out.
pub(super) async fn vid_before(stream: &SharedStream, time_ms: i64) -> Result<Vid> {
    let mut tries = Tries::of("the place of a time");
    loop {
        let found = vid_before_once(stream, time_ms).await;
        if let Some(vid) = tries.settle(found).await? {
            return copied::vid_before(stream, vid, time_ms).await;
        }
    }
}

async fn vid_before_once(
    stream: &SharedStream,
    time_ms: i64,
) -> std::result::Result<Option<Vid>, ApiError> {
    // Asked before: events that come meanwhile are behind it.
    let before = stream.watch.ask_now().await?;
    let (from, all) = (rfc3339(time_ms), stream.subjects.all());
    let wait = limits::NATS_READ_WAIT;
    let next = stream.api.leader_next_since(&from, &all, wait).await?;

    let last = before.bounds.last;
    let log = log_of(stream, &before.epoch, last).await?;
    Ok(match log {
        Some(ReadOf::SameLog { .. }) => Some(next.map_or(last, |vid| vid.saturating_sub(1))),
        _ => None,
    })
}

/// A time that the servers can compare: theirs are nanoseconds in 64 bits, and none is before 1970.
fn rfc3339(time_ms: i64) -> String {
    const LATEST_MS: i64 = i64::MAX / 1_000_000;
    let time = jiff::Timestamp::from_millisecond(time_ms.clamp(0, LATEST_MS));
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// How much to ask for so that the page has what it may hold.
fn amount_of(request: &ReadRequest, plan: &Plan) -> Amount {
    let budget = &request.budget;
    let events = if plan.is_exact {
        budget.events
    } else {
        budget.scan
    };
    // No more than there can be: with holes among them, the last ones are beyond the range, which
    // proves that it is complete.
    let in_range = usize::try_from(request.through - request.after).unwrap_or(usize::MAX);
    Amount {
        messages: events.min(in_range).clamp(1, limits::PAGE_EVENTS),
        bytes: budget.bytes.clamp(1, limits::PAGE_BYTES),
    }
}

/// The events of what was read that the filter takes in.
fn page_of(stream: &SharedStream, request: &ReadRequest, read: Stretch, first: Vid) -> Page {
    let events = events_of(stream, &request.filter, read.messages);
    Page::fill(events.iter(), request, read.through, first, |_| true)
}

/// Messages that are no events are left out.
fn events_of(
    stream: &SharedStream,
    filter: &Filter,
    messages: Vec<StoredMessage>,
) -> Vec<Arc<Event>> {
    let subjects = &stream.subjects;
    let is_wanted = |message: &StoredMessage| {
        let topic = subjects.topic(&message.subject);
        topic.is_some_and(|topic| filter.matches(&topic))
    };
    let wanted = messages.into_iter().filter(is_wanted);
    wanted
        .filter_map(|message| message::event_of(message, subjects))
        .collect()
}

/// The page of a range that is empty.
fn nothing_to_read(stream: &SharedStream, request: &ReadRequest) -> Page {
    Page {
        events: Vec::new(),
        through: request.through,
        first: stream.watch.state().bounds.first,
    }
}

/// A page that says nothing, as another log is read by now; whoever asked finds out by its epoch.
fn no_further(request: &ReadRequest) -> Page {
    Page {
        events: Vec::new(),
        through: request.after,
        first: 1,
    }
}
