//! Events published per second.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clients::{
    Busy, Call, Pair, Who, addresses, curl, exhausted, exhausted_line, grpcio, grpcurl, pairs,
    refused, status,
};
use crate::common::gateway::{Gateway, PATIENCE};
use crate::tools::Output;

/// The ways to publish so many events at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publisher {
    /// One event, whatever the number.
    Object,
    Topic,
    Batch,
    Grpcurl,
    Grpcio,
    /// One batch on a stream.
    GrpcioStream,
}

const PUBLISHERS: [Publisher; 6] = [
    Publisher::Object,
    Publisher::Topic,
    Publisher::Batch,
    Publisher::Grpcurl,
    Publisher::Grpcio,
    Publisher::GrpcioStream,
];

/// What a client may publish at once in these tests, at one event a second.
const BURST: u32 = 40;
const SLOWLY: &str = "published_events_per_second = 1\npublished_events_burst = 40";

fn json_type(call: Call, body: &str) -> Call {
    call.with(&["-H", "content-type: application/json", "-d", body])
}

fn batch(events: u32) -> Value {
    let event = |n| json!({ "topic": "door.1", "data": n });
    (1..=events).map(event).collect()
}

/// The same as gRPC has it.
fn grpc_batch(events: u32) -> Value {
    let event = |_| json!({ "topic": "door.1", "data": "MQ==" });
    json!({ "events": (0..events).map(event).collect::<Value>() })
}

impl Publisher {
    fn call(self, gateway: &Gateway, who: &Who, events: u32) -> Call {
        let (count, path) = (events.to_string(), "/v1/events");
        match self {
            Publisher::Object => json_type(curl(gateway, who, path), &batch(1)[0].to_string()),
            Publisher::Topic => json_type(curl(gateway, who, "/v1/topics/door.1"), "1"),
            Publisher::Batch => json_type(curl(gateway, who, path), &batch(events).to_string()),
            Publisher::Grpcurl => grpcurl(
                gateway,
                &who.flags(),
                "Publish",
                &grpc_batch(events).to_string(),
            ),
            Publisher::Grpcio => grpcio(gateway, who, &["publish", &count, &count]),
            Publisher::GrpcioStream => grpcio(gateway, who, &["publish-stream", &count, &count]),
        }
    }

    /// Of one event each, so that a token that has come back meanwhile may let one through.
    fn is_of_one(self) -> bool {
        matches!(self, Publisher::Object | Publisher::Topic)
    }

    /// What it was told; none where it has published.
    fn busy(self, output: &Output, expected: u16) -> Option<Busy> {
        match self {
            Publisher::Object | Publisher::Topic | Publisher::Batch => {
                (status(output) != 200).then(|| refused(output, expected))
            }
            Publisher::Grpcurl => (output.code() != 0).then(|| exhausted(output)),
            Publisher::Grpcio | Publisher::GrpcioStream => {
                let has_published = output.stdout.starts_with("published");
                (!has_published).then(|| exhausted_line(&output.stdout))
            }
        }
    }
}

async fn events_in(gateway: &Gateway) -> u64 {
    gateway.get("/v1/bus").await["events"]
        .as_u64()
        .expect("a number")
}

/// Publishes until it is refused; how many events were taken before.
async fn publish_until_refused(publisher: Publisher, gateway: &Gateway, who: &Who) -> (u64, Busy) {
    let begun = Instant::now();
    let events = if publisher.is_of_one() { 1 } else { BURST };
    let mut taken = 0;
    while begun.elapsed() < PATIENCE {
        let output = publisher.call(gateway, who, events).run().await;
        if let Some(busy) = publisher.busy(&output, 429) {
            return (taken, busy);
        }
        taken += u64::from(events);
    }
    panic!("{publisher:?} was never refused");
}

fn reason(pair: &Pair) -> String {
    format!(
        "vidette_refused_total{{reason=\"{}_publishing\"}}",
        pair.reason
    )
}

