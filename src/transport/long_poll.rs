//! `GET /v1/poll`: a page of events, or the end of the wait (contract §5).
//!
//! Invariant: every answer has a position, also an empty one, and the next poll goes on from there.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::access::RequestCaller;
use super::headers::no_store;
use super::json::{PollHead, poll_answer};
use super::params::Params;
use super::peer::PeerWatch;
use super::pieces;
use super::request::{HttpSubscribe, SUBSCRIBE_PARAMS};
use super::state::AppState;
use crate::bus::{Batch, LogView, Step, SubscribeRequest, Subscription};
use crate::cursor::{Gap, GapReason, Vid};
use crate::error::Result;
use crate::event::Event;
use crate::limits::{DEFAULT_WAIT, PAGE_BYTES, PAGE_EVENTS, SNAPSHOT_ANSWER_BYTES};
use crate::memory::{MemoryBudget, MemoryKind, Reservation};
use crate::topic::Filter;

/// What a poll came back with.
#[derive(Default)]
pub(super) struct Polled {
    batches: Vec<Arc<Batch>>,
    pub(super) gap: Option<Gap>,
    /// What is served, where that is less than what was asked for.
    pub(super) cut_to: Option<Filter>,
    /// The log that the batches are of; the subscription may be on another one since.
    log: Option<Arc<LogView>>,
    /// Where this answer ends, when the subscription has gone further.
    cut_at: Option<Vid>,
    position: Option<Vid>,
    bytes: usize,
    /// Pays for the batches while more are read.
    paid: Option<Reservation>,
}

pub(super) async fn poll(
    State(state): State<AppState>,
    method: Method,
    peer: PeerWatch,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let params = Params::of(&state, query.as_deref())?;
    drop(query); // not kept while the poll waits
    let (request, wait) = parse(&method, params)?;
    let mut subscription = Subscription::open(&state.bus, &caller, request).await?;
    let polled = wait_for_events(&mut subscription, wait, &peer).await?;

    // The events' JSON is shared by all whose answers have it.
    let pieces = answer(&state, &mut subscription, &polled);
    let body = pieces::body(state.bus.memory(), pieces);
    Ok((headers(), body).into_response())
}

fn parse(method: &Method, mut params: Params) -> Result<(SubscribeRequest, Duration)> {
    let HttpSubscribe { subscribe, wait } = HttpSubscribe::take(&mut params, None)?;
    params.finish(SUBSCRIBE_PARAMS)?;
    let wait = wait_of(method, wait.unwrap_or(DEFAULT_WAIT));
    Ok((subscribe, wait))
}

/// HEAD gets no events, so it has none to wait for.
pub(super) fn wait_of(method: &Method, wait: Duration) -> Duration {
    if method == Method::HEAD {
        Duration::ZERO
    } else {
        wait
    }
}

fn headers() -> HeaderMap {
    no_store("application/json; charset=utf-8")
}

fn answer(state: &AppState, subscription: &mut Subscription, polled: &Polled) -> Vec<Bytes> {
    // Asked before the position is: it moves the position to the end.
    let up_to_date = polled.cut_at.is_none() && subscription.reach_end();
    let vid = polled.end(subscription);
    let log = polled.log.as_ref().unwrap_or(subscription.log());
    let bounds = state.bus.bounds_of(log, vid);

    // What a client needs to go on, whether there are events or not.
    let head = PollHead {
        epoch: log.epoch().as_str(),
        first: bounds.first,
        last: bounds.last,
        vid,
        cursor: log.cursor(vid).to_string(),
        up_to_date,
        filter: polled.cut_to.as_ref().map(|f| f.topics().collect()),
        gap: polled.gap.as_ref(),
    };
    poll_answer(&head, &polled.batches)
}

/// Reads until there are events, or the wait is over, or the peer has left. Events that the bus has
/// already are taken together, up to a page; only later ones are waited for. A gap is not waited
/// behind: it is reported at once.
pub(super) async fn wait_for_events(
    subscription: &mut Subscription,
    wait: Duration,
    peer: &PeerWatch,
) -> Result<Polled> {
    let until = Instant::now() + wait;
    let mut polled = Polled::default();
    while let Some(step) = peer.next_until(subscription, until).await? {
        if polled.take(step, subscription).is_break() {
            break;
        }
    }
    Ok(polled)
}

