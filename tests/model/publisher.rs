//! Publishing on every way in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vidette::caller::Caller;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use vidette::bus::Bus;
use vidette::event::{EventParts, NewEvent};
use vidette::proto;

use crate::common::grpc;
use crate::common::read::Data;
use crate::log::Entry;
use crate::script::Door;

/// Where each event of a batch stands, and whether it was there already.
pub type Receipts = Vec<(u64, bool)>;

pub fn now_ms() -> i64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970");
    i64::try_from(since_1970.as_millis()).expect("a time")
}

/// Waits until the clock is beyond this millisecond; what it says then.
pub async fn after_ms(ms: i64) -> i64 {
    while now_ms() <= ms {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    now_ms()
}

pub async fn publish(url: &str, bus: &Bus, entries: &[Entry], door: Door) -> Receipts {
    match (door, entries) {
        (Door::Grpc, _) => by_grpc(url, entries).await,
        (Door::Bus, _) => by_bus(bus, entries).await,
        (Door::Topic, [entry]) => vec![receipt(&by_topic(url, entry).await)],
        (_, [entry]) => vec![receipt(&post(url, object(entry)).await)],
        _ => by_batch(url, entries).await,
    }
}

async fn by_bus(bus: &Bus, entries: &[Entry]) -> Receipts {
    let check = |entry: &Entry| {
        let parts = EventParts {
            topic: entry.topic,
            kind: Some(&entry.kind),
            id: Some(&entry.id),
            content_type: Some(content_type(entry)),
            headers: Vec::new(),
            data: text(entry).to_owned().into(),
        };
        NewEvent::check(parts, 1 << 20).expect("an event")
    };
    let batch: Vec<_> = entries.iter().map(check).collect();
    let receipts = bus
        .publish(&Caller::gateway(), batch)
        .await
        .expect("published");
    receipts
        .into_iter()
        .map(|receipt| (receipt.vid, receipt.duplicate))
        .collect()
}

async fn by_grpc(url: &str, entries: &[Entry]) -> Receipts {
    let event = |entry: &Entry| proto::NewEvent {
        topic: entry.topic.into(),
        r#type: entry.kind.clone(),
        id: entry.id.clone(),
        content_type: content_type(entry).into(),
        data: text(entry).to_owned().into(),
        ..proto::NewEvent::default()
    };
    let request = proto::PublishRequest {
        events: entries.iter().map(event).collect(),
    };
    let published = grpc::client(url)
        .await
        .publish(request)
        .await
        .expect("published")
        .into_inner();
    let receipts = published
        .events
        .into_iter()
        .map(|event| (event.vid, event.duplicate))
        .collect();
    assert_eq!(
        (Some(published.first_vid), Some(published.last_vid)),
        range(&receipts)
    );
    receipts
}

/// The smallest and the largest vid; duplicates are in no order.
fn range(receipts: &Receipts) -> (Option<u64>, Option<u64>) {
    let vids = || receipts.iter().map(|(vid, _)| *vid);
    (vids().min(), vids().max())
}

async fn by_batch(url: &str, entries: &[Entry]) -> Receipts {
    let batch: Vec<_> = entries.iter().map(object).collect();
    let answer = post(url, format!("[{}]", batch.join(","))).await;
    let receipts: Receipts = answer["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(receipt)
        .collect();
    assert_eq!(
        (answer["first_vid"].as_u64(), answer["last_vid"].as_u64()),
        range(&receipts),
        "{answer}"
    );
    receipts
}

async fn by_topic(url: &str, entry: &Entry) -> Value {
    let request = reqwest::Client::new()
        .post(format!("{url}/v1/topics/{}", entry.topic))
        .query(&[("type", &entry.kind), ("id", &entry.id)])
        .header("content-type", content_type(entry))
        .body(text(entry).to_owned());
    answer(request).await
}

async fn post(url: &str, body: String) -> Value {
    let request = reqwest::Client::new().post(format!("{url}/v1/events"));
    answer(
        request
            .header("content-type", "application/json")
            .body(body),
    )
    .await
}

async fn answer(request: reqwest::RequestBuilder) -> Value {
    let response = request.send().await.expect("an answer");
    let (status, text) = (response.status(), response.text().await.expect("a text"));
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

fn receipt(published: &Value) -> (u64, bool) {
    (
        published["vid"].as_u64().expect("a vid"),
        published["duplicate"].as_bool().unwrap_or(false),
    )
}

/// The JSON object of an event, its data byte for byte.
fn object(entry: &Entry) -> String {
    let data = match &entry.data {
        Data::Json(json) => json.clone(),
        other => json!(text_of(other)).to_string(),
    };
    let data = RawValue::from_string(data).expect("JSON");
    let [topic, kind, id] = [entry.topic, &entry.kind, &entry.id].map(|text| json!(text));
    let content_type = content_type(entry);
    format!(
        r#"{{"topic":{topic},"type":{kind},"id":{id},"content_type":"{content_type}","data":{}}}"#,
        data.get()
    )
}

fn content_type(entry: &Entry) -> &'static str {
    if matches!(entry.data, Data::Text(_)) {
        "text/plain"
    } else {
        "application/json"
    }
}

fn text(entry: &Entry) -> &str {
    text_of(&entry.data)
}

fn text_of(data: &Data) -> &str {
    match data {
        Data::Json(text) | Data::Text(text) => text,
        Data::Bytes(_) => unreachable!("no event here has bytes"),
    }
}
