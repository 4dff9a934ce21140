//! Events and answers as JSON (contract §5).
//!
//! Invariant: data whose content type is JSON is copied byte for byte, so numbers keep their
//! digits.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::cloud_events::render::batch_json as cloud_events_json;
use crate::bus::{Batch, Bus, LogView, Standing};
use crate::cursor::Gap;
use crate::encodings::WireForm;
use crate::event::{DataForm, Event};
use crate::limits;
use crate::memory::MemoryKind;
use crate::topic::Filter;

/// Bytes of an event object beside its texts and data, about.
const OBJECT_OVERHEAD_BYTES: usize = 160;
/// What most answers of a poll have before their events fits into so many bytes.
const POLL_BEGIN_BYTES: usize = 192;

/// The JSON object of an event, made once and shared.
pub(crate) fn event_json(event: &Event) -> &Bytes {
    let encode = || encode_event(event);
    event.encodings.get_or_encode(WireForm::Json, encode)
}

fn encode_event(event: &Event) -> Vec<u8> {
    let sent = &event.sent;
    let mut out = Vec::with_capacity(event.size_bytes() + OBJECT_OVERHEAD_BYTES);
    out.extend_from_slice(b"{\"vid\":");
    out.extend_from_slice(event.vid.to_string().as_bytes());
    push_field(&mut out, "topic", sent.topic.as_str());
    push_field(&mut out, "time", &rfc3339(event.time_ms));

    // Fields that the publisher did not give are left out.
    push_optional(&mut out, "type", sent.kind.as_deref());
    push_optional(&mut out, "id", sent.id.as_deref());
    push_headers(&mut out, &sent.headers);
    push_optional(&mut out, "content_type", shown_content_type(event));
    out.push(b',');
    push_data(&mut out, event);
    out.push(b'}');
    out
}

/// JSON and plain text are recognised by the form of their data.
fn shown_content_type(event: &Event) -> Option<&str> {
    match event.sent.content_type.as_str() {
        "application/json" | "text/plain" => None,
        content_type => Some(content_type),
    }
}

fn push_headers(out: &mut Vec<u8>, headers: &[(String, String)]) {
    if headers.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"headers\":");
    for (index, (name, value)) in headers.iter().enumerate() {
        out.push(if index == 0 { b'{' } else { b',' });
        // A name is the publisher's own, so it may need escapes.
        push_text(out, name);
        out.push(b':');
        push_text(out, value);
    }
    out.push(b'}');
}

/// `"data":…` or `"data_base64":…`, by the content type.
pub(super) fn push_data(out: &mut Vec<u8>, event: &Event) {
    let data = &event.sent.data;
    match event.sent.content_type.form() {
        // Byte for byte: parsing would change numbers.
        DataForm::Json => {
            push_name(out, "data");
            out.extend_from_slice(data);
        }
        DataForm::Text => push_text_data(out, data),
        DataForm::Binary => push_base64_data(out, data),
    }
}

fn push_text_data(out: &mut Vec<u8>, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        // An old log may have text that is not UTF-8.
        return push_base64_data(out, data);
    };
    push_name(out, "data");
    push_text(out, text);
}

fn push_base64_data(out: &mut Vec<u8>, data: &[u8]) {
    push_name(out, "data_base64");
    push_text(out, &STANDARD.encode(data));
}

fn push_optional(out: &mut Vec<u8>, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        push_field(out, name, text);
    }
}

pub(super) fn push_field(out: &mut Vec<u8>, name: &str, text: &str) {
    out.push(b',');
    push_name(out, name);
    push_text(out, text);
}

/// A field's name, which needs no escape, and the colon behind it.
pub(super) fn push_name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing text to memory does not fail");
}

/// A time as `2026-11-22T10:00:00.123Z`.
pub(super) fn rfc3339(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// An answer's JSON.
pub(super) fn to_json(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("texts and numbers are JSON")
}

/// An answer that may be long, paid from the memory budget until the connection has taken it.
pub(super) fn paid_json(bus: &Bus, answer: &impl Serialize) -> Response {
    let paid = bus.memory().own(MemoryKind::Answer, to_json(answer));
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, Body::from(paid)).into_response()
}

/// A long-poll's answer, without its events.
pub(super) struct PollHead<'a> {
    pub(super) standing: Standing,
    /// What is served, where that is less than what was asked for.
    pub(super) filter: Option<&'a Filter>,
    pub(super) gap: Option<&'a Gap>,
}

impl PollHead<'static> {
    /// What all at this position are answered.
    pub(super) fn common(standing: Standing) -> Self {
        PollHead {
            standing,
            filter: None,
            gap: None,
        }
    }
}

impl PollHead<'_> {
    /// Does it say only what others at the same position are answered as well?
    pub(super) fn is_common(&self) -> bool {
        self.filter.is_none() && self.gap.is_none()
    }
}

/// Is an answer with this batch so small that it is kept whole for all who get the same?
pub(super) fn is_small(batch: &Batch) -> bool {
    batch_json(batch).len() <= limits::SHARED_ANSWER_BYTES
}

