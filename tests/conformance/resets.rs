//! A shared log that is replaced by another one under its gateways (contract §1, §2.3).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::case;
use crate::cases::{Case, Cell};
use crate::common::read::{Gap, Reader, Refused, Step};
use crate::common::steps::{gaps_of, vids_of};

pub fn cases() -> Vec<Case> {
    vec![
        case!(
            "2.3",
            "the log is replaced: a live reader has a gap, then all",
            SharedLog,
            live_reader
        ),
        case!(
            "2.3",
            "the log is replaced: an old cursor is a gap: reset",
            SharedLog,
            old_cursor
        ),
        case!(
            "2.3",
            "the log is replaced: on_gap=fail ends the reader",
            SharedLog,
            fail_on_gap
        ),
        case!(
            "2.3",
            "the log is replaced while it is read: no mixture",
            SharedLog,
            while_it_is_read
        ),
        case!(
            "2.3",
            "the log is replaced while others publish",
            SharedLog,
            while_others_publish
        ),
    ]
}

impl Cell {
    /// Another log is there, with so many events of this cell.
    fn replace(&self, count: usize) {
        let topic = format!("{}.new", self.topic);
        self.log().replace(&vec![topic.as_str(); count]);
    }

    /// Waits until the gateway serves the log that is there now.
    async fn until_replaced(&self) -> String {
        let epoch = self.log().state().lineage.epoch().to_string();
        while self.bus().await.0 != epoch {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        epoch
    }
}

/// The next gap; nothing else than events may come before it.
async fn next_gap(reader: &mut Reader) -> Gap {
    loop {
        match reader.next().await.expect("no error").expect("no end") {
            Step::Gap(gap) => return gap,
            Step::Event(..) => panic!("an event before the gap"),
            _ => {}
        }
    }
}

async fn live_reader(cell: Arc<Cell>) {
    cell.publish("a", 9).await;
    let (before, ..) = cell.bus().await;
    let mut reader = cell.open(&cell.ask("earliest")).await;
    let (_, cursor) = reader.until_caught_up().await;
    cell.replace(4);
    let gap = next_gap(&mut reader).await;
    assert_eq!((gap.reason.as_str(), &gap.requested), ("reset", &cursor));
    assert_ne!(gap.epoch, before);
    assert_eq!(gap.epoch, cell.until_replaced().await);

    let events = reader.events(4).await;
    let vids: Vec<u64> = events.iter().map(|event| event.vid).collect();
    assert_eq!(vids, [1, 2, 3, 4]);
    assert!(events.iter().all(|event| event.topic.ends_with("new")));
    let next = cell.publish("a", 1).await;
    let (event, cursor) = reader.event().await;
    assert_eq!(
        (vec![event.vid], cursor),
        (next, format!("5-{}", gap.epoch))
    );
}

async fn old_cursor(cell: Arc<Cell>) {
    cell.publish("a", 9).await;
    let (before, ..) = cell.bus().await;
    cell.replace(4);
    let now = cell.until_replaced().await;
    for vid in [0, 2, 9, 12] {
        let params = cell.ask(format!("{vid}-{before}"));
        let (steps, _) = cell.open(&params).await.until_caught_up().await;
        let gaps = gaps_of(&steps);
        assert_eq!(gaps.len(), 1, "{vid}: {steps:?}");
        assert_eq!((gaps[0].reason.as_str(), &gaps[0].epoch), ("reset", &now));
        assert_eq!(vids_of(&steps), [1, 2, 3, 4], "{vid}");
    }
}

async fn fail_on_gap(cell: Arc<Cell>) {
    cell.publish("a", 3).await;
    let mut reader = cell.open(&cell.ask("earliest").fail_on_gap()).await;
    reader.until_caught_up().await;
    cell.replace(2);
    loop {
        match reader.next().await {
            Err(Refused::Gap(gap)) | Ok(Some(Step::Gap(gap))) => {
                assert_eq!(gap.reason, "reset");
                break;
            }
            Ok(Some(Step::Progress(_) | Step::CaughtUp(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// More than the gateway has in memory, so that pages come from the log while it is replaced.
async fn while_it_is_read(cell: Arc<Cell>) {
    for _ in 0..4 {
        for _ in 0..20 {
            let old = format!("{}.old", cell.topic);
            cell.log().append_foreign(&vec![old.as_str(); 500]);
        }
        cell.publish("old", 1).await; // now the gateway has all of them
        cell.link()
            .change(|link| link.read_delay = Duration::from_millis(3));
        let mut reader = cell.open(&cell.ask("earliest")).await;
        reader.events(300).await;
        cell.replace(20);

        let mut is_new = false;
        let mut new = 0;
        while new < 20 {
            match reader.next().await.expect("no error").expect("no end") {
                Step::Event(seen, _) => {
                    assert_eq!(seen.topic.ends_with("new"), is_new, "{seen:?}");
                    new += u64::from(is_new);
                    assert!(!is_new || seen.vid == new, "{seen:?}");
                }
                Step::Gap(gap) => {
                    assert_eq!(gap.reason, "reset", "{gap:?}");
                    is_new = true;
                }
                _ => {}
            }
        }
        cell.link().change(|link| link.read_delay = Duration::ZERO);
    }
}

/// A publish that a reset overtakes is to be sent again, as its vid was one of the log before.
async fn publish_unless_replaced(cell: &Cell, n: u64) {
    let topic = format!("{}.a", cell.topic);
    let event = json!([{ "topic": topic, "data": n, "id": format!("{topic}-{n}") }]);
    loop {
        let (status, answer) = cell.post(&event).await;
        if status == 200 {
            return;
        }
        assert_eq!(answer["type"], "urn:vidette:problem:behind", "{answer}");
    }
}

async fn while_others_publish(cell: Arc<Cell>) {
    let mut reader = cell.open(&cell.ask("earliest")).await;
    let publishing = tokio::spawn({
        let cell = cell.clone();
        async move {
            for n in 0..100 {
                publish_unless_replaced(&cell, n).await;
            }
        }
    });
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(20)).await; // some are published in between
        cell.replace(3);
    }
    publishing.await.expect("the publisher");
    let epoch = cell.until_replaced().await;
    let (_, _, last) = cell.bus().await;

    // Within an epoch each vid comes once and in order, and a gap leads to the next epoch.
    let mut position = 0;
    loop {
        match reader.next().await.expect("no error").expect("no end") {
            Step::Event(seen, cursor) => {
                assert_eq!(seen.vid, position + 1, "{cursor}");
                position = seen.vid;
                if cursor == format!("{last}-{epoch}") {
                    return;
                }
            }
            Step::Gap(gap) => {
                assert_eq!(gap.reason, "reset", "{gap:?}");
                position = gap.first - 1;
            }
            _ => {}
        }
    }
}
