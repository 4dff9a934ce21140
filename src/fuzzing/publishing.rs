//! Publishing: exactly what is an event is taken, and keeps every field.

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body_util::BodyExt as _;
use prost::Message as _;
use serde_json::value::RawValue;

use super::{Checked, Fields, MAX_EVENT_BYTES, VID, bus, fields, idle_bus, raw};
use crate::bus::Bus;
use crate::caller::Caller;
use crate::event::{DataForm, Event, NewEvent};
use crate::transport::event_input::parse_event;
use crate::transport::grpc::{self, client_proto, proto};
use crate::transport::publish::publish_batch;
use crate::transport::trace_parent::{TracedRequest, TracedStream};
use crate::transport::{event_json, ndjson};

/// What readers get, published again, is the same event.
pub(super) fn reads_back(event: &NewEvent) -> Checked {
    let json = published_again(event)?;
    let again = parse_event(&json, MAX_EVENT_BYTES).map_err(|error| error.to_string())?;
    let expected = without_outer_space(event);
    hold!(again == expected, "{expected:?} came back as {again:?}");
    Ok(())
}

/// A reader's object as a publisher would send it. The content type is added where its form stands
/// for it.
fn published_again(event: &NewEvent) -> Result<Vec<u8>, String> {
    let mut object = fields(event_json(&Event::new(VID, 0, event.clone())))?;
    takes_its_place(&mut object)?;
    let content_type = raw(&event.content_type.as_str());
    object.insert("content_type".into(), content_type);
    Ok(serde_json::to_vec(&object).expect("texts are JSON"))
}

/// What the bus has added.
fn takes_its_place(object: &mut Fields) -> Checked {
    let vid = object.remove("vid").map(|vid| vid.get().to_owned());
    hold!(vid == Some(VID.to_string()), "the vid is {vid:?}");
    hold!(object.remove("time").is_some(), "no time in {object:?}");
    Ok(())
}

/// White space around a JSON value is not part of it.
fn without_outer_space(event: &NewEvent) -> NewEvent {
    let mut event = event.clone();
    if event.content_type.form() == DataForm::Json {
        event.data = Bytes::copy_from_slice(event.data.trim_ascii());
    }
    event
}

fn is_event(json: &[u8]) -> bool {
    parse_event(json, MAX_EVENT_BYTES).is_ok()
}

/// A publish body, as one object, as a batch and as NDJSON.
pub fn publish(body: &[u8]) -> Checked {
    object_keeps_its_data(body)?;
    // The log of one input must not know the ids of another.
    let (runtime, bus) = bus();
    runtime.block_on(async {
        batch_is_answered(&bus, body).await?;
        lines_are_answered(bus, body).await
    })
}

fn object_keeps_its_data(body: &[u8]) -> Checked {
    let Ok(event) = parse_event(body, MAX_EVENT_BYTES) else {
        return Ok(());
    };
    let written = fields(body)?;

    // JSON comes through byte for byte, not as a parser would write it again.
    if let (DataForm::Json, Some(data)) = (event.content_type.form(), written.get("data")) {
        hold!(event.data == data.get(), "{data} became {:?}", event.data);
    }
    reads_back(&event)
}

/// A batch is taken exactly when each of its elements is an event, and each is answered.
async fn batch_is_answered(bus: &Bus, body: &[u8]) -> Checked {
    // What is no array has no elements, and a batch of none is refused as well.
    let elements: Vec<Box<RawValue>> = serde_json::from_slice(body).unwrap_or_default();
    let answer = publish_batch(
        bus,
        &Caller::anonymous(),
        body,
        &mut TracedRequest::default(),
    )
    .await;
    let is_taken = answer.is_ok();

    // All or nothing: one element that is no event refuses the whole batch.
    let is_right = is_taken == is_batch(&elements);
    hold!(is_right, "taken: {is_taken}, with {elements:?}");
    match answer {
        Ok(answer) => each_is_answered(elements.len(), answer).await,
        Err(_) => Ok(()),
    }
}

fn is_batch(elements: &[Box<RawValue>]) -> bool {
    let are_events = elements.iter().all(|one| is_event(one.get().as_bytes()));
    are_events && !elements.is_empty()
}

async fn each_is_answered(sent: usize, answer: Response) -> Checked {
    let answered = events_of(&whole(answer).await?)?.len();
    hold!(sent == answered, "{sent} events had {answered} answers");
    Ok(())
}

