//! The gateway that a cell runs against: one of its own in this process, or one that is running
//! elsewhere.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vidette::engine::{Engine, MemoryEngine, SqliteEngine};

pub use crate::common::own::{Own, Setup};
use crate::wrong::{WrongEngine, Wrongness};

/// Which engine, and where.
#[derive(Clone)]
pub enum Kind {
    Memory,
    Sqlite,
    Wrong(Wrongness),
    Running(String),
}

impl Kind {
    pub fn name(&self) -> &str {
        match self {
            Kind::Memory => "memory",
            Kind::Sqlite => "sqlite",
            Kind::Wrong(_) => "wrong",
            Kind::Running(_) => "running",
        }
    }

    pub fn survives_a_restart(&self) -> bool {
        matches!(self, Kind::Sqlite | Kind::Wrong(_))
    }

    pub async fn start(&self, setup: Setup) -> Own {
        let kind = self.clone();
        Own::start(Arc::new(move |folder: &Path| engine(&kind, folder)), setup).await
    }
}

fn engine(kind: &Kind, folder: &Path) -> Arc<dyn Engine> {
    let dedupe_window = Duration::from_secs(120);
    match kind {
        Kind::Memory => Arc::new(MemoryEngine::new(dedupe_window)),
        Kind::Sqlite => Arc::new(SqliteEngine::open(folder, dedupe_window).expect("an engine")),
        Kind::Wrong(wrongness) => Arc::new(WrongEngine::new(*wrongness)),
        Kind::Running(_) => unreachable!("a running gateway has its own"),
    }
}
