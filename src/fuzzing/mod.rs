//! What the fuzz targets of `fuzz/` check: input in, the property that broke out.
//!
//! Invariants:
//! - built only with `--cfg fuzzing`, which cargo-fuzz sets;
//! - what is right is said by [`oracle`], which shares no code with what it checks.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use crate::bus::{Bus, BusOptions};
use crate::engine::{MemoryEngine, Retention};

/// Nothing, or the property that broke.
pub type Checked = Result<(), String>;

/// A JSON object's fields as they were written.
type Fields = BTreeMap<String, Box<RawValue>>;

const MAX_EVENT_BYTES: usize = 2048;
const VID: u64 = 1042;

macro_rules! hold {
    ($holds:expr, $($broken:tt)+) => {
        if !$holds {
            return Err(format!($($broken)+));
        }
    };
}

// Behind the macro, which they use.
mod nouns;
mod oracle;
mod publishing;
mod rendering;
mod server;
mod subscribing;

pub use nouns::{cursor, filter, topic};
pub use publishing::{grpc_publish, publish};
pub use rendering::{legacy, sse};
pub use server::head;
pub use subscribing::{grpc_subscribe, query};

/// An empty bus in memory. Its tasks run only while the runtime does.
fn bus() -> (Runtime, Bus) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let minute = Duration::from_secs(60);
    let retention = Retention {
        max_age: minute,
        max_events: 1000,
        max_bytes: 1 << 20,
        dedupe_window: minute,
    };
    let options = BusOptions {
        heartbeat: minute,
        max_subscribers: 1,
        max_event_bytes: MAX_EVENT_BYTES,
        retention,
    };
    let bus = {
        let _guard = runtime.enter();
        Bus::start(Arc::new(MemoryEngine::new(minute)), options)
    };
    (runtime, bus)
}

/// A bus for what asks it only for its epoch and options.
fn idle_bus() -> &'static Bus {
    static BUS: OnceLock<(Runtime, Bus)> = OnceLock::new();
    &BUS.get_or_init(bus).1
}

fn fields(json: &[u8]) -> Result<Fields, String> {
    serde_json::from_slice(json)
        .map_err(|e| format!("{:?} is no JSON object: {e}", String::from_utf8_lossy(json)))
}

fn raw(value: &impl serde::Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("text is JSON")
}
