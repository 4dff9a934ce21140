//! The engines that a suite runs against. A new engine is added here, and every suite has it.

use std::sync::Arc;
use std::time::Duration;

use vidette::engine::{MemoryEngine, SqliteEngine};

use super::in_process::OpenEngine;
use super::shared_log::SharedLog;
use super::{nats, nats_engine};

/// For how long the engines of the tests remember ids.
pub const DEDUPE_WINDOW: Duration = Duration::from_secs(120);

/// An engine under test.
#[derive(Debug, Clone, Copy)]
pub struct EngineUnderTest {
    /// As in the configuration's `engine.kind`, where it can be configured.
    pub name: &'static str,
    /// Does it keep its events when it is opened again?
    pub is_durable: bool,
    /// Do others append as well, so that events come by the tail?
    pub is_shared: bool,
    /// Are times, ids and retention by the clock of whoever calls the engine? Elsewhere servers
    /// have a clock of their own.
    pub is_timed_by_caller: bool,
    opener: fn() -> OpenEngine,
}

impl EngineUnderTest {
    /// Opens one log of its own: each call opens it again, on the data of that folder.
    pub fn opener(&self) -> OpenEngine {
        (self.opener)()
    }
}

/// Every engine; that on NATS where its server is installed.
pub fn engines() -> Vec<EngineUnderTest> {
    let mut engines = vec![MEMORY, SQLITE, SHARED];
    if nats::is_installed() {
        engines.push(JETSTREAM);
    }
    // To look at one of them alone.
    if let Ok(name) = std::env::var("VIDETTE_TEST_ENGINE") {
        engines.retain(|engine| engine.name == name);
    }
    engines
}

pub const MEMORY: EngineUnderTest = EngineUnderTest {
    name: "memory",
    is_durable: false,
    is_shared: false,
    is_timed_by_caller: true,
    opener: || Arc::new(|_| Arc::new(MemoryEngine::new(DEDUPE_WINDOW))),
};

pub const SQLITE: EngineUnderTest = EngineUnderTest {
    name: "sqlite",
    is_durable: true,
    is_shared: false,
    is_timed_by_caller: true,
    opener: || {
        Arc::new(|folder| Arc::new(SqliteEngine::open(folder, DEDUPE_WINDOW).expect("an engine")))
    },
};

/// A log of the tests that others may append to as well.
pub const SHARED: EngineUnderTest = EngineUnderTest {
    name: "shared",
    is_durable: true,
    is_shared: true,
    is_timed_by_caller: true,
    opener: || {
        let log = SharedLog::default();
        let link = log.link();
        Arc::new(move |_| log.engine(&link))
    },
};

/// A stream of NATS JetStream.
pub const JETSTREAM: EngineUnderTest = EngineUnderTest {
    name: "jetstream",
    is_durable: true,
    is_shared: true,
    is_timed_by_caller: false,
    opener: nats_engine::opener,
};
