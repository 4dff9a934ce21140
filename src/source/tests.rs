//! The driver with a scripted source, on a log that cannot always be written.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::driver::drive;
use super::work::{DeadLetter, Pulled, Source, SourceError, WorkOutcome};
use super::*;
use crate::bus::{Receipt, SourceLease};
use crate::config::{Config, Overrides};
use crate::cursor::Vid;
use crate::engine::{
    Appended, Engine, LogState, MemoryEngine, Moment, Page, ReadRequest, Retention, TrimStep,
};
use crate::error::{Error, ErrorKind, Result as BusResult};
use crate::event::{EventParts, NewEvent};
use crate::topic::{Filter, Topic};

/// A log whose disk is full for the next so many commits.
struct FullAtTimes {
    log: MemoryEngine,
    full: AtomicU64,
}

#[async_trait]
impl Engine for FullAtTimes {
    async fn append(&self, batches: Vec<Vec<NewEvent>>, now: Moment) -> BusResult<Appended> {
        if self
            .full
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        {
            return Err(Error::new(ErrorKind::StorageFull, "the disk is full"));
        }
        self.log.append(batches, now).await
    }
    fn kind(&self) -> &'static str {
        self.log.kind()
    }
    fn durability(&self) -> String {
        self.log.durability()
    }
    fn state(&self) -> Arc<LogState> {
        self.log.state()
    }
    async fn read(&self, request: ReadRequest) -> BusResult<Page> {
        self.log.read(request).await
    }
    async fn read_newest(&self, request: ReadRequest) -> BusResult<Page> {
        self.log.read_newest(request).await
    }
    async fn vid_before(&self, time_ms: i64) -> BusResult<Vid> {
        self.log.vid_before(time_ms).await
    }
    async fn topics(
        &self,
        filter: Filter,
        after: Option<Topic>,
        limit: usize,
    ) -> BusResult<Vec<(Topic, Vid)>> {
        self.log.topics(filter, after, limit).await
    }
    async fn trim(&self, retention: Retention, now_ms: i64) -> BusResult<TrimStep> {
        self.log.trim(retention, now_ms).await
    }
}

/// What the source does next.
enum ScriptStep {
    Give(Vec<Pulled>),
    GiveAfter(Box<dyn FnOnce() + Send>, Vec<Pulled>),
    Break,
    Panic,
}

#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<ScriptStep>>,
    acknowledged: Mutex<Vec<WorkOutcome>>,
}

struct Scripted(Arc<Script>);

#[async_trait]
impl Source for Scripted {
    async fn pull(&mut self) -> Result<Vec<Pulled>, SourceError> {
        let step = self.0.steps.lock().expect("the script").pop_front();
        match step {
            Some(ScriptStep::Give(pulled)) => Ok(pulled),
            Some(ScriptStep::GiveAfter(happens, pulled)) => {
                happens();
                Ok(pulled)
            }
            Some(ScriptStep::Break) => Err(SourceError::new("connection lost")),
            Some(ScriptStep::Panic) => panic!("a bug in the source"),
            None => std::future::pending().await,
        }
    }

    async fn acknowledge(&mut self, outcomes: Vec<WorkOutcome>) -> Result<(), SourceError> {
        self.0
            .acknowledged
            .lock()
            .expect("the script")
            .extend(outcomes);
        Ok(())
    }
}

/// A driver with a scripted source.
struct ScriptedDriver {
    bus: Bus,
    engine: Arc<FullAtTimes>,
    script: Arc<Script>,
    state: Arc<SourceState>,
    driven: tokio::task::JoinHandle<()>,
}

impl ScriptedDriver {
    fn set(full: u64, dedupe_window: Duration, steps: Vec<ScriptStep>) -> Self {
        Self::set_with(full, dedupe_window, steps, None)
    }

    fn set_with(
        full: u64,
        dedupe_window: Duration,
        steps: Vec<ScriptStep>,
        lease: Option<Arc<SourceLease>>,
    ) -> Self {
        let engine = Arc::new(FullAtTimes {
            log: MemoryEngine::new(dedupe_window),
            full: AtomicU64::new(full),
        });
        let options = Config::parse("", Overrides::default())
            .expect("defaults")
            .bus;
        let bus = Bus::start(engine.clone(), options);
        let script = Arc::new(Script {
            steps: Mutex::new(steps.into()),
            ..Script::default()
        });
        let state = Arc::new(SourceState::new("scripted", "script"));
        let for_source = script.clone();
        let make: MakeSource = Arc::new(move || Box::new(Scripted(for_source.clone())));
        let turn = Turn::new(bus.clone(), lease, CancellationToken::new());
        let (for_driver, unacked) = (bus.clone(), Arc::default());
        let driven = tokio::spawn(drive(make, for_driver, turn, state.clone(), unacked));
        ScriptedDriver {
            bus,
            engine,
            script,
            state,
            driven,
        }
    }

