//! Clients that ask for old events and hang up while the log is read for them (history §1.7).

use std::sync::Arc;
use std::time::Duration;

use crate::common::leave::ask_and_leave;
use crate::shared::Shared;
use crate::writer::TOPICS;

/// Comes and leaves until the writers end.
pub(crate) async fn come_and_leave(shared: Arc<Shared>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    while !shared.is_stopped() {
        let last = shared.history().acknowledged.last().map_or(0, |a| a.vid);
        let cursor = if random.bool() {
            "earliest".to_owned()
        } else {
            random.u64(..=last).to_string()
        };
        // All events, or those of a topic, which are read in another way.
        let topic = ["", TOPICS[random.usize(..TOPICS.len())]][random.usize(..2)];
        ask_and_leave(shared.gateway, &cursor, topic).await;
        shared.history().done.hang_ups += 1;
        tokio::time::sleep(Duration::from_millis(random.u64(..40))).await;
    }
}
