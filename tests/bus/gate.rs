//! An engine whose appends wait for the test, or fail when it says so.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use vidette::cursor::Vid;
use vidette::engine::{
    Appended, Engine, LogState, MemoryEngine, Moment, Page, ReadRequest, Retention, TrimStep,
};
use vidette::error::{Error, Result};
use vidette::event::NewEvent;
use vidette::topic::{Filter, Topic};

/// Appends reach the memory engine one by one, as the test opens the gate.
pub(crate) struct GateEngine {
    inner: MemoryEngine,
    gate: Semaphore,
    error: Mutex<Option<Error>>,
    panics: AtomicBool,
    appends: AtomicUsize,
}

impl GateEngine {
    pub(crate) fn new() -> Self {
        let inner = MemoryEngine::new(std::time::Duration::from_secs(120));
        GateEngine {
            inner,
            gate: Semaphore::new(0),
            error: Mutex::default(),
            panics: AtomicBool::new(false),
            appends: AtomicUsize::new(0),
        }
    }

    /// Lets so many appends through.
    pub(crate) fn open(&self, appends: usize) {
        self.gate.add_permits(appends);
    }

    /// Appends that come through the gate fail from now on.
    pub(crate) fn fail_with(&self, error: Option<Error>) {
        *self.error.lock().expect("the error") = error;
    }

    /// The next append that comes through the gate panics.
    pub(crate) fn panic_once(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// Appends that have come through the gate.
    pub(crate) fn appends(&self) -> usize {
        self.appends.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Engine for GateEngine {
    fn kind(&self) -> &'static str {
        "gate"
    }

    fn durability(&self) -> String {
        "as the test says".into()
    }

    fn state(&self) -> Arc<LogState> {
        self.inner.state()
    }

    async fn append(&self, batches: Vec<Vec<NewEvent>>, now: Moment) -> Result<Appended> {
        self.gate.acquire().await.expect("the gate").forget();
        self.appends.fetch_add(1, Ordering::SeqCst);
        assert!(
            !self.panics.swap(false, Ordering::SeqCst),
            "as the test says"
        );
        let error = self.error.lock().expect("the error").clone();
        match error {
            Some(error) => Err(error),
            None => self.inner.append(batches, now).await,
        }
    }

    async fn read(&self, request: ReadRequest) -> Result<Page> {
        self.inner.read(request).await
    }

    async fn read_newest(&self, request: ReadRequest) -> Result<Page> {
        self.inner.read_newest(request).await
    }

    async fn vid_before(&self, time_ms: i64) -> Result<Vid> {
        self.inner.vid_before(time_ms).await
    }

    async fn topics(
        &self,
        filter: Filter,
        after: Option<Topic>,
        limit: usize,
    ) -> Result<Vec<(Topic, Vid)>> {
        self.inner.topics(filter, after, limit).await
    }

    async fn trim(&self, retention: Retention, now_ms: i64) -> Result<TrimStep> {
        self.inner.trim(retention, now_ms).await
    }
}
