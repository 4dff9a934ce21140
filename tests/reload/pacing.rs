//! Many streams end one after the other, and nobody misses anything by it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{Reader, SubscribeParams, Transport};
use crate::streams::{Ended, RawSse, ended_grpc, gateway_over, until_subscribed};

/// Event streams by each driver of HTTP/1.1, and streams of gRPC.
const SSE: usize = 225;
const GRPC: usize = 50;
const STREAMS: usize = 2 * SSE + GRPC;

/// Publishes numbers one after the other until it is refused; gives the last vid.
fn publish_until_refused(url: String) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let (client, mut last) = (reqwest::Client::new(), 0);
        loop {
            let event = json!({ "topic": "door.1", "data": { "n": last + 1 } });
            let request = client.post(format!("{url}/v1/events")).json(&event);
            // Refused, or gone.
            let Ok(answer) = request.send().await else {
                return last;
            };
            if !answer.status().is_success() {
                assert_eq!(answer.status(), 503);
                return last;
            }
            let receipt: serde_json::Value = answer.json().await.expect("JSON");
            last = receipt["vid"].as_u64().expect("a vid");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

fn read_streams(gateway: &Gateway) -> Vec<JoinHandle<Ended>> {
    let address = gateway.address();
    let sse = (0..2 * SSE).map(|number| {
        let header = ["", "Content-Length: 0\r\n"][number % 2];
        let reading = async move { RawSse::open(address, "", header).await.ended().await };
        tokio::spawn(reading)
    });
    let url = gateway.url();
    let params = SubscribeParams::default;
    let grpc = (0..GRPC).map(|_| tokio::spawn(ended_grpc(url.clone(), params())));
    sse.chain(grpc).collect()
}

/// How many have seen nothing behind each vid.
fn counts_by_last_vid(ended: &[Ended]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for one in ended {
        *counts.entry(one.last_vid()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_spread_and_whoever_has_not_ended_reads_on() {
    let config = "[drain]\nover = \"3s\"\n".to_owned();
    let mut gateway = Gateway::start_on_a_port_of_its_own(Setup {
        config,
        ..Setup::default()
    });
    let reading = read_streams(&gateway);
    until_subscribed(&gateway, STREAMS).await;
    let publishing = publish_until_refused(gateway.url());
    let has_begun = || async { gateway.get("/v1/bus").await["last"].as_u64() > Some(5) };
    gateway.until("events are published", has_begun).await;

    gateway.ask_to_end();
    let ended: Vec<Ended> = join_all(reading).await.into_iter().flatten().collect();
    let last = publishing.await.expect("a publisher");
    assert!(gateway.ended().await.success(), "{}", gateway.log());

    // Each was told, at a time of its own, and had read everything up to then.
    assert_eq!(ended.len(), STREAMS);
    for one in &ended {
        let all = one
            .vids
            .first()
            .map_or(0, |first| one.last_vid() + 1 - first);
        assert_eq!(all, one.vids.len() as u64, "{one:?}");
        assert!(one.is_told, "{one:?}");
    }
    let counts = counts_by_last_vid(&ended);
    let most = counts.values().max().copied().unwrap_or(0);
    assert!(
        counts.len() >= 20 && most <= STREAMS / 4,
        "{last}: {counts:?}"
    );
    assert!(
        publishes_reached_the_last(&ended, last),
        "{last}: {counts:?}"
    );
    assert!(retries_differ(&ended), "they come back in one burst");

    // Elsewhere, or here after a restart, each reads on behind what it has seen.
    gateway.start_again();
    for one in ended.iter().step_by(STREAMS / 10) {
        let params = SubscribeParams::after(&one.cursor);
        let opened = Reader::open(Transport::Sse, &gateway, &params).await;
        let (steps, _) = opened.expect("it resumes").until_caught_up().await;
        let vids = crate::common::steps::vids_of(&steps);
        let missing: Vec<u64> = (one.last_vid() + 1..=last).collect();
        assert_eq!(vids, missing);
    }
}

/// Did those whose turn came last read nearly all that was published?
fn publishes_reached_the_last(ended: &[Ended], last: u64) -> bool {
    let newest = ended.iter().map(Ended::last_vid).max();
    newest.is_some_and(|newest| newest + 20 >= last)
}

fn retries_differ(ended: &[Ended]) -> bool {
    let mut retries: Vec<u64> = ended.iter().filter_map(|one| one.retry_ms).collect();
    retries.sort_unstable();
    retries.dedup();
    retries.len() > 100
}

/// The vid of a waiting poll's answer is the end of the log when its turn came.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_polls_are_answered_one_after_the_other() {
    let mut gateway = gateway_over("2s");
    let url = format!("{}/v1/poll?topic=quiet&wait=60", gateway.url());
    let legacy = format!("{}/backend.php?maxvid=0", gateway.url());
    let ask = |url: String| async move {
        let answer = reqwest::get(url).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.text().await.expect("a body")
    };
    let polls: Vec<_> = (0..50).map(|_| tokio::spawn(ask(url.clone()))).collect();
    let pages: Vec<_> = (0..5).map(|_| tokio::spawn(ask(legacy.clone()))).collect();
    until_subscribed(&gateway, 55).await;
    gateway.ask_to_end();
    let publishing = tokio::spawn({
        let url = gateway.url();
        async move {
            let client = reqwest::Client::new();
            let post = || client.post(format!("{url}/v1/topics/door.1")).body("1");
            while post()
                .send()
                .await
                .is_ok_and(|answer| answer.status() == 200)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });

    let mut counts = BTreeMap::<u64, usize>::new();
    for answer in join_all(polls).await {
        let answer: serde_json::Value =
            serde_json::from_str(&answer.expect("a poll")).expect("JSON");
        assert_eq!(answer["events"], json!([]));
        *counts
            .entry(answer["vid"].as_u64().expect("a vid"))
            .or_default() += 1;
    }
    let most = counts.values().max().copied().unwrap_or(0);
    assert!(counts.len() >= 5 && most <= 25, "{counts:?}");
    join_all(pages)
        .await
        .into_iter()
        .for_each(|page| drop(page.expect("a page")));
    publishing.await.expect("a publisher");
    assert!(gateway.ended().await.success(), "{}", gateway.log());
}
