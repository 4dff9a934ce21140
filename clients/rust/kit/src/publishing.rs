//! What a `publish` asks for, and a receipt for each of its events.

use futures_util::stream;
use serde_json::{Value, json};
use vidette::client::{
    Client, ClientError, ClientErrorKind, EventParts, NewEvent, PublishLine, PublishReceipt,
    PublishReport,
};
use vidette::limits::MAX_EVENT_BYTES_CEILING;

use crate::say;

/// Publishes the events of a command, and says what becomes of each.
pub(crate) async fn publish(client: Client, command: Value) {
    let events: Vec<NewEvent> = command["events"]
        .as_array()
        .into_iter()
        .flatten()
        .map(event)
        .collect();
    let ref_name = &command["ref"];

    match command["mode"].as_str() {
        Some("stream") => publish_stream(&client, ref_name, events).await,
        Some("batch") => {
            let count = events.len();
            say_all(ref_name, 0..count, client.publish_batch(events).await);
        }
        _ => {
            for (index, event) in events.into_iter().enumerate() {
                let receipt = client.publish(event).await.map(|receipt| vec![receipt]);
                say_all(ref_name, index..index + 1, receipt);
            }
        }
    }
}

async fn publish_stream(client: &Client, ref_name: &Value, events: Vec<NewEvent>) {
    let lines = events.iter().enumerate();
    let lines: Vec<_> = lines
        .map(|(index, event)| Ok(PublishLine::new(index, event)))
        .collect();
    let mut publisher = client.publisher(stream::iter(lines)).wait_at_first();

    while let Some(report) = publisher.next().await {
        match report {
            Ok(PublishReport::Published { key, receipt }) => say_receipt(ref_name, key, &receipt),
            Ok(PublishReport::Refused { key, reason }) => {
                let line = json!({"error": "other", "message": reason});
                say_failure(ref_name, key, line);
            }
            Ok(_) => {}
            Err(error) => {
                for index in publisher.unsettled() {
                    say_failure(ref_name, *index, failure(&error));
                }
            }
        }
    }
}

fn event(fields: &Value) -> NewEvent {
    let parts = EventParts {
        topic: fields["topic"].as_str().unwrap_or_default(),
        kind: fields["type"].as_str(),
        id: fields["id"].as_str(),
        content_type: Some("application/json"),
        data: fields["data"].to_string().into(),
        ..EventParts::default()
    };
    NewEvent::check(parts, MAX_EVENT_BYTES_CEILING).expect("the kit's events are right")
}

fn say_all(
    ref_name: &Value,
    indexes: std::ops::Range<usize>,
    outcome: Result<Vec<PublishReceipt>, ClientError>,
) {
    match outcome {
        Ok(receipts) => {
            for (index, receipt) in indexes.zip(&receipts) {
                say_receipt(ref_name, index, receipt);
            }
        }
        Err(error) => {
            for index in indexes {
                say_failure(ref_name, index, failure(&error));
            }
        }
    }
}

fn say_receipt(ref_name: &Value, index: usize, receipt: &PublishReceipt) {
    say(&json!({
        "say": "receipt", "ref": ref_name, "index": index, "vid": receipt.vid,
        "cursor": receipt.cursor, "duplicate": receipt.duplicate,
    }));
}

fn say_failure(ref_name: &Value, index: usize, mut line: Value) {
    line["say"] = json!("receipt");
    line["ref"] = ref_name.clone();
    line["index"] = json!(index);
    say(&line);
}

fn failure(error: &ClientError) -> Value {
    match (error.kind(), error.status()) {
        (ClientErrorKind::OutcomeUnknown, _) => json!({"error": "outcome_unknown"}),
        (_, Some(status)) => json!({"error": "status", "status": status}),
        _ => json!({"error": "other", "message": error.to_string()}),
    }
}