    fn acknowledged(&self) -> Vec<WorkOutcome> {
        self.script.acknowledged.lock().expect("the script").clone()
    }

    /// Waits, on paused time, until so much has been acknowledged.
    async fn until_acknowledged(&self, count: usize) -> Vec<WorkOutcome> {
        for _ in 0..10_000 {
            if self.acknowledged().len() >= count {
                return self.acknowledged();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "only {:?} has been acknowledged: {}",
            self.acknowledged(),
            self.state.json()
        );
    }
}

fn event(id: &str, data: &'static str) -> Pulled {
    let parts = EventParts {
        topic: "door.3",
        id: Some(id),
        data: data.into(),
        ..EventParts::default()
    };
    Pulled::Event(NewEvent::check(parts, 100).expect("an event"))
}

fn published(vid: Vid, duplicate: bool) -> WorkOutcome {
    WorkOutcome::Published(Receipt { vid, duplicate })
}

const WINDOW: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_just_now_is_held_and_neither_refused_nor_acknowledged() {
    let letter = DeadLetter {
        reason: "bad".into(),
        content: "x".into(),
        headers: Vec::new(),
        id: Some("c".into()),
    };
    let pieces = vec![event("a", "1"), Pulled::Refused(letter), event("b", "2")];
    let driver = ScriptedDriver::set(5, WINDOW, vec![ScriptStep::Give(pieces)]);
    let outcomes = driver.until_acknowledged(3).await;
    assert_eq!(
        outcomes,
        [
            published(1, false),
            WorkOutcome::Refused("bad".into()),
            published(3, false)
        ]
    );
    let shown = driver.state.json();
    assert_eq!(
        (&shown["faults"], &shown["published"], &shown["refused"]),
        (&5.into(), &2.into(), &1.into())
    );
    assert_eq!(driver.bus.bounds().last, 3);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_ends_while_events_are_held_acknowledges_none_of_them() {
    let driver = ScriptedDriver::set(
        u64::MAX,
        WINDOW,
        vec![ScriptStep::Give(vec![event("a", "1")])],
    );
    while driver.state.json()["state"] != "held" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    driver.bus.close();
    driver.driven.await.expect("it ends");
    assert_eq!(
        driver.script.acknowledged.lock().expect("the script").len(),
        0
    );
    assert_eq!(driver.engine.state().bounds.last, 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_or_panics_is_made_anew() {
    let steps = vec![
        ScriptStep::Panic,
        ScriptStep::Break,
        ScriptStep::Give(vec![event("a", "1")]),
    ];
    let driver = ScriptedDriver::set(0, WINDOW, steps);
    assert_eq!(driver.until_acknowledged(1).await, [published(1, false)]);
    assert_eq!(driver.state.json()["faults"], 2);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_was_used_for_another_record_loses_neither_even_among_the_same_pieces() {
    let pieces = || ScriptStep::Give(vec![event("a", "1"), event("a", "2"), event("a", "1")]);
    let driver = ScriptedDriver::set(0, WINDOW, vec![pieces(), pieces()]);
    let outcomes = driver.until_acknowledged(6).await;
    let (first, other) = (published(1, false), published(2, false));
    let again = [published(1, true), published(2, true), published(1, true)];
    assert_eq!(outcomes[..3], [first, other, published(1, true)]);
    assert_eq!(outcomes[3..], again);
}

#[tokio::test(start_paused = true)]
async fn what_was_pulled_is_not_published_once_the_lease_is_lost() {
    let (held, held_until) = watch::channel(Some(Instant::now() + WINDOW));
    let lease = Some(Arc::new(SourceLease::held_until(held_until)));
    // Nothing else runs between the loss and what the source gives, as after a freeze.
    let lose = move || {
        held.send_replace(Some(Instant::now()));
    };
    let given = vec![event("a", "1")];
    let steps = vec![ScriptStep::GiveAfter(Box::new(lose), given)];
    let driver = ScriptedDriver::set_with(0, WINDOW, steps, lease);

    driver.driven.await.expect("its turn is over");
    assert_eq!(driver.engine.state().bounds.last, 0);
    assert_eq!(
        driver.script.acknowledged.lock().expect("the script").len(),
        0
    );
    assert_eq!(driver.state.json()["state"], "waiting");
}
