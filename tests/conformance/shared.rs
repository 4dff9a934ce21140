//! A log that others append to as well (contract §2): every promise holds however late, in however
//! small parts and by whichever way events come.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::case;
use crate::cases::{Case, Cell};
use crate::common::read::{Refused, Step, SubscribeParams, Transport};
use crate::common::shared_log::{Confirmation, LinkSettings};
use crate::common::steps::{gap_ranges, vid_of};

pub fn cases() -> Vec<Case> {
    vec![
        case!(
            "2.1",
            "others append: each event once and in order",
            SharedLog,
            others_append
        ),
        case!(
            "2.4",
            "vids without an event move cursors, and are no gap",
            SharedLog,
            vids_without_an_event
        ),
        case!(
            "2.5",
            "a page that ends early, or empty, is not the end",
            SharedLog,
            pages_that_end_early
        ),
        case!(
            "2.3",
            "others trim under a reader: all, or a reported gap",
            SharedLog,
            others_trim
        ),
        case!(
            "2.3",
            "others trim beyond what has come here: a gap",
            SharedLog,
            others_trim_beyond_the_tail
        ),
        case!(
            "2.2",
            "a publisher is answered when its event can be read",
            SharedLog,
            answered_when_it_can_be_read
        ),
        case!(
            "2.7",
            "an answer was lost: the same id is a duplicate",
            SharedLog,
            lost_answer
        ),
        case!(
            "2.7",
            "one batch fails and the next does not",
            SharedLog,
            failed_batches
        ),
        case!(
            "3",
            "ahead of a gateway that lags: behind, and never a gap",
            SharedLog,
            ahead_of_a_gateway_that_lags
        ),
        case!(
            "3",
            "ahead of a gateway that cannot confirm: no gap",
            SharedLog,
            ahead_of_what_cannot_be_confirmed
        ),
        case!(
            "4",
            "the end is unknown: streams close, cursors stay good",
            SharedLog,
            the_end_is_unknown
        ),
    ]
}

/// Others append so many events to a topic of this cell.
fn append_foreign(cell: &Cell, leaf: &str, count: usize) -> Vec<u64> {
    let topic = format!("{}.{leaf}", cell.topic);
    cell.log().append_foreign(&vec![topic.as_str(); count])
}

async fn others_append(cell: Arc<Cell>) {
    cell.link().change(|link| link.tail_events = 3);
    let mut live = cell.open(&cell.ask("latest")).await;
    live.until_caught_up().await;
    let mut expected = Vec::new();
    for round in 0..40 {
        expected.extend(append_foreign(&cell, "theirs", round % 5));
        expected.extend(cell.publish("ours", 2).await);
    }
    let count = expected.len();
    let seen: Vec<u64> = live
        .events(count)
        .await
        .iter()
        .map(|event| event.vid)
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(cell.vids(&cell.ask("earliest")).await, expected);
    let theirs = SubscribeParams::earliest().topic(&format!("{}.theirs", cell.topic));
    assert_eq!(cell.vids(&theirs).await.len(), 80);
}

async fn vids_without_an_event(cell: Arc<Cell>) {
    let mut reader = cell.open(&cell.ask("earliest")).await;
    reader.until_caught_up().await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        cell.log().skip_vids(3);
        expected.extend(append_foreign(&cell, "a", 1));
    }
    cell.log().skip_vids(4);
    assert_eq!(expected, [4, 8, 12, 16, 20]);
    let seen: Vec<u64> = reader
        .events(5)
        .await
        .iter()
        .map(|event| event.vid)
        .collect();
    assert_eq!(seen, expected);

    // The vids behind the last event move the cursor, too.
    while vid_of(&cell.open(&cell.ask("20")).await.until_caught_up().await.1) < 24 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for (after, seen) in [
        (0, &expected[..]),
        (5, &expected[1..]),
        (12, &expected[3..]),
    ] {
        let params = cell.ask(format!("{after}"));
        assert_eq!(cell.vids(&params).await, seen, "after {after}");
    }
    assert!(cell.vids(&cell.ask("22")).await.is_empty());
}

async fn pages_that_end_early(cell: Arc<Cell>) {
    let all: Vec<u64> = (0..30)
        .flat_map(|_| append_foreign(&cell, "a", 100))
        .collect();
    let rare = append_foreign(&cell, "rare", 1);
    cell.publish("a", 1).await; // now the gateway has all of them
    let params = cell.ask("earliest").topic("nothing.else");
    assert_eq!(cell.vids(&params).await[..all.len()], all);
    let params = SubscribeParams::earliest().topic(&format!("{}.rare", cell.topic));
    assert_eq!(cell.vids(&params).await, rare);
}

async fn others_trim(cell: Arc<Cell>) {
    append_foreign(&cell, "a", 3000);
    cell.publish("a", 1).await; // now the gateway has all of them
    let mut reader = cell.open(&cell.ask("earliest")).await;
    let mut position = reader.event().await.0.vid;
    cell.log().keep(100);
    append_foreign(&cell, "a", 50);
    while position < 3051 {
        match reader.next().await.expect("no error").expect("no end") {
            Step::Event(seen, _) => {
                assert_eq!(seen.vid, position + 1, "lost without a gap");
                position = seen.vid;
            }
            Step::Gap(gap) => {
                assert_eq!(gap.reason, "expired");
                assert!(gap.first > position + 1, "{gap:?} after {position}");
                position = gap.first - 1;
            }
            _ => {}
        }
    }
}

