//! Copying one log into another.
//!
//! Invariants:
//! - a copy goes on where the target says that it is, so that one which was killed can be started
//!   again: nothing is lost, and nothing is there twice;
//! - what cannot end well is refused before anything is written;
//! - what is reported as copied is durable on the target.

mod plan;

use std::time::{Duration, Instant};

use crate::cursor::Vid;
use crate::engine::Page;
use crate::engine::import::{CopiedPart, CopiedVids, CopyError, CopySource, CopyTarget};

pub(crate) use plan::{CopyPlan, PlanOptions, plan};

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyProgress {
    /// Events that this run has copied.
    pub(crate) events: u64,
    /// Their bytes, as retention counts them.
    pub(crate) bytes: u64,
    /// Vids without an event among them.
    pub(crate) holes: u64,
    /// Everything of the source up to this vid is on the target.
    pub(crate) through: Vid,
    /// Since the run began.
    pub(crate) elapsed: Duration,
}

/// Copies what a plan says, and reports after each part.
///
/// # Errors
/// The source cannot be read or the target not be written; the text says whether the same can be
/// started again.
pub(crate) async fn copy(
    source: &dyn CopySource,
    target: &dyn CopyTarget,
    plan: &CopyPlan,
    mut report: impl FnMut(&CopyProgress),
) -> Result<CopyProgress, CopyError> {
    let (lineage, last) = (&plan.source.lineage, plan.source.bounds.last);
    target.begin(lineage, plan.vids, plan.after).await?;

    let begun = Instant::now();
    let mut progress = CopyProgress {
        events: 0,
        bytes: 0,
        holes: 0,
        through: plan.after,
        elapsed: Duration::ZERO,
    };
    let mut page = first_page(source, plan).await?;
    loop {
        let after = progress.through;
        progress.add(&page, plan.vids);
        plan.check_holes(progress.holes)?;
        let through = page.through;
        let part = CopiedPart {
            source: lineage.clone(),
            vids: plan.vids,
            events: page.events,
            after,
            through,
        };

        // The next page is read while this one is written.
        let (taken, next) = tokio::join!(target.take(part), async {
            let has_more = through < last;
            let reading = has_more.then(|| source.read(through, last));
            futures_util::future::OptionFuture::from(reading).await
        });
        taken?;
        progress.elapsed = begun.elapsed();
        report(&progress);
        let Some(next) = next else { break };
        page = next?;
    }
    target.end(lineage, plan.vids, last).await?;
    Ok(progress)
}

async fn first_page(source: &dyn CopySource, plan: &CopyPlan) -> Result<Page, CopyError> {
    let (after, bounds) = (plan.after, plan.source.bounds);
    if after < bounds.last {
        return source.read(after, bounds.last).await;
    }
    // All of its events are gone; its next vid is still to be told.
    Ok(Page {
        events: Vec::new(),
        through: bounds.last,
        first: bounds.first,
    })
}

impl CopyProgress {
    fn add(&mut self, page: &Page, vids: CopiedVids) {
        let events = page.events.len() as u64;
        let bytes: usize = page.events.iter().map(|event| event.size_bytes()).sum();
        if vids == CopiedVids::Kept {
            self.holes += page.through - self.through - events;
        }
        self.events += events;
        self.bytes += bytes as u64;
        self.through = page.through;
    }
}
