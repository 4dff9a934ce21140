//! A subscriber that resumes by its cursor for as long as it is let.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::common::gateway::PATIENCE;
use crate::common::read::{Ask, Gap, Reader, Seen, Step, Via};

/// What one subscriber has been told so far.
#[derive(Default, Clone)]
pub(crate) struct Told {
    pub(crate) events: Vec<Seen>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) epochs: BTreeSet<String>,
    /// Subscriptions that were opened.
    pub(crate) opened: usize,
    /// Where it stands.
    pub(crate) cursor: Option<String>,
}

pub(crate) struct Subscriber {
    pub(crate) via: Via,
    pub(crate) topics: Vec<String>,
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// From the earliest event on.
    pub(crate) fn start(via: Via, url: &str, topics: &[&str]) -> Self {
        let topics: Vec<String> = topics.iter().map(|t| (*t).to_owned()).collect();
        let told = Arc::new(Mutex::new(Told::default()));
        let task = tokio::spawn(read_on(via, url.to_owned(), topics.clone(), told.clone()));
        Subscriber {
            via,
            topics,
            told,
            task,
        }
    }

    pub(crate) fn told(&self) -> Told {
        self.told.lock().expect("what was told").clone()
    }

    /// Waits until its cursor has come to this vid.
    pub(crate) async fn reaches(&self, vid: u64) {
        let waiting = async {
            while vid_of(self.told.lock().expect("what was told").cursor.as_deref()) < vid {
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
            self.told().cursor
        );
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn vid_of(cursor: Option<&str>) -> u64 {
    cursor
        .and_then(|c| c.split('-').next())
        .and_then(|vid| vid.parse().ok())
        .unwrap_or(0)
}

async fn read_on(via: Via, url: String, topics: Vec<String>, told: Arc<Mutex<Told>>) {
    loop {
        let after = told
            .lock()
            .expect("what was told")
            .cursor
            .clone()
            .unwrap_or_else(|| "earliest".into());
        let ask = Ask {
            topics: topics.clone(),
            ..Ask::after(after)
        };
        if let Ok(mut reader) = Reader::open_at(via, &url, &ask).await {
            told.lock().expect("what was told").opened += 1;
            // Whatever ends it, the cursor is what counts.
            while let Ok(Some(step)) = reader.next().await {
                told.lock().expect("what was told").take(step);
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Told {
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
