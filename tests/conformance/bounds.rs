//! Empty logs, trimmed logs, idle subscribers, restarts (contract §2, §4).

use std::sync::Arc;
use std::time::Duration;

use crate::case;
use crate::cases::{Case, Cell};
use crate::common::read::{Reader, Refused, Step, SubscribeParams, Transport};
use crate::common::steps::{gap_ranges, vid_of, vids_of};
use crate::target::Setup;

pub fn cases() -> Vec<Case> {
    let quick = Setup {
        heartbeat: Duration::from_millis(100),
        max_age: Duration::from_millis(300),
        ..Setup::default()
    };
    vec![
        case!(
            "4",
            "an empty log is caught up with at once",
            OwnLog,
            empty_log
        ),
        case!("4", "hello is first, and true", OwnLog, hello_is_first),
        case!(
            "2.3",
            "a log emptied by age: its last cursor is good",
            OwnLog,
            emptied_by_age
        ),
        case!(
            "2.3",
            "a log emptied by age: an older cursor has a gap",
            OwnLog,
            emptied_behind
        ),
        case!(
            "2.3",
            "vids go on where they stopped after all is gone",
            OwnLog,
            vids_go_on
        ),
        case!(
            "2.3",
            "trimmed while it is read: all, or a reported gap",
            OwnLog,
            trimmed_while_reading
        ),
        case!(
            "2.4",
            "a quiet filtered subscriber gets progress",
            OwnLog,
            progress
        ),
        case!(
            "2.4",
            "progress never overtakes an event",
            OwnLog,
            progress_and_events
        ),
        case!(
            "2.4",
            "idle for longer than retention, then back: no gap",
            OwnLog,
            idle_past_retention,
            quick
        ),
        case!(
            "2.2",
            "what was acknowledged is there after a restart",
            Restart,
            after_restart
        ),
        case!(
            "2.2",
            "no vid is given twice over a restart",
            Restart,
            vids_over_restart
        ),
        case!(
            "2.6",
            "a restart is no gap for a subscriber",
            Restart,
            restart_is_no_gap
        ),
        case!(
            "2.7",
            "an id is known after a restart",
            Restart,
            ids_over_restart
        ),
        case!(
            "2.6",
            "good cursors stay good while many read",
            OwnLog,
            good_cursors_stay_good
        ),
    ]
}

async fn empty_log(cell: Arc<Cell>) {
    let (steps, cursor) = cell
        .open(&SubscribeParams::earliest())
        .await
        .until_caught_up()
        .await;
    assert!(vids_of(&steps).is_empty() && gap_ranges(&steps).is_empty());
    assert!(cursor.starts_with("0-"), "{cursor}");
    assert_eq!(cell.bus().await.1, 1, "first is last + 1");
}

async fn hello_is_first(cell: Arc<Cell>) {
    cell.publish("a", 3).await;
    let (epoch, first, last) = cell.bus().await;
    let mut reader = cell.open(&SubscribeParams::earliest()).await;
    assert_eq!(
        reader.next().await,
        Ok(Some(Step::Hello { epoch, first, last }))
    );
}

async fn emptied_by_age(cell: Arc<Cell>) {
    cell.publish("a", 5).await;
    cell.expire_all().await;
    assert_eq!(cell.bus().await.1, 6, "first is last + 1");
    assert!(cell.vids(&cell.ask("5")).await.is_empty());
    assert!(cell.vids(&cell.ask("earliest")).await.is_empty());
}

async fn emptied_behind(cell: Arc<Cell>) {
    cell.publish("a", 5).await;
    cell.expire_all().await;
    let (steps, _) = cell.open(&cell.ask("4")).await.until_caught_up().await;
    assert_eq!(gap_ranges(&steps), [("expired".into(), 6, 5)]);
}

async fn vids_go_on(cell: Arc<Cell>) {
    cell.publish("a", 5).await;
    cell.expire_all().await;
    assert_eq!(cell.publish("a", 1).await, [6]);
    assert_eq!(cell.vids(&cell.ask("5")).await, [6]);
}

async fn trimmed_while_reading(cell: Arc<Cell>) {
    cell.publish("a", 5000).await;
    let mut reader = cell.open(&cell.ask("earliest")).await;
    let mut newest = reader.event().await.0.vid;
    cell.keep(100).await;
    while newest < 5000 {
        match reader.next().await.expect("no error").expect("no end") {
            Step::Event(seen, _) => {
                assert_eq!(seen.vid, newest + 1, "lost without a word");
                newest = seen.vid;
            }
            Step::Gap(gap) => {
                assert_eq!(gap.reason, "expired");
                newest = gap.first - 1;
            }
            _ => {}
        }
    }
}

