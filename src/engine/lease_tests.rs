//! Contenders on a record in memory, on paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{advance, sleep};

use super::*;

/// A record that several gateways share.
#[derive(Clone)]
struct SharedRecord {
    record: Arc<Mutex<LeaseRecord>>,
    /// Writes are done, and the answers are lost.
    loses_answers: Arc<AtomicBool>,
}

impl SharedRecord {
    fn new() -> Self {
        let record = LeaseRecord {
            revision: 0,
            holder: None,
        };
        SharedRecord {
            record: Arc::new(Mutex::new(record)),
            loses_answers: Arc::default(),
        }
    }

    fn contender(&self) -> SourceLease {
        SourceLease::new(self.clone(), LeaseHolder::this_gateway())
    }

    fn revision(&self) -> u64 {
        self.record.lock().expect("the record").revision
    }
}

#[async_trait]
impl LeaseStore for SharedRecord {
    async fn read(&self) -> Result<LeaseRecord, LeaseError> {
        Ok(self.record.lock().expect("the record").clone())
    }

    async fn write(
        &self,
        holder: Option<&LeaseHolder>,
        replaced: u64,
    ) -> Result<LeaseWrite, LeaseError> {
        let mut record = self.record.lock().expect("the record");
        if record.revision != replaced {
            return Ok(LeaseWrite::Outdated);
        }
        record.revision += 1;
        record.holder = holder.cloned();
        if self.loses_answers.load(Ordering::SeqCst) {
            return Err(LeaseError("no answer".into()));
        }
        Ok(LeaseWrite::Accepted(record.revision))
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_was_lost_does_not_cost_the_lease() {
    let shared = SharedRecord::new();
    let lease = shared.contender();
    lease.gained().await;

    shared.loses_answers.store(true, Ordering::SeqCst);
    sleep(2 * limits::SOURCE_LEASE_RENEWAL).await;
    shared.loses_answers.store(false, Ordering::SeqCst);
    for _ in 0..20 {
        sleep(limits::SOURCE_LEASE_LOOK).await;
        assert!(lease.is_held());
    }
}

#[tokio::test(start_paused = true)]
async fn writes_whose_answers_are_all_lost_give_no_lease() {
    let shared = SharedRecord::new();
    let lease = shared.contender();
    lease.gained().await;
    shared.loses_answers.store(true, Ordering::SeqCst);
    let began = Instant::now();
    lease.lost().await;
    assert!(began.elapsed() <= limits::SOURCE_LEASE);
    assert!(!lease.is_held());
}

#[tokio::test(start_paused = true)]
async fn never_do_two_gateways_hold_it_whoever_comes_and_goes() {
    let shared = SharedRecord::new();
    let mut contenders: Vec<SourceLease> = Vec::new();
    for round in 0..50_u64 {
        if round % 3 == 0 {
            contenders.push(shared.contender());
        }
        // The holder dies, or gives it away, now and then.
        if round % 7 == 6 {
            let held = contenders.iter().position(SourceLease::is_held);
            let holder = contenders.remove(held.expect("a holder"));
            if round % 2 == 0 {
                holder.release().await;
            }
        }
        for contender in &contenders {
            let _ = timeout(Duration::from_millis(1), contender.gained()).await;
        }
        sleep(limits::SOURCE_LEASE).await;
        sleep(limits::SOURCE_LEASE_RENEWAL).await;
        let held = contenders.iter().filter(|lease| lease.is_held()).count();
        assert_eq!(held, 1, "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_never_asked_for_it_writes_nothing() {
    let shared = SharedRecord::new();
    let lease = shared.contender();
    advance(10 * limits::SOURCE_LEASE).await;
    assert!(!lease.is_held());
    lease.release().await;
    assert_eq!(shared.revision(), 0);
}
