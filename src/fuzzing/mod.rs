//! What the fuzz targets of `fuzz/` check: input in, the property that broke out.
//!
//! Invariants:
//! - built only with `--cfg fuzzing`, which cargo-fuzz sets;
//! - what is right is decided by [`oracle`], which shares no code with what it checks.

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
    let runtime = runtime();
    let bus = {
        // The bus spawns its tasks as it starts, which needs a current runtime.
        let _guard = runtime.enter();
        Bus::start(Arc::new(MemoryEngine::new(MINUTE)), options())
    };
    (runtime, bus)
}

fn runtime() -> Runtime {
    // Timers but no I/O: no target opens a socket.
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime")
}

const MINUTE: Duration = Duration::from_secs(60);

fn options() -> BusOptions {
    BusOptions {
        heartbeat: MINUTE,
        max_subscribers: 1,
        max_event_bytes: MAX_EVENT_BYTES,
        retention: RETENTION,
    }
}

/// More than a target publishes.
const RETENTION: Retention = Retention {
    max_age: MINUTE,
    max_events: 1000,
    max_bytes: 1 << 20,
    dedupe_window: MINUTE,
};

/// A bus for what asks it only for its epoch and options.
fn idle_bus() -> &'static Bus {
    // Its runtime is kept with it, since dropping that would end the tasks of the bus.
    static BUS: OnceLock<(Runtime, Bus)> = OnceLock::new();
    &BUS.get_or_init(bus).1
}

fn fields(json: &[u8]) -> Result<Fields, String> {
    let fields = serde_json::from_slice(json);
    fields.map_err(|error| format!("{error} in {}", String::from_utf8_lossy(json)))
}

fn raw(value: &impl serde::Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("text is JSON")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    type Target = fn(&[u8]) -> Checked;

    fn on_text(input: &[u8], target: fn(&str) -> Checked) -> Checked {
        std::str::from_utf8(input).map_or(Ok(()), target)
    }

    #[test]
    fn the_properties_hold_for_every_seed() {
        let targets: [(&str, Target); 10] = [
            ("cursor", |input| on_text(input, cursor)),
            ("filter", |input| on_text(input, filter)),
            ("grpc_publish", grpc_publish),
            ("grpc_subscribe", grpc_subscribe),
            ("head", head),
            ("legacy", legacy),
            ("publish", publish),
            ("query", |input| on_text(input, query)),
            ("sse", sse),
            ("topic", |input| on_text(input, topic)),
        ];
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        for (name, target) in targets {
            let mut tried = 0;
            for seed in fs::read_dir(seeds.join(name)).expect("a folder of seeds") {
                let seed = seed.expect("a seed").path();
                let input = fs::read(&seed).expect("its bytes");
                target(&input).unwrap_or_else(|broken| panic!("{}: {broken}", seed.display()));
                tried += 1;
            }
            assert!(tried > 0, "{name} has no seeds");
        }
    }
}
