//! `GET /v1/poll`: a page of events, or the end of the wait (contract §5).
//!
//! Invariant: every answer has a position, also an empty one, and the next poll goes on from there.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::json::{PollHead, poll_answer};
use super::problem::no_store;
use super::request::{HttpSubscribe, Params, SUBSCRIBE_PARAMS};
use super::state::AppState;
use crate::bus::{Step, Subscription};
use crate::cursor::Gap;
use crate::error::Result;
use crate::event::Event;
use crate::limits;

/// What a poll came back with.
pub(super) struct Polled {
    pub(super) events: Vec<Arc<Event>>,
    pub(super) gap: Option<Gap>,
}

pub(super) async fn poll(State(state): State<AppState>, RawQuery(query): RawQuery) -> Result<Response> {
    let mut params = Params::parse(query.as_deref())?;
    let request = HttpSubscribe::take(&mut params, None)?;
    params.finish(SUBSCRIBE_PARAMS)?;

    let mut subscription = Subscription::open(&state.bus, request.subscribe).await?;
    let polled = wait_for_events(&mut subscription, request.wait.unwrap_or(limits::DEFAULT_WAIT)).await?;
    Ok((headers(), answer(&state, &subscription, &polled)).into_response())
}

fn headers() -> HeaderMap {
    no_store("application/json; charset=utf-8")
}

fn answer(state: &AppState, subscription: &Subscription, polled: &Polled) -> Vec<u8> {
    let bounds = state.bus.bounds();
    let vid = subscription.position();
    let head = PollHead {
        epoch: state.bus.engine().epoch().as_str(),
        first: bounds.first,
        last: bounds.last,
        vid,
        cursor: state.bus.cursor(vid).to_string(),
        up_to_date: subscription.is_up_to_date(),
        gap: polled.gap.as_ref(),
    };
    poll_answer(&head, &polled.events)
}

/// Reads until there are events or the wait is over. A gap is not waited behind: it is told at once, with the events
/// that are there already.
pub(super) async fn wait_for_events(subscription: &mut Subscription, wait: Duration) -> Result<Polled> {
    let until = Instant::now() + wait;
    let mut gap = None;
    while let Some(step) = subscription.next_until(until).await? {
        match step {
            Step::Events(events, _) => return Ok(Polled { events, gap }),
            Step::Gap(told) => gap = Some(told),
            Step::CaughtUp(_) if gap.is_some() => break,
            Step::Closing { .. } => break,
            Step::Hello { .. } | Step::CaughtUp(_) | Step::Progress(_) => {}
        }
    }
    Ok(Polled { events: Vec::new(), gap })
}
