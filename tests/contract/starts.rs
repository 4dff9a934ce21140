//! Where a subscription starts, what it takes in, and where it ends (contract §3, §4).

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Value, json};

use crate::common::gateway::Gateway;
use crate::common::read::{ALL, Refused, Seen, Step, SubscribeParams, Transport, read_all};
use crate::support::{
    epoch, gateways, get, open, publish_one, refusal, until_subscribers_are, vids_of,
};

/// Topics of the events 1 to 7.
const TOPICS: [&str; 7] = [
    "door.1",
    "door.2",
    "lamp.1",
    "door.1",
    "door.3.opened",
    "lamp.1",
    "door.2",
];

async fn publish_seven(gateway: &Gateway) {
    for (n, topic) in (1..).zip(TOPICS) {
        assert_eq!(publish_one(gateway, topic, n).await, n);
    }
}

fn since(text: impl Into<String>) -> SubscribeParams {
    SubscribeParams {
        since: Some(text.into()),
        ..SubscribeParams::default()
    }
}

fn snapshot() -> SubscribeParams {
    SubscribeParams {
        snapshot: true,
        ..SubscribeParams::default()
    }
}

fn limited(params: SubscribeParams, limit: u32) -> SubscribeParams {
    SubscribeParams {
        limit: Some(limit),
        ..params
    }
}

#[tokio::test]
async fn every_start_begins_where_it_says_and_goes_on_live() {
    for (engine, gateway) in gateways("") {
        publish_seven(&gateway).await;
        let epoch = epoch(&gateway).await;
        let mut cases: Vec<(SubscribeParams, Vec<u64>)> = vec![
            (SubscribeParams::default(), vec![]),
            (SubscribeParams::after("latest"), vec![]),
            (SubscribeParams::after(""), vec![]),
            (SubscribeParams::after("earliest"), (1..=7).collect()),
            (SubscribeParams::after("0"), (1..=7).collect()),
            (
                SubscribeParams::after(format!("0-{epoch}")),
                (1..=7).collect(),
            ),
            (SubscribeParams::after("1"), (2..=7).collect()),
            (SubscribeParams::after("4"), vec![5, 6, 7]),
            (SubscribeParams::after(format!("4-{epoch}")), vec![5, 6, 7]),
            (SubscribeParams::after("7"), vec![]),
            (SubscribeParams::after(format!("7-{epoch}")), vec![]),
            (snapshot(), vec![4, 5, 6, 7]),
            (snapshot().topic("door.1"), vec![4]),
            (snapshot().topic("door.*").topic("nobody"), vec![4, 7]),
            (SubscribeParams::after("2").topic("door.1"), vec![4]),
            (since("1h"), (1..=7).collect()),
            (since("2099-01-01T00:00:00Z"), vec![]),
        ];
        cases.extend(starts_by_time(
            &read_all(Transport::Grpc, &gateway, &SubscribeParams::earliest()).await,
        ));

        let mut readers = Vec::new();
        for (params, expected) in &cases {
            for via in ALL {
                let mut reader = open(via, &gateway, params).await;
                let (steps, cursor) = reader.until_caught_up().await;
                let hello = Step::Hello {
                    epoch: epoch.clone(),
                    first: 1,
                    last: 7,
                };
                assert_eq!(steps.first(), Some(&hello), "{engine} {via:?} {params:?}");
                assert_eq!(
                    steps.len(),
                    1 + expected.len(),
                    "{engine} {via:?} {params:?}: {steps:?}"
                );
                assert_eq!(vids_of(&steps), *expected, "{engine} {via:?} {params:?}");
                assert_eq!(cursor, format!("7-{epoch}"), "{engine} {via:?} {params:?}");
                readers.push((reader, format!("{engine} {via:?} {params:?}")));
            }
        }
        let live = publish_one(&gateway, "door.1", 8).await;
        for (mut reader, what) in readers {
            assert_eq!(reader.event().await.0.vid, live, "{what}");
        }
    }
}

