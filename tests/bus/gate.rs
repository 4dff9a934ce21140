//! An engine whose appends wait for the test, or fail when it says so.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use vidette::engine::{Appended, Engine, MemoryEngine, Moment};
use vidette::error::{Error, Result};
use vidette::event::NewEvent;

use crate::wrapping_engine::{Hooks, WrappingEngine};

/// Appends reach the memory engine one by one, as the test opens the gate.
pub(crate) type GateEngine = WrappingEngine<Gate>;

pub(crate) struct Gate {
    permits: Semaphore,
    error: Mutex<Option<Error>>,
    panics: AtomicBool,
    appends: AtomicUsize,
}

impl GateEngine {
    pub(crate) fn new() -> Self {
        let gate = Gate {
            permits: Semaphore::new(0),
            error: Mutex::default(),
            panics: AtomicBool::new(false),
            appends: AtomicUsize::new(0),
        };
        let memory = MemoryEngine::new(Duration::from_secs(120));
        GateEngine::around(Arc::new(memory), gate)
    }

    /// Lets so many appends through.
    pub(crate) fn open(&self, appends: usize) {
        self.hooks.permits.add_permits(appends);
    }

    /// Appends that come through the gate fail from now on.
    pub(crate) fn fail_with(&self, error: Option<Error>) {
        *self.hooks.error.lock().expect("the error") = error;
    }

    /// The next append that comes through the gate panics.
    pub(crate) fn panic_once(&self) {
        self.hooks.panics.store(true, Ordering::SeqCst);
    }

    /// Appends that have come through the gate.
    pub(crate) fn appends(&self) -> usize {
        self.hooks.appends.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Hooks for Gate {
    fn kind(&self) -> &'static str {
        "gate"
    }

    async fn append(
        &self,
        inner: &dyn Engine,
        batches: Vec<Vec<NewEvent>>,
        now: Moment,
    ) -> Result<Appended> {
        self.permits.acquire().await.expect("the gate").forget();
        self.appends.fetch_add(1, Ordering::SeqCst);
        assert!(
            !self.panics.swap(false, Ordering::SeqCst),
            "as the test says"
        );
        let error = self.error.lock().expect("the error").clone();
        match error {
            Some(error) => Err(error),
            None => inner.append(batches, now).await,
        }
    }
}
