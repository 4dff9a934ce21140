//! Rendering: what a reader gets is what was published.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::oracle::{StreamBlock, with_lf};
use super::publishing::reads_back;
use super::{Checked, Fields, MAX_EVENT_BYTES, VID, fields, idle_bus, oracle, raw};
use crate::event::{DataForm, Event, EventParts, NewEvent};
use crate::transport::sse::blocks::{SseFormat, event_block, position_block};
use crate::transport::{event_json, legacy};

/// An event whose first lines are these texts and whose data is the rest, when it can be one.
fn event_of<const N: usize>(input: &[u8]) -> Option<([&str; N], Bytes)> {
    let (mut texts, mut rest) = ([""; N], input);
    for text in &mut texts {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        *text = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
    }

    // Data comes last, since it may have any bytes, line ends among them.
    Some((texts, Bytes::copy_from_slice(rest)))
}

fn checked(parts: EventParts<'_>) -> Option<NewEvent> {
    let topic = "door.3";
    NewEvent::check(EventParts { topic, ..parts }, MAX_EVENT_BYTES).ok()
}

/// An event through the SSE writer: lines for type, id and content type, then data.
pub fn sse(input: &[u8]) -> Checked {
    let Some(sent) = stream_event(input) else {
        return Ok(());
    };
    reads_back(&sent)?;
    // The same event in both formats, with a position between them.
    let event = Event::new(VID, 0, sent);
    let object = object_text(&event);
    blocks_arrive(&event, &object)?;
    object_fits(&event.sent, &object)
}

fn stream_event(input: &[u8]) -> Option<NewEvent> {
    let ([kind, id, content_type], data) = event_of(input)?;
    checked(EventParts {
        kind: Some(kind),
        id: Some(id),
        content_type: Some(content_type),
        data,
        ..EventParts::default()
    })
}

/// The JSON object as a stream's reader gets it.
fn object_text(event: &Event) -> String {
    // A CR in the publisher's JSON ends a line of the stream, and is read as LF.
    with_lf(&String::from_utf8_lossy(event_json(event)))
}

/// A parser of its own finds an event's block, a position and a raw block.
fn blocks_arrive(event: &Event, object: &str) -> Checked {
    let blocks = oracle::sse(&stream_of(event)?);
    let expected = expected_blocks(&event.sent, object);
    hold!(blocks == expected, "{expected:?} arrived as {blocks:?}");
    Ok(())
}

fn stream_of(event: &Event) -> Result<String, String> {
    let log = idle_bus().log();
    let block = |format| event_block(&log, event, format).clone();
    let position = position_block(&log, VID + 1);
    let stream = [block(SseFormat::Object), position, block(SseFormat::Raw)];
    String::from_utf8(stream.concat()).map_err(|error| error.to_string())
}

fn expected_blocks(sent: &NewEvent, object: &str) -> [StreamBlock; 3] {
    let kind = sent.kind.as_deref().unwrap_or_default().to_owned();
    let cursor = |vid| Some(idle_bus().cursor(vid).to_string());
    let data = with_lf(&raw_text(sent));
    [
        (kind.clone(), cursor(VID), Some(object.to_owned())),
        // Without data, an EventSource keeps the id and fires no event.
        (String::new(), cursor(VID + 1), None),
        (kind, cursor(VID), Some(data)),
    ]
}

fn raw_text(sent: &NewEvent) -> String {
    match sent.content_type.form() {
        // An event stream is text, so that other bytes need an encoding.
        DataForm::Binary => STANDARD.encode(&sent.data),
        DataForm::Json | DataForm::Text => String::from_utf8_lossy(&sent.data).into(),
    }
}

/// Does the object have the fields of the event, with LF for every end of a line?
fn object_fits(sent: &NewEvent, object: &str) -> Checked {
    let arrived = fields(object.as_bytes())?;
    let (name, value) = shown_data(sent);
    let data = arrived.get(name).map(|data| data.get().to_owned());
    hold!(data == Some(with_lf(&value)), "{value} arrived as {data:?}");
    text_arrives(&arrived, "type", sent.kind.as_deref())?;
    text_arrives(&arrived, "id", sent.id.as_deref())
}

