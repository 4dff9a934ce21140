//! Events as CloudEvents in JSON, for `format=cloudevents`.
//!
//! Invariants:
//! - what came as a CloudEvent leaves with the same attributes and data;
//! - any other event has a source and an id that no other event has together.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::attributes::{STRINGS, is_attribute_name, is_json_literal};
use super::binary::PREFIX;
use super::event::{CONTENT_TYPE_WITHOUT_DATA, JSON_FORM};
use crate::bus::{Batch, LogView};
use crate::encodings::WireForm;
use crate::event::{DataForm, Event};
use crate::transport::json::{push_field, push_name, push_text, rfc3339};

/// Bytes of an object beside its texts and data, about.
const OBJECT_OVERHEAD_BYTES: usize = 192;
/// The source of events that were published by other means.
const OWN_SOURCE: &str = "urn:vidette";
/// The type of an event without one. No publisher can give it.
const OWN_TYPE: &str = "vidette.event";

/// The CloudEvent of an event, made once and shared.
pub(in crate::transport) fn cloud_event_json<'e>(log: &LogView, event: &'e Event) -> &'e Bytes {
    let encode = || encode(log, event);
    event.encodings.get_or_encode(WireForm::CloudEvent, encode)
}

/// The CloudEvents of a batch with commas between them, made once for all who read them together.
pub(in crate::transport) fn batch_json<'b>(log: &LogView, batch: &'b Batch) -> &'b Bytes {
    if let [event] = &**batch {
        return cloud_event_json(log, event);
    }
    let joined = || {
        let objects = batch.iter().map(|event| &**cloud_event_json(log, event));
        objects.collect::<Vec<_>>().join(&b',')
    };
    batch.encodings.get_or_encode(WireForm::CloudEvent, joined)
}

fn encode(log: &LogView, event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.size_bytes() + OBJECT_OVERHEAD_BYTES);
    out.push(b'{');
    push_name(&mut out, "type");
    push_text(&mut out, type_of(event));
    if came_as_cloud_event(event) {
        push_attributes(&mut out, event);
    } else {
        push_own_attributes(&mut out, log, event);
    }
    push_data(&mut out, event);
    out.push(b'}');
    out
}

/// The type that came with it, or the event's own.
fn type_of(event: &Event) -> &str {
    let kept = header(event, "ce-type").filter(|kept| !kept.is_empty());
    let own = event.sent.kind.as_deref();
    own.or(kept).unwrap_or(OWN_TYPE)
}

/// A CloudEvent is known by what each of them has.
fn came_as_cloud_event(event: &Event) -> bool {
    ["ce-id", "ce-source", "ce-specversion"]
        .iter()
        .all(|name| header(event, name).is_some_and(|text| !text.is_empty()))
}

fn header<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    let mut named = event.sent.headers.iter().filter(|(other, _)| other == name);
    named.next().map(|(_, value)| &**value)
}

/// The attributes that are kept as headers, but for those that are written apart from them.
fn push_attributes(out: &mut Vec<u8>, event: &Event) {
    for (name, value) in &event.sent.headers {
        let name = name.strip_prefix(PREFIX).unwrap_or_default();
        if !is_attribute_name(name) || matches!(name, "type" | "datacontenttype") {
            continue;
        }
        // Any publisher can write headers, so a text is never copied into JSON unseen.
        let is_literal = has_word(event, name) && !STRINGS.contains(&name);
        if is_literal && is_json_literal(value) {
            out.push(b',');
            push_name(out, name);
            out.extend_from_slice(value.as_bytes());
        } else {
            push_field(out, name, value);
        }
    }
}

/// What an event has that came by other means.
fn push_own_attributes(out: &mut Vec<u8>, log: &LogView, event: &Event) {
    push_field(out, "specversion", "1.0");
    push_field(out, "id", &log.cursor(event.vid).to_string());
    push_field(out, "source", OWN_SOURCE);
    push_field(out, "subject", event.sent.topic.as_str());
    push_field(out, "time", &rfc3339(event.time_ms));
}

/// Is this word in the header that says how the object looked?
fn has_word(event: &Event, word: &str) -> bool {
    let words = header(event, JSON_FORM).unwrap_or_default();
    words.split(' ').any(|other| other == word)
}

fn push_data(out: &mut Vec<u8>, event: &Event) {
    let data = &event.sent.data;
    let (as_data, as_base64) = (has_word(event, "data"), has_word(event, "data_base64"));
    if data.is_empty() && !as_data && !as_base64 {
        if let Some(content_type) = header(event, CONTENT_TYPE_WITHOUT_DATA) {
            push_field(out, "datacontenttype", content_type);
        }
        return;
    }
    let has_no_type = has_word(event, "datacontenttype");
    if !has_no_type {
        push_field(out, "datacontenttype", event.sent.content_type.as_str());
    }
    match (event.sent.content_type.form(), std::str::from_utf8(data)) {
        (DataForm::Json, Ok(json)) if !as_base64 && !json.is_empty() => {
            out.push(b',');
            push_name(out, "data");
            // Byte for byte: parsing would change numbers.
            out.extend_from_slice(data);
        }
        // Without a type a reader would take a text for JSON.
        (DataForm::Text, Ok(text)) if !as_base64 && !has_no_type => push_field(out, "data", text),
        (DataForm::Binary, Ok(text)) if as_data && !has_no_type => push_field(out, "data", text),
        _ => push_field(out, "data_base64", &STANDARD.encode(data)),
    }
}
