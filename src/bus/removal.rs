//! Events that an operator takes out of the log.
//!
//! A removed event leaves a hole (contract §1). Invariants:
//! - it is gone from the log, durably, before it leaves memory, and nothing is reported as removed
//!   that any reader can still find in either;
//! - a page that was being read meanwhile is not found by anybody who comes later;
//! - a removal that was begun goes on to its end, whoever asked for it leaves.

use super::Bus;
use crate::cursor::Vid;
use crate::engine::{Removal, RemovalStep};
use crate::error::{Error, ErrorKind, Result};
use crate::topic::Topic;

impl Bus {
    /// Deletes an event; gives its topic.
    ///
    /// # Errors
    /// Not found where there is no such event; unsupported; what a log says that cannot be written.
    pub(crate) async fn delete_event(&self, vid: Vid) -> Result<Topic> {
        let _alone = self.0.removing.lock().await;
        let step = self.remove_step(&Removal::Event(vid)).await?;
        step.topic.ok_or_else(|| no_event(vid))
    }

    /// Deletes the events that a topic has now; gives how many, and the vid up to which.
    ///
    /// # Errors
    /// Unsupported; what a log says that cannot be written. Then some may be gone already.
    pub(crate) async fn purge_topic(&self, topic: Topic) -> Result<(u64, Vid)> {
        let bus = self.clone();
        let purging = tokio::spawn(async move { bus.purge_to_the_end(topic).await });
        let done = purging.await;
        done.unwrap_or_else(|e| Err(Error::internal(format!("the purge broke off: {e}"))))
    }

    async fn purge_to_the_end(&self, topic: Topic) -> Result<(u64, Vid)> {
        let _alone = self.0.removing.lock().await;
        let through = self.0.engine.state().bounds.last;
        let what = Removal::Topic { topic, through };
        let mut removed = 0;
        loop {
            let step = self.remove_step(&what).await?;
            removed += step.vids.len() as u64;
            if !step.more {
                return Ok((removed, through));
            }
            // Publishers have their turn between two steps.
            tokio::task::yield_now().await;
        }
    }

    /// One step, in the log and then in memory.
    async fn remove_step(&self, what: &Removal) -> Result<RemovalStep> {
        // A task of its own: what is gone from the log has to leave memory as well.
        let (bus, what) = (self.clone(), what.clone());
        let step = tokio::spawn(async move {
            let step = bus.0.engine.remove(&what).await?;
            bus.forget_removed(&step);
            Ok(step)
        });
        let done = step.await;
        done.unwrap_or_else(|e| Err(Error::internal(format!("the removal broke off: {e}"))))
    }

    fn forget_removed(&self, step: &RemovalStep) {
        if step.vids.is_empty() {
            return;
        }
        self.0.pages.removed(&step.vids);
        // The oldest event may have been among them.
        let first = self.0.engine.state().bounds.first;
        self.0.pages.trimmed_below(first);
    }
}

fn no_event(vid: Vid) -> Error {
    let detail = format!("there is no event {vid} on the log; it may have left it already");
    Error::new(ErrorKind::NotFound, detail)
}
