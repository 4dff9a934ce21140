//! The gateway that a cell runs against: one of its own in this process, or one that is running
//! elsewhere.

use std::sync::Arc;

use crate::common::engines::{EngineUnderTest, SHARED};
pub use crate::common::in_process::{InProcessGateway, OpenEngine, Setup};
use crate::common::shared_log::{Link, LinkSettings, SharedLog};
use crate::wrong::{Wrongness, wrong_engine};

/// Which engine, and where.
#[derive(Clone)]
pub enum Kind {
    /// On its own engine.
    Own(EngineUnderTest),
    /// The same, over TLS and for callers with a token.
    Secure(EngineUnderTest),
    Wrong(Wrongness),
    Running(String),
}

/// A log that the case may append to as others would, and the gateway's way to it.
pub struct OnSharedLog {
    pub log: SharedLog,
    pub link: Link,
}

impl Kind {
    pub fn name(&self) -> &str {
        match self {
            Kind::Own(engine) | Kind::Secure(engine) => engine.name,
            Kind::Wrong(_) => "wrong",
            Kind::Running(_) => "running",
        }
    }

    /// Is its log a stream of NATS JetStream?
    pub fn is_on_nats(&self) -> bool {
        self.name() == "jetstream"
    }

    pub fn is_secure(&self) -> bool {
        matches!(self, Kind::Secure(_))
    }

    pub fn survives_a_restart(&self) -> bool {
        match self {
            Kind::Own(engine) | Kind::Secure(engine) => engine.is_durable,
            Kind::Wrong(_) => true,
            Kind::Running(_) => false,
        }
    }

    /// On the shared log of the tests, which a case can reach behind the gateway's back.
    pub fn is_on_shared_log(&self) -> bool {
        match self {
            Kind::Own(engine) | Kind::Secure(engine) => engine.name == SHARED.name,
            Kind::Wrong(wrongness) => wrongness.is_of_shared_log(),
            Kind::Running(_) => false,
        }
    }

    /// A gateway, and the shared log below it where it has one.
    pub async fn start(&self, setup: Setup) -> (InProcessGateway, Option<OnSharedLog>) {
        let shared = self.is_on_shared_log().then(|| {
            let log = SharedLog::default();
            let link = log.link();
            link.set(LinkSettings::slow());
            OnSharedLog { log, link }
        });
        let open = self.opener(shared.as_ref());
        (InProcessGateway::start(open, setup).await, shared)
    }

    fn opener(&self, shared: Option<&OnSharedLog>) -> OpenEngine {
        let of_shared = shared.map(|OnSharedLog { log, link }| (log.clone(), link.clone()));
        match (self, of_shared) {
            (Kind::Own(_) | Kind::Secure(_), Some((log, link))) => {
                Arc::new(move |_| log.engine(&link))
            }
            (Kind::Own(engine) | Kind::Secure(engine), None) => engine.opener(),
            (Kind::Wrong(wrongness), of_shared) => {
                let wrongness = *wrongness;
                Arc::new(move |_| wrong_engine(wrongness, of_shared.as_ref()))
            }
            (Kind::Running(_), _) => unreachable!("a running gateway has its own"),
        }
    }
}
