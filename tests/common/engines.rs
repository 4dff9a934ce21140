//! The engines that a suite runs against. A new engine is added here, and every suite has it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vidette::engine::{Engine, MemoryEngine, SqliteEngine};

/// For how long the engines of the tests remember ids.
pub const DEDUPE_WINDOW: Duration = Duration::from_secs(120);

/// An engine under test.
#[derive(Debug, Clone, Copy)]
pub struct EngineUnderTest {
    /// As in the configuration's `engine.kind`.
    pub name: &'static str,
    /// Does it keep its events when it is opened again?
    pub is_durable: bool,
    open: fn(&Path) -> Arc<dyn Engine>,
}

impl EngineUnderTest {
    /// Opens it on the data of that folder.
    pub fn open(&self, folder: &Path) -> Arc<dyn Engine> {
        (self.open)(folder)
    }
}

/// Every engine.
pub const fn engines() -> [EngineUnderTest; 2] {
    [MEMORY, SQLITE]
}

pub const MEMORY: EngineUnderTest = EngineUnderTest {
    name: "memory",
    is_durable: false,
    open: |_| Arc::new(MemoryEngine::new(DEDUPE_WINDOW)),
};

pub const SQLITE: EngineUnderTest = EngineUnderTest {
    name: "sqlite",
    is_durable: true,
    open: |folder| Arc::new(SqliteEngine::open(folder, DEDUPE_WINDOW).expect("an engine")),
};