impl Polled {
    /// Takes a step; breaks when the answer is complete.
    fn take(&mut self, step: Step, subscription: &Subscription) -> ControlFlow<()> {
        match step {
            Step::Events(batch, position) => {
                self.log.get_or_insert_with(|| subscription.log().clone());
                self.push(batch, position, subscription.memory());
                // At the live end nothing more is ready; elsewhere more is read up to a page.
                break_if(self.is_enough(subscription))
            }
            // The answer would report it before its events, and it lies behind them: the next poll
            // gets it.
            Step::Gap(_) if !self.batches.is_empty() => {
                self.cut_at = self.position;
                ControlFlow::Break(())
            }
            Step::Gap(gap) => {
                self.add_gap(gap);
                ControlFlow::Continue(())
            }
            // Nothing more is ready: an answer goes out with what it has.
            Step::CaughtUp(_) | Step::Progress(_) => break_if(!self.is_empty()),
            Step::Closing(_) => ControlFlow::Break(()),
            Step::Hello { cut_to, .. } => {
                self.cut_to = cut_to;
                ControlFlow::Continue(())
            }
        }
    }

    /// Trimming may go on between a first gap and the events, or the log be replaced: one gap
    /// covers both.
    fn add_gap(&mut self, next: Gap) {
        let Some(before) = self.gap.take() else {
            self.gap = Some(next);
            return;
        };
        // A reset is the greater one, whichever came first.
        let reason = match before.reason {
            GapReason::Reset => before.reason,
            _ => next.reason,
        };
        self.gap = Some(Gap {
            reason,
            requested: before.requested,
            ..next
        });
    }

    fn push(&mut self, batch: Arc<Batch>, position: Vid, memory: &MemoryBudget) {
        // Paid while more is read: a slow disk must not pile up events of many polls.
        let bytes = batch.iter().map(|event| event.size_bytes()).sum();
        let paid = self
            .paid
            .get_or_insert_with(|| memory.charge(MemoryKind::Answer, 0));
        paid.charge(bytes);
        self.position = Some(position);
        self.bytes += bytes;
        self.batches.push(batch);
    }

    /// Where the next poll goes on.
    fn end(&self, subscription: &Subscription) -> Vid {
        self.cut_at.unwrap_or(subscription.position())
    }

    pub(super) fn first_event(&self) -> Option<&Arc<Event>> {
        self.batches.iter().flat_map(|batch| batch.iter()).next()
    }

    fn event_count(&self) -> usize {
        self.batches.iter().map(|batch| batch.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.gap.is_none()
    }

    fn is_enough(&self, subscription: &Subscription) -> bool {
        subscription.is_live()
            || self.is_full(subscription.is_in_snapshot())
            || subscription.is_short_of_memory()
    }

    /// A snapshot comes whole, as far as it can: a cursor inside it would skip the rest of it.
    fn is_full(&self, in_snapshot: bool) -> bool {
        if in_snapshot {
            return self.bytes >= SNAPSHOT_ANSWER_BYTES;
        }
        self.bytes >= PAGE_BYTES || self.event_count() >= PAGE_EVENTS
    }
}

fn break_if(is_done: bool) -> ControlFlow<()> {
    if is_done {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Bus, BusOptions, OnGap};
    use crate::caller::Caller;
    use crate::cursor::{Cursor, Start};
    use crate::engine::{MemoryEngine, Retention};
    use crate::event::{EventParts, NewEvent};

    const HOUR: Duration = Duration::from_secs(3600);

    fn keep(max_events: u64) -> Retention {
        Retention {
            max_age: HOUR,
            max_events,
            max_bytes: u64::MAX,
            dedupe_window: HOUR,
        }
    }

    #[tokio::test]
    async fn trimming_that_goes_on_behind_a_gap_is_reported_with_it() {
        let options = BusOptions {
            heartbeat: HOUR,
            max_subscribers: 1,
            max_event_bytes: 100,
            retention: keep(u64::MAX),
        };
        let bus = Bus::start(Arc::new(MemoryEngine::new(HOUR)), options);
        let event = NewEvent::check(
            EventParts {
                topic: "door.1",
                ..EventParts::default()
            },
            100,
        )
        .expect("an event");
        bus.publish(&Caller::anonymous(), vec![event; 10])
            .await
            .expect("receipts");
        bus.trim(keep(6)).await.expect("trimmed");
        let start = Start::After(Cursor {
            vid: 1,
            epoch: None,
        });
        let request = SubscribeRequest {
            filter: Filter::all(),
            start,
            on_gap: OnGap::Continue,
            limit: None,
        };
        let mut subscription = Subscription::open(&bus, &Caller::anonymous(), request)
            .await
            .expect("a subscription");
        bus.trim(keep(3)).await.expect("trimmed");

        let polled = wait_for_events(&mut subscription, Duration::ZERO, &PeerWatch::that_stays())
            .await
            .expect("no error");
        let gap = polled.gap.as_ref().expect("a gap");
        assert_eq!((gap.requested.as_str(), gap.first, gap.last), ("1", 8, 10));
        assert_eq!(polled.first_event().map(|event| event.vid), Some(8));
    }
}
