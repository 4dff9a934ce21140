//! `GET /v1/poll`: a page of events, or the end of the wait (contract §5).
//!
//! Invariant: every answer has a position, also an empty one, and the next poll goes on from there.

use crate::caller::Caller;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::json::{PollHead, poll_answer};
use super::peer::Waiter;
use super::pieces;
use super::problem::no_store;
use super::request::{HttpSubscribe, Params, SUBSCRIBE_PARAMS};
use super::state::AppState;
use crate::bus::{Batch, Step, SubscribeRequest, Subscription};
use crate::cursor::{Gap, Vid};
use crate::error::Result;
use crate::event::Event;
use crate::limits;
use crate::memory::{MemoryBudget, MemoryKind, Reservation};

/// What a poll came back with.
#[derive(Default)]
pub(super) struct Polled {
    batches: Vec<Arc<Batch>>,
    pub(super) gap: Option<Gap>,
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
    waiter: Waiter,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let params = Params::parse(query.as_deref(), &state.config.requests.ignore_parameters)?;
    drop(query); // not kept while the poll waits
    let (request, wait) = parse(&method, params)?;
    let mut subscription = Subscription::open(&state.bus, &Caller::anonymous(), request).await?;
    let polled = wait_for_events(&mut subscription, wait, &waiter).await?;
    let pieces = answer(&state, &mut subscription, &polled);
    let body = pieces::body(state.bus.memory(), pieces);
    Ok((headers(), body).into_response())
}

fn parse(method: &Method, mut params: Params) -> Result<(SubscribeRequest, Duration)> {
    let request = HttpSubscribe::take(&mut params, None)?;
    params.finish(SUBSCRIBE_PARAMS)?;
    Ok((
        request.subscribe,
        wait_of(method, request.wait.unwrap_or(limits::DEFAULT_WAIT)),
    ))
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
    // The position after the question: it moves to the end with it.
    let up_to_date = polled.cut_at.is_none() && subscription.reach_end();
    let bounds = state.bus.bounds();
    let vid = polled.cut_at.unwrap_or(subscription.position());
    let log = subscription.log();
    let head = PollHead {
        epoch: log.epoch().as_str(),
        first: bounds.first,
        last: bounds.last,
        vid,
        cursor: log.cursor(vid).to_string(),
        up_to_date,
        gap: polled.gap.as_ref(),
    };
    poll_answer(&head, &polled.batches)
}

/// Reads until there are events, or the wait is over, or nobody is there who waits. What is there already is taken together, up to
/// a page; only what is not there yet is waited for. A gap is not waited behind: it is told at
/// once.
pub(super) async fn wait_for_events(
    subscription: &mut Subscription,
    wait: Duration,
    waiter: &Waiter,
) -> Result<Polled> {
    let until = Instant::now() + wait;
    let mut polled = Polled::default();
    while let Some(step) = waiter.next_until(subscription, until).await? {
        match step {
            Step::Events(batch, position) => {
                polled.take(batch, position, subscription.memory());
                let is_enough = subscription.is_live()
                    || polled.is_full(subscription.is_in_snapshot())
                    || subscription.is_short_of_memory();
                if is_enough {
                    break;
                }
            }
            // It lies behind the events, and an answer tells its gap before them: the next poll is
            // told.
            Step::Gap(_) if !polled.batches.is_empty() => {
                polled.cut_at = polled.position;
                break;
            }
            Step::Gap(told) => polled.tell(told),
            Step::CaughtUp(_) | Step::Progress(_) if !polled.is_empty() => break,
            Step::Closing(_) => break,
            Step::Hello { .. } | Step::CaughtUp(_) | Step::Progress(_) => {}
        }
    }
    Ok(polled)
}

impl Polled {
    /// Trimming may go on between a first gap and the events: one gap covers both.
    fn tell(&mut self, told: Gap) {
        match &mut self.gap {
            Some(gap) => (gap.first, gap.last) = (told.first, told.last),
            none => *none = Some(told),
        }
    }

    fn take(&mut self, batch: Arc<Batch>, position: Vid, memory: &MemoryBudget) {
        let bytes = batch.iter().map(|event| event.size_bytes()).sum();
        self.paid
            .get_or_insert_with(|| memory.charge(MemoryKind::Answer, 0))
            .charge(bytes);
        self.position = Some(position);
        self.bytes += bytes;
        self.batches.push(batch);
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.batches.iter().flat_map(|batch| batch.iter())
    }

    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.gap.is_none()
    }

    /// A snapshot comes whole, as far as it can: a cursor inside it would bring what it has left
    /// out.
    fn is_full(&self, in_snapshot: bool) -> bool {
        if in_snapshot {
            return self.bytes >= limits::SNAPSHOT_ANSWER_BYTES;
        }
        self.events().count() >= limits::PAGE_EVENTS || self.bytes >= limits::PAGE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Bus, BusOptions, OnGap};
    use crate::cursor::{Cursor, Start};
    use crate::engine::{MemoryEngine, Retention};
    use crate::event::{EventParts, NewEvent};
    use crate::topic::Filter;

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
    async fn trimming_that_goes_on_behind_a_gap_is_told_with_it() {
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

        let polled = wait_for_events(&mut subscription, Duration::ZERO, &Waiter::that_stays())
            .await
            .expect("no fault");
        let gap = polled.gap.as_ref().expect("a gap");
        assert_eq!((gap.requested.as_str(), gap.first, gap.last), ("1", 8, 10));
        assert_eq!(polled.events().next().map(|e| e.vid), Some(8));
    }
}
