//! A snapshot is the present state: the newest event of every topic, then what comes after
//! (contract §3).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::read::{ALL, SubscribeParams, Transport, read_all};
use crate::support::{gateways, open, publish_one, vids_of};

fn snapshot() -> SubscribeParams {
    SubscribeParams {
        snapshot: true,
        ..SubscribeParams::default()
    }
}

#[tokio::test]
async fn a_snapshot_larger_than_a_page_has_only_the_newest_of_every_topic() {
    for (engine, gateway) in gateways("") {
        // Topics 0 to 1499, then 1000 to 1499 once more: the first 1000 events are the newest of
        // their topics.
        let topics = (0..1500).chain(1000..1500);
        let events: Vec<_> = topics
            .map(|n| json!({ "topic": format!("door.{n}"), "data": n }))
            .collect();
        gateway.publish(&Value::from(events)).await;
        for via in ALL {
            let (steps, _) = open(via, &gateway, &snapshot())
                .await
                .until_caught_up()
                .await;
            let expected: Vec<u64> = (1..=1000).chain(1501..=2000).collect();
            let vids = vids_of(&steps);
            let more: Vec<_> = vids
                .iter()
                .filter(|vid| !expected.contains(vid))
                .take(3)
                .collect();
            assert!(
                vids == expected,
                "{engine} {via:?}: {} events instead of 1500, with {more:?}",
                vids.len()
            );
        }
    }
}

#[tokio::test]
async fn a_snapshot_taken_while_events_are_published_leads_to_the_same_state_as_reading_all() {
    for (engine, gateway) in gateways("") {
        let batch = |round: u64| {
            let events = (0..300u64)
                .map(|n| json!({ "topic": format!("door.{}", n * round % 251), "data": round }));
            Value::from(events.collect::<Vec<_>>())
        };
        gateway.publish(&batch(1)).await;
        let publishing = async {
            for round in 2..40 {
                gateway.publish(&batch(round)).await;
            }
            publish_one(&gateway, "end", 0).await
        };
        let reading = ALL.map(|via| {
            let gateway = &gateway;
            async move {
                let mut reader = open(via, gateway, &snapshot()).await;
                let mut seen = Vec::new();
                while seen.last().is_none_or(|(topic, _)| topic != "end") {
                    let (event, _) = reader.event().await;
                    seen.push((event.topic, event.vid));
                }
                (via, seen)
            }
        });
        let (_, read) = tokio::join!(publishing, futures_util::future::join_all(reading));
        let truth = state_of(
            read_all(Transport::Grpc, &gateway, &SubscribeParams::earliest())
                .await
                .iter()
                .map(|e| (&e.topic, e.vid)),
        );
        for (via, seen) in read {
            assert!(
                seen.windows(2).all(|pair| pair[0].1 < pair[1].1),
                "{engine} {via:?}: in vid order, each once"
            );
            assert_eq!(
                state_of(seen.iter().map(|(topic, vid)| (topic, *vid))),
                truth,
                "{engine} {via:?}"
            );
        }
    }
}

/// The newest vid of every topic.
fn state_of<'e>(events: impl Iterator<Item = (&'e String, u64)>) -> BTreeMap<String, u64> {
    events.map(|(topic, vid)| (topic.clone(), vid)).collect()
}

/// Topics that the index of topics does not have yet, with 250 KB each: 200 MB together.
const LARGE_TOPICS: usize = 800;
const LARGE_BYTES: usize = 250_000;
/// What one page of a snapshot may take beside the gateway's own memory.
const PAGE_MEMORY_KIB: u64 = 32 * 1024;

/// A number of a file in /proc of the gateway.
fn proc_number(gateway: &crate::common::gateway::Gateway, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/{file}", gateway.pid())).expect(file);
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .expect(name);
    let number = line.split_whitespace().nth(1).and_then(|n| n.parse().ok());
    number.expect("a number")
}

#[tokio::test]
async fn one_event_of_a_snapshot_takes_no_more_memory_or_disk_than_a_page() {
    let mut gateway = crate::support::gateway("sqlite", "");
    let data = "x".repeat(LARGE_BYTES);
    for part in 0..LARGE_TOPICS / 50 {
        let events: Vec<_> = (0..50)
            .map(|n| json!({ "topic": format!("door.{part}.{n}"), "data": data }))
            .collect();
        gateway.publish(&Value::from(events)).await;
    }
    gateway.terminate().await;
    gateway.start_again(); // nothing is in memory
    let (memory, written) = (
        proc_number(&gateway, "status", "VmRSS:"),
        proc_number(&gateway, "io", "wchar:"),
    );
    let answer = gateway.get("/v1/poll?snapshot=true&limit=1&wait=0").await;
    assert_eq!(answer["events"][0]["topic"], "door.0.0");
    assert_eq!(answer["events"].as_array().map(Vec::len), Some(1));
    let most = proc_number(&gateway, "status", "VmHWM:") - memory;
    assert!(most < PAGE_MEMORY_KIB, "{most} KiB more than {memory} KiB");
    let written = proc_number(&gateway, "io", "wchar:") - written;
    assert!(
        written < PAGE_MEMORY_KIB * 1024,
        "{written} bytes were written"
    );
}