/// Times differ by what the clock makes of it: what is expected is worked out from them.
fn starts_by_time(events: &[Seen]) -> Vec<(SubscribeParams, Vec<u64>)> {
    let from = |time_ms: i64| {
        events
            .iter()
            .filter(|e| e.time_ms >= time_ms)
            .map(|e| e.vid)
            .collect::<Vec<_>>()
    };
    let at = |time_ms: i64| Timestamp::from_millisecond(time_ms).expect("a time");
    let (third, last) = (events[2].time_ms, events[6].time_ms);
    vec![
        (since(at(third).to_string()), from(third)),
        (
            since(
                at(third)
                    .display_with_offset(Offset::constant(2))
                    .to_string(),
            ),
            from(third),
        ),
        (since(at(third + 1).to_string()), from(third + 1)),
        (
            since((at(third) + Duration::from_nanos(1)).to_string()),
            from(third + 1),
        ),
        (since(at(last).to_string()), from(last)),
        (since(at(last + 1).to_string()), vec![]),
        (since("1970-01-01T00:00:00Z"), from(0)),
    ]
}

#[tokio::test]
async fn an_empty_log_says_hello_and_is_caught_up_at_once() {
    for (engine, gateway) in gateways("") {
        let epoch = epoch(&gateway).await;
        for params in [
            SubscribeParams::default(),
            SubscribeParams::earliest(),
            SubscribeParams::after("0"),
            snapshot(),
            since("15m"),
        ] {
            for via in ALL {
                let (steps, cursor) = open(via, &gateway, &params).await.until_caught_up().await;
                let hello = Step::Hello {
                    epoch: epoch.clone(),
                    first: 1,
                    last: 0,
                };
                assert_eq!(
                    (steps, cursor),
                    (vec![hello], format!("0-{epoch}")),
                    "{engine} {via:?} {params:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_start_that_cannot_be_understood_is_refused_by_all_transports() {
    let gateway = Gateway::in_memory();
    publish_seven(&gateway).await;
    let both = |a: SubscribeParams, b: SubscribeParams| SubscribeParams {
        after: a.after.or(b.after),
        since: b.since,
        snapshot: b.snapshot,
        ..a
    };
    for params in [
        both(SubscribeParams::after("1"), since("1m")),
        both(SubscribeParams::after("latest"), snapshot()),
        both(
            SubscribeParams::default(),
            SubscribeParams {
                snapshot: true,
                ..since("1m")
            },
        ),
        both(
            SubscribeParams::after("earliest"),
            SubscribeParams {
                snapshot: true,
                ..since("1m")
            },
        ),
        since("soon"),
        since("-5m"),
        since("2026-11-22"),
        since("2026-13-01T00:00:00Z"),
        SubscribeParams::after("oldest"),
        SubscribeParams::after("EARLIEST"),
        SubscribeParams::after(" 4"),
        limited(SubscribeParams::earliest(), 1_000_001),
    ] {
        for via in ALL {
            assert!(
                matches!(
                    refusal(via, &gateway, &params).await,
                    Refused::BadRequest(_)
                ),
                "{via:?} {params:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_last_event_id_header_wins_over_the_start_in_the_address() {
    for (engine, gateway) in gateways("") {
        publish_seven(&gateway).await;
        let full = format!("5-{}", epoch(&gateway).await);
        for (header, query, expected) in [
            (full.as_str(), "after=1", &[6, 7][..]),
            ("5", "after=latest", &[6, 7]),
            ("5", "snapshot=true", &[6, 7]),
            ("5", "since=1h", &[6, 7]),
            ("5", "topic=lamp.1", &[6]),
            ("7", "after=earliest", &[]),
            ("", "after=4", &[5, 6, 7]),
        ] {
            let response = sse_with_last_event_id(&gateway, header, query).await;
            assert_eq!(response.status(), 200, "{engine} {header} {query}");
            let text = response.text().await.expect("a stream that ends");
            let vids = text
                .lines()
                .filter_map(|line| line.strip_prefix("data: {\"vid\":"));
            let vids: Vec<u64> = vids.map(|rest| rest[..1].parse().expect("a vid")).collect();
            assert_eq!(vids, expected, "{engine} {header} {query}: {text}");
        }
        for header in ["x", "-1", "5-", "9007199254740992"] {
            let response = sse_with_last_event_id(&gateway, header, "after=1").await;
            assert_eq!(response.status(), 400, "{engine} {header}");
        }
    }
}

async fn sse_with_last_event_id(gateway: &Gateway, id: &str, query: &str) -> reqwest::Response {
    let request = reqwest::Client::new().get(format!("{}/v1/sse?wait=0&{query}", gateway.url()));
    request
        .header("last-event-id", id)
        .send()
        .await
        .expect("an answer")
}

#[tokio::test]
async fn a_filter_takes_in_what_it_matches_and_nothing_else() {
    for (engine, gateway) in gateways("") {
        publish_seven(&gateway).await;
        let hundred: Vec<String> = (0..99)
            .map(|n| format!("nobody.{n}"))
            .chain(["lamp.1".to_owned()])
            .collect();
        let hundred: Vec<&str> = hundred.iter().map(String::as_str).collect();
        let cases: [(&[&str], &[u64]); 15] = [
            (&[], &[1, 2, 3, 4, 5, 6, 7]),
            (&[">"], &[1, 2, 3, 4, 5, 6, 7]),
            (&["door.1"], &[1, 4]),
            (&["door.*"], &[1, 2, 4, 7]),
            (&["door.>"], &[1, 2, 4, 5, 7]),
            (&["*.1"], &[1, 3, 4, 6]),
            (&["*.*.opened"], &[5]),
            (&["*"], &[]),
            (&["door"], &[]),
            (&["door.1.>"], &[]),
            (&["DOOR.1"], &[]),
            (&["vidette.>"], &[]),
            (&["door.1", "lamp.1", "door.1"], &[1, 3, 4, 6]),
            (&["door.*", "door.1", ">"], &[1, 2, 3, 4, 5, 6, 7]),
            (&hundred, &[3, 6]),
        ];
        for (topics, expected) in cases {
            for via in ALL {
                let params = topics
                    .iter()
                    .fold(SubscribeParams::earliest(), |params, topic| {
                        params.topic(topic)
                    });
                let (steps, cursor) = open(via, &gateway, &params).await.until_caught_up().await;
                assert_eq!(vids_of(&steps), expected, "{engine} {via:?} {topics:?}");
                assert!(
                    cursor.starts_with("7-"),
                    "{engine} {via:?} {topics:?}: {cursor} is not the live end"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_limit_ends_a_stream_after_so_many_events_whose_last_cursor_resumes() {
    for (engine, gateway) in gateways("") {
        publish_seven(&gateway).await;
        for via in [Transport::Sse, Transport::Grpc] {
            let mut reader = open(
                via,
                &gateway,
                &limited(SubscribeParams::earliest().topic("door.>"), 3),
            )
            .await;
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            while let Some(step) = reader.next().await.expect("no error") {
                if let Step::Event(event, position) = step {
                    (seen, cursor) = ([seen, vec![event.vid]].concat(), position);
                }
            }
            assert_eq!(seen, [1, 2, 4], "{engine} {via:?}");
            let rest = read_all(
                via,
                &gateway,
                &SubscribeParams::after(cursor).topic("door.>"),
            )
            .await;
            assert_eq!(
                rest.iter().map(|e| e.vid).collect::<Vec<_>>(),
                [5, 7],
                "{engine} {via:?}"
            );
        }
        let polled = gateway
            .get("/v1/poll?after=earliest&topic=door.*&limit=2&wait=0")
            .await;
        assert_eq!(
            polled["events"].as_array().expect("events").len(),
            2,
            "{engine}"
        );
        assert_eq!(polled["up_to_date"], false, "{engine}");
        let cursor = polled["cursor"].as_str().expect("a cursor");
        let polled = gateway
            .get(&format!(
                "/v1/poll?after={cursor}&topic=door.*&limit=2&wait=0"
            ))
            .await;
        assert_eq!(vids(&polled), [4, 7], "{engine}");
        assert_eq!(polled["up_to_date"], true, "{engine}");
    }
}

#[tokio::test]
async fn a_limit_counts_live_events_too() {
    for (engine, gateway) in gateways("") {
        publish_seven(&gateway).await;
        for via in [Transport::Sse, Transport::Grpc] {
            let last = gateway.get("/v1/bus").await["last"]
                .as_u64()
                .expect("a vid");
            let mut reader = open(
                via,
                &gateway,
                &limited(SubscribeParams::after((last - 1).to_string()), 3),
            )
            .await;
            let (steps, _) = reader.until_caught_up().await;
            assert_eq!(vids_of(&steps), [last], "{engine} {via:?}");
            gateway.publish_numbers("door.1", 5).await;
            assert_eq!(reader.event().await.0.vid, last + 1, "{engine} {via:?}");
            assert_eq!(reader.event().await.0.vid, last + 2, "{engine} {via:?}");
            assert_eq!(reader.next().await, Ok(None), "{engine} {via:?}");
        }
    }
}

fn vids(polled: &Value) -> Vec<u64> {
    polled["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|e| e["vid"].as_u64().expect("a vid"))
        .collect()
}

#[tokio::test]
async fn a_poll_waits_as_long_as_it_says_or_until_an_event_comes() {
    for (engine, gateway) in gateways("") {
        publish_seven(&gateway).await;
        for (wait, at_least, below) in [
            ("0", 0, 900),
            ("0.4", 400, 3000),
            ("300ms", 300, 3000),
            ("1", 1000, 5000),
        ] {
            for path in ["/v1/poll", "/v1/sse"] {
                let asked = Instant::now();
                let answer = get(&gateway, &format!("{path}?wait={wait}")).await;
                let waited = asked.elapsed();
                let fits = Duration::from_millis(at_least) <= waited
                    && waited < Duration::from_millis(below);
                assert!(
                    answer.status == 200 && fits,
                    "{engine} {path} wait={wait} took {waited:?}: {answer:?}"
                );
            }
        }
        let url = format!("{}/v1/poll?wait=60&topic=door.9", gateway.url());
        let poll = tokio::spawn(async move {
            reqwest::get(url)
                .await
                .expect("an answer")
                .json::<Value>()
                .await
        });
        until_subscribers_are(&gateway, 1).await;
        publish_one(&gateway, "door.8", 8).await;
        let vid = publish_one(&gateway, "door.9", 9).await;
        assert_eq!(
            vids(&poll.await.expect("the poll").expect("JSON")),
            [vid],
            "{engine}"
        );
    }
}

#[tokio::test]
async fn a_batch_larger_than_a_page_arrives_whole_and_resumes_in_its_middle() {
    for (engine, gateway) in gateways("") {
        gateway.publish_numbers("door.1", 2500).await;
        for via in ALL {
            for after in [0, 999, 1000, 1001, 2499] {
                let seen =
                    read_all(via, &gateway, &SubscribeParams::after(after.to_string())).await;
                let seen: Vec<_> = seen.iter().map(|e| e.vid).collect();
                assert_eq!(
                    seen,
                    (after + 1..=2500).collect::<Vec<_>>(),
                    "{engine} {via:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_event_larger_than_a_page_arrives_whole() {
    const LARGEST: usize = 3 * 1024 * 1024;
    for (engine, gateway) in gateways(&format!("[limits]\nmax_event_bytes = {LARGEST}")) {
        let large = "x".repeat(LARGEST - 2);
        for (topic, data) in [
            ("door.1", "a"),
            ("door.2", &large),
            ("door.3", &large),
            ("door.4", "b"),
        ] {
            gateway
                .publish(&json!({ "topic": topic, "data": data }))
                .await;
        }
        for via in ALL {
            let seen = read_all(via, &gateway, &SubscribeParams::earliest()).await;
            let lengths: Vec<_> = seen
                .iter()
                .map(|e| format!("{:?}", e.data).len() - "Json(\"\\\"\\\"\")".len())
                .collect();
            assert_eq!(
                lengths,
                [1, LARGEST - 2, LARGEST - 2, 1],
                "{engine} {via:?}"
            );
        }
    }
}

#[tokio::test]
async fn after_latest_takes_only_what_comes_after_it_was_asked() {
    for (engine, gateway) in gateways("") {
        for via in ALL {
            publish_one(&gateway, "door.1", 1).await;
            let mut reader = open(via, &gateway, &SubscribeParams::default()).await;
            let vid = publish_one(&gateway, "door.1", 2).await;
            assert_eq!(reader.event().await.0.vid, vid, "{engine} {via:?}");
        }
    }
}
