//! Rendering: what a reader gets is what was published.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::publishing::reads_back;
use super::{Checked, MAX_EVENT_BYTES, VID, fields, idle_bus, oracle, raw};
use crate::event::{DataForm, Event, EventParts, NewEvent};
use crate::transport::sse::{Format, event_block, position_block};
use crate::transport::{event_json, legacy};

/// An event whose first lines are these texts and whose data is the rest, when it can be one.
fn event_of<const N: usize>(input: &[u8]) -> Option<([&str; N], Bytes)> {
    let (mut texts, mut rest) = ([""; N], input);
    for text in &mut texts {
        let end = rest.iter().position(|b| *b == b'\n')?;
        *text = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
    }
    Some((texts, Bytes::copy_from_slice(rest)))
}

/// An event through the SSE writer: lines for type, id and content type, then data.
pub fn sse(input: &[u8]) -> Checked {
    let Some(([kind, id, content_type], data)) = event_of(input) else {
        return Ok(());
    };
    let (kind, id, content_type) = (Some(kind), Some(id), Some(content_type));
    let parts = EventParts {
        topic: "door.3",
        kind,
        id,
        content_type,
        headers: Vec::new(),
        data,
    };
    let Ok(sent) = NewEvent::check(parts, MAX_EVENT_BYTES) else {
        return Ok(());
    };
    reads_back(&sent)?;
    let (bus, event) = (idle_bus(), Arc::new(Event::new(VID, 0, sent.clone())));
    let block = |format| event_block(&bus.log(), &event, format).clone();
    let stream = [
        block(Format::Object),
        position_block(&bus.log(), VID + 1),
        block(Format::Raw),
    ];
    let stream =
        String::from_utf8(stream.concat()).map_err(|e| format!("an event stream is UTF-8: {e}"))?;

    let with_lf = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
    let is_binary = sent.content_type.form() == DataForm::Binary;
    let shown = if is_binary {
        STANDARD.encode(&sent.data)
    } else {
        String::from_utf8_lossy(&sent.data).into()
    };
    let object = String::from_utf8_lossy(event_json(&event)).into_owned();
    let kind = sent.kind.as_deref().unwrap_or_default();
    let cursor = |vid| Some(bus.cursor(vid).to_string());
    let expected = [
        (kind.into(), cursor(VID), Some(with_lf(&object))),
        (String::new(), cursor(VID + 1), None),
        (kind.into(), cursor(VID), Some(with_lf(&shown))),
    ];
    let blocks = oracle::sse(&stream);
    hold!(blocks == expected, "{expected:?} arrived as {blocks:?}");
    object_fits(&sent, &with_lf(&object))
}

/// Does the object have the fields of the event, with LF for every end of a line?
fn object_fits(sent: &NewEvent, object: &str) -> Checked {
    let arrived = fields(object.as_bytes())?;
    let (_, value) = shown_data(sent);
    let with_lf = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
    let data = arrived
        .get("data")
        .or(arrived.get("data_base64"))
        .map(|d| d.get().to_owned());
    hold!(data == Some(with_lf(&value)), "{value} arrived as {data:?}");
    let texts = ["type", "id"].map(|name| {
        arrived
            .get(name)
            .and_then(|v| serde_json::from_str::<String>(v.get()).ok())
    });
    let sent_texts = [&sent.kind, &sent.id].map(|text| text.as_deref().map(str::to_owned));
    hold!(texts == sent_texts, "{sent_texts:?} arrived as {texts:?}");
    Ok(())
}

/// The name and the text of the data in the JSON object, without white space around it.
fn shown_data(sent: &NewEvent) -> (&'static str, String) {
    let text = String::from_utf8_lossy(&sent.data);
    match sent.content_type.form() {
        DataForm::Json => (
            "data",
            String::from_utf8_lossy(sent.data.trim_ascii()).into_owned(),
        ),
        DataForm::Text => ("data", raw(&text).get().to_owned()),
        DataForm::Binary => (
            "data_base64",
            raw(&STANDARD.encode(&sent.data)).get().to_owned(),
        ),
    }
}

/// The legacy page's flat object: lines for callback and content type, then data.
pub fn legacy(input: &[u8]) -> Checked {
    let Some(([callback, content_type], data)) = event_of(input) else {
        return Ok(());
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_$.".contains(c);
    if legacy::check_callback(callback.into(), true).is_ok() {
        hold!(
            callback.chars().all(is_name),
            "the callback {callback:?} was taken"
        );
    }
    let parts = EventParts {
        topic: "door.3",
        content_type: Some(content_type),
        data,
        ..EventParts::default()
    };
    let Ok(sent) = NewEvent::check(parts, MAX_EVENT_BYTES) else {
        return Ok(());
    };
    let flat = String::from_utf8(legacy::flat_json(&Event::new(VID, 0, sent.clone())))
        .map_err(|e| e.to_string())?;
    hold!(
        !flat.contains(['\u{2028}', '\u{2029}']),
        "{flat:?} has a line separator"
    );
    let is_object =
        sent.content_type.form() == DataForm::Json && sent.data.trim_ascii().starts_with(b"{");
    let (name, value) = shown_data(&sent);
    let shown = if is_object {
        value
    } else {
        format!("{{\"{name}\":{value}}}")
    };
    let mut expected = named_fields(&shown)?;
    expected.insert("vid".into(), VID.to_string());
    let flat = named_fields(&flat)?;
    hold!(flat == expected, "{expected:?} was written as {flat:?}");
    Ok(())
}

/// The fields of an object as a page sees them: of those of one name the last, line separators as
/// escapes. A name that is no text in Unicode stays as it was written.
fn named_fields(json: &str) -> Result<BTreeMap<String, String>, String> {
    #[derive(serde::Deserialize, PartialEq, Eq, PartialOrd, Ord)]
    #[serde(from = "Box<RawValue>")]
    struct Name(String);

    impl From<Box<RawValue>> for Name {
        fn from(name: Box<RawValue>) -> Self {
            Name(serde_json::from_str(name.get()).unwrap_or_else(|_| name.get().to_owned()))
        }
    }

    let escaped = |text: &str| {
        text.replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029")
    };
    let fields: BTreeMap<Name, Box<RawValue>> =
        serde_json::from_str(json).map_err(|e| format!("{json:?}: {e}"))?;
    Ok(fields
        .into_iter()
        .map(|(Name(name), value)| (name, escaped(value.get())))
        .collect())
}
