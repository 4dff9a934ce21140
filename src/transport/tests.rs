//! A bus without events, for tests of what transports write.

use std::sync::Arc;
use std::time::Duration;

use crate::bus::{Bus, BusOptions};
use crate::engine::{MemoryEngine, Retention};

pub(super) fn quiet_bus() -> Bus {
    let minute = Duration::from_secs(60);
    let retention = Retention {
        max_age: minute,
        max_events: 1,
        max_bytes: 1,
        dedupe_window: minute,
    };
    let options = BusOptions {
        heartbeat: minute,
        max_subscribers: 1,
        max_event_bytes: 1,
        retention,
    };
    Bus::start(Arc::new(MemoryEngine::new(minute)), options)
}
