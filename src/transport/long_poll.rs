//! `GET /v1/poll`: a page of events, or the end of the wait (contract §5).
//!
//! Invariant: every answer has a position, also an empty one, and the next poll goes on from there.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use tokio::time::Instant;

use super::access::RequestCaller;
use super::headers::no_store;
use super::json::{PollHead, is_small, poll_answer, shared_answer};
use super::params::Params;
use super::peer::PeerWatch;
use super::pieces;
use super::poll_ask::PollAsk;
use super::request::{HttpSubscribe, SUBSCRIBE_PARAMS};
use super::state::AppState;
use crate::bus::{Batch, LogView, ReaderTransport, Standing, Step, SubscribeRequest, Subscription};

use crate::cursor::{Gap, GapReason, Vid};
use crate::error::Result;
use crate::event::Event;
use crate::limits::{DEFAULT_WAIT, PAGE_BYTES, PAGE_EVENTS, SNAPSHOT_ANSWER_BYTES};
use crate::memory::{MemoryBudget, MemoryKind, Reservation};
use crate::topic::Filter;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

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

/// A poll whose subscription is open, until its answer. Each that waits has one, and nothing else
/// of its request.
pub(super) type Waiting = Pin<Box<dyn Future<Output = Result<Response>> + Send>>;

/// As the router calls it: for a page of another origin, and for HEAD.
pub(super) async fn poll(
    State(state): State<AppState>,
    method: Method,
    peer: PeerWatch,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let ask = PollAsk {
        method: &method,
        query: query.as_deref(),
        caller: &caller,
        peer,
        connection: caller.connection.clone(),
    };
    begin(&state, ask).await?.await
}

/// Opens a poll.
pub(super) async fn begin(state: &AppState, ask: PollAsk<'_>) -> Result<Waiting> {
    let (request, wait) = parse(ask.method, Params::of(state, ask.query)?)?;
    let opening = ask.open(&state.bus, request, ReaderTransport::LongPoll);
    let subscription = opening.await?;
    Ok(Box::pin(wait_and_answer(OpenPoll {
        subscription,
        until: Instant::now() + wait,
        peer: ask.peer,
    })))
}

#[expect(clippy::manual_async_fn, reason = "async fn keeps its argument twice")]
fn wait_and_answer(mut poll: OpenPoll) -> impl Future<Output = Result<Response>> + Send {
    // Used where it is: what a future is given and moves on takes its space twice.
    async move { poll.answer().await }
}

/// What each poll that waits has.
pub(super) struct OpenPoll {
    pub(super) subscription: Subscription,
    pub(super) until: Instant,
    pub(super) peer: PeerWatch,
}

impl OpenPoll {
    async fn answer(&mut self) -> Result<Response> {
        let polled = self.wait().await?;
        Ok(respond(headers(), body(&mut self.subscription, &polled)))
    }

    /// Reads until there are events, or the wait is over, or the peer has left. Events that the bus
    /// has already are taken together, up to a page; only later ones are waited for. A gap is not
    /// waited behind: it is reported at once.
    pub(super) async fn wait(&mut self) -> Result<Polled> {
        // Made once there is something in it: most polls wait with nothing.
        let mut polled = None;
        if let Some(cut_to) = self.subscription.skip_hello() {
            polled.get_or_insert_with(Box::<Polled>::default).cut_to = Some(cut_to);
        }
        while let Some(step) = self.next().await? {
            if polled.is_none() && matches!(step, Step::CaughtUp(_) | Step::Progress(_)) {
                continue;
            }
            let polled = polled.get_or_insert_default();
            if polled.take(step, &self.subscription).is_break() {
                break;
            }
        }
        Ok(polled.map_or_else(Polled::default, |polled| *polled))
    }

    fn next(&mut self) -> impl Future<Output = Result<Option<Step>>> + Send {
        self.peer.next_until(&mut self.subscription, self.until)
    }
}

/// An answer with these headers, which are moved and not copied one by one.
pub(super) fn respond(headers: HeaderMap, body: Body) -> Response {
    let mut answer = Response::new(body);
    *answer.headers_mut() = headers;
    answer
}

fn parse(method: &Method, mut params: Params<'_>) -> Result<(SubscribeRequest, Duration)> {
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
    no_store(JSON)
}

