//! `GET /v1/sse`: Server-Sent Events, until closed (contract §5; WHATWG HTML, "Server-sent
//! events").
//!
//! Invariants:
//! - an event's block is made once and shared; what differs between subscribers is only which
//!   blocks they get;
//! - `id:` is always a full cursor, so the `Last-Event-ID` of a reconnect resumes exactly;
//! - the named steps, but for `caught_up`, carry no `id:` and so never move the cursor.

use crate::caller::Caller;
use std::io;
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

use super::closing::{closing_block, last_words, opened_and_closed, passing_reason};
use super::json::event_json;
use super::peer::Waiter;
use super::problem::no_store;
use super::request::{HttpSubscribe, Params, SUBSCRIBE_PARAMS};
use super::state::AppState;
use crate::bus::{Batch, Closing, LogView, OnGap, Step, SubscribeRequest, Subscription};
use crate::cursor::Vid;
use crate::error::{Error, Result};
use crate::event::{DataForm, Event};

/// What the `data:` lines of an event hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The JSON object, as a long-poll has it.
    Object,
    /// Only the event's data.
    Raw,
}

/// The parameters by which polyfills that cannot set the header say where they resume (contract
/// §3).
const LAST_EVENT_ID_PARAMS: [&str; 4] = [
    "lastEventId",
    "lastEventID",
    "Last-Event-ID",
    "evs_last_event_id",
];

pub(super) async fn sse(
    State(state): State<AppState>,
    waiter: Waiter,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let params = Params::parse(query.as_deref(), &state.config.requests.ignore_parameters)?;
    let (request, rendering) = parse(params, last_event_id(&headers)?)?;
    let subscription = match Subscription::open(&state.bus, &Caller::anonymous(), request).await {
        Ok(subscription) => subscription,
        Err(error) => return opened_and_closed(error, sse_headers()),
    };
    Ok((
        sse_headers(),
        Body::from_stream(blocks(subscription, waiter, rendering)),
    )
        .into_response())
}

fn parse(mut params: Params, header: Option<&str>) -> Result<(SubscribeRequest, Rendering)> {
    let format = take_format(&mut params)?;
    let parameter = params.take_any(&LAST_EVENT_ID_PARAMS)?;
    let last_event_id = header.or(parameter.as_deref());
    let HttpSubscribe { subscribe, wait } = HttpSubscribe::take(&mut params, last_event_id)?;
    params.finish(&format!("{SUBSCRIBE_PARAMS}, format, lastEventId"))?;
    let rendering = Rendering {
        format,
        on_gap: subscribe.on_gap,
        wait,
    };
    Ok((subscribe, rendering))
}

fn take_format(params: &mut Params) -> Result<Format> {
    match params.take("format")?.as_deref() {
        None | Some("object") => Ok(Format::Object),
        Some("raw") => Ok(Format::Raw),
        Some(_) => Err(Error::bad_request("format is neither object nor raw")),
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| {
        Error::bad_request("Last-Event-ID is not a cursor: it has other than ASCII characters")
    })?;
    Ok(Some(text).filter(|t| !t.is_empty()))
}

