//! Engines that break one promise each (contract §2). Some case has to catch each of them, or the
//! suite is blind there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use vidette::engine::{Appended, Engine, LogState, MemoryEngine, Moment, Page, ReadRequest};
use vidette::error::Result;
use vidette::event::NewEvent;
use vidette::lineage::Lineage;

use crate::cases::Case;
use crate::common::engines::DEDUPE_WINDOW;
use crate::common::read::ALL;
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
}

const ALL_WRONG: [(&str, Wrongness); 7] = [
    ("2.1 out of order", Wrongness::OutOfOrder),
    ("2.2 not durable", Wrongness::NotDurable),
    ("2.3 silent loss", Wrongness::SilentLoss),
    ("2.4 stands still", Wrongness::StandsStill),
    ("2.5 drops the rest", Wrongness::DropsTheRest),
    ("2.6 cries gap", Wrongness::CriesGap),
    ("2.7 forgets ids", Wrongness::ForgetsIds),
];

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
        Wrongness::OutOfOrder | Wrongness::DropsTheRest | Wrongness::CriesGap => {
            &["far behind", "few matches"]
        }
        Wrongness::NotDurable => &["restart"],
        Wrongness::SilentLoss => &["first-2", "trimmed while"],
        Wrongness::StandsStill => &["no match in a long log"],
        Wrongness::ForgetsIds => &["known id"],
    };
    parts.iter().any(|part| case.name.contains(part))
}

/// What is wrong with a log in memory that says it is the same at each start.
struct Breach(Wrongness);

/// An engine that breaks this promise.
pub fn wrong_engine(wrongness: Wrongness) -> Arc<dyn Engine> {
    let inner = MemoryEngine::new(DEDUPE_WINDOW);
    Arc::new(WrappingEngine::new(inner, Breach(wrongness)))
}

#[async_trait]
impl Hooks for Breach {
    fn kind(&self) -> &'static str {
        "wrong"
    }

    fn state(&self, inner: &dyn Engine) -> Arc<LogState> {
        let mut state = (*inner.state()).clone();
        // The same at each start, as if the log were.
        state.lineage = Lineage::new("wrongwrong".parse().expect("an epoch"));

        if self.0 == Wrongness::SilentLoss {
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
        if self.0 == Wrongness::ForgetsIds {
            let events = batches.iter_mut().flatten();
            events.for_each(|event| event.id = None);
        }
        inner.append(batches, now).await
    }

    async fn read(&self, inner: &dyn Engine, request: ReadRequest) -> Result<Page> {
        let mut page = inner.read(request.clone()).await?;
        match self.0 {
            Wrongness::OutOfOrder => page.events.reverse(),
            Wrongness::SilentLoss => page.first = 1,
            Wrongness::StandsStill if page.events.is_empty() => page.through = request.after,
            Wrongness::DropsTheRest => page.through = request.through,
            Wrongness::CriesGap => page.first = request.through + 1,
            _ => {}
        }
        Ok(page)
    }
}