/// A long-poll's answer of one batch: made once for all who stand where its reader does.
pub(super) fn shared_answer(head: PollHead<'_>, batch: &Arc<Batch>) -> Bytes {
    let PollHead { standing, .. } = head;
    batch.last_answer.get_or_make(standing, |standing| {
        let mut answer = poll_begin(standing, None, None);
        answer.extend_from_slice(batch_json(batch));
        answer.extend_from_slice(END);
        answer
    })
}

/// What stands behind the events.
const END: &[u8] = b"]}";

/// What stands before them.
fn poll_begin(standing: &Standing, filter: Option<&Filter>, gap: Option<&Gap>) -> Vec<u8> {
    let mut begin = Vec::with_capacity(POLL_BEGIN_BYTES);
    // An epoch is letters and digits, so it needs no escape.
    let epoch = standing.epoch.as_str().as_bytes();
    begin.extend_from_slice(b"{\"epoch\":\"");
    begin.extend_from_slice(epoch);
    push_number(&mut begin, b"\",\"first\":", standing.first);
    push_number(&mut begin, b",\"last\":", standing.last);
    push_number(&mut begin, b",\"vid\":", standing.vid);
    push_number(&mut begin, b",\"cursor\":\"", standing.vid);
    begin.push(b'-');
    begin.extend_from_slice(epoch);
    begin.extend_from_slice(b"\",\"up_to_date\":");
    let up_to_date = if standing.up_to_date { "true" } else { "false" };
    begin.extend_from_slice(up_to_date.as_bytes());

    // Few answers have these.
    if let Some(filter) = filter {
        begin.extend_from_slice(b",\"filter\":");
        begin.extend_from_slice(&to_json(&filter.topics().collect::<Vec<_>>()));
    }
    if let Some(gap) = gap {
        begin.extend_from_slice(b",\"gap\":");
        begin.extend_from_slice(&to_json(gap));
    }
    begin.extend_from_slice(b",\"events\":[");
    begin
}

fn push_number(out: &mut Vec<u8>, before: &[u8], number: u64) {
    out.extend_from_slice(before);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A long-poll's answer: the shared encodings of its batches, with what stands around them.
pub(super) fn poll_answer(head: &PollHead<'_>, batches: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    // The events' bytes are shared, not copied.
    let begin = poll_begin(&head.standing, head.filter, head.gap);
    let mut pieces = vec![begin.into()];
    for (index, batch) in batches.enumerate() {
        if index > 0 {
            pieces.push(Bytes::from_static(b","));
        }
        pieces.push(batch);
    }
    pieces.push(Bytes::from_static(END));
    pieces
}

/// What the objects of events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectForm {
    /// Those of the contract.
    Own,
    CloudEvents,
}

impl ObjectForm {
    /// What any other text is.
    pub(super) const EXPECTED: &str = "neither object nor cloudevents";

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "object" => Some(ObjectForm::Own),
            "cloudevents" => Some(ObjectForm::CloudEvents),
            _ => None,
        }
    }

    /// The objects of a batch with commas between them.
    pub(super) fn batch<'b>(self, log: &LogView, batch: &'b Batch) -> &'b Bytes {
        match self {
            ObjectForm::Own => batch_json(batch),
            ObjectForm::CloudEvents => cloud_events_json(log, batch),
        }
    }
}

/// The JSON objects of all events with commas between them, made once for all who read them
/// together.
fn batch_json(batch: &Batch) -> &Bytes {
    if let [event] = &**batch {
        return event_json(event);
    }
    // What each event is in JSON has been made, or is made now for other transports, too.
    let joined = || {
        let objects = batch.iter().map(|event| &**event_json(event));
        objects.collect::<Vec<_>>().join(&b',')
    };
    batch.encodings.get_or_encode(WireForm::Json, joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventParts, NewEvent};

    fn json(content_type: &str, data: &'static [u8]) -> String {
        let parts = EventParts {
            topic: "door.3",
            kind: Some("opened"),
            content_type: Some(content_type),
            data: Bytes::from_static(data),
            ..EventParts::default()
        };
        let event = Event::new(
            1042,
            1_763_805_600_123,
            NewEvent::check(parts, 1000).expect("an event"),
        );
        String::from_utf8(event_json(&event).to_vec()).expect("UTF-8")
    }

    #[test]
    fn json_data_keeps_its_bytes() {
        let text = json("application/json", b"{ \"n\": 12345678901234567890.10 }");
        assert_eq!(
            text,
            concat!(
                r#"{"vid":1042,"topic":"door.3","time":"2025-11-22T10:00:00.123Z","#,
                r#""type":"opened","data":{ "n": 12345678901234567890.10 }}"#
            )
        );
    }

    #[test]
    fn text_is_a_string_and_the_rest_is_base64() {
        assert!(json("text/plain", b"a\n\"b\"").ends_with(r#""data":"a\n\"b\""}"#));
        assert!(
            json("image/png", b"\x89PNG")
                .ends_with(r#""content_type":"image/png","data_base64":"iVBORw=="}"#)
        );
    }
}
