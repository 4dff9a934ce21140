//! Where a subscription starts (contract §3).

use std::sync::Arc;
use std::time::Duration;

use crate::case;
use crate::cases::{Case, Cell};
use crate::common::read::{ALL, Refused, Step, SubscribeParams};
use crate::common::steps::vids_of;

pub fn cases() -> Vec<Case> {
    vec![
        case!(
            "3",
            "nothing asked: only what comes from now on",
            Nothing,
            nothing
        ),
        case!("3", "latest: only what comes from now on", Nothing, latest),
        case!(
            "3",
            "earliest: all that is kept, then live",
            Nothing,
            earliest
        ),
        case!(
            "3",
            "since a time: from that time on, to the millisecond",
            Nothing,
            since_time
        ),
        case!(
            "3",
            "since a time after the newest event: only what comes",
            Nothing,
            since_the_future
        ),
        case!("3", "since a duration", Nothing, since_duration),
        case!(
            "3",
            "snapshot: the newest of every topic, in vid order, then live",
            Nothing,
            snapshot
        ),
        case!(
            "3",
            "snapshot without a match: caught up, then live",
            Nothing,
            snapshot_without_match
        ),
        case!(
            "3",
            "snapshot while publishing: nothing lost, nothing twice",
            Nothing,
            snapshot_while_publishing
        ),
        case!(
            "3",
            "more than one of after, since, snapshot is refused",
            Nothing,
            more_than_one
        ),
        case!(
            "1",
            "a cursor of one transport is good on the others",
            Nothing,
            switch
        ),
        case!(
            "2.1",
            "subscribed while publishing: each event once",
            Nothing,
            while_publishing
        ),
    ]
}

async fn nothing(cell: Arc<Cell>) {
    only_from_now(&cell, SubscribeParams::default().topic(&cell.all_topics())).await;
}

async fn latest(cell: Arc<Cell>) {
    only_from_now(&cell, cell.ask("latest")).await;
}

async fn only_from_now(cell: &Cell, params: SubscribeParams) {
    cell.publish("a", 3).await;
    let mut reader = cell.open(&params).await;
    let (steps, _) = reader.until_caught_up().await;
    assert!(vids_of(&steps).is_empty(), "{steps:?}");
    let next = cell.publish("a", 1).await;
    assert_eq!(reader.event().await.0.vid, next[0]);
}

async fn earliest(cell: Arc<Cell>) {
    let mut published = cell.publish("a", 3).await;
    let mut reader = cell.open(&cell.ask("earliest")).await;
    let (steps, _) = reader.until_caught_up().await;
    assert_eq!(vids_of(&steps), published);
    published = cell.publish("a", 2).await;
    let live: Vec<u64> = reader.events(2).await.iter().map(|e| e.vid).collect();
    assert_eq!(live, published);
}

async fn since_time(cell: Arc<Cell>) {
    cell.publish("a", 1).await;
    tokio::time::sleep(Duration::from_millis(5)).await; // a time between the two
    let second = cell.publish("a", 1).await;
    let events = cell.open(&cell.ask("earliest")).await.events(2).await;
    assert!(
        events[0].time_ms < events[1].time_ms,
        "two times: {events:?}"
    );
    for (time_ms, expected) in [
        (events[1].time_ms, &second[..]),
        (events[1].time_ms + 1, &[]),
        (events[0].time_ms + 1, &second[..]),
    ] {
        let time = jiff::Timestamp::from_millisecond(time_ms).expect("a time");
        let params = SubscribeParams {
            since: Some(format!("{time:.3}")),
            ..SubscribeParams::default()
        }
        .topic(&cell.all_topics());
        assert_eq!(cell.vids(&params).await, expected, "since {time}");
    }
}

async fn since_the_future(cell: Arc<Cell>) {
    only_from_now(
        &cell,
        SubscribeParams {
            since: Some("2099-01-01T00:00:00Z".into()),
            ..SubscribeParams::default()
        }
        .topic(&cell.all_topics()),
    )
    .await;
}

async fn since_duration(cell: Arc<Cell>) {
    let published = cell.publish("a", 3).await;
    let params = |since: &str| {
        SubscribeParams {
            since: Some(since.into()),
            ..SubscribeParams::default()
        }
        .topic(&cell.all_topics())
    };
    assert_eq!(cell.vids(&params("1h")).await, published);
    tokio::time::sleep(Duration::from_millis(20)).await; // let the events grow older than this
    assert!(cell.vids(&params("10ms")).await.is_empty());
}