async fn progress(cell: Arc<Cell>) {
    let mut reader = cell
        .open(&SubscribeParams::after("latest").topic(&format!("{}.nothing", cell.topic)))
        .await;
    reader.until_caught_up().await;
    let last = *cell.publish("a", 3).await.last().expect("a vid");
    loop {
        match reader.next().await.expect("no error").expect("no end") {
            Step::Progress(cursor) if cursor.starts_with(&format!("{last}-")) => return,
            Step::Progress(_) | Step::CaughtUp(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn progress_and_events(cell: Arc<Cell>) {
    let mut reader = cell.open(&cell.ask("latest").topic("nothing.else")).await;
    reader.until_caught_up().await;
    let publishing = tokio::spawn({
        let cell = cell.clone();
        async move {
            for round in 0..60 {
                cell.publish(if round % 3 == 0 { "a" } else { "b" }, 1)
                    .await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let mut position = 0;
    let mut events = 0;
    while events < 60 {
        let (vid, is_event) = match reader.next().await.expect("no error").expect("no end") {
            Step::Event(seen, _) => (seen.vid, true),
            Step::Progress(cursor) | Step::CaughtUp(cursor) => (vid_of(&cursor), false),
            other => panic!("{other:?}"),
        };
        if is_event {
            assert!(
                vid > position,
                "the event {vid} came after the position {position}"
            );
            events += 1;
        }
        position = position.max(vid);
    }
    publishing.await.expect("the publisher");
}

async fn idle_past_retention(cell: Arc<Cell>) {
    let params = SubscribeParams::after("latest").topic(&format!("{}.nothing", cell.topic));
    let mut reader = cell.open(&params).await;
    let (_, mut cursor) = reader.until_caught_up().await;
    let begun = tokio::time::Instant::now();
    // The gateway trims by itself here; the subscriber stays connected meanwhile.
    while begun.elapsed() < Duration::from_millis(1500) {
        cell.publish("a", 1).await;
        if let Some(Step::Progress(moved)) = reader.next().await.expect("no error") {
            cursor = moved;
        }
    }
    assert!(cell.bus().await.1 > 1, "retention has trimmed nothing");
    drop(reader);
    let params = SubscribeParams::after(cursor).topic(&format!("{}.nothing", cell.topic));
    let (steps, _) = cell.open(&params).await.until_caught_up().await;
    assert!(gap_ranges(&steps).is_empty(), "{steps:?}");
}

async fn after_restart(cell: Arc<Cell>) {
    let before = cell.publish("a", 20).await;
    cell.restart().await;
    assert_eq!(cell.vids(&cell.ask("earliest")).await, before);
}

async fn vids_over_restart(cell: Arc<Cell>) {
    let before = cell.publish("a", 20).await;
    cell.restart().await;
    let after = cell.publish("a", 1).await;
    assert!(after[0] > before[19], "{} after {}", after[0], before[19]);
}

async fn restart_is_no_gap(cell: Arc<Cell>) {
    cell.publish("a", 3).await;
    let mut reader = cell.open(&cell.ask("earliest")).await;
    let (_, cursor) = reader.until_caught_up().await;
    cell.restart().await;
    // A poll is over before the restart and sees nothing of it; a stream is ended, and not by a
    // gap.
    if cell.via != Transport::Poll {
        until_it_ends_without_gap(&mut reader).await;
    }
    let published = cell.publish("a", 2).await;
    assert_eq!(cell.vids(&cell.ask(cursor)).await, published);
}

async fn until_it_ends_without_gap(reader: &mut Reader) {
    loop {
        match reader.next().await {
            Ok(Some(Step::Gap(gap))) | Err(Refused::Gap(gap)) => panic!("{gap:?}"),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

async fn ids_over_restart(cell: Arc<Cell>) {
    let body = serde_json::json!({ "topic": format!("{}.a", cell.topic), "data": 1, "id": "once" });
    let (_, first) = cell.post(&body).await;
    cell.restart().await;
    let (_, again) = cell.post(&body).await;
    assert_eq!(again["vid"], first["vid"]);
    assert_eq!(again["duplicate"], true);
}

async fn good_cursors_stay_good(cell: Arc<Cell>) {
    cell.publish("a", 2000).await;
    for after in (0..2000).step_by(250) {
        let expected: Vec<u64> = (after + 1..=2000).collect();
        let params = if after == 0 {
            cell.ask("earliest")
        } else {
            cell.ask(after.to_string())
        };
        assert_eq!(cell.vids(&params).await, expected);
    }
}