fn sse_headers() -> HeaderMap {
    let mut headers = no_store("text/event-stream");
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
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

fn blocks(
    mut subscription: Subscription,
    waiter: Waiter,
    rendering: Rendering,
) -> impl Stream<Item = io::Result<Bytes>> {
    stream! {
        let mut quiet_since = Instant::now();
        loop {
            let step = match rendering.wait {
                // Boxed, so that a stream without an end has no room for a timer.
                Some(wait) => Box::pin(waiter.next_until(&mut subscription, quiet_since + wait)).await,
                None => waiter.next(&mut subscription).await,
            };
            let next = Next::of(&subscription, step, rendering);
            let Some(block) = next.block else { break };
            yield block;
            if next.is_last {
                break;
            }
            if !next.is_quiet {
                quiet_since = Instant::now();
            }
        }
    }
}

/// What is written next.
struct Next {
    block: Option<io::Result<Bytes>>,
    /// Nothing is written behind it.
    is_last: bool,
    /// It leaves a stream that ends after a quiet time as quiet as it was.
    is_quiet: bool,
}

impl Next {
    fn of(subscription: &Subscription, next: Result<Option<Step>>, rendering: Rendering) -> Self {
        let log = subscription.log();
        let is_quiet = !matches!(next, Ok(Some(Step::Events(..) | Step::CaughtUp(_))));
        let is_last = next.is_err();
        let block = match next {
            Ok(Some(Step::Events(events, _))) => {
                let blocks = batch_blocks(log, &events, rendering.format);
                Some(Ok(subscription.memory().share(blocks)))
            }
            Ok(Some(step)) => Some(Ok(step_block(log, step))),
            Ok(None) => None,
            Err(error) => Some(error_block(&error, rendering.on_gap)),
        };
        Next {
            block,
            is_last,
            is_quiet,
        }
    }
}

/// The blocks of all events, made once for all who read them together.
fn batch_blocks(log: &LogView, batch: &Batch, format: Format) -> Bytes {
    if let [event] = &**batch {
        return event_block(log, event, format).clone();
    }
    let place = match format {
        Format::Object => &batch.encodings.sse,
        Format::Raw => &batch.encodings.sse_raw,
    };
    let join = || {
        batch
            .iter()
            .map(|event| &**event_block(log, event, format))
            .collect::<Vec<_>>()
            .concat()
    };
    place.get_or_init(|| join().into()).clone()
}

pub(crate) fn event_block<'e>(log: &LogView, event: &'e Event, format: Format) -> &'e Bytes {
    match format {
        Format::Object => event
            .encodings
            .sse
            .get_or_init(|| encode_block(log, event, event_json(event))),
        Format::Raw => {
            event
                .encodings
                .sse_raw
                .get_or_init(|| match event.sent.content_type.form() {
                    DataForm::Binary => {
                        encode_block(log, event, STANDARD.encode(&event.sent.data).as_bytes())
                    }
                    DataForm::Json | DataForm::Text => encode_block(log, event, &event.sent.data),
                })
        }
    }
}

fn encode_block(log: &LogView, event: &Event, data: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(data.len() + 64);
    out.extend_from_slice(format!("id: {}\n", log.cursor(event.vid)).as_bytes());
    if let Some(kind) = &event.sent.kind {
        out.extend_from_slice(format!("event: {kind}\n").as_bytes());
    }
    push_data_lines(&mut out, data);
    out.push(b'\n');
    out.into()
}

/// One `data:` line for each line of the data. A parser joins them with LF: CR and CRLF between
/// JSON tokens, or in raw text, arrive as LF, because Server-Sent Events cannot carry a CR.
fn push_data_lines(out: &mut Vec<u8>, data: &[u8]) {
    let mut rest = data;
    loop {
        let end = rest
            .iter()
            .position(|b| matches!(b, b'\n' | b'\r'))
            .unwrap_or(rest.len());
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        match rest.get(end..) {
            Some([b'\r', b'\n', more @ ..] | [_, more @ ..]) => rest = more,
            _ => return,
        }
    }
}

fn step_block(log: &LogView, step: Step) -> Bytes {
    match step {
        Step::Hello {
            epoch,
            first,
            last,
            heartbeat,
        } => {
            let heartbeat_ms = u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX);
            named_block(
                "hello",
                &json!({ "epoch": epoch, "first": first, "last": last, "heartbeat_ms": heartbeat_ms }),
            )
        }
        Step::CaughtUp(vid) => {
            let cursor = log.cursor(vid);
            format!(
                "id: {cursor}\nevent: vidette.caught_up\ndata: {}\n\n",
                json!({ "cursor": cursor.to_string() })
            )
            .into()
        }
        Step::Progress(vid) => position_block(log, vid),
        Step::Gap(gap) => named_block("gap", &json!(gap)),
        Step::Closing(closing) => closing_block(closing),
        Step::Events(..) => Bytes::new(),
    }
}

