//! Publishing: exactly what is an event is taken, and keeps every field.

use axum::body::Body;

use http_body_util::BodyExt as _;
use prost::Message as _;
use serde_json::value::RawValue;

use super::{Checked, Fields, MAX_EVENT_BYTES, VID, bus, fields, idle_bus, raw};
use crate::bus::Bus;
use crate::caller::Caller;
use crate::event::{DataForm, Event, NewEvent};
use crate::transport::grpc::{self, client_proto, proto};
use crate::transport::{event_json, ndjson, publish as publishing};

/// What readers get, published again, is the same event. The content type is added where its form
/// stands for it.
pub(super) fn reads_back(event: &NewEvent) -> Checked {
    let mut object = fields(event_json(&Event::new(VID, 0, event.clone())))?;
    hold!(
        object
            .remove("vid")
            .is_some_and(|v| v.get() == VID.to_string()),
        "no vid in {object:?}"
    );
    hold!(object.remove("time").is_some(), "no time in {object:?}");
    object.insert("content_type".into(), raw(&event.content_type.as_str()));
    let json = serde_json::to_vec(&object).expect("an object");
    let again = publishing::parse_event(&json, MAX_EVENT_BYTES)
        .map_err(|e| format!("{event:?} was refused: {e}"))?;
    let mut expected = event.clone();
    if event.content_type.form() == DataForm::Json {
        expected.data = event.data.slice_ref(event.data.trim_ascii());
    }
    hold!(again == expected, "{expected:?} came back as {again:?}");
    Ok(())
}

/// A publish body, as one object, as a batch and as NDJSON.
pub fn publish(body: &[u8]) -> Checked {
    if let Ok(event) = publishing::parse_event(body, MAX_EVENT_BYTES) {
        let written = fields(body)?;
        if let (DataForm::Json, Some(data)) = (event.content_type.form(), written.get("data")) {
            hold!(event.data == data.get(), "{data} became {:?}", event.data);
        }
        reads_back(&event)?;
    }
    let (runtime, bus) = bus();
    runtime.block_on(async {
        publish_batch(&bus, body).await?;
        publish_lines(bus, body).await
    })
}

async fn publish_batch(bus: &Bus, body: &[u8]) -> Checked {
    let elements: Vec<Box<RawValue>> = serde_json::from_slice(body).unwrap_or_default();
    let is_event =
        |e: &RawValue| publishing::parse_event(e.get().as_bytes(), MAX_EVENT_BYTES).is_ok();
    let expected = !elements.is_empty() && elements.iter().all(|e| is_event(e));
    let Ok(answer) =
        publishing::publish_batch(bus, &Caller::anonymous(), body, MAX_EVENT_BYTES).await
    else {
        hold!(!expected, "the batch was refused");
        return Ok(());
    };
    hold!(expected, "the batch was taken");
    let answer = answer
        .into_body()
        .collect()
        .await
        .map_err(|e| e.to_string())?
        .to_bytes();
    let events: Vec<Fields> =
        serde_json::from_str(fields(&answer)?["events"].get()).map_err(|e| e.to_string())?;
    hold!(
        events.len() == elements.len(),
        "{} events were answered with {}",
        elements.len(),
        events.len()
    );
    Ok(())
}

/// The number of each line that has to be answered, and whether its event is taken.
fn lines_oracle(body: &[u8]) -> Vec<(usize, bool)> {
    let mut answers = Vec::new();
    for (index, line) in body.split(|b| *b == b'\n').enumerate() {
        match std::str::from_utf8(line) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => answers.push((
                index + 1,
                publishing::parse_event(text.as_bytes(), MAX_EVENT_BYTES).is_ok(),
            )),
            Err(_) => {
                answers.push((index + 1, false));
                break; // what is no text ends the stream
            }
        }
    }
    answers
}

async fn publish_lines(bus: Bus, body: &[u8]) -> Checked {
    let answer = ndjson::publish(bus, &Caller::anonymous(), Body::from(body.to_vec()))
        .into_body()
        .collect()
        .await;
    let answer = answer.map_err(|e| e.to_string())?.to_bytes();
    let answers = answer
        .split_inclusive(|b| *b == b'\n')
        .map(fields)
        .collect::<Result<Vec<_>, _>>()?;
    let expected = lines_oracle(body);
    hold!(
        answers.len() == expected.len(),
        "{} answers where {expected:?} were due",
        answers.len()
    );
    for (answer, (number, is_taken)) in answers.iter().zip(expected) {
        let is_numbered = is_taken
            || answer
                .get("line")
                .is_some_and(|n| n.get() == number.to_string());
        hold!(
            answer.contains_key("vid") == is_taken && is_numbered,
            "line {number} was answered {answer:?}"
        );
    }
    Ok(())
}

/// A `PublishRequest`: what is taken keeps every field, also when a reader decodes it again.
pub fn grpc_publish(message: &[u8]) -> Checked {
    let Ok(request) = proto::PublishRequest::decode(message) else {
        return Ok(());
    };
    let Ok(events) = grpc::batch(idle_bus(), request.clone()) else {
        return Ok(());
    };
    hold!(
        events.len() == request.events.len(),
        "{request:?} became {events:?}"
    );
    for (sent, taken) in request.events.into_iter().zip(events) {
        reads_back(&taken)?;
        let encoded = grpc::encode_event(&Event::new(VID, 1500, taken.clone()));
        let read = client_proto::Event::decode(&*encoded).map_err(|e| format!("{taken:?}: {e}"))?;
        let is_typed =
            sent.content_type.trim().is_empty() || read.content_type == sent.content_type.trim();
        hold!(
            is_typed,
            "the content type {:?} became {:?}",
            sent.content_type,
            read.content_type
        );
        let expected = client_proto::Event {
            vid: VID,
            topic: sent.topic,
            time: Some(prost_types::Timestamp {
                seconds: 1,
                nanos: 500_000_000,
            }),
            r#type: sent.r#type,
            id: sent.id,
            content_type: read.content_type.clone(),
            data: sent.data,
            headers: sent.headers,
        };
        hold!(read == expected, "{expected:?} was read as {read:?}");
    }
    Ok(())
}
