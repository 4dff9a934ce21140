//! The times by which a client waits, gives up and measures.
//!
//! Invariant: what is reported is the time that was meant, also where a test has quickened it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

type OnWait = Arc<dyn Fn(Duration) + Send + Sync>;

/// How fast time passes for a client: as it does, unless a test is to be over sooner.
#[derive(Clone)]
pub struct ClientClock {
    waits: f64,
    limits: f64,
    on_wait: Option<OnWait>,
}

impl Default for ClientClock {
    fn default() -> Self {
        Self::quickened(1.0, 1.0)
    }
}

impl fmt::Debug for ClientClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientClock")
            .field("waits", &self.waits)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl ClientClock {
    /// Waits before a new try take this part of their time; time-outs and measured times that part.
    pub fn quickened(waits: f64, limits: f64) -> Self {
        ClientClock {
            waits,
            limits,
            on_wait: None,
        }
    }

    /// Calls a function when publishing begins to wait before another try, with the wait as it was
    /// meant. A reader's waits are in its items.
    #[must_use]
    pub fn on_publish_wait(mut self, call: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.on_wait = Some(Arc::new(call));
        self
    }

    /// A wait before a new try.
    pub(super) fn wait(&self, wait: Duration) -> Duration {
        wait.mul_f64(self.waits)
    }

    /// The same, when publishing begins it.
    pub(super) fn begin_wait(&self, wait: Duration) -> Duration {
        if let Some(call) = &self.on_wait {
            call(wait);
        }
        self.wait(wait)
    }

    /// A time-out, or a time that something is measured against.
    pub(super) fn limit(&self, limit: Duration) -> Duration {
        limit.mul_f64(self.limits)
    }
}