fn body(subscription: &mut Subscription, polled: &Polled) -> Body {
    // Asked before the position is: it moves the position to the end.
    let up_to_date = polled.cut_at.is_none() && subscription.reach_end();
    let vid = polled.end(subscription);
    let log = polled.log.as_ref().unwrap_or(subscription.log());
    let bounds = subscription.bus().bounds_of(log, vid);

    // What a client needs to go on, whether there are events or not.
    let head = PollHead {
        standing: Standing {
            epoch: log.epoch().clone(),
            first: bounds.first,
            last: bounds.last,
            vid,
            up_to_date,
        },
        filter: polled.cut_to.as_ref(),
        gap: polled.gap.as_ref(),
    };
    match &polled.batches[..] {
        [batch] if head.is_common() && is_small(batch) => Body::from(shared_answer(head, batch)),
        batches => pieces::body(subscription.memory(), poll_answer(&head, batches)),
    }
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
            // Passed over: an answer says the same in its own words.
            Step::Hello { .. } => ControlFlow::Continue(()),
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
    use bytes::Bytes;
    use http_body_util::BodyExt as _;

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

    /// A bus with so many events.
    async fn bus_with(events: usize) -> Bus {
        let options = BusOptions {
            heartbeat: HOUR,
            max_subscribers: 9,
            max_event_bytes: 100,
            retention: keep(u64::MAX),
        };
        let bus = Bus::start(Arc::new(MemoryEngine::new(HOUR)), options);
        publish(&bus, events).await;
        bus
    }

    async fn publish(bus: &Bus, events: usize) {
        let parts = EventParts {
            topic: "door.1",
            ..EventParts::default()
        };
        let event = NewEvent::check(parts, 100).expect("an event");
        let caller = Caller::anonymous();
        let published = bus.publish(&caller, vec![event; events]);
        published.await.expect("receipts");
    }

    async fn open(bus: &Bus, vid: Vid) -> OpenPoll {
        let request = SubscribeRequest {
            filter: Filter::all(),
            start: Start::After(Cursor { vid, epoch: None }),
            on_gap: OnGap::Continue,
            limit: None,
        };
        let caller = Caller::anonymous();
        let opened = Subscription::open(bus, &caller, request);
        OpenPoll {
            subscription: opened.await.expect("a subscription"),
            until: Instant::now(),
            peer: PeerWatch::that_stays(),
        }
    }

    #[tokio::test]
    async fn trimming_that_goes_on_behind_a_gap_is_reported_with_it() {
        let bus = bus_with(10).await;
        bus.trim(keep(6)).await.expect("trimmed");
        let mut poll = open(&bus, 1).await;
        bus.trim(keep(3)).await.expect("trimmed");

        let polled = poll.wait().await.expect("no error");
        let gap = polled.gap.as_ref().expect("a gap");
        assert_eq!((gap.requested.as_str(), gap.first, gap.last), ("1", 8, 10));
        assert_eq!(polled.first_event().map(|event| event.vid), Some(8));
    }

    #[test]
    fn a_poll_that_waits_takes_little() {
        fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size_of_future(wait_and_answer);
        assert!(bytes <= 640, "{bytes} bytes");
    }

    #[tokio::test]
    async fn an_answer_is_made_once_for_all_who_stand_where_its_reader_does() {
        let bus = bus_with(2).await;
        let mut readers = [
            open(&bus, 1).await,
            open(&bus, 1).await,
            open(&bus, 1).await,
        ];
        let mut bodies = Vec::new();
        for (at, reader) in readers.iter_mut().enumerate() {
            let polled = reader.wait().await.expect("no error");
            // The last one is answered behind another event.
            if at == 2 {
                publish(&bus, 1).await;
            }
            let body = body(&mut reader.subscription, &polled)
                .collect()
                .await
                .expect("a body");
            bodies.push(body.to_bytes());
        }
        assert_eq!(bodies[0].as_ptr(), bodies[1].as_ptr());
        let text = |body: &Bytes| String::from_utf8_lossy(body).into_owned();
        assert!(text(&bodies[0]).contains(r#""last":2,"vid":2,"cursor":"2-"#));
        assert!(text(&bodies[2]).contains(r#""last":3"#), "{bodies:?}");
    }
}
