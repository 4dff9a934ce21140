//! `GET /v1/poll`: a page of events, or the end of the wait (contract §5).
//!
//! Invariant: every answer has a position, also an empty one, and the next poll goes on from there.

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::access::RequestCaller;
use super::compression;
use super::headers::no_store;
use super::json::{ObjectForm, PollHead, is_small, poll_answer, shared_answer};
use super::params::Params;
use super::peer::PeerWatch;
use super::pieces;
use super::poll_ask::PollAsk;
use super::reader::Reader;
use super::request::{HttpSubscribe, POLL_PARAMS};
use super::state::AppState;
use crate::bus::{Batch, LogView, Standing, Step, SubscribeRequest, Subscription};
use crate::cursor::{Gap, GapReason, Vid};
use crate::encodings::Coding;
use crate::error::Result;
use crate::event::Event;
use crate::limits::{
    COMPRESSED_ANSWER_BYTES, DEFAULT_WAIT, PAGE_BYTES, PAGE_EVENTS, SNAPSHOT_ANSWER_BYTES,
};
use crate::memory::{MemoryBudget, MemoryKind, Reservation};
use crate::metrics::Transport;
use crate::topic::Filter;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// What a poll came back with.
#[derive(Default)]
pub(super) struct Polled {
    /// One, as a rule.
    batches: SmallVec<[Arc<Batch>; 1]>,
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
    headers: HeaderMap,
) -> Result<Response> {
    let ask = PollAsk {
        method: &method,
        query: query.as_deref(),
        caller: &caller,
        peer,
        transport: Transport::LongPoll,
        coding: compression::accepted(&headers),
    };
    begin(&state, ask).await?.await
}

/// Opens a poll.
pub(super) async fn begin(state: &AppState, ask: PollAsk<'_>) -> Result<Waiting> {
    let parsed = parse(ask.method, Params::of(state, ask.query)?)?;
    let coding = ask.coding;
    let poll = OpenPoll {
        reader: ask.open(&state.bus, parsed.subscribe).await?,
        until: Instant::now() + parsed.wait,
        coding,
        form: parsed.form,
    };
    Ok(Box::pin(wait_and_answer(Box::new(poll))))
}

#[expect(clippy::manual_async_fn, reason = "async fn keeps its argument twice")]
fn wait_and_answer(mut poll: Box<OpenPoll>) -> impl Future<Output = Result<Response>> + Send {
    // Used where it is: what a future is given and moves on takes its space twice. The poll is in a
    // box of its own, as both together would fill their next larger place by half.
    async move { poll.answer().await }
}

/// What each poll that waits has.
pub(super) struct OpenPoll {
    pub(super) reader: Reader,
    pub(super) until: Instant,
    pub(super) coding: Option<Coding>,
    pub(super) form: ObjectForm,
}

impl OpenPoll {
    async fn answer(&mut self) -> Result<Response> {
        let polled = self.wait().await?;
        if polled.bytes < COMPRESSED_ANSWER_BYTES {
            let body = body(&mut self.reader.subscription, &polled, self.form);
            polled.count(&mut self.reader, &body);
            return Ok(respond(headers(), body));
        }
        // Boxed: few answers are so large.
        Ok(Box::pin(self.large_answer(polled)).await)
    }

    /// An answer that is worth being compressed, where the client takes that.
    async fn large_answer(&mut self, polled: Polled) -> Response {
        let form = self.form;
        let subscription = &mut self.reader.subscription;
        let compressed = match self.coding {
            Some(coding) => {
                let head = head(subscription, &polled);
                let objects = polled.objects(subscription, form);
                let shared = polled.shared_batch(&head, form);
                compression::poll(coding, head, objects, shared, polled.bytes).await
            }
            None => None,
        };

        let mut headers = headers();
        compression::mark(&mut headers, self.coding.filter(|_| compressed.is_some()));
        let body = match compressed {
            Some(bytes) => pieces::body(self.reader.subscription.memory(), vec![bytes]),
            None => body(&mut self.reader.subscription, &polled, form),
        };
        polled.count(&mut self.reader, &body);
        respond(headers, body)
    }