fn text_arrives(object: &Fields, name: &str, sent: Option<&str>) -> Checked {
    let arrived = text_field(object, name);
    let is_same = arrived.as_deref() == sent;
    hold!(is_same, "{sent:?} arrived as {arrived:?}");
    Ok(())
}

fn text_field(object: &Fields, name: &str) -> Option<String> {
    serde_json::from_str(object.get(name)?.get()).ok()
}

/// The name and the text of the data in the JSON object, without white space around it.
fn shown_data(sent: &NewEvent) -> (&'static str, String) {
    let text = String::from_utf8_lossy(&sent.data);
    let json = |text: &str| raw(&text).get().to_owned();
    match sent.content_type.form() {
        DataForm::Json => ("data", text.trim_ascii().to_owned()),
        DataForm::Text => ("data", json(&text)),
        DataForm::Binary => ("data_base64", json(&STANDARD.encode(&sent.data))),
    }
}

/// The legacy page's flat object: lines for callback and content type, then data.
pub fn legacy(input: &[u8]) -> Checked {
    let Some(([callback, content_type], data)) = event_of(input) else {
        return Ok(());
    };
    callback_is_a_name(callback)?;
    let content_type = Some(content_type);
    let parts = EventParts::default();
    let sent = checked(EventParts {
        content_type,
        data,
        ..parts
    });
    sent.map_or(Ok(()), flat_object_fits)
}

fn callback_is_a_name(callback: &str) -> Checked {
    // It becomes code in the page, where anything but a name could do harm.
    let is_taken = legacy::check_callback(callback.into(), true).is_ok();
    let is_right = !is_taken || callback.chars().all(is_name_letter);
    hold!(is_right, "the callback {callback:?} was taken");
    Ok(())
}

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_$.".contains(letter)
}

fn flat_object_fits(sent: NewEvent) -> Checked {
    // The bus's vid takes the place of the publisher's.
    let mut expected = named_fields(&flat_fields(&sent))?;
    expected.insert("vid".into(), VID.to_string());
    let flat = named_fields(&flat_text(sent)?)?;
    hold!(flat == expected, "{expected:?} was written as {flat:?}");
    Ok(())
}

fn flat_text(sent: NewEvent) -> Result<String, String> {
    let flat = String::from_utf8(legacy::flat_json(&Event::new(VID, 0, sent)));
    let flat = flat.map_err(|error| error.to_string())?;
    // JavaScript of that era would end a line there.
    let is_for_eval = !flat.contains(['\u{2028}', '\u{2029}']);
    hold!(is_for_eval, "{flat:?} has a line separator");
    Ok(flat)
}

/// An object as it is, and anything else below the name of its data.
fn flat_fields(sent: &NewEvent) -> String {
    let (name, value) = shown_data(sent);
    if sent.content_type.form() == DataForm::Json && value.starts_with('{') {
        value
    } else {
        format!("{{\"{name}\":{value}}}")
    }
}

/// A name as a web page sees it: one that is not valid Unicode stays as it was written.
#[derive(serde::Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(from = "Box<RawValue>")]
struct FieldName(String);

impl From<Box<RawValue>> for FieldName {
    fn from(name: Box<RawValue>) -> Self {
        let read = serde_json::from_str(name.get());
        FieldName(read.unwrap_or_else(|_| name.get().to_owned()))
    }
}

/// The fields of an object as a web page sees them: of those of one name the last, line separators
/// as escapes.
fn named_fields(json: &str) -> Result<BTreeMap<String, String>, String> {
    let fields: BTreeMap<FieldName, Box<RawValue>> =
        serde_json::from_str(json).map_err(|error| error.to_string())?;
    let fields = fields.into_iter();
    Ok(fields
        .map(|(name, value)| (name.0, escaped(value.get())))
        .collect())
}

fn escaped(text: &str) -> String {
    let text = text.replace('\u{2028}', "\\u2028");
    text.replace('\u{2029}', "\\u2029")
}
