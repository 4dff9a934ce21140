//! Publishing: each event once, also when answers are lost.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use vidette::client::{Client, ClientErrorKind, EventParts, NewEvent, PublishLine, PublishReport};

use crate::common::gateway::{Gateway, Setup};
use crate::scripted::{Scene, ScriptedServer, answer};

fn event(topic: &str, data: &str) -> NewEvent {
    let parts = EventParts {
        topic,
        data: data.to_owned().into(),
        ..EventParts::default()
    };
    NewEvent::check(parts, 1000).expect("an event")
}

fn client(url: &str) -> Client {
    Client::new(url).expect("an address")
}

#[tokio::test]
async fn an_event_and_a_batch_are_published_as_they_are() {
    let gateway = Gateway::in_memory();
    let client = client(&gateway.url());
    let receipt = client.publish(event("a", "{\"n\": 1.50}")).await;
    let receipt = receipt.expect("it is published");
    assert_eq!((receipt.vid, receipt.duplicate), (1, false));

    let bytes = EventParts {
        topic: "b",
        kind: Some("t"),
        id: Some("own"),
        headers: vec![("h".into(), "1".into())],
        data: vec![0xff, 0].into(),
        ..EventParts::default()
    };
    let bytes = NewEvent::check(bytes, 1000).expect("an event");
    let batch = vec![bytes.clone(), event("c", "words"), bytes];
    let receipts = client.publish_batch(batch).await.expect("published");
    let vids: Vec<_> = receipts.iter().map(|r| (r.vid, r.duplicate)).collect();
    assert_eq!(vids, [(2, false), (3, false), (2, true)]);

    let events = gateway.get("/v1/poll?after=earliest&wait=0").await["events"].clone();
    assert_eq!(events[0]["data"].to_string(), "{\"n\":1.5}");
    assert_eq!(events[0]["id"].as_str().map(str::len), Some(36));
    assert_eq!(events[1]["data_base64"], "/wA=");
    assert_eq!(events[1]["headers"], json!({ "h": "1" }));
    assert_eq!(
        (&events[1]["type"], &events[1]["id"]),
        (&json!("t"), &json!("own"))
    );
    assert_eq!(events[2]["data"], "words");
}

/// The ids of the events that a request carries.
fn ids(request: &str) -> Vec<Value> {
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    let event: Value = serde_json::from_str(body).expect("an event");
    vec![event["id"].clone()]
}

const RECEIPT: &str = r#"{"events":[{"vid":7,"cursor":"7-abcdef","duplicate":true}]}"#;

#[tokio::test]
async fn what_is_not_answered_is_sent_again_with_the_same_id() {
    let server = ScriptedServer::play(vec![
        Scene::Nothing,
        answer("503 Unavailable", "text/plain", "", ""),
        answer("200 OK", "application/json", "", RECEIPT),
    ])
    .await;
    let receipt = client(&server.url()).publish(event("a", "1")).await;
    let receipt = receipt.expect("it is published");
    assert_eq!((receipt.vid, receipt.duplicate), (7, true));
    let sent: Vec<_> = server.requests().iter().map(|r| ids(r)).collect();
    assert!(sent.len() == 3 && sent[0][0].is_string(), "{sent:?}");
    assert!(sent.iter().all(|ids| *ids == sent[0]), "{sent:?}");
}

#[tokio::test]
async fn a_refusal_is_final_and_an_outcome_that_nobody_knows_is_called_so() {
    let refusing = answer("400 Bad Request", "text/plain", "", "");
    let server = ScriptedServer::play(vec![refusing]).await;
    let error = client(&server.url()).publish(event("a", "1")).await;
    assert_eq!(error.expect_err("no").kind(), ClientErrorKind::Refused);
    assert_eq!(server.requests().len(), 1);

    let server = ScriptedServer::play(vec![Scene::Nothing]).await;
    let client = client(&server.url());
    // The first wait is half a second at most.
    for (retry_for, tries) in [(Duration::ZERO, 1..=1), (Duration::from_secs(1), 2..=100)] {
        let before = server.requests().len();
        let client = client.clone().retry_for(retry_for);
        let error = client
            .publish(event("a", "1"))
            .await
            .expect_err("no answer");
        assert_eq!(error.kind(), ClientErrorKind::OutcomeUnknown);
        assert!(tries.contains(&(server.requests().len() - before)));
    }
}

/// The same client over each wire.
fn over_each_wire(url: &str) -> [Client; 2] {
    let over_grpc = client(url).publish_over_grpc().expect("an address");
    [client(url), over_grpc]
}