    /// Reads until there are events, or the wait is over, or the peer has left. Events that the bus
    /// has already are taken together, up to a page; only later ones are waited for. A gap is not
    /// waited behind: it is reported at once.
    pub(super) async fn wait(&mut self) -> Result<Polled> {
        // Made once there is something in it: most polls wait with nothing.
        let mut polled = None;
        if let Some(cut_to) = self.reader.subscription.skip_hello() {
            polled.get_or_insert_with(Box::<Polled>::default).cut_to = Some(cut_to);
        }
        while let Some(step) = self.next().await? {
            if polled.is_none() && matches!(step, Step::CaughtUp(_) | Step::Progress(_)) {
                continue;
            }
            let polled = polled.get_or_insert_default();
            if polled.take(step, &self.reader.subscription).is_break() {
                break;
            }
        }
        Ok(polled.map_or_else(Polled::default, |polled| *polled))
    }

    fn next(&mut self) -> impl Future<Output = Result<Option<Step>>> + Send {
        self.reader.next_until(self.until)
    }
}

/// An answer with these headers, which are moved and not copied one by one.
pub(super) fn respond(headers: HeaderMap, body: Body) -> Response {
    let mut answer = Response::new(body);
    *answer.headers_mut() = headers;
    answer
}

/// What a poll asks for.
struct ParsedPoll {
    subscribe: SubscribeRequest,
    wait: Duration,
    form: ObjectForm,
}

fn parse(method: &Method, mut params: Params<'_>) -> Result<ParsedPoll> {
    let form = params.take_parsed("format", ObjectForm::parse, || ObjectForm::EXPECTED)?;
    let HttpSubscribe { subscribe, wait } = HttpSubscribe::take(&mut params, None)?;
    params.finish(POLL_PARAMS)?;
    Ok(ParsedPoll {
        subscribe,
        wait: wait_of(method, wait.unwrap_or(DEFAULT_WAIT)),
        form: form.unwrap_or(ObjectForm::Own),
    })
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

fn body(subscription: &mut Subscription, polled: &Polled, form: ObjectForm) -> Body {
    let head = head(subscription, polled);
    match polled.shared_batch(&head, form) {
        Some(batch) if is_small(batch) => Body::from(shared_answer(head, batch)),
        _ => {
            let objects = polled.objects(subscription, form).into_iter();
            pieces::body(subscription.memory(), poll_answer(&head, objects))
        }
    }
}

fn head<'p>(subscription: &mut Subscription, polled: &'p Polled) -> PollHead<'p> {
    // Asked before the position is: it moves the position to the end.
    let up_to_date = polled.cut_at.is_none() && subscription.reach_end();
    let vid = polled.end(subscription);
    let log = polled.log.as_ref().unwrap_or(subscription.log());
    let bounds = subscription.bus().bounds_of(log, vid);

    // What a client needs to go on, whether there are events or not.
    PollHead {
        standing: Standing {
            epoch: log.epoch().clone(),
            first: bounds.first,
            last: bounds.last,
            vid,
            up_to_date,
        },
        filter: polled.cut_to.as_ref(),
        gap: polled.gap.as_ref(),
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

    /// The objects of its events, a batch each.
    fn objects(&self, subscription: &Subscription, form: ObjectForm) -> Vec<Bytes> {
        let log = self.log.as_ref().unwrap_or(subscription.log());
        let batches = self.batches.iter();
        batches
            .map(|batch| form.batch(log, batch).clone())
            .collect()
    }

    /// The only batch of an answer that is the same for all who stand where its reader does.
    fn shared_batch(&self, head: &PollHead<'_>, form: ObjectForm) -> Option<&Arc<Batch>> {
        match &self.batches[..] {
            [batch] if form == ObjectForm::Own && head.is_common() => Some(batch),
            _ => None,
        }
    }

    /// Counts an answer with this body.
    pub(super) fn count(&self, reader: &mut Reader, body: &Body) {
        reader.is_done();
        let bytes = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        match &self.batches[..] {
            [batch] => reader.count_page(batch, bytes),
            _ => reader.count(self.event_count(), bytes, None),
        }
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