async fn others_trim_beyond_the_tail(cell: Arc<Cell>) {
    cell.publish("a", 10).await;
    let mut reader = cell.open(&cell.ask("earliest")).await;
    reader.until_caught_up().await;
    cell.link().change(|link| link.is_held = true);
    append_foreign(&cell, "a", 40);
    cell.log().keep(10);
    cell.link().change(|link| link.is_held = false);
    loop {
        match reader.next().await.expect("no error").expect("no end") {
            Step::Gap(gap) => {
                assert_eq!((gap.reason.as_str(), gap.first), ("expired", 41), "{gap:?}");
                break;
            }
            Step::Event(seen, _) => panic!("lost without a gap: up to {}", seen.vid),
            _ => {}
        }
    }
    let seen: Vec<u64> = reader
        .events(10)
        .await
        .iter()
        .map(|event| event.vid)
        .collect();
    assert_eq!(seen, (41..=50).collect::<Vec<_>>());
}

async fn answered_when_it_can_be_read(cell: Arc<Cell>) {
    cell.link()
        .change(|link| link.tail_delay = Duration::from_millis(150));
    for _ in 0..5 {
        let vids = cell.publish("a", 2).await;
        let before = vids[0] - 1;
        assert_eq!(cell.vids(&cell.ask(before.to_string())).await, vids);
    }
}

async fn lost_answer(cell: Arc<Cell>) {
    let body = json!({ "topic": format!("{}.a", cell.topic), "data": 1, "id": "once" });
    cell.link().change(|link| link.lost_answers = 1);
    let (status, answer) = cell.post(&body).await;
    assert_eq!(status, 503, "{answer}");
    cell.link().change(|link| link.lost_answers = 0);
    let (status, answer) = cell.post(&body).await;
    assert_eq!(
        (status, &answer["duplicate"]),
        (200, &json!(true)),
        "{answer}"
    );
    let vid = answer["vid"].as_u64().expect("a vid");
    assert_eq!(cell.vids(&cell.ask("earliest")).await, [vid]);
}

async fn failed_batches(cell: Arc<Cell>) {
    cell.link().change(|link| link.failed_batches = 3);
    let publishing = (0..60).map(|n| {
        let topic = format!("{}.a", cell.topic);
        let event = |part: &str| json!({ "topic": topic, "data": n, "id": format!("{n}-{part}") });
        let batch = json!([event("one"), event("two")]);
        let cell = cell.clone();
        async move { cell.post(&batch).await }
    });
    let mut acknowledged = Vec::new();
    for (status, answer) in futures_util::future::join_all(publishing).await {
        match status {
            200 => {
                let first = answer["first_vid"].as_u64().expect("a vid");
                assert_eq!(answer["last_vid"], first + 1, "a batch stays together");
                acknowledged.extend([first, first + 1]);
            }
            503 => {}
            _ => panic!("{status}: {answer}"),
        }
    }
    acknowledged.sort_unstable();
    assert!(!acknowledged.is_empty() && acknowledged.len() < 120);
    assert_eq!(cell.vids(&cell.ask("earliest")).await, acknowledged);
}

async fn ahead_of_a_gateway_that_lags(cell: Arc<Cell>) {
    let before = cell.publish("a", 3).await;
    cell.link().change(|link| link.is_held = true);
    let next = append_foreign(&cell, "a", 2);
    assert_eq!(before.last(), Some(&(next[0] - 1)));

    let params = cell.ask(next[0].to_string());
    is_unavailable(&cell, &params).await;
    is_unavailable(&cell, &params.clone().fail_on_gap()).await;
    cell.link().change(|link| link.is_held = false);
    assert_eq!(cell.vids(&params).await, next[1..]);
}

async fn ahead_of_what_cannot_be_confirmed(cell: Arc<Cell>) {
    cell.publish("a", 3).await;
    cell.link()
        .change(|link| link.confirmation = Confirmation::Fails);
    is_unavailable(&cell, &cell.ask("4")).await;
    cell.link()
        .change(|link| link.confirmation = Confirmation::AtOnce);
    let (steps, _) = cell.open(&cell.ask("4")).await.until_caught_up().await;
    assert_eq!(gap_ranges(&steps), [("ahead".into(), 1, 3)]);
}

/// The request is refused for now: at once, or by the first step of an event stream.
async fn is_unavailable(cell: &Cell, params: &SubscribeParams) {
    let first = match cell.try_open(params).await {
        Ok(mut reader) => reader.next().await,
        Err(refused) => Err(refused),
    };
    let is_refused = matches!(
        first,
        Err(Refused::Unavailable(_)) | Ok(Some(Step::Closing))
    );
    assert!(is_refused, "{first:?}");
}

/// Are new subscriptions served?
async fn is_served(cell: &Cell) -> bool {
    match cell.try_open(&cell.ask("latest")).await {
        Ok(mut reader) => matches!(reader.next().await, Ok(Some(Step::Hello { .. }))),
        Err(_) => false,
    }
}

async fn the_end_is_unknown(cell: Arc<Cell>) {
    cell.publish("a", 3).await;
    let mut reader = cell.open(&cell.ask("earliest")).await;
    let (_, cursor) = reader.until_caught_up().await;
    cell.link().set_live(false);
    // A poll is over already; a stream ends, and not by a gap.
    if cell.via != Transport::Poll {
        loop {
            match reader.next().await {
                Ok(Some(Step::Gap(gap))) | Err(Refused::Gap(gap)) => panic!("{gap:?}"),
                Ok(Some(Step::Event(..))) => panic!("nothing was published"),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
    while is_served(&cell).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (status, answer) = cell
        .post(&json!({ "topic": format!("{}.a", cell.topic), "data": 1 }))
        .await;
    assert_eq!(status, 503, "{answer}");

    cell.link().set(LinkSettings::default());
    cell.link().set_live(true);
    while !is_served(&cell).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let next = cell.publish("a", 1).await;
    assert_eq!(cell.vids(&cell.ask(cursor)).await, next);
}
