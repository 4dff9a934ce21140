//! A publisher that goes on through crashes, sending again what was not acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::publisher::{Draft, Publisher, Way};
use crate::whole_log::PublishRecord;

/// What all writers of a test share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) record: Arc<Mutex<PublishRecord>>,
    stop: Arc<AtomicBool>,
}

impl Shared {
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// What a writer does about an event that was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Sends it again, with the same id, until it is.
    SendsAgain,
    /// Lets it go: it may be on the log or not.
    GivesUp,
}

/// Publishes until it is stopped; returns when everything it does not give up is acknowledged.
pub(crate) async fn write(
    way: Way,
    name: String,
    url: String,
    patience: Patience,
    shared: Shared,
    seed: u64,
) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut publisher = Publisher::new(way, &url);
    let topic = format!("kill.{name}");
    let (mut serial, mut previous) = (0_u64, Vec::new());
    while !shared.is_stopped() {
        let mut drafts = Vec::new();
        for _ in 0..random.usize(1..=6) {
            serial += 1;
            let bytes = if random.u8(..) < 4 {
                20_000
            } else {
                random.usize(..300)
            };
            drafts.push(Draft::of_size(&topic, format!("{name}-{serial}"), bytes));
        }
        shared.record.lock().expect("the record").sending(&drafts);
        publish(&mut publisher, &drafts, patience, &shared).await;
        // Now and then what is long acknowledged is sent again, as a publisher does that never got
        // the answer.
        if random.u8(..) < 50 && patience == Patience::SendsAgain {
            publish(&mut publisher, &previous, patience, &shared).await;
        }
        previous = drafts;
    }
}

async fn publish(
    publisher: &mut Publisher,
    mut drafts: &[Draft],
    patience: Patience,
    shared: &Shared,
) {
    while !drafts.is_empty() {
        let outcome = publisher.publish(drafts).await;
        shared
            .record
            .lock()
            .expect("the record")
            .acknowledged(drafts, &outcome.acks);
        drafts = &drafts[outcome.acks.len()..];
        if outcome.error.is_none() || patience == Patience::GivesUp {
            return;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