async fn whole(answer: Response) -> Result<Bytes, String> {
    let body = answer.into_body().collect().await;
    let body = body.map_err(|error| error.to_string())?;
    Ok(body.to_bytes())
}

fn events_of(answer: &[u8]) -> Result<Vec<Fields>, String> {
    let events = serde_json::from_str(fields(answer)?["events"].get());
    events.map_err(|error| error.to_string())
}

/// A line that has to be answered: its number, and whether its event is taken.
type DueAnswer = (usize, bool);

fn due_answers(body: &[u8]) -> Vec<DueAnswer> {
    let mut due = Vec::new();
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        match std::str::from_utf8(line) {
            // A blank line has no answer, but it counts: publishers count lines as sent.
            Ok(text) if text.trim().is_empty() => {}
            Ok(_) => due.push((number, is_event(line))),
            // What is not text ends the stream.
            Err(_) => {
                due.push((number, false));
                break;
            }
        }
    }
    due
}

async fn lines_are_answered(bus: Bus, body: &[u8]) -> Checked {
    // The order of the answers is that of the lines.
    let (answers, due) = (line_answers(bus, body).await?, due_answers(body));
    let count = answers.len();
    hold!(count == due.len(), "{count} answers, {due:?} were due");
    let mut pairs = answers.iter().zip(due);
    pairs.try_for_each(|(answer, due)| line_is_answered(answer, due))
}

async fn line_answers(bus: Bus, body: &[u8]) -> Result<Vec<Fields>, String> {
    let body = Body::from(body.to_vec());
    let answer = whole(ndjson::publish(
        bus,
        &Caller::anonymous(),
        body,
        TracedStream::off(),
    ))
    .await?;
    let lines = answer.split_inclusive(|byte| *byte == b'\n');
    lines.map(fields).collect()
}

/// A receipt has a vid; a refusal has the line's number.
fn line_is_answered(answer: &Fields, (number, is_taken): DueAnswer) -> Checked {
    let line = answer.get("line").map(|line| line.get().to_owned());
    // Only by its number can a publisher find the event that was refused.
    let is_numbered = is_taken || line == Some(number.to_string());
    let is_right = answer.contains_key("vid") == is_taken && is_numbered;
    hold!(is_right, "line {number} was answered {answer:?}");
    Ok(())
}

/// A `PublishRequest`: what is taken keeps every field, also when a reader decodes it again.
pub fn grpc_publish(message: &[u8]) -> Checked {
    let Ok(request) = proto::PublishRequest::decode(message) else {
        return Ok(());
    };

    // Refusing is allowed here: what counts is that nothing changes that is taken.
    let Ok(events) = grpc::batch(idle_bus(), request.clone()) else {
        return Ok(());
    };
    let (sent, taken) = (request.events.len(), events.len());
    hold!(sent == taken, "{sent} events became {taken}");
    let mut pairs = request.events.into_iter().zip(events);
    pairs.try_for_each(|(sent, taken)| keeps_every_field(sent, &taken))
}

fn keeps_every_field(sent: proto::NewEvent, taken: &NewEvent) -> Checked {
    reads_back(taken)?;
    let read = decoded_again(taken)?;
    // The content type is checked by itself, as it may have been found by the gateway.
    content_type_is_kept(sent.content_type.trim(), &read.content_type)?;
    let expected = expected_message(sent, read.content_type.clone());
    hold!(read == expected, "{expected:?} was read as {read:?}");
    Ok(())
}

/// Where none was given, one that fits the data is shown.
fn content_type_is_kept(given: &str, shown: &str) -> Checked {
    let is_kept = given.is_empty() || given == shown;
    hold!(is_kept, "the content type {given:?} became {shown:?}");
    Ok(())
}

const TIME_MS: i64 = 1500;
const TIME: prost_types::Timestamp = prost_types::Timestamp {
    seconds: 1,
    nanos: 500_000_000,
};

fn decoded_again(event: &NewEvent) -> Result<client_proto::Event, String> {
    let encoded = grpc::encode_event(&Event::new(VID, TIME_MS, event.clone()));
    let read = client_proto::Event::decode(&*encoded);
    read.map_err(|error| format!("{event:?}: {error}"))
}

fn expected_message(sent: proto::NewEvent, content_type: String) -> client_proto::Event {
    client_proto::Event {
        vid: VID,
        topic: sent.topic,
        time: Some(TIME),
        r#type: sent.r#type,
        id: sent.id,
        content_type,
        data: sent.data,
        headers: sent.headers,
    }
}
