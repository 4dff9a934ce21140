//! Requests and answers that are compressed (RFC 9110 §8.4, §15.5.16; gRPC "Compression").

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use vidette::proto::{
    GetBusRequest, ListTopicsRequest, NewEvent, PublishRequest, SubscribeRequest,
};

use super::support::{Answer, assert_serves, gateway, gateways};
use crate::common::gateway::Gateway;
use crate::common::grpc::client;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

async fn post(gateway: &Gateway, path: &str, encoding: &str, body: Vec<u8>) -> Answer {
    let content_type = if body.is_empty() || !path.contains("ndjson") {
        "application/json"
    } else {
        "application/x-ndjson"
    };
    let request = reqwest::Client::new()
        .post(format!(
            "{}{}",
            gateway.url(),
            path.trim_end_matches("#ndjson")
        ))
        .header("content-type", content_type)
        .header("content-encoding", encoding)
        .body(body);
    Answer::of(request.send().await.expect("an answer")).await
}

#[tokio::test]
async fn a_compressed_publish_is_the_same_publish() {
    for (engine, gateway) in gateways("") {
        let batch = r#"[{"topic":"door.1","data":2},{"topic":"door.1","data":3}]"#;
        let lines = "{\"topic\":\"door.1\",\"data\":4}\n{\"topic\":\"door.1\",\"data\":5}\n";
        for (path, encoding, body) in [
            ("/v1/topics/door.1", "gzip", "1"),
            ("/v1/events", "GZIP", batch),
            ("/v1/events#ndjson", "x-gzip", lines),
            (
                "/v1/events",
                "identity, gzip",
                "{\"topic\":\"door.1\",\"data\":6}",
            ),
        ] {
            let answer = post(&gateway, path, encoding, gzip(body.as_bytes())).await;
            assert_eq!(answer.status, 200, "{engine} {path}: {}", answer.text);
        }
        let page = gateway.get("/v1/poll?after=earliest&wait=0").await;
        let events = page["events"].as_array().expect("events");
        let data: Vec<_> = events.iter().map(|event| event["data"].clone()).collect();
        assert_eq!(json!(data), json!([1, 2, 3, 4, 5, 6]), "{engine}");
        for wrong in [b"no gzip".to_vec(), gzip(b"{}")[..9].to_vec()] {
            post(&gateway, "/v1/events", "gzip", wrong)
                .await
                .problem(400);
        }
    }
}

#[tokio::test]
async fn another_encoding_is_refused_with_the_one_that_is_taken() {
    let gateway = gateway("memory", "");
    for path in ["/v1/topics/door.1", "/v1/events", "/v1/events#ndjson"] {
        for encoding in ["br", "deflate", "zstd", "gzip, gzip", "nonsense"] {
            let answer = post(&gateway, path, encoding, b"{}".to_vec()).await;
            let detail = answer.problem(415);
            assert!(detail.contains(encoding), "{detail}");
            assert_eq!(answer.header("accept-encoding"), Some("gzip"));
        }
    }
    assert_eq!(gateway.get("/v1/bus").await["last"], 0);
}

/// The most memory that the gateway ever had, in MiB.
fn peak_mib(gateway: &Gateway) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") / 1024
}

/// A kilobyte of gzip decodes to a megabyte, and a file may have any number of such members.
#[tokio::test]
async fn a_body_that_decodes_to_a_gigabyte_is_refused_at_its_bound() {
    let gateway = gateway("memory", "");
    let member = gzip(&vec![b' '; 8 << 20]);
    let bomb = member.repeat(128);
    let before = peak_mib(&gateway);
    for path in ["/v1/topics/door.1", "/v1/events"] {
        post(&gateway, path, "gzip", bomb.clone())
            .await
            .problem(413);
    }
    let answer = post(&gateway, "/v1/events#ndjson", "gzip", bomb).await;
    assert_eq!(answer.lines()[0]["error"]["status"], 413, "{}", answer.text);
    let grown = peak_mib(&gateway) - before;
    assert!(grown < 100, "{grown} MiB more than before");
    assert_serves(&gateway, "bombs").await;
}

fn numbered(number: usize) -> NewEvent {
    NewEvent {
        topic: format!("door.{number}"),
        data: number.to_string().into(),
        ..NewEvent::default()
    }
}

#[tokio::test]
async fn grpc_calls_are_taken_and_answered_compressed() {
    let gateway = gateway("memory", "");
    let mut client = client(&gateway.url())
        .await
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    let many = PublishRequest {
        events: (1..=1000).map(numbered).collect(),
    };
    let answer = client.publish(many).await.expect("an answer");
    assert_eq!(
        answer.metadata().get("grpc-encoding").expect("gzip"),
        "gzip"
    );
    assert_eq!(answer.get_ref().last_vid, 1000);

    let requests = tokio_stream::iter((1001..=1003).map(|number| PublishRequest {
        events: vec![numbered(number)],
    }));
    let mut acks = client
        .publish_stream(requests)
        .await
        .expect("a stream")
        .into_inner();
    let mut last = 0;
    while let Some(ack) = acks.next().await {
        last = ack.expect("an acknowledgement").last_vid;
    }
    assert_eq!(last, 1003);
    let topics = client
        .list_topics(ListTopicsRequest::default())
        .await
        .expect("topics");
    assert_eq!(
        topics.metadata().get("grpc-encoding").expect("gzip"),
        "gzip"
    );
    assert_eq!(topics.get_ref().topics.len(), 1000);
    client
        .get_bus(GetBusRequest::default())
        .await
        .expect("the bus");

    let request = SubscribeRequest {
        topic: vec!["door.1003".to_owned()],
        after: "earliest".to_owned(),
        limit: 1,
        ..SubscribeRequest::default()
    };
    let mut steps = client
        .subscribe(request)
        .await
        .expect("a stream")
        .into_inner();
    let mut count = 0;
    while let Some(step) = steps.message().await.expect("no error") {
        count += usize::from(step.message.is_some());
    }
    assert_eq!(count, 2, "a greeting and an event");
}

#[tokio::test]
async fn a_grpc_message_that_decodes_beyond_the_bound_is_refused() {
    let gateway = gateway("memory", "");
    let client = client(&gateway.url()).await;
    let mut client = client.send_compressed(CompressionEncoding::Gzip);
    let before = peak_mib(&gateway);
    let event = NewEvent {
        topic: "door.1".to_owned(),
        data: vec![0; 40 << 20].into(),
        ..NewEvent::default()
    };
    let request = PublishRequest {
        events: vec![event],
    };
    let status = client.publish(request).await.expect_err("a refusal");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let grown = peak_mib(&gateway) - before;
    assert!(grown < 100, "{grown} MiB more than before");
    let request = SubscribeRequest {
        topic: vec!["a".repeat(40 << 20)],
        ..SubscribeRequest::default()
    };
    let status = client.subscribe(request).await.expect_err("a refusal");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}
