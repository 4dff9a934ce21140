//! The gateway that a cell runs against: one of its own in this process, or one that is running
//! elsewhere.

use std::path::Path;
use std::sync::Arc;

use vidette::engine::Engine;

use crate::common::engines::EngineUnderTest;
pub use crate::common::in_process::{InProcessGateway, Setup};
use crate::wrong::{Wrongness, wrong_engine};

/// Which engine, and where.
#[derive(Clone)]
pub enum Kind {
    /// On its own engine.
    Own(EngineUnderTest),
    Wrong(Wrongness),
    Running(String),
}

impl Kind {
    pub fn name(&self) -> &str {
        match self {
            Kind::Own(engine) => engine.name,
            Kind::Wrong(_) => "wrong",
            Kind::Running(_) => "running",
        }
    }

    pub fn survives_a_restart(&self) -> bool {
        match self {
            Kind::Own(engine) => engine.is_durable,
            Kind::Wrong(_) => true,
            Kind::Running(_) => false,
        }
    }

    pub async fn start(&self, setup: Setup) -> InProcessGateway {
        let kind = self.clone();
        InProcessGateway::start(Arc::new(move |folder: &Path| open(&kind, folder)), setup).await
    }
}

fn open(kind: &Kind, folder: &Path) -> Arc<dyn Engine> {
    match kind {
        Kind::Own(engine) => engine.open(folder),
        Kind::Wrong(wrongness) => wrong_engine(*wrongness),
        Kind::Running(_) => unreachable!("a running gateway has its own"),
    }
}
