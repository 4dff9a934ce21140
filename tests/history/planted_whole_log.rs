//! The comparison with a whole log finds each kind of error that is planted, and nothing else.

use crate::common::publisher::{Ack, Draft};
use crate::common::read::{Data, Seen};
use crate::findings::Findings;
use crate::whole_log::PublishRecord;

/// Four events of which the first three are acknowledged, and the log of all of them.
fn four_events() -> (PublishRecord, Vec<Seen>) {
    let ids = (1..=4).map(|n| format!("id-{n}"));
    let drafts: Vec<Draft> = ids.map(|id| Draft::new("a", id)).collect();
    let mut record = PublishRecord::default();
    record.sending(&drafts);
    let acks: Vec<Ack> = (1..=3).map(|vid| ack(vid, "abcdef")).collect();
    record.acknowledged(&drafts, &acks);

    let seen = (1..).zip(&drafts).map(|(vid, draft)| Seen {
        vid,
        topic: draft.topic.clone(),
        time_ms: 5,
        kind: String::new(),
        id: draft.id.clone(),
        data: Data::Json(draft.data.clone()),
    });
    (record, seen.collect())
}

fn ack(vid: u64, epoch: &str) -> Ack {
    Ack {
        vid,
        cursor: format!("{vid}-{epoch}"),
        duplicate: false,
    }
}

/// What is found when the log is another one.
fn after(change: impl FnOnce(&mut Vec<Seen>)) -> Findings {
    let (record, mut log) = four_events();
    change(&mut log);
    record.compare(&log).findings
}

/// What is found of a subscriber of these topics that saw this.
fn of_subscriber(topics: &[&str], change: impl FnOnce(&mut Vec<Seen>)) -> Findings {
    let (mut record, log) = four_events();
    let mut seen = log.clone();
    change(&mut seen);
    let topics: Vec<String> = topics.iter().map(ToString::to_string).collect();
    record.subscriber_saw(&topics, &seen);
    record.compare(&log).findings
}

#[test]
fn a_whole_log_with_all_that_was_acknowledged_is_clean() {
    let (record, log) = four_events();
    let clean = record.compare(&log);
    assert!(clean.is_clean(), "{clean}");
    assert_eq!((clean.acknowledged, clean.unacknowledged), (3, 1));
    let shorter = record.compare(&log[..3]);
    assert!(
        shorter.is_clean(),
        "an event that was not acknowledged may be missing: {shorter}"
    );
}

#[test]
fn each_kind_of_error_in_a_whole_log_is_found() {
    assert_eq!(after(|log| drop(log.remove(1))).lost, 1);
    assert_eq!(after(|log| log.truncate(2)).lost, 1);
    assert_eq!(after(|log| log[3].id = "id-1".into()).repeated, 1);
    assert_eq!(after(|log| log.swap(0, 1)).reordered, 1);
    assert_eq!(after(|log| log[0].topic = "b".into()).changed, 1);
    assert_eq!(after(|log| log[2].vid = 7).changed, 1);
    // Once among the events, and once against the acknowledgement.
    assert_eq!(after(|log| log[3].vid = 3).double_vid, 2);
    assert_eq!(after(|log| log[3].id = "id-9".into()).made_up, 1);
}

#[test]
fn acknowledgements_that_contradict_each_other_are_found() {
    let (mut record, log) = four_events();
    record.acknowledged(&[Draft::new("a", "id-1")], &[ack(1, "abcdef")]);
    assert!(record.compare(&log).is_clean());
    record.acknowledged(&[Draft::new("a", "id-1")], &[ack(4, "abcdef")]);
    assert_eq!(record.compare(&log).findings.changed, 1);
    record.acknowledged(&[Draft::new("a", "id-4")], &[ack(3, "ghijkl")]);
    assert!(record.compare(&log).findings.changed > 1);
}

#[test]
fn what_a_subscriber_missed_or_should_not_have_seen_is_found() {
    assert_eq!(of_subscriber(&[], |_| ()), Findings::default());
    assert_eq!(of_subscriber(&[], |seen| drop(seen.remove(0))).lost, 1);
    assert_eq!(
        of_subscriber(&[], |seen| drop(seen.pop())),
        Findings::default(),
        "it may not have come so far"
    );
    assert_eq!(
        of_subscriber(&[], |seen| seen.insert(1, seen[1].clone())).repeated,
        1
    );
    assert_eq!(of_subscriber(&["b"], |_| ()).made_up, 4);
    let changed = of_subscriber(&[], |seen| seen[0].data = Data::Json("0".into()));
    assert!(changed.changed > 0, "{changed:?}");
}

#[test]
fn an_event_that_a_subscriber_saw_and_the_log_has_lost_is_found() {
    let (mut record, log) = four_events();
    record.subscriber_saw(&[], &log);
    assert_eq!(record.compare(&log[..3]).findings.lost, 1);
}
