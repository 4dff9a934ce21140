//! The blocks of an event stream.
//!
//! Invariants:
//! - an event's block is made once and shared;
//! - `id:` is always a full cursor, so the `Last-Event-ID` of a reconnect resumes exactly;
//! - the named steps, but for `caught_up`, carry no `id:` and so never move the cursor.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use crate::bus::{Batch, Closing, LogView, OnGap, Step};
use crate::cursor::{Epoch, Vid};
use crate::encodings::WireForm;
use crate::error::Error;
use crate::event::{DataForm, Event};
use crate::topic::Filter;
use crate::transport::closing::{closing_block, last_words, passing_reason};
use crate::transport::cloud_events::render::cloud_event_json;
use crate::transport::json::event_json;

/// Bytes of a block beside the event's data, about.
const BLOCK_OVERHEAD_BYTES: usize = 64;

/// What the `data:` lines of an event hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SseFormat {
    /// The JSON object, as a long-poll has it.
    Object,
    /// Only the event's data.
    Raw,
    /// The CloudEvent, as a long-poll has it.
    CloudEvents,
}

impl SseFormat {
    fn wire_form(self) -> WireForm {
        match self {
            SseFormat::Object => WireForm::Sse,
            SseFormat::Raw => WireForm::SseRaw,
            SseFormat::CloudEvents => WireForm::SseCloudEvent,
        }
    }
}

/// The blocks of all events, made once for all who read them together.
pub(super) fn batch_blocks(log: &LogView, batch: &Batch, format: SseFormat) -> Bytes {
    // A batch of one is its event's block, which other batches may have made.
    if let [event] = &**batch {
        return event_block(log, event, format).clone();
    }
    let joined = || {
        let blocks = batch.iter().map(|event| &**event_block(log, event, format));
        blocks.collect::<Vec<_>>().concat()
    };
    let blocks = batch.encodings.get_or_encode(format.wire_form(), joined);
    blocks.clone()
}

pub(crate) fn event_block<'e>(log: &LogView, event: &'e Event, format: SseFormat) -> &'e Bytes {
    event
        .encodings
        .get_or_encode(format.wire_form(), || match format {
            SseFormat::Object => encode_block(log, event, event_json(event)),
            SseFormat::Raw => encode_raw_block(log, event),
            SseFormat::CloudEvents => encode_block(log, event, cloud_event_json(log, event)),
        })
}

fn encode_raw_block(log: &LogView, event: &Event) -> Vec<u8> {
    let data = &event.sent.data;
    match event.sent.content_type.form() {
        DataForm::Json | DataForm::Text => encode_block(log, event, data),
        // An event stream carries text alone.
        DataForm::Binary => encode_block(log, event, STANDARD.encode(data).as_bytes()),
    }
}

fn encode_block(log: &LogView, event: &Event, data: &[u8]) -> Vec<u8> {
    // The fields in the order in which a person reads them; a parser takes any.
    let mut out = Vec::with_capacity(data.len() + BLOCK_OVERHEAD_BYTES);
    push_line(&mut out, "id", log.cursor(event.vid));
    if let Some(kind) = &event.sent.kind {
        push_line(&mut out, "event", kind);
    }
    push_data_lines(&mut out, data);
    out.push(b'\n');
    out
}

fn push_line(out: &mut Vec<u8>, field: &str, value: impl Display) {
    writeln!(out, "{field}: {value}").expect("a vector grows");
}

/// One `data:` line for each line of the data. A parser joins them with LF: CR and CRLF between
/// JSON tokens, or in raw text, arrive as LF, because Server-Sent Events cannot carry a CR.
fn push_data_lines(out: &mut Vec<u8>, data: &[u8]) {
    let mut rest = data;
    loop {
        let line_end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let (line, end) = rest.split_at(line_end.unwrap_or(rest.len()));
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
        // A line end of two bytes is one.
        match end {
            [b'\r', b'\n', more @ ..] | [_, more @ ..] => rest = more,
            [] => return,
        }
    }
}

pub(super) fn step_block(log: &LogView, step: Step) -> Bytes {
    match step {
        Step::Hello {
            epoch,
            first,
            last,
            heartbeat,
            cut_to,
        } => hello_block(&epoch, first..=last, heartbeat, cut_to.as_ref()),
        Step::CaughtUp(vid) => caught_up_block(log, vid),
        Step::Progress(vid) => position_block(log, vid),
        Step::Gap(gap) => named_block("gap", &json!(gap)),
        Step::Closing(closing) => closing_block(closing),
        Step::Events(..) => Bytes::new(),
    }
}

fn hello_block(
    epoch: &Epoch,
    retained: RangeInclusive<Vid>,
    heartbeat: Duration,
    cut_to: Option<&Filter>,
) -> Bytes {
    let mut hello = json!({
        "epoch": epoch,
        "first": retained.start(),
        "last": retained.end(),
        "heartbeat_ms": u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX),
    });
    if let Some(filter) = cut_to {
        hello["filter"] = filter.topics().collect();
    }
    named_block("hello", &hello)
}

fn caught_up_block(log: &LogView, vid: Vid) -> Bytes {
    // The only named step that moves the cursor, past events that did not match.
    let cursor = log.cursor(vid).to_string();
    let step = named("caught_up", &json!({ "cursor": cursor }));
    format!("id: {cursor}\n{step}").into()
}

/// Moves the `lastEventId` of an `EventSource` and fires nothing.
pub(crate) fn position_block(log: &LogView, vid: Vid) -> Bytes {
    format!("id: {}\n\n", log.cursor(vid)).into()
}

fn named_block(name: &str, data: &serde_json::Value) -> Bytes {
    named(name, data).into()
}

fn named(name: &str, data: &serde_json::Value) -> String {
    format!("event: vidette.{name}\ndata: {data}\n\n")
}

/// What is written when a stream has to end. After a gap a reconnect is answered with 410, and the
/// browser stops; what passes is `closing`; after any other error the stream is cut, so that the
/// client comes back and is answered with a status.
pub(super) fn error_block(error: &Error, on_gap: OnGap) -> io::Result<Bytes> {
    match (error.gap_details(), passing_reason(error)) {
        (Some(gap), _) if on_gap == OnGap::Fail => Ok(named_block("gap", &json!(gap))),
        // Something that passes: the client is to come back.
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
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.expect("a runtime");
            let _guard = runtime.enter();
            let bus = quiet_bus();
            let parts = EventParts {
                topic: "a",
                kind: Some(&kind),
                id: Some(&id),
                content_type: Some("text/plain"),
                headers: Vec::new(),
                data: data.clone().into(),
            };
            let event = Event::new(7, 0, NewEvent::check(parts, 1000).expect("an event"));
            let raw = read(event_block(&bus.log(), &event, SseFormat::Raw).clone());
            let object = read(event_block(&bus.log(), &event, SseFormat::Object).clone());
            for block in [&raw, &object] {
                prop_assert_eq!(block.event.as_deref(), event.sent.kind.as_deref());
                prop_assert_eq!(block.id.clone(), Some(bus.cursor(7).to_string()));
            }
            prop_assert_eq!(raw.data, Some(data.replace("\r\n", "\n").replace('\r', "\n")));
            let object = object.data.expect("data");
            let object: serde_json::Value = serde_json::from_str(&object).expect("JSON");
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
