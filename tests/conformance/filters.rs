//! Exact topics, wildcards, many topics, none (contract §1).

use std::sync::Arc;

use crate::case;
use crate::cases::{Case, Cell};
use crate::common::read::{Refused, SubscribeParams};

pub fn cases() -> Vec<Case> {
    vec![
        case!("1", "an exact topic", Nothing, exact),
        case!("1", "* stands for one token", Nothing, star),
        case!("1", "> stands for one or more tokens", Nothing, arrow),
        case!("1", "many topics: each event once", Nothing, many),
        case!(
            "1",
            "topics that overlap: each event once",
            Nothing,
            overlapping
        ),
        case!("1", "no topic asked: all", OwnLog, none_asked),
        case!(
            "1",
            "no match in a long log: caught up with",
            OwnLog,
            no_match
        ),
        case!(
            "1",
            "few matches in a long log: all of them",
            OwnLog,
            few_matches
        ),
        case!(
            "1",
            "few matches in a long log, from every cursor",
            OwnLog,
            few_matches_from_cursors
        ),
        case!("1", "bad topics are refused", Nothing, bad_topics),
    ]
}

impl Cell {
    fn topics(&self, leaves: &[&str]) -> SubscribeParams {
        leaves
            .iter()
            .fold(SubscribeParams::earliest(), |params, leaf| {
                params.topic(&format!("{}.{leaf}", self.topic))
            })
    }
}

async fn exact(cell: Arc<Cell>) {
    let a = cell.publish("a", 2).await;
    cell.publish("b", 2).await;
    cell.publish("a.b", 2).await;
    assert_eq!(cell.vids(&cell.topics(&["a"])).await, a);
}

async fn star(cell: Arc<Cell>) {
    let ab = cell.publish("a.b", 1).await;
    cell.publish("a", 1).await;
    cell.publish("a.b.c", 1).await;
    let ac = cell.publish("a.c", 1).await;
    assert_eq!(cell.vids(&cell.topics(&["a.*"])).await, [ab[0], ac[0]]);
}

async fn arrow(cell: Arc<Cell>) {
    let ab = cell.publish("a.b", 1).await;
    cell.publish("a", 1).await;
    let abc = cell.publish("a.b.c", 1).await;
    cell.publish("ab.c", 1).await;
    assert_eq!(cell.vids(&cell.topics(&["a.>"])).await, [ab[0], abc[0]]);
}

async fn many(cell: Arc<Cell>) {
    let mut expected = Vec::new();
    let leaves: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    for leaf in leaves.iter().step_by(10) {
        expected.extend(cell.publish(leaf, 1).await);
    }
    cell.publish("other", 5).await;
    let asked: Vec<&str> = leaves.iter().map(String::as_str).collect();
    assert_eq!(cell.vids(&cell.topics(&asked)).await, expected);
}

async fn overlapping(cell: Arc<Cell>) {
    let published = [cell.publish("a.b", 2).await, cell.publish("a.c", 1).await].concat();
    assert_eq!(
        cell.vids(&cell.topics(&["a.b", "a.*", "a.>", "*.b", ">"]))
            .await,
        published
    );
    let mut reader = cell
        .open(&cell.topics(&["a.b", "a.*", "a.>", "*.b", ">"]))
        .await;
    reader.until_caught_up().await;
    let live = [cell.publish("a.b", 1).await, cell.publish("a.c", 1).await].concat();
    let seen: Vec<u64> = reader.events(2).await.iter().map(|e| e.vid).collect();
    assert_eq!(seen, live);
}

async fn none_asked(cell: Arc<Cell>) {
    let published = [cell.publish("a", 2).await, cell.publish("b.c", 2).await].concat();
    assert_eq!(cell.vids(&SubscribeParams::earliest()).await, published);
}

async fn no_match(cell: Arc<Cell>) {
    for _ in 0..4 {
        cell.publish("a", 10_000).await;
    }
    for leaf in ["z", "z.*", "z.>"] {
        assert!(cell.vids(&cell.topics(&[leaf])).await.is_empty());
    }
}

/// A long log in which every 5,000th event or so matches; longer than what is kept in memory.
async fn sparse_log(cell: &Cell) -> Vec<u64> {
    let mut matching = Vec::new();
    for _ in 0..8 {
        matching.extend(cell.publish("rare", 1).await);
        cell.publish("a", 5000).await;
    }
    matching
}

async fn few_matches(cell: Arc<Cell>) {
    let matching = sparse_log(&cell).await;
    assert_eq!(cell.vids(&cell.topics(&["rare"])).await, matching);
    assert_eq!(cell.vids(&cell.topics(&["rare", "z.>"])).await, matching);
}

async fn few_matches_from_cursors(cell: Arc<Cell>) {
    let matching = sparse_log(&cell).await;
    for after in [
        matching[0] - 1,
        matching[2],
        matching[2] + 1,
        matching[5] - 1,
        matching[7],
    ] {
        let params = SubscribeParams {
            after: Some(if after == 0 {
                "earliest".into()
            } else {
                after.to_string()
            }),
            ..cell.topics(&["rare"])
        };
        let expected: Vec<u64> = matching
            .iter()
            .copied()
            .filter(|vid| *vid > after)
            .collect();
        assert_eq!(cell.vids(&params).await, expected, "after {after}");
    }
}

async fn bad_topics(cell: Arc<Cell>) {
    let too_many: Vec<String> = (0..101).map(|n| format!("t{n}")).collect();
    let mut asks: Vec<SubscribeParams> = ["a..b", ".", "a b", "a.>.b", "a*", "a\u{7}"]
        .map(|t| SubscribeParams::earliest().topic(t))
        .into();
    asks.push(SubscribeParams {
        topics: too_many,
        ..SubscribeParams::earliest()
    });
    asks.push(SubscribeParams::earliest().topic(&"x".repeat(256)));
    asks.push(SubscribeParams::earliest().topic(&vec!["t"; 17].join(".")));
    for params in asks {
        assert!(
            matches!(
                cell.try_open(&params).await.map(|_| ()),
                Err(Refused::BadRequest(_))
            ),
            "{:?}",
            params.topics
        );
    }
}
