//! An engine that can be opened again, and short words for what the suite does with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use vidette::engine::{Appended, Engine, Page, PageBudget, ReadRequest, Receipt, Retention};
use vidette::event::{Event, EventParts, NewEvent};
use vidette::limits;
use vidette::topic::Filter;

pub(crate) use crate::common::engines::DEDUPE_WINDOW as WINDOW;
use crate::common::engines::{EngineUnderTest, MEMORY, SQLITE};
use crate::common::in_process::OpenEngine;

/// Some time, in milliseconds since 1970.
pub(crate) const T0: i64 = 1_800_000_000_000;

pub(crate) struct Bench {
    under_test: EngineUnderTest,
    open: OpenEngine,
    folder: TempDir,
    engine: Option<Arc<dyn Engine>>,
}

impl Bench {
    pub(crate) fn new(under_test: EngineUnderTest) -> Self {
        let mut bench = Bench {
            open: under_test.opener(),
            under_test,
            folder: TempDir::new().expect("a folder"),
            engine: None,
        };
        bench.reopen();
        bench
    }

    pub(crate) fn memory() -> Self {
        Self::new(MEMORY)
    }

    pub(crate) fn sqlite() -> Self {
        Self::new(SQLITE)
    }

    /// Closes it and opens it again on the same data.
    pub(crate) fn reopen(&mut self) {
        self.close();
        self.engine = Some((self.open)(&self.data_dir()));
    }

    pub(crate) fn close(&mut self) {
        drop(self.engine.take());
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        self.engine.as_deref().expect("an open engine")
    }

    /// Does it keep its events when it is opened again?
    pub(crate) fn is_durable(&self) -> bool {
        self.under_test.is_durable
    }

    /// Do others append as well, so that events come by the tail?
    pub(crate) fn is_shared(&self) -> bool {
        self.under_test.is_shared
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data_dir().join("vidette.db")
    }

    /// Appends one batch.
    pub(crate) async fn append(&self, batch: Vec<NewEvent>, now_ms: i64) -> Vec<Receipt> {
        let appended = self
            .engine()
            .append(vec![batch], now_ms.into())
            .await
            .expect("it is appended");
        assert_eq!(receipts_of(&appended).len(), 1);
        receipts_of(&appended).remove(0)
    }

    /// Appends so many events of one topic in batches, all at one time.
    pub(crate) async fn append_many(&self, topic: &str, count: u64, now_ms: i64) {
        let mut left = count;
        while left > 0 {
            let size = left.min(2500);
            self.append((0..size).map(|_| event(topic, "x")).collect(), now_ms)
                .await;
            left -= size;
        }
    }

    pub(crate) async fn read(&self, after: u64, through: u64, topics: &[&str]) -> Page {
        self.read_within(after, through, topics, PageBudget::of_events(usize::MAX))
            .await
    }

    pub(crate) async fn read_within(
        &self,
        after: u64,
        through: u64,
        topics: &[&str],
        budget: PageBudget,
    ) -> Page {
        let request = ReadRequest {
            after,
            through,
            filter: filter(topics),
            budget,
        };
        self.engine().read(request).await.expect("a page")
    }

    /// Reads page by page to the end, as a subscriber does.
    pub(crate) async fn read_all(&self, topics: &[&str], budget: PageBudget) -> Vec<u64> {
        let last = self.engine().state().bounds.last;
        let (mut after, mut seen) = (self.engine().state().bounds.first - 1, Vec::new());
        while after < last {
            let page = self.read_within(after, last, topics, budget).await;
            assert!(
                page.through > after,
                "a page that gets no further: {page:?}"
            );
            assert!(
                page.through <= last,
                "a page beyond what was asked for: {page:?}"
            );
            assert!(
                page.events
                    .iter()
                    .all(|e| e.vid > after && e.vid <= page.through),
                "{page:?}"
            );
            seen.extend(vids(&page.events));
            after = page.through;
        }
        seen
    }
}

pub(crate) fn event(topic: &str, data: &str) -> NewEvent {
    new_event(topic, None, data)
}

pub(crate) fn event_with_id(topic: &str, id: &str, data: &str) -> NewEvent {
    new_event(topic, Some(id), data)
}

fn new_event(topic: &str, id: Option<&str>, data: &str) -> NewEvent {
    let parts = EventParts {
        topic,
        kind: None,
        id,
        content_type: Some("text/plain"),
        headers: Vec::new(),
        data: data.to_owned().into(),
    };
    NewEvent::check(parts, limits::MAX_EVENT_BYTES_CEILING).expect("an event")
}

pub(crate) fn filter(topics: &[&str]) -> Filter {
    Filter::parse(topics.iter().copied()).expect("a filter")
}

pub(crate) fn vids(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|e| e.vid).collect()
}

/// Keeps everything.
pub(crate) fn keep() -> Retention {
    Retention {
        max_age: Duration::from_secs(100 * 365 * 24 * 3600),
        max_events: u64::MAX,
        max_bytes: u64::MAX,
        dedupe_window: WINDOW,
    }
}

/// The receipts of each batch, of which none may have failed.
pub(crate) fn receipts_of(appended: &Appended) -> Vec<Vec<Receipt>> {
    let batches = appended.batches.iter().cloned();
    batches
        .map(|receipts| receipts.expect("a batch that was written"))
        .collect()
}