fn snapshot_of(topics: &str) -> SubscribeParams {
    SubscribeParams {
        snapshot: true,
        ..SubscribeParams::default()
    }
    .topic(topics)
}

async fn snapshot(cell: Arc<Cell>) {
    cell.publish("a", 3).await;
    let b = cell.publish("b", 2).await;
    let a = cell.publish("a", 1).await;
    let c = cell.publish("c", 1).await;
    let mut reader = cell.open(&snapshot_of(&cell.all_topics())).await;
    let (steps, _) = reader.until_caught_up().await;
    assert_eq!(vids_of(&steps), [b[1], a[0], c[0]]);
    let live = cell.publish("b", 1).await;
    assert_eq!(reader.event().await.0.vid, live[0]);
}

async fn snapshot_without_match(cell: Arc<Cell>) {
    cell.publish("a", 3).await;
    let mut reader = cell.open(&snapshot_of(&format!("{}.z", cell.topic))).await;
    let (steps, _) = reader.until_caught_up().await;
    assert!(vids_of(&steps).is_empty());
    let live = cell.publish("z", 1).await;
    assert_eq!(reader.event().await.0.vid, live[0]);
}

/// Publishes 40 × 5 events of five topics, beside the case.
fn publisher(cell: &Arc<Cell>) -> tokio::task::JoinHandle<Vec<u64>> {
    let cell = cell.clone();
    tokio::spawn(async move {
        let mut published = Vec::new();
        for _ in 0..40 {
            for leaf in ["a", "b", "c", "d", "e"] {
                published.extend(cell.publish(leaf, 1).await);
            }
        }
        published
    })
}

async fn snapshot_while_publishing(cell: Arc<Cell>) {
    cell.publish("a", 1).await;
    let publishing = publisher(&cell);
    let mut reader = cell.open(&snapshot_of(&cell.all_topics())).await;
    let (steps, _) = reader.until_caught_up().await;
    let mut seen = vids_of(&steps);
    let published = publishing.await.expect("the publisher");
    let last = *published.last().expect("a vid");
    while seen.last().is_none_or(|newest| *newest < last) {
        seen.push(reader.event().await.0.vid);
    }
    assert!(
        seen.is_sorted_by(|a, b| a < b),
        "not in order, or twice: {seen:?}"
    );
    // From some vid on everything is there; before it only what was the newest of its topic.
    let whole_from = seen
        .iter()
        .rposition(|vid| !published.contains(vid))
        .map_or(0, |at| at + 1);
    let tail = &seen[seen.len() - 20..];
    assert_eq!(
        tail,
        &published[published.len() - 20..],
        "live events are missing after {whole_from}"
    );
}

async fn more_than_one(cell: Arc<Cell>) {
    let both = [
        SubscribeParams {
            since: Some("1m".into()),
            ..SubscribeParams::earliest()
        },
        SubscribeParams {
            snapshot: true,
            ..SubscribeParams::earliest()
        },
        SubscribeParams {
            since: Some("1m".into()),
            snapshot: true,
            ..SubscribeParams::default()
        },
    ];
    for params in both {
        assert!(
            matches!(
                cell.try_open(&params).await.map(|_| ()),
                Err(Refused::BadRequest(_))
            ),
            "{params:?}"
        );
    }
}

async fn switch(cell: Arc<Cell>) {
    let published = cell.publish("a", 30).await;
    for next in ALL {
        let mut reader = cell.open(&cell.ask("earliest")).await;
        let mut seen: Vec<u64> = Vec::new();
        let mut cursor = String::new();
        for _ in 0..10 {
            let (event, behind) = reader.event().await;
            seen.push(event.vid);
            cursor = behind;
        }
        drop(reader);
        seen.extend(
            cell.open_via(next, &cell.ask(cursor))
                .await
                .events(20)
                .await
                .iter()
                .map(|e| e.vid),
        );
        assert_eq!(seen, published, "then {next:?}");
    }
}

async fn while_publishing(cell: Arc<Cell>) {
    let publishing = publisher(&cell);
    let mut reader = cell.open(&cell.ask("earliest")).await;
    let mut seen = Vec::new();
    while seen.len() < 200 {
        match reader.next().await.expect("no error").expect("no end") {
            Step::Event(event, _) => seen.push(event.vid),
            Step::Gap(gap) => panic!("{gap:?}"),
            _ => {}
        }
    }
    assert_eq!(seen, publishing.await.expect("the publisher"));
}
