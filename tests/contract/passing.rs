//! What passes is reported within an event stream: an `EventSource` gives up for good on any status
//! but 200 (contract §4, §5).

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::support::{ENGINES, connect, gateway, get, open, refusal, send_raw};
use crate::common::gateway::Gateway;
use crate::common::read::{Refused, SubscribeParams, Transport};
use crate::common::sse::{Block, Parser};

/// A request that the driver for waiting pages takes, and one that hyper does.
const BY_BOTH_DRIVERS: [&str; 2] = ["", "Content-Length: 0\r\n"];

/// Asks for a stream by raw bytes, and gives the answer's head and blocks once it has ended.
async fn whole_stream(gateway: &Gateway, query: &str, header: &str) -> (String, Vec<Block>) {
    let request = format!(
        "GET /v1/sse{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{header}\r\n"
    );
    let mut answer = String::new();
    while answer.is_empty() {
        // A connection of a gateway that shuts down may end before its request is there.
        answer = send_raw(gateway, request.as_bytes()).await;
    }
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), Parser::default().feed(body.as_bytes()))
}

/// Checks that a stream says only that it ends, with a time for the next try; gives the reason.
fn farewell((head, blocks): &(String, Vec<Block>)) -> String {
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    let [block] = &blocks[..] else {
        panic!("{blocks:?} is not one block")
    };
    assert_eq!(block.event, "vidette.closing");
    assert!(!block.has_id, "the position does not move: {block:?}");
    let data: Value = serde_json::from_str(block.data.as_deref().expect("data")).expect("JSON");
    let retry_ms = block.retry.expect("a time for the next try");
    assert_eq!(data["retry_ms"], retry_ms);
    assert!((1000..=10_000).contains(&retry_ms), "{retry_ms}");
    data["reason"].as_str().expect("a reason").to_owned()
}

#[tokio::test]
async fn a_stream_too_many_is_closed_as_busy_and_other_wires_say_so_with_a_status() {
    for engine in ENGINES {
        let gateway = gateway(engine, "[limits]\nmax_subscribers = 1");
        let first = open(Transport::Grpc, &gateway, &SubscribeParams::default()).await;
        for header in BY_BOTH_DRIVERS {
            let mut retries = Vec::new();
            for _ in 0..5 {
                let stream = whole_stream(&gateway, "?after=earliest", header).await;
                assert_eq!(farewell(&stream), "busy", "{engine}");
                retries.push(stream.1[0].retry);
            }
            retries.dedup();
            assert!(retries.len() > 1, "all come back at once: {retries:?}");
        }
        for via in [Transport::Poll, Transport::Grpc] {
            let refused = refusal(via, &gateway, &SubscribeParams::default()).await;
            assert!(matches!(refused, Refused::TooMuch(_)), "{refused:?}");
        }
        let poll = get(&gateway, "/v1/poll").await;
        assert_eq!(poll.status, 429);
        assert!(poll.header("retry-after").is_some());

        // What the request does wrong stays an error.
        get(&gateway, "/v1/sse?topic=a..b").await.problem(400);
        get(&gateway, "/v1/sse?after=nonsense").await.problem(400);
        drop(first);
        gateway
            .until("there is capacity", || async {
                gateway.get("/v1/bus").await["subscribers"] == 0
            })
            .await;
        let (_, blocks) = whole_stream(&gateway, "?wait=0", "").await;
        assert_eq!(blocks[0].event, "vidette.hello");
        let gap = get(&gateway, "/v1/sse?after=1-another1&on_gap=fail").await;
        assert!(!gap.problem(410).is_empty());
    }
}

#[tokio::test]
async fn a_stream_that_is_opened_during_the_shutdown_is_closed_as_shutdown() {
    let mut gateway = Gateway::start();
    gateway
        .publish(&json!({ "topic": "door.1", "data": 1 }))
        .await;
    // A body that does not end keeps the gateway from ending.
    let mut unfinished = connect(&gateway).await;
    let head = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{";
    unfinished.write_all(head).await.expect("a request");
    let mut reader = open(Transport::Sse, &gateway, &SubscribeParams::default()).await;
    gateway.ask_to_end();
    while reader.next().await.expect("no error").is_some() {}

    for header in BY_BOTH_DRIVERS {
        let stream = whole_stream(&gateway, "?after=earliest", header).await;
        assert_eq!(farewell(&stream), "shutdown");
    }
    let refused = refusal(Transport::Grpc, &gateway, &SubscribeParams::default()).await;
    assert!(matches!(refused, Refused::Unavailable(_)), "{refused:?}");
    drop(unfinished);
    assert!(gateway.terminate().await.success(), "{}", gateway.log());
}

#[tokio::test]
async fn a_stream_says_why_it_ends() {
    let mut gateway = Gateway::in_memory();
    let url = format!("{}/v1/sse", gateway.url());
    let mut stream = reqwest::get(url).await.expect("a stream");
    stream.chunk().await.expect("a greeting");
    gateway.ask_to_end();
    let mut text = Vec::new();
    while let Some(chunk) = stream.chunk().await.expect("no error") {
        text.extend_from_slice(&chunk);
    }
    let blocks = Parser::default().feed(&text);
    let last = blocks.last().expect("a block");
    assert_eq!(last.event, "vidette.closing");
    let data: Value = serde_json::from_str(last.data.as_deref().expect("data")).expect("JSON");
    assert_eq!(data["reason"], "shutdown");
    assert!(gateway.terminate().await.success());
}
