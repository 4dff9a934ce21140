//! A subscriber that resumes by its cursor for as long as it is let.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::common::gateway::PATIENCE;
use crate::common::read::{Gap, Reader, Seen, Step, SubscribeParams, Transport};
use crate::common::steps::vid_of;

/// What one subscriber has received so far.
#[derive(Default, Clone)]
pub(crate) struct Received {
    pub(crate) events: Vec<Seen>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) epochs: BTreeSet<String>,
    /// Subscriptions that were opened.
    pub(crate) opened: usize,
    /// Where it stands.
    pub(crate) cursor: Option<String>,
}

pub(crate) struct Subscriber {
    pub(crate) via: Transport,
    pub(crate) topics: Vec<String>,
    received: Arc<Mutex<Received>>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// From the earliest event on.
    pub(crate) fn start(via: Transport, url: &str, topics: &[&str]) -> Self {
        let topics: Vec<String> = topics.iter().map(|t| (*t).to_owned()).collect();
        let received = Arc::new(Mutex::new(Received::default()));
        let task = tokio::spawn(read_on(
            via,
            url.to_owned(),
            topics.clone(),
            received.clone(),
        ));
        Subscriber {
            via,
            topics,
            received,
            task,
        }
    }

    pub(crate) fn received(&self) -> Received {
        self.received.lock().expect("what was received").clone()
    }

    fn position(&self) -> u64 {
        self.received().cursor.as_deref().map_or(0, vid_of)
    }

    /// Waits until its cursor has come to this vid.
    pub(crate) async fn reaches(&self, vid: u64) {
        let waiting = async {
            while self.position() < vid {
                assert!(!self.task.is_finished(), "the subscriber has ended");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(
            in_time,
            "{:?} of {:?} never came to {vid}: {:?}",
            self.via,
            self.topics,
            self.received().cursor
        );
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_on(via: Transport, url: String, topics: Vec<String>, received: Arc<Mutex<Received>>) {
    loop {
        let after = received
            .lock()
            .expect("what was received")
            .cursor
            .clone()
            .unwrap_or_else(|| "earliest".into());
        let params = SubscribeParams {
            topics: topics.clone(),
            ..SubscribeParams::after(after)
        };
        if let Ok(mut reader) = Reader::open_at(via, &url, &params).await {
            received.lock().expect("what was received").opened += 1;
            // Whatever ends it, the cursor is what counts.
            while let Ok(Some(step)) = reader.next().await {
                received.lock().expect("what was received").take(step);
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Received {
    fn take(&mut self, step: Step) {
        match step {
            Step::Hello { epoch, .. } => drop(self.epochs.insert(epoch)),
            Step::Event(seen, cursor) => {
                self.events.push(seen);
                self.cursor = Some(cursor);
            }
            Step::CaughtUp(cursor) | Step::Progress(cursor) => self.cursor = Some(cursor),
            Step::Gap(gap) => self.gaps.push(gap),
            Step::Closing => {}
        }
    }
}
