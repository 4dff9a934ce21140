//! Publishers with ids at each gateway, readers that go from gateway to gateway and from transport
//! to transport, and readers that stay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::common::publisher::{Draft, Outcome, PublishError, Publisher, Way};
use crate::common::read::{ALL, Reader, SubscribeParams, Transport};
use crate::record::{Acknowledged, Moment, Place, Record, Refusal, Told, what_of};

/// How long a publisher waits for an answer; a gateway refuses after 12 s.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(16);
/// How long a reader waits to be let in.
const OPEN_PATIENCE: Duration = Duration::from_secs(4);
/// A gateway that says nothing for so long, although it has a heartbeat, is left.
const SILENCE: Duration = Duration::from_secs(5);
const TOPICS: [&str; 4] = ["cluster.a", "cluster.b", "cluster.c.d", "other"];

/// Publishes at one gateway, and at the others where that one cannot, until publishers are stopped
/// and everything is acknowledged.
pub(crate) async fn publish(number: usize, way: Way, urls: Vec<String>, record: Arc<Record>) {
    let home = number % urls.len();
    let mut serial = 0_u64;
    while !record.is_stopped() {
        let count = fastrand::usize(1..=5);
        let drafts: Vec<Draft> = (0..count)
            .map(|_| {
                serial += 1;
                let topic = TOPICS[fastrand::usize(..TOPICS.len())];
                Draft::new(topic, format!("p{number}-{serial}"))
            })
            .collect();
        record.history().sent += count as u64;
        until_acknowledged(&drafts, way, home, &urls, &record).await;
        sleep(Duration::from_millis(fastrand::u64(30..150))).await;
    }
}

async fn until_acknowledged(
    mut drafts: &[Draft],
    way: Way,
    home: usize,
    urls: &[String],
    record: &Record,
) {
    for attempt in 0.. {
        let gateway = (home + attempt) % urls.len();
        let begun = Instant::now();
        let mut publisher = Publisher::new(way, &urls[gateway]);
        let answer = timeout(PUBLISH_PATIENCE, publisher.publish(drafts)).await;
        let answered = Answered {
            at: record.now(),
            gateway,
            took: begun.elapsed(),
        };
        let Ok(outcome) = answer else {
            record.history().refusals.push(answered.refusal(None));
            continue;
        };
        answered.note(&outcome, drafts, way, record);
        if outcome.error.is_none() {
            return;
        }
        drafts = &drafts[outcome.acks.len()..];
        sleep(Duration::from_millis(50)).await;
    }
}

/// When and by whom a publisher was answered.
struct Answered {
    at: Moment,
    gateway: usize,
    took: Duration,
}

impl Answered {
    fn note(&self, outcome: &Outcome, drafts: &[Draft], way: Way, record: &Record) {
        let acks = outcome.acks.iter().zip(drafts);
        let acks = acks.map(|(ack, draft)| Acknowledged {
            at: self.at,
            gateway: self.gateway,
            id: draft.id.clone(),
            place: Place::of(&ack.cursor),
        });
        let acks: Vec<_> = acks.collect();
        let mut history = record.history();
        let is_batch = matches!(way, Way::Events | Way::Publish);
        if is_batch && outcome.error.is_none() {
            let places = acks.iter().map(|ack| ack.place.clone());
            history.batches.push(places.collect());
        }
        history.acknowledged.extend(acks);
        match &outcome.error {
            // The gateway itself has gone.
            None | Some(PublishError::Broke(_)) => {}
            Some(error) => {
                let text = error.detail().to_owned();
                history.refusals.push(self.refusal(Some(text)));
            }
        }
    }

    fn refusal(&self, text: Option<String>) -> Refusal {
        Refusal {
            at: self.at,
            gateway: self.gateway,
            took: self.took,
            text,
        }
    }
}

/// Reads to the end of the log, at another gateway and by another transport at each turn, which is
/// one event or one page.
pub(crate) async fn wander(number: usize, urls: Vec<String>, record: Arc<Record>) {
    let mut reader = Wanderer::new(None, record);
    for turn in number.. {
        let via = ALL[turn % ALL.len()];
        let most = if fastrand::bool() { 1 } else { 50 };
        let gateway = turn % urls.len();
        if reader.read(gateway, &urls[gateway], via, most).await {
            return;
        }
    }
}

/// Reads to the end of the log at one gateway, and resumes there.
pub(crate) async fn stay(gateway: usize, via: Transport, url: String, record: Arc<Record>) {
    let mut reader = Wanderer::new(Some(gateway), record);
    while !reader.read(gateway, &url, via, usize::MAX).await {}
}

struct Wanderer {
    reading: usize,
    cursor: String,
    record: Arc<Record>,
    stays: bool,
}

impl Wanderer {
    fn new(stays_at: Option<usize>, record: Arc<Record>) -> Self {
        let reading = record.history().begin(stays_at);
        Wanderer {
            reading,
            cursor: "earliest".into(),
            record,
            stays: stays_at.is_some(),
        }
    }

    /// One subscription, for so many events; true at the end of the log.
    async fn read(&mut self, gateway: usize, url: &str, via: Transport, most: usize) -> bool {
        let params = SubscribeParams::after(self.cursor.clone());
        let opening = timeout(OPEN_PATIENCE, Reader::open_at(via, url, &params));
        let Ok(Ok(mut reader)) = opening.await else {
            sleep(Duration::from_millis(50)).await;
            return false;
        };
        let silence = if self.stays {
            SILENCE
        } else {
            Duration::from_millis(300)
        };
        let mut taken = 0;
        while taken < most {
            let Ok(Ok(Some(step))) = timeout(silence, reader.next()).await else {
                return false;
            };
            let Some((what, cursor)) = what_of(step) else {
                continue;
            };
            taken += 1;
            let told = Told {
                at: self.record.now(),
                gateway,
                via,
                what,
            };
            let mut history = self.record.history();
            history.readings[self.reading].told.push(told);
            drop(history);
            if let Some(cursor) = cursor {
                let is_end = self.record.is_end(&Place::of(&cursor));
                self.cursor = cursor;
                if is_end {
                    return true;
                }
            }
        }
        false
    }
}
