//! Engines that break one promise each (contract §2). Some case has to catch each of them, or the
//! suite is blind there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use vidette::cursor::Vid;
use vidette::engine::{
    Appended, Engine, LogState, MemoryEngine, Moment, Page, ReadRequest, Receipt, Tail, TailStep,
};
use vidette::error::Result;
use vidette::event::{Event, NewEvent};
use vidette::lineage::Lineage;

use crate::cases::Case;
use crate::common::engines::DEDUPE_WINDOW;
use crate::common::read::ALL;
use crate::common::shared_log::{Link, SharedLog};
use crate::common::wrapping_engine::{Hooks, WrappingEngine};
use crate::target::Kind;
use crate::{AT_ONCE, is_possible, run_cell};

/// How long a cell may take here: what hangs is caught, too, and the cases are quick ones.
const PATIENCE: Duration = Duration::from_secs(8);

/// Which promise is broken, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrongness {
    /// 2.1: a page from the log is in no order.
    OutOfOrder,
    /// 2.2: acknowledged events do not survive a restart, and their vids are given again.
    NotDurable,
    /// 2.3: what was trimmed is passed over without a word.
    SilentLoss,
    /// 2.4: a page without a match does not move on.
    StandsStill,
    /// 2.5: what does not fit into a page is dropped.
    DropsTheRest,
    /// 2.6: a busy log says that everything has been trimmed.
    CriesGap,
    /// 2.7: ids are not remembered.
    ForgetsIds,
    /// 2.1: the tail of a shared log brings an event again, under the next vid.
    TailRepeats,
    /// 2.3: the tail of a shared log leaves an event out.
    TailSkips,
    /// 2.2: what was acknowledged never comes to a shared log.
    AcknowledgesEarly,
    /// 2.3: a log that was replaced keeps its epoch.
    ResetKeepsEpoch,
    /// 2.3: a log that was replaced is not reported by its tail.
    ResetUnreported,
    /// 2.6: the end of a shared log is confirmed from what has come by the tail.
    ConfirmsTheTail,
}

use Wrongness::{
    AcknowledgesEarly, ConfirmsTheTail, CriesGap, DropsTheRest, ForgetsIds, NotDurable, OutOfOrder,
    ResetKeepsEpoch, ResetUnreported, SilentLoss, StandsStill, TailRepeats, TailSkips,
};

const ALL_WRONG: [(&str, Wrongness); 13] = [
    ("2.1 out of order", OutOfOrder),
    ("2.2 not durable", NotDurable),
    ("2.3 silent loss", SilentLoss),
    ("2.4 stands still", StandsStill),
    ("2.5 drops the rest", DropsTheRest),
    ("2.6 cries gap", CriesGap),
    ("2.7 forgets ids", ForgetsIds),
    ("2.1 tail repeats", TailRepeats),
    ("2.3 tail skips", TailSkips),
    ("2.2 acknowledges early", AcknowledgesEarly),
    ("2.3 reset keeps epoch", ResetKeepsEpoch),
    ("2.3 reset unreported", ResetUnreported),
    ("2.6 confirms the tail", ConfirmsTheTail),
];

impl Wrongness {
    /// Is it a log that others append to as well?
    pub fn is_of_shared_log(self) -> bool {
        matches!(
            self,
            TailRepeats
                | TailSkips
                | AcknowledgesEarly
                | ResetKeepsEpoch
                | ResetUnreported
                | ConfirmsTheTail
        )
    }
}

/// Runs the cases on each wrong engine; gives how many of them nobody caught.
pub async fn all_are_caught(cases: &[Case]) -> usize {
    println!("\nengines that break a promise, and the cases that catch them:");
    let mut uncaught = 0;
    for (name, wrongness) in ALL_WRONG {
        let kind = Kind::Wrong(wrongness);
        let possible = cases
            .iter()
            .filter(|case| is_possible(case.needs, &kind) && suspects(wrongness, case));
        let cells = possible.flat_map(|case| ALL.map(|via| (case.clone(), kind.clone(), via)));
        let outcomes = futures_util::stream::iter(cells).map(|(case, kind, via)| async move {
            let outcome = run_cell(&case, &kind, via, PATIENCE).await;
            outcome.is_err().then_some(case.name)
        });
        let caught: BTreeSet<&str> = outcomes
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        println!(
            "  {name:20} {}",
            caught.iter().copied().collect::<Vec<_>>().join("; ")
        );
        uncaught += usize::from(caught.is_empty());
    }
    uncaught
}

/// Cases that are about this promise; all others would only take time.
fn suspects(wrongness: Wrongness, case: &Case) -> bool {
    let parts: &[&str] = match wrongness {
        OutOfOrder | DropsTheRest | CriesGap => &["far behind", "few matches"],
        NotDurable => &["restart"],
        SilentLoss => &["first-2", "trimmed while"],
        StandsStill => &["no match in a long log"],
        ForgetsIds => &["known id"],
        TailRepeats | TailSkips => &["others append", "reader far behind"],
        AcknowledgesEarly => &["answered when"],
        ResetKeepsEpoch | ResetUnreported => &["replaced"],
        ConfirmsTheTail => &["gateway that lags"],
    };
    parts.iter().any(|part| case.name.contains(part))
}

