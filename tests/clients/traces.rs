//! Spans of publishing, as a collector with the messages of OpenTelemetry's own package reads them.

use serde_json::{Value, json};

use crate::common::gateway::{Gateway, Setup};
use crate::python;
use crate::tools::Running;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector, and a gateway that sends it the spans of this part of the publishing.
async fn start(sample_ratio: &str) -> (Running, Gateway) {
    let mut collector = python::start_alone("collector.py");
    let port = collector.line().await.expect("its port");
    let gateway = Gateway::start_with(Setup {
        config: format!("[tracing]\nsample_ratio = {sample_ratio}"),
        flags: [
            "--otlp-endpoint".to_owned(),
            format!("http://127.0.0.1:{port}"),
        ]
        .into(),
        ..Setup::default()
    });
    (collector, gateway)
}

/// All spans, once the gateway has ended.
async fn spans(collector: Running, mut gateway: Gateway) -> Vec<Value> {
    gateway.terminate().await;
    let lines = collector.end().await.ok();
    let spans = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    spans.collect()
}

/// Posts with a `traceparent`, where there is one.
async fn post(gateway: &Gateway, path: &str, flags: Option<&str>, body: &str) -> u16 {
    let mut request = reqwest::Client::new().post(format!("{}{path}", gateway.url()));
    if let Some(flags) = flags {
        request = request.header("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"));
    }
    let request = request.header("content-type", "application/json");
    let answer = request
        .body(body.to_owned())
        .send()
        .await
        .expect("an answer");
    answer.status().as_u16()
}

fn named<'s>(spans: &'s [Value], name: &str) -> Vec<&'s Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

/// What is said of a batch: events, topics, bytes, last vid, outcome, duplicates.
fn facts(span: &Value) -> Value {
    let said = &span["attributes"];
    json!([
        said["messaging.batch.message_count"],
        said["vidette.topics"],
        said["vidette.data_bytes"],
        said["vidette.last_vid"],
        said["vidette.outcome"],
        said["vidette.duplicate"],
    ])
}

#[tokio::test]
async fn publishing_is_a_span_of_its_callers_trace_with_its_append_and_sync_below() {
    let (collector, gateway) = start("0.0").await;
    let batch = json!([
        { "topic": "door.1", "data": "secret", "id": "a" },
        { "topic": "door.2", "data": 1 },
    ]);
    let sampled = Some("01");
    assert_eq!(
        post(&gateway, "/v1/events", sampled, &batch.to_string()).await,
        200
    );
    let again = json!({ "topic": "door.1", "data": "secret", "id": "a" }).to_string();
    assert_eq!(post(&gateway, "/v1/events", sampled, &again).await, 200);
    assert_eq!(post(&gateway, "/v1/topics/door.1", sampled, "{").await, 400);
    for unsampled in [Some("00"), None] {
        assert_eq!(
            post(&gateway, "/v1/topics/door.1", unsampled, "1").await,
            200
        );
    }

    let spans = spans(collector, gateway).await;
    let published = named(&spans, "publish");
    let said: Vec<_> = published.iter().map(|span| facts(span)).collect();
    let expected = [
        json!([2, 2, 9, 2, "published", false]),
        json!([1, 1, 8, 1, "published", true]),
        json!([0, 0, 0, null, "bad-request", null]),
    ];
    assert_eq!(said, expected, "{spans:#?}");
    for span in &published {
        assert_eq!([&span["trace"], &span["parent"]], [TRACE, CALLER], "{span}");
        assert_eq!(span["resource"]["service.name"], "vidette");
        assert_eq!(span["attributes"]["vidette.engine"], "sqlite");
        let is_refused = span["attributes"]["vidette.outcome"] == "bad-request";
        assert_eq!(span["status"] == 2, is_refused, "{span}");
    }

    let time = |span: &Value| {
        let [begun, ended] = ["begun", "ended"].map(|at| span[at].as_u64().expect("a time"));
        begun..=ended
    };
    let (appends, syncs) = (named(&spans, "append"), named(&spans, "sync"));
    assert_eq!((appends.len(), syncs.len()), (2, 2), "{spans:#?}");
    for (parent, child) in published
        .iter()
        .zip(&appends)
        .chain(appends.iter().zip(&syncs))
    {
        assert_eq!(child["trace"], TRACE);
        assert_eq!(child["parent"], parent["id"]);
        let (outer, inner) = (time(parent), time(child));
        let is_within = outer.contains(inner.start()) && outer.contains(inner.end());
        assert!(is_within, "{child} is not within {parent}");
    }
    let text = format!("{spans:?}");
    assert!(!text.contains("secret") && !text.contains("door"), "{text}");
}

#[tokio::test]
async fn a_trace_that_begins_here_is_kept_by_its_event_and_streams_have_a_span_a_batch() {
    let (collector, gateway) = start("1.0").await;
    assert_eq!(post(&gateway, "/v1/topics/door.1", None, "1").await, 200);
    let own = format!("00-{TRACE}-{CALLER}-01");
    let lines = [
        json!({ "topic": "door.1", "data": 2 }),
        json!({ "topic": "door.1", "data": 3, "headers": { "traceparent": own } }),
    ]
    .map(|line| format!("{line}\n"));
    let request = reqwest::Client::new().post(format!("{}/v1/events", gateway.url()));
    let request = request.header("content-type", "application/x-ndjson");
    let answer = request
        .body(lines.concat())
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.text().await.expect("lines").lines().count(), 2);

    let events = gateway.get("/v1/poll?after=0&wait=0").await;
    let kept = |index: usize| {
        let kept = events["events"][index]["headers"]["traceparent"].as_str();
        kept.expect("a trace").to_owned()
    };
    let spans = spans(collector, gateway).await;
    let published = named(&spans, "publish");
    let text = |part: &Value| part.as_str().expect("a text").to_owned();
    for (index, span) in published.iter().take(2).enumerate() {
        let begun = format!("00-{}-{}-01", text(&span["trace"]), text(&span["id"]));
        assert_eq!((kept(index), text(&span["parent"])), (begun, String::new()));
    }
    assert_eq!(kept(2), own);
    assert_eq!(
        [&published[2]["trace"], &published[2]["parent"]],
        [TRACE, CALLER]
    );
    let by = published
        .iter()
        .map(|span| text(&span["attributes"]["vidette.transport"]));
    assert_eq!(by.collect::<Vec<_>>(), ["http", "ndjson", "ndjson"]);
}