/// Moves the `lastEventId` of an `EventSource` and fires nothing.
pub(crate) fn position_block(log: &LogView, vid: Vid) -> Bytes {
    format!("id: {}\n\n", log.cursor(vid)).into()
}

fn named_block(name: &str, data: &serde_json::Value) -> Bytes {
    format!("event: vidette.{name}\ndata: {data}\n\n").into()
}

/// What is said when a stream has to end. After a gap a reconnect is answered with 410, and the
/// browser stops; what passes is `closing`; after any other error the stream is cut, so that the
/// client comes back and is told by a status.
fn error_block(error: &Error, on_gap: OnGap) -> io::Result<Bytes> {
    match (error.gap_details(), passing_reason(error)) {
        (Some(gap), _) if on_gap == OnGap::Fail => Ok(named_block("gap", &json!(gap))),
        (_, Some(reason)) => Ok(last_words(error, Closing::because(reason))),
        _ => Err(io::Error::other(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use futures_util::{FutureExt as _, StreamExt as _};
    use proptest::prelude::*;
    use proptest::test_runner::Config;
    use sse_stream::{Sse, SseStream};

    use super::*;
    use crate::bus::{Bus, BusOptions};
    use crate::engine::{MemoryEngine, Retention};
    use crate::event::{EventParts, NewEvent};

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

    /// A block as a client's library reads it.
    fn read(block: Bytes) -> Sse {
        let stream = futures_util::stream::iter([Ok::<_, Infallible>(block)]);
        let blocks: Vec<_> = SseStream::from_bytes_stream(stream)
            .collect()
            .now_or_never()
            .expect("all is there");
        blocks
            .into_iter()
            .next()
            .expect("a block")
            .expect("an event stream")
    }

    proptest! {
        #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

        #[test]
        fn a_block_reads_back_but_for_its_line_ends(
            kind in "[a-z :]{0,8}",
            id in "\\PC{0,8}",
            data in "([ :a\"\u{2028}\u{feff}\u{0}]|data|\n|\r|\r\n){0,12}",
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let _guard = runtime.enter();
            let bus = quiet_bus();
            let (kind, id, content_type) = (Some(kind.as_str()), Some(id.as_str()), Some("text/plain"));
            let parts = EventParts { topic: "a", kind, id, content_type, headers: Vec::new(), data: data.clone().into() };
            let event = Event::new(7, 0, NewEvent::check(parts, 1000).expect("an event"));
            let raw = read(event_block(&bus.log(), &event, Format::Raw).clone());
            let object = read(event_block(&bus.log(), &event, Format::Object).clone());
            for block in [&raw, &object] {
                prop_assert_eq!(block.event.as_deref(), event.sent.kind.as_deref());
                prop_assert_eq!(block.id.clone(), Some(bus.cursor(7).to_string()));
            }
            prop_assert_eq!(raw.data, Some(data.replace("\r\n", "\n").replace('\r', "\n")));
            let object: serde_json::Value = serde_json::from_str(&object.data.expect("data")).expect("JSON");
            prop_assert_eq!(object["data"].as_str(), Some(&*data));
            prop_assert_eq!(object["id"].as_str(), event.sent.id.as_deref());
        }
    }

    #[test]
    fn a_stream_that_has_to_end_says_whether_to_come_back() {
        let broken = error_block(&Error::internal("no disk"), OnGap::Continue).expect("a block");
        let text = String::from_utf8(broken.to_vec()).expect("UTF-8");
        assert!(text.contains("vidette.closing") && text.contains("behind"));
        assert!(error_block(&Error::bad_request("no"), OnGap::Continue).is_err());
    }

    fn quiet_bus() -> Bus {
        let minute = Duration::from_secs(60);
        let retention = Retention {
            max_age: minute,
            max_events: 1,
            max_bytes: 1,
            dedupe_window: minute,
        };
        let options = BusOptions {
            heartbeat: minute,
            max_subscribers: 1,
            max_event_bytes: 1,
            retention,
        };
        Bus::start(Arc::new(MemoryEngine::new(minute)), options)
    }
}
