//! `GET /admin/api/live`: the status once a second, as Server-Sent Events.
//!
//! Invariants:
//! - a watcher that reads slowly gets fewer of them, and holds none back;
//! - the stream ends with `vidette.closing`, when the gateway does or the caller's credential has
//!   ended.

use std::io;

use async_stream::stream;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::Value;
use tokio_stream::Stream;

use super::sampler::Watcher;
use super::status::status_json;
use crate::bus::{Closing, ClosingReason};
use crate::error::Result;
use crate::transport::access::RequestCaller;
use crate::transport::closing::closing_block;
use crate::transport::headers::unbuffered;
use crate::transport::params::Params;
use crate::transport::state::AppState;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

pub(super) async fn live(
    State(state): State<AppState>,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    caller.check_admin()?;
    Params::of(&state, query.as_deref())?.finish("none")?;
    let watcher = state.admin.begin_to_watch()?;
    state.admin.look(&state.bus);
    let body = Body::from_stream(blocks(state, caller, watcher));
    Ok((unbuffered(EVENT_STREAM), body).into_response())
}

fn blocks(
    state: AppState,
    caller: RequestCaller,
    watcher: Watcher,
) -> impl Stream<Item = io::Result<Bytes>> {
    stream! {
        let _watcher = watcher;
        let mut ticks = state.admin.ticks();
        let reason = loop {
            if caller.check_credential().is_err() {
                break ClosingReason::Expired;
            }
            yield Ok(block(&status_json(&state, &caller)));
            tokio::select! {
                biased;
                () = state.bus.closed() => break ClosingReason::Shutdown,
                changed = ticks.changed() => if changed.is_err() {
                    break ClosingReason::Shutdown;
                },
            }
        };
        yield Ok(closing_block(Closing::because(reason)));
    }
}

fn block(status: &Value) -> Bytes {
    format!("event: status\ndata: {status}\n\n").into()
}
