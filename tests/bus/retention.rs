//! Retention beside publishers.

use std::sync::Arc;
use std::time::Duration;
use vidette::caller::Caller;

use tempfile::TempDir;
use vidette::bus::{Bus, BusOptions};
use vidette::engine::SqliteEngine;
use vidette::limits::TRIM_STEP_EVENTS;

use crate::{event, keep, options};

/// Each step deletes fewer events than a batch brings, and publishers have their turn in between.
#[tokio::test]
async fn a_log_that_is_filled_faster_than_one_step_deletes_keeps_its_bound() {
    const BATCH: usize = 10 * TRIM_STEP_EVENTS as usize;
    const BOUND: u64 = 1000;
    let folder = TempDir::new().expect("a folder");
    let engine = SqliteEngine::open(folder.path(), Duration::from_secs(120)).expect("an engine");
    let options = BusOptions {
        retention: keep(BOUND),
        ..options()
    };
    let bus = Bus::start(Arc::new(engine), options);
    // Retention that has something to do all the time.
    let trimming = tokio::spawn({
        let bus = bus.clone();
        async move {
            loop {
                bus.trim(keep(BOUND)).await.expect("trimmed");
                tokio::task::yield_now().await;
            }
        }
    });
    let mut most = 0;
    for _ in 0..25 {
        let receipts = bus
            .publish(&Caller::gateway(), vec![event("a"); BATCH])
            .await;
        receipts.expect("receipts");
        most = most.max(bus.gauges().events);
    }
    trimming.abort();
    // A pause between two steps lets some batches through, more on a busy machine. With one step a
    // batch nearly all 25 of them would stay.
    assert!(most <= BOUND + 12 * BATCH as u64, "{most} events are kept");
}
