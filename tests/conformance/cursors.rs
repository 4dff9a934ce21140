//! Is a cursor valid? The table of contract §3, line by line.

use std::sync::Arc;

use crate::case;
use crate::cases::{Case, Cell};
use crate::common::read::{Refused, Step};
use crate::common::steps::{gap_ranges, vids_of};

pub fn cases() -> Vec<Case> {
    vec![
        case!(
            "3",
            "first-1 is served, from the oldest event on",
            OwnLog,
            before_first
        ),
        case!("3", "first-2 is a gap: expired", OwnLog, expired),
        case!(
            "3",
            "first is served, without the oldest event",
            OwnLog,
            at_first
        ),
        case!("3", "last is served, and waits", OwnLog, at_last),
        case!(
            "3",
            "last+1 is waited for, then a gap: ahead",
            OwnLog,
            one_ahead
        ),
        case!(
            "3",
            "last+1 that comes within 3 s is served",
            OwnLog,
            ahead_that_comes
        ),
        case!(
            "3",
            "last+1000 is a gap: ahead, and gives no old event",
            OwnLog,
            far_ahead
        ),
        case!("3", "2^53-1 is a gap: ahead", OwnLog, largest_vid),
        case!(
            "3",
            "2^53, -1, 1042-, -abc and others are bad requests",
            Nothing,
            bad_cursors
        ),
        case!(
            "3",
            "another epoch is a gap: reset, then all that is kept",
            OwnLog,
            other_epoch
        ),
        case!("3", "the same epoch is served", OwnLog, same_epoch),
        case!("3", "0 is all that is kept, without a gap", OwnLog, zero),
        case!(
            "3",
            "0-EPOCH is a cursor: expired when something is gone",
            OwnLog,
            zero_with_epoch
        ),
        case!("3", "on_gap=fail refuses: expired", OwnLog, fail_expired),
        case!("3", "on_gap=fail refuses: reset", OwnLog, fail_reset),
        case!("3", "on_gap=fail refuses: ahead", OwnLog, fail_ahead),
        case!(
            "2.3",
            "a gap is reported before the next event",
            OwnLog,
            gap_comes_first
        ),
    ]
}

/// Ten events, of which the newest five are kept: first = 6, last = 10.
async fn five_of_ten(cell: &Cell) -> String {
    cell.publish("a", 10).await;
    cell.keep(5).await;
    let (epoch, first, last) = cell.bus().await;
    assert_eq!((first, last), (6, 10));
    epoch
}

async fn before_first(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    assert_eq!(cell.vids(&cell.ask("5")).await, [6, 7, 8, 9, 10]);
}

async fn expired(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    let (steps, _) = cell.open(&cell.ask("4")).await.until_caught_up().await;
    assert_eq!(gap_ranges(&steps), [("expired".into(), 6, 10)]);
    assert_eq!(vids_of(&steps), [6, 7, 8, 9, 10]);
}

async fn at_first(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    assert_eq!(cell.vids(&cell.ask("6")).await, [7, 8, 9, 10]);
}

async fn at_last(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    let mut reader = cell.open(&cell.ask("10")).await;
    let (steps, _) = reader.until_caught_up().await;
    assert!(
        vids_of(&steps).is_empty() && gap_ranges(&steps).is_empty(),
        "{steps:?}"
    );
    cell.publish("a", 1).await;
    assert_eq!(reader.event().await.0.vid, 11);
}

async fn one_ahead(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    ahead(&cell, "11").await;
}

async fn far_ahead(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    ahead(&cell, "1010").await;
}

async fn largest_vid(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    ahead(&cell, "9007199254740991").await;
}

/// A gap, nothing old, and what comes next.
async fn ahead(cell: &Cell, cursor: &str) {
    let mut reader = cell.open(&cell.ask(cursor)).await;
    let (steps, position) = reader.until_caught_up().await;
    assert_eq!(gap_ranges(&steps), [("ahead".into(), 6, 10)]);
    assert!(vids_of(&steps).is_empty(), "old events: {steps:?}");
    assert!(
        position.starts_with("10-"),
        "reading goes on from last, not from {position}"
    );
    cell.publish("a", 1).await;
    assert_eq!(reader.event().await.0.vid, 11);
}

async fn ahead_that_comes(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    let opening = tokio::spawn({
        let cell = cell.clone();
        async move { cell.open(&cell.ask("11")).await.until_caught_up().await }
    });
    cell.publish("a", 1).await;
    let (steps, position) = opening.await.expect("the reader");
    assert!(
        gap_ranges(&steps).is_empty() && vids_of(&steps).is_empty(),
        "{steps:?}"
    );
    assert!(position.starts_with("11-"));
}

async fn bad_cursors(cell: Arc<Cell>) {
    for cursor in [
        "9007199254740992",
        "-1",
        "1042-",
        "-abc",
        "abc",
        "1042-ABCDEF",
        "1042-abc",
        "1.5",
        "0x1",
        "1042-k3x9q2-",
    ] {
        match cell.try_open(&cell.ask(cursor)).await.map(|_| ()) {
            Err(Refused::BadRequest(_)) => {}
            other => panic!("{cursor}: {other:?}"),
        }
    }
}

async fn other_epoch(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    let (steps, _) = cell
        .open(&cell.ask("8-anotherepoch"))
        .await
        .until_caught_up()
        .await;
    assert_eq!(gap_ranges(&steps), [("reset".into(), 6, 10)]);
    assert_eq!(vids_of(&steps), [6, 7, 8, 9, 10]);
}

async fn same_epoch(cell: Arc<Cell>) {
    let epoch = five_of_ten(&cell).await;
    assert_eq!(cell.vids(&cell.ask(format!("8-{epoch}"))).await, [9, 10]);
}

async fn zero(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    assert_eq!(cell.vids(&cell.ask("0")).await, [6, 7, 8, 9, 10]);
}

async fn zero_with_epoch(cell: Arc<Cell>) {
    let epoch = five_of_ten(&cell).await;
    let (steps, _) = cell
        .open(&cell.ask(format!("0-{epoch}")))
        .await
        .until_caught_up()
        .await;
    assert_eq!(gap_ranges(&steps), [("expired".into(), 6, 10)]);
}

async fn fail_expired(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    refused(&cell, "4", "expired").await;
}

async fn fail_reset(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    refused(&cell, "8-anotherepoch", "reset").await;
}

async fn fail_ahead(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    refused(&cell, "11", "ahead").await;
}

async fn refused(cell: &Cell, cursor: &str, reason: &str) {
    match cell
        .try_open(&cell.ask(cursor).fail_on_gap())
        .await
        .map(|_| ())
    {
        Err(Refused::Gap(gap)) => {
            assert_eq!(
                (gap.reason.as_str(), gap.requested.as_str()),
                (reason, cursor)
            );
            assert_eq!((gap.first, gap.last), (6, 10));
        }
        other => panic!("not refused with a gap: {other:?}"),
    }
}

async fn gap_comes_first(cell: Arc<Cell>) {
    five_of_ten(&cell).await;
    let mut reader = cell.open(&cell.ask("1")).await;
    assert!(matches!(reader.next().await, Ok(Some(Step::Hello { .. }))));
    assert!(matches!(reader.next().await, Ok(Some(Step::Gap(_)))));
    assert!(matches!(reader.next().await, Ok(Some(Step::Event(seen, _))) if seen.vid == 6));
}
