//! Streams of publishers have their turns, too, and what was acknowledged is on the log.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::timeout;
use vidette::proto::{NewEvent, PublishRequest};

use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::common::grpc;
use crate::common::read::{SubscribeParams, Transport, read_all};

/// Streams of each kind.
const STREAMS: usize = 10;
/// Between two events of a stream.
const PAUSE: Duration = Duration::from_millis(20);

/// An event after the other, without an end.
fn numbers() -> impl futures_util::Stream<Item = u64> + Send + 'static {
    futures_util::stream::unfold(0_u64, |number| async move {
        tokio::time::sleep(PAUSE).await;
        Some((number, number + 1))
    })
}

/// Publishes lines until the gateway ends the answer; gives the vids that it acknowledged.
async fn lines(url: String) -> Vec<u64> {
    let line = |number| Ok::<_, std::io::Error>(format!("{{\"topic\":\"a\",\"data\":{number}}}\n"));
    let request = reqwest::Client::new()
        .post(format!("{url}/v1/events"))
        .header("content-type", "application/x-ndjson")
        .body(reqwest::Body::wrap_stream(numbers().map(line)));
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let (mut pieces, mut text) = (answer.bytes_stream(), Vec::new());
    while let Some(piece) = timeout(PATIENCE, pieces.next()).await.expect("in time") {
        text.extend_from_slice(&piece.expect("an end, and no reset"));
    }
    let acked = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["vid"].as_u64();
    let text = String::from_utf8(text).expect("text");
    text.lines()
        .map(|line| acked(line).expect("a vid"))
        .collect()
}

/// The same over gRPC, where the last answer says that the gateway is shutting down.
async fn calls(url: String) -> Vec<u64> {
    let request = |number: u64| PublishRequest {
        events: vec![NewEvent {
            topic: "a".into(),
            data: number.to_string().into(),
            ..NewEvent::default()
        }],
    };
    let mut client = grpc::client(&url).await;
    let answers = client.publish_stream(numbers().map(request)).await;
    let (mut answers, mut acked) = (answers.expect("a stream").into_inner(), Vec::new());
    loop {
        match timeout(PATIENCE, answers.message()).await.expect("in time") {
            Ok(Some(answer)) => acked.push(answer.last_vid),
            Ok(None) => panic!("it ended without a status"),
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::Unavailable);
                return acked;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_publishers_end_one_after_the_other_and_what_was_acknowledged_is_there() {
    let mut gateway = Gateway::start_on_a_port_of_its_own(Setup {
        config: "[drain]\nover = \"2s\"\n".to_owned(),
        ..Setup::default()
    });
    let url = gateway.url();
    let by_lines = (0..STREAMS).map(|_| tokio::spawn(lines(url.clone())));
    let by_calls = (0..STREAMS).map(|_| tokio::spawn(calls(url.clone())));
    let streams: Vec<_> = by_lines.chain(by_calls).collect();
    let last = || async { gateway.get("/v1/bus").await["last"].as_u64() };
    let is_begun = || async { last().await > Some(5 * STREAMS as u64) };
    gateway.until("all publish", is_begun).await;
    let before = last().await.expect("a vid");

    gateway.ask_to_end();
    let acked = join_all(streams).await;
    let acked: Vec<Vec<u64>> = acked
        .into_iter()
        .map(|one| one.expect("a stream"))
        .collect();
    assert!(gateway.ended().await.success(), "{}", gateway.log());

    // Some ended while most went on, and some went on when most had ended.
    let ends: Vec<u64> = acked
        .iter()
        .map(|one| one.last().copied().unwrap_or(0))
        .collect();
    let newest = ends.iter().max().copied().unwrap_or(0);
    let half = before.midpoint(newest);
    let early = ends.iter().filter(|end| **end < half).count();
    assert!(
        newest > before && (2..=2 * STREAMS - 2).contains(&early),
        "{before}: {ends:?}"
    );

    // Nothing of what was acknowledged is missing.
    gateway.start_again();
    let there = read_all(Transport::Sse, &gateway, &SubscribeParams::earliest()).await;
    let there: std::collections::HashSet<u64> = there.iter().map(|seen| seen.vid).collect();
    for vids in &acked {
        assert!(
            vids.is_sorted() && vids.iter().all(|vid| there.contains(vid)),
            "{vids:?}"
        );
    }
}