#[tokio::test]
async fn over_grpc_an_event_and_a_batch_are_published_and_a_refusal_is_final() {
    let gateway = Gateway::in_memory();
    let [_, client] = over_each_wire(&gateway.url());
    let receipt = client.publish(event("a", "{\"n\": 1.50}")).await;
    let receipt = receipt.expect("it is published");
    assert_eq!((receipt.vid, receipt.duplicate), (1, false));
    let batch = vec![event("b", "words"), event("c", "2")];
    let receipts = client.publish_batch(batch).await.expect("published");
    assert_eq!(receipts.iter().map(|r| r.vid).collect::<Vec<_>>(), [2, 3]);
    let events = gateway.get("/v1/poll?after=earliest&wait=0").await["events"].clone();
    assert_eq!(
        (&events[0]["data"]["n"], &events[1]["data"]),
        (&json!(1.5), &json!("words"))
    );

    let error = client.publish_batch(Vec::new()).await;
    let error = error.expect_err("no event");
    assert_eq!(error.kind(), ClientErrorKind::Refused, "{error}");
    // A stream goes on behind a line that is refused.
    let lines = [
        "{\"topic\":\"a\",\"data\":1}",
        "nonsense",
        "{\"topic\":\"a\",\"data\":2}",
    ];
    let lines = lines.map(|line| Ok(PublishLine::from_json(line, line.into(), Some(line))));
    let reports = client.publisher(stream::iter(lines)).into_stream();
    let reports: Vec<_> = reports.try_collect().await.expect("no error");
    let refused = |report: &&PublishReport<_>| matches!(report, PublishReport::Refused { .. });
    assert_eq!(reports.iter().filter(refused).count(), 1, "{reports:?}");
    assert_eq!(gateway.get("/v1/bus").await["last"], 5);
}

#[tokio::test]
async fn a_stream_of_events_survives_kills_of_the_gateway_and_each_is_published_once() {
    for wire in 0..2 {
        survives_kills(wire).await;
    }
}

async fn survives_kills(wire: usize) {
    const EVENTS: usize = 3000;
    let mut gateway = Gateway::start_on_a_port_of_its_own(Setup::default());
    let lines = stream::iter(0..EVENTS).map(|number| {
        let mut event = event("a", &number.to_string());
        event.id = Some(format!("id-{number}").into());
        Ok(PublishLine::new(number, &event))
    });
    let client = over_each_wire(&gateway.url())[wire].clone();
    let mut publisher = client.publisher(lines);
    let mut keys = Vec::new();
    let mut next_kill = 500;
    while let Some(report) = publisher.next().await {
        match report.expect("it goes on") {
            PublishReport::Published { key, .. } => keys.push(key),
            PublishReport::Interrupted(_) => {}
            other => panic!("{other:?}"),
        }
        if keys.len() == next_kill {
            next_kill += 1000;
            gateway.kill();
            gateway.start_again();
        }
    }
    assert_eq!(keys, (0..EVENTS).collect::<Vec<_>>());
    assert_eq!(gateway.get("/v1/bus").await["last"], EVENTS);
}

#[tokio::test]
async fn a_publisher_that_is_stopped_reports_what_was_on_its_way_and_keeps_the_rest() {
    let gateway = Gateway::in_memory();
    let endless = stream::iter(0..).map(|number: u64| {
        let line = PublishLine::new(number, &event("a", "1"));
        Ok(line)
    });
    let mut publisher = client(&gateway.url()).publisher(endless);
    let mut count = 0;
    while let Some(report) = publisher.next().await {
        let report = report.expect("no error");
        assert!(matches!(report, PublishReport::Published { key, .. } if key == count));
        count += 1;
        if count == 100 {
            publisher.stop();
        }
    }
    assert_eq!(gateway.get("/v1/bus").await["last"], count);
    // What was not sent is kept, and is what comes next.
    let left: Vec<_> = publisher.unsettled().copied().collect();
    assert_eq!(left, (count..).take(left.len()).collect::<Vec<_>>());
}

#[tokio::test]
async fn reports_are_a_stream_too_and_a_bad_line_does_not_stop_the_others() {
    let gateway = Gateway::in_memory();
    let lines = [
        "{\"topic\":\"a\",\"data\":1}",
        "nonsense",
        "{\"topic\":\"a\",\"data\":2}",
    ];
    let lines = lines.map(|line| Ok(PublishLine::from_json(line, line.into(), None)));
    let publisher = client(&gateway.url()).publisher(stream::iter(lines));
    let reports: Vec<_> = publisher
        .into_stream()
        .try_collect()
        .await
        .expect("no error");
    let is_published: Vec<_> = reports
        .iter()
        .map(|report| matches!(report, PublishReport::Published { .. }))
        .collect();
    assert_eq!(is_published, [true, false, true]);
    assert_eq!(gateway.get("/v1/bus").await["last"], 2);
}