/// An engine that breaks this promise.
pub fn wrong_engine(wrongness: Wrongness, shared: Option<&(SharedLog, Link)>) -> Arc<dyn Engine> {
    let Some((log, link)) = shared else {
        let inner = Arc::new(MemoryEngine::new(DEDUPE_WINDOW));
        return Arc::new(WrappingEngine::around(inner, Breach(wrongness)));
    };
    let breach = SharedBreach {
        wrongness,
        came: Arc::default(),
    };
    Arc::new(WrappingEngine::around(log.engine(link), breach))
}

/// What is wrong with a log in memory that says it is the same at each start.
struct Breach(Wrongness);

#[async_trait]
impl Hooks for Breach {
    fn kind(&self) -> &'static str {
        "wrong"
    }

    fn state(&self, inner: &dyn Engine) -> Arc<LogState> {
        let mut state = (*inner.state()).clone();
        // The same at each start, as if the log were.
        state.lineage = wrong_lineage();

        if self.0 == SilentLoss {
            state.bounds.first = 1;
        }
        Arc::new(state)
    }

    async fn append(
        &self,
        inner: &dyn Engine,
        mut batches: Vec<Vec<NewEvent>>,
        now: Moment,
    ) -> Result<Appended> {
        if self.0 == ForgetsIds {
            let events = batches.iter_mut().flatten();
            events.for_each(|event| event.id = None);
        }
        inner.append(batches, now).await
    }

    async fn read(&self, inner: &dyn Engine, request: ReadRequest) -> Result<Page> {
        let mut page = inner.read(request.clone()).await?;
        match self.0 {
            OutOfOrder => page.events.reverse(),
            SilentLoss => page.first = 1,
            StandsStill if page.events.is_empty() => page.through = request.after,
            DropsTheRest => page.through = request.through,
            CriesGap => page.first = request.through + 1,
            _ => {}
        }
        Ok(page)
    }
}

fn wrong_lineage() -> Lineage {
    Lineage::new("wrongwrong".parse().expect("an epoch"))
}

/// What is wrong with a log that others append to as well.
struct SharedBreach {
    wrongness: Wrongness,
    /// The newest vid that has come by the tail.
    came: Arc<AtomicU64>,
}

#[async_trait]
impl Hooks for SharedBreach {
    fn state(&self, inner: &dyn Engine) -> Arc<LogState> {
        let mut state = (*inner.state()).clone();
        if self.wrongness == ResetKeepsEpoch {
            state.lineage = wrong_lineage();
        }
        Arc::new(state)
    }

    fn take_tail(&self, inner: &dyn Engine, after: Vid) -> Option<Box<dyn Tail>> {
        self.came.store(after, Ordering::SeqCst);
        Some(Box::new(WrongTail {
            inner: inner.take_tail(after)?,
            wrongness: self.wrongness,
            came: self.came.clone(),
        }))
    }

    async fn append(
        &self,
        inner: &dyn Engine,
        batches: Vec<Vec<NewEvent>>,
        now: Moment,
    ) -> Result<Appended> {
        if self.wrongness != AcknowledgesEarly {
            return inner.append(batches, now).await;
        }
        let mut vid = inner.state().bounds.last;
        let mut receipts = |batch: Vec<NewEvent>| {
            let receipt = |_| {
                vid += 1;
                Receipt {
                    vid,
                    duplicate: false,
                }
            };
            Ok(batch.iter().map(receipt).collect())
        };
        Ok(Appended {
            batches: batches.into_iter().map(&mut receipts).collect(),
            ..Appended::default()
        })
    }

    async fn confirmed_last(&self, inner: &dyn Engine) -> Result<Vid> {
        if self.wrongness == ConfirmsTheTail {
            return Ok(self.came.load(Ordering::SeqCst));
        }
        inner.confirmed_last().await
    }
}

struct WrongTail {
    inner: Box<dyn Tail>,
    wrongness: Wrongness,
    came: Arc<AtomicU64>,
}

#[async_trait]
impl Tail for WrongTail {
    async fn next(&mut self) -> TailStep {
        loop {
            let step = self.inner.next().await;
            if let TailStep::Events { through, .. } = &step {
                self.came.store(*through, Ordering::SeqCst);
            }
            match (self.wrongness, step) {
                (ResetUnreported, TailStep::Reset(_)) => {}
                (ResetKeepsEpoch, TailStep::Reset(state)) => {
                    let lineage = wrong_lineage();
                    return TailStep::Reset(LogState { lineage, ..state });
                }
                (
                    TailSkips,
                    TailStep::Events {
                        mut events,
                        through,
                    },
                ) => {
                    events.pop();
                    return TailStep::Events { events, through };
                }
                (
                    TailRepeats,
                    TailStep::Events {
                        mut events,
                        through,
                    },
                ) => {
                    let again = events.first().map(|event| under_vid(event, through + 1));
                    events.extend(again);
                    let through = through + 1;
                    return TailStep::Events { events, through };
                }
                (_, step) => return step,
            }
        }
    }
}

fn under_vid(event: &Event, vid: Vid) -> Arc<Event> {
    Arc::new(Event::new(vid, event.time_ms, event.sent.clone()))
}