#[tokio::test]
async fn who_publishes_too_fast_is_refused_in_each_way_and_another_is_served() {
    for pair in &pairs() {
        let gateway = pair.gateway(SLOWLY);
        let begun = Instant::now();
        let burst = Publisher::Batch
            .call(&gateway, &pair.one, BURST)
            .run()
            .await;
        assert_eq!(status(&burst), 200, "a burst passes: {burst:?}");

        let mut taken = u64::from(BURST);
        for (refusals, publisher) in (1..).zip(PUBLISHERS) {
            let (more, busy) = publish_until_refused(publisher, &gateway, &pair.one).await;
            taken += more;
            assert!(busy.is_passing, "{publisher:?}: {busy:?}");
            let setting = format!("{}.published_events_per_second", pair.section);
            assert!(busy.detail.contains(&setting), "{publisher:?}: {busy:?}");
            let counted = gateway.metric(&reason(pair)).await;
            assert!(
                (counted - f64::from(refusals)).abs() < 0.5,
                "{publisher:?}: {counted}"
            );
            assert_eq!(
                events_in(&gateway).await,
                taken,
                "all or nothing: {publisher:?}"
            );
        }
        let refilled = begun.elapsed().as_secs() + 1;
        assert!(
            taken <= u64::from(BURST) + refilled,
            "{taken} after {refilled} s"
        );

        let other = Publisher::Batch
            .call(&gateway, &pair.other, BURST)
            .run()
            .await;
        assert_eq!(status(&other), 200, "{other:?}");
    }
}

#[tokio::test]
async fn a_batch_larger_than_a_burst_is_too_large_in_each_way() {
    let pair = addresses();
    let gateway = pair.gateway(SLOWLY);
    for publisher in PUBLISHERS.into_iter().filter(|way| !way.is_of_one()) {
        let output = publisher.call(&gateway, &pair.one, BURST + 1).run().await;
        let busy = publisher.busy(&output, 413).expect("refused");
        assert!(!busy.is_passing, "{publisher:?}: {busy:?}");
        assert!(busy.detail.contains("published_events_burst"), "{busy:?}");
    }
    assert_eq!(events_in(&gateway).await, 0);
    let burst = Publisher::Batch
        .call(&gateway, &pair.one, BURST)
        .run()
        .await;
    assert_eq!(
        status(&burst),
        200,
        "who was refused has taken no tokens: {burst:?}"
    );
}

/// Streams are held back to this rate, beyond a burst of as many.
const RATE: u32 = 25;
/// What each stream sends.
const EVENTS: u32 = 60;

/// Streams of an event a line or message.
fn streams(gateway: &Gateway, who: &Who) -> [Call; 3] {
    let lines: String = (1..=EVENTS)
        .map(|n| json!({ "topic": "curl.stream", "data": n }).to_string() + "\n")
        .collect();
    let ndjson = [
        "-H",
        "content-type: application/x-ndjson",
        "--data-binary",
        &lines,
    ];
    let messages: String = (1..=EVENTS)
        .map(|_| {
            let event = json!({ "topic": "grpcurl.stream", "data": "MQ==" });
            json!({ "events": [event] }).to_string()
        })
        .collect();
    let count = EVENTS.to_string();
    [
        curl(gateway, who, "/v1/events").with(&ndjson),
        grpcurl(gateway, &who.flags(), "PublishStream", &messages),
        grpcio(gateway, who, &["publish-stream", &count, "1"]),
    ]
}

#[tokio::test]
async fn a_stream_over_its_rate_is_slowed_and_loses_nothing() {
    for pair in &pairs() {
        let settings =
            format!("published_events_per_second = {RATE}\npublished_events_burst = {RATE}");
        let gateway = pair.gateway(&settings);
        let begun = Instant::now();
        for stream in streams(&gateway, &pair.one) {
            let output = stream.run().await;
            assert!(output.status.success(), "{output:?}");
            assert!(!output.stdout.contains("error"), "{output:?}");
        }
        // The gateway's clock: a slow machine only takes longer.
        let held_back = Duration::from_secs(1) * (3 * EVENTS - RATE) / RATE;
        assert!(begun.elapsed() >= held_back, "{:?}", begun.elapsed());

        assert_eq!(events_in(&gateway).await, 3 * u64::from(EVENTS));
        let in_order = (1..=EVENTS).collect::<Value>();
        for topic in ["curl.stream", "python.stream"] {
            let path = format!("/v1/poll?topic={topic}&after=earliest&wait=0");
            let answer = gateway.get(&path).await;
            let events = answer["events"].as_array().expect("events").iter();
            let read: Value = events.map(|event| event["data"].clone()).collect();
            assert_eq!(read, in_order, "{topic}");
        }
    }
}
