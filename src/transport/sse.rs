//! `GET /v1/sse`: Server-Sent Events, until closed (contract §5; WHATWG HTML, "Server-sent events").
//!
//! Invariants:
//! - an event's block is made once and shared; what differs between subscribers is only which blocks they get;
//! - `id:` is always a full cursor, so the `Last-Event-ID` of a reconnect resumes exactly;
//! - the named steps, but for `caught_up`, carry no `id:` and so never move the cursor.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;
use tokio_stream::Stream;

use super::json::event_json;
use super::problem::no_store;
use super::request::{HttpSubscribe, Params, SUBSCRIBE_PARAMS};
use super::state::AppState;
use crate::bus::{Bus, OnGap, Step, Subscription};
use crate::cursor::Vid;
use crate::error::{Error, Result};
use crate::event::{DataForm, Event};

/// What the `data:` lines of an event hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// The JSON object, as a long-poll has it.
    Object,
    /// Only the event's data.
    Raw,
}

pub(super) async fn sse(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let mut params = Params::parse(query.as_deref())?;
    let format = take_format(&mut params)?;
    let request = HttpSubscribe::take(&mut params, last_event_id(&headers)?)?;
    params.finish(&format!("{SUBSCRIBE_PARAMS}, format"))?;

    let on_gap = request.subscribe.on_gap;
    let subscription = Subscription::open(&state.bus, request.subscribe).await?;
    let blocks = blocks(state.bus, subscription, Rendering { format, on_gap, wait: request.wait });
    Ok((sse_headers(), Body::from_stream(blocks)).into_response())
}

fn take_format(params: &mut Params) -> Result<Format> {
    match params.take("format")?.as_deref() {
        None | Some("object") => Ok(Format::Object),
        Some("raw") => Ok(Format::Raw),
        Some(_) => Err(Error::bad_request("format is neither object nor raw")),
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value
        .to_str()
        .map_err(|_| Error::bad_request("Last-Event-ID is not a cursor: it has other than ASCII characters"))?;
    Ok(Some(text).filter(|t| !t.is_empty()))
}

fn sse_headers() -> HeaderMap {
    let mut headers = no_store("text/event-stream");
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers
}

/// How this stream differs from others.
#[derive(Clone, Copy)]
struct Rendering {
    format: Format,
    on_gap: OnGap,
    /// End after so long at the live end without an event.
    wait: Option<Duration>,
}

fn blocks(bus: Bus, mut subscription: Subscription, rendering: Rendering) -> impl Stream<Item = io::Result<Bytes>> {
    stream! {
        let mut quiet_since = Instant::now();
        loop {
            let next = match rendering.wait {
                Some(wait) => subscription.next_until(quiet_since + wait).await,
                None => subscription.next().await,
            };
            match next {
                Ok(Some(Step::Events(events, _))) => {
                    for event in &events {
                        yield Ok(event_block(&bus, event, rendering.format));
                    }
                    quiet_since = Instant::now();
                }
                Ok(Some(step)) => {
                    if matches!(step, Step::CaughtUp(_)) {
                        quiet_since = Instant::now();
                    }
                    yield Ok(step_block(&bus, step));
                }
                Ok(None) => break,
                Err(fault) => {
                    yield fault_block(&fault, rendering.on_gap);
                    break;
                }
            }
        }
    }
}

fn event_block(bus: &Bus, event: &Arc<Event>, format: Format) -> Bytes {
    match format {
        Format::Object => event.encodings.sse.get_or_init(|| encode_block(bus, event, event_json(event))).clone(),
        Format::Raw => match event.sent.content_type.form() {
            DataForm::Binary => encode_block(bus, event, STANDARD.encode(&event.sent.data).as_bytes()),
            DataForm::Json | DataForm::Text => encode_block(bus, event, &event.sent.data),
        },
    }
}

fn encode_block(bus: &Bus, event: &Event, data: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(data.len() + 64);
    out.extend_from_slice(format!("id: {}\n", bus.cursor(event.vid)).as_bytes());
    if let Some(kind) = &event.sent.kind {
        out.extend_from_slice(format!("event: {kind}\n").as_bytes());
    }
    push_data_lines(&mut out, data);
    out.push(b'\n');
    out.into()
}

/// One `data:` line for each line of the data. A parser joins them with LF: CR and CRLF between JSON tokens, or in raw
/// text, arrive as LF, because Server-Sent Events cannot carry a CR.
fn push_data_lines(out: &mut Vec<u8>, data: &[u8]) {
    let mut rest = data;
    loop {
        let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        match rest.get(end..) {
            Some([b'\r', b'\n', more @ ..] | [_, more @ ..]) => rest = more,
            _ => return,
        }
    }
}

fn step_block(bus: &Bus, step: Step) -> Bytes {
    match step {
        Step::Hello { epoch, first, last, heartbeat } => {
            let heartbeat_ms = u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX);
            named_block("hello", &json!({ "epoch": epoch, "first": first, "last": last, "heartbeat_ms": heartbeat_ms }))
        }
        Step::CaughtUp(vid) => {
            let cursor = bus.cursor(vid);
            format!("id: {cursor}\nevent: vidette.caught_up\ndata: {}\n\n", json!({ "cursor": cursor.to_string() }))
                .into()
        }
        Step::Progress(vid) => position_block(bus, vid),
        Step::Gap(gap) => named_block("gap", &json!(gap)),
        Step::Closing { retry_ms } => {
            let data = json!({ "reason": "shutdown", "retry_ms": retry_ms });
            format!("retry: {retry_ms}\nevent: vidette.closing\ndata: {data}\n\n").into()
        }
        Step::Events(..) => Bytes::new(),
    }
}

/// Moves the `lastEventId` of an `EventSource` and fires nothing.
fn position_block(bus: &Bus, vid: Vid) -> Bytes {
    format!("id: {}\n\n", bus.cursor(vid)).into()
}

fn named_block(name: &str, data: &serde_json::Value) -> Bytes {
    format!("event: vidette.{name}\ndata: {data}\n\n").into()
}

/// What is told when a stream has to end. After a gap a reconnect is answered with 410, and the browser stops; after
/// any other fault the stream is cut, so that the client comes back.
fn fault_block(fault: &Error, on_gap: OnGap) -> io::Result<Bytes> {
    match fault.gap_details() {
        Some(gap) if on_gap == OnGap::Fail => Ok(named_block("gap", &json!(gap))),
        _ => Err(io::Error::other(fault.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(data: &str) -> String {
        let mut out = Vec::new();
        push_data_lines(&mut out, data.as_bytes());
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn each_line_of_the_data_has_a_data_line() {
        assert_eq!(lines(""), "data: \n");
        assert_eq!(lines("a"), "data: a\n");
        assert_eq!(lines("a\nb"), "data: a\ndata: b\n");
        assert_eq!(lines("a\r\nb\rc\n"), "data: a\ndata: b\ndata: c\ndata: \n");
        assert_eq!(lines("\u{2028}"), "data: \u{2028}\n");
    }
}
