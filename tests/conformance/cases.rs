//! What a case is, and what it can do in its cell.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use vidette::limits;

use crate::common::read::{Reader, Refused, SubscribeParams, Transport};
use crate::common::secure;
use crate::common::shared_log::{Link, SharedLog};
use crate::common::steps::{gap_ranges, vids_of};
use crate::target::{InProcessGateway, Kind, OnSharedLog, Setup};
use crate::{bounds, cursors, filters, paging, publishing, resets, shared, starts};

/// How long a cell may take on a busy machine: it ends what hangs.
pub const CELL_PATIENCE: Duration = Duration::from_secs(120);

/// What a case needs beside a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Only topics of its own.
    Nothing,
    /// A log that nobody else writes to, and to trim it.
    OwnLog,
    /// To stop the gateway and start it again on the same log.
    Restart,
    /// A log that others append to as well, and to do so.
    SharedLog,
}

type Run = fn(Arc<Cell>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// One row of the table.
#[derive(Clone)]
pub struct Case {
    pub section: &'static str,
    pub name: &'static str,
    pub needs: Needs,
    pub setup: Setup,
    pub run: Run,
}

/// Builds a [`Case`] from an async function.
#[macro_export]
macro_rules! case {
    ($section:literal, $name:literal, $needs:ident, $run:path) => {
        $crate::case!(
            $section,
            $name,
            $needs,
            $run,
            $crate::target::Setup::default()
        )
    };
    ($section:literal, $name:literal, $needs:ident, $run:path, $setup:expr) => {
        $crate::cases::Case {
            section: $section,
            name: $name,
            needs: $crate::cases::Needs::$needs,
            setup: $setup,
            run: |cell| Box::pin($run(cell)),
        }
    };
}

/// Every case.
pub fn all() -> Vec<Case> {
    [
        cursors::cases(),
        bounds::cases(),
        starts::cases(),
        filters::cases(),
        paging::cases(),
        publishing::cases(),
        shared::cases(),
        resets::cases(),
    ]
    .concat()
}

/// One case on one engine and one transport.
pub struct Cell {
    pub via: Transport,
    own: Mutex<Option<InProcessGateway>>,
    shared: Option<OnSharedLog>,
    url: String,
    /// A first part of topics that no other cell uses.
    pub topic: String,
}

impl Cell {
    pub async fn new(kind: &Kind, via: Transport, setup: Setup) -> Self {
        static CELLS: AtomicU64 = AtomicU64::new(0);
        let number = CELLS.fetch_add(1, Ordering::Relaxed);
        let topic = format!("conformance.{}.{number}", std::process::id());
        let (own, shared, url) = if let Kind::Running(url) = kind {
            (None, None, url.clone())
        } else {
            let is_secure = kind.is_secure();
            let (own, shared) = kind.start(Setup { is_secure, ..setup }).await;
            let url = own.url();
            (Some(own), shared, url)
        };
        Cell {
            via,
            url,
            topic,
            own: Mutex::new(own),
            shared,
        }
    }

    /// The log below the gateway, which others append to as well.
    pub fn log(&self) -> &SharedLog {
        &self.shared.as_ref().expect("a shared log").log
    }

    /// The gateway's way to that log.
    pub fn link(&self) -> &Link {
        &self.shared.as_ref().expect("a shared log").link
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// All topics of this cell.
    pub fn all_topics(&self) -> String {
        format!("{}.>", self.topic)
    }

    /// Asks for everything of this cell.
    pub fn ask(&self, after: impl Into<String>) -> SubscribeParams {
        SubscribeParams::after(after).topic(&self.all_topics())
    }

    pub async fn open(&self, params: &SubscribeParams) -> Reader {
        self.try_open(params)
            .await
            .unwrap_or_else(|refused| panic!("refused: {refused:?}"))
    }

    pub async fn try_open(&self, params: &SubscribeParams) -> Result<Reader, Refused> {
        Reader::open_at(self.via, &self.url, params).await
    }

    pub async fn open_via(&self, via: Transport, params: &SubscribeParams) -> Reader {
        Reader::open_at(via, &self.url, params)
            .await
            .unwrap_or_else(|refused| panic!("refused: {refused:?}"))
    }

    /// Publishes a body to `/v1/events`; any answer.
    pub async fn post(&self, body: &Value) -> (u16, Value) {
        let request = secure::http_client(&self.url)
            .post(format!("{}/v1/events", self.url))
            .json(body);
        let response = request.send().await.expect("an answer");
        (
            response.status().as_u16(),
            response.json().await.expect("JSON"),
        )
    }

    /// Publishes so many events below this cell's topic, in one batch where the engine takes as
    /// many at once; their vids.
    pub async fn publish(&self, leaf: &str, count: u64) -> Vec<u64> {
        let event = |n| json!({ "topic": format!("{}.{leaf}", self.topic), "data": n });
        let events: Vec<Value> = (1..=count).map(event).collect();
        let mut vids = Vec::new();
        for batch in events.chunks(self.batch_events().await) {
            let (status, answer) = self.post(&batch.into()).await;
            assert_eq!(status, 200, "{answer}");
            let events = answer["events"].as_array().expect("events").iter();
            vids.extend(events.map(|e| e["vid"].as_u64().expect("a vid")));
        }
        vids
    }

    async fn batch_events(&self) -> usize {
        let own = self.own.lock().await;
        // Of a gateway that runs elsewhere it is not known: as many as every engine takes.
        own.as_ref().map_or(limits::NATS_BATCH_EVENTS, |own| {
            own.bus.engine_for_tests().batch_bounds().events
        })
    }

    /// The bus as it stands: epoch, first, last.
    pub async fn bus(&self) -> (String, u64, u64) {
        let bus: Value = secure::http_client(&self.url)
            .get(format!("{}/v1/bus", self.url))
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        let number = |name: &str| bus[name].as_u64().expect("a number");
        (
            bus["epoch"].as_str().expect("an epoch").to_owned(),
            number("first"),
            number("last"),
        )
    }

    pub async fn keep(&self, max_events: u64) {
        self.own
            .lock()
            .await
            .as_ref()
            .expect("a log of its own")
            .keep(max_events)
            .await;
    }

    pub async fn expire_all(&self) {
        self.own
            .lock()
            .await
            .as_ref()
            .expect("a log of its own")
            .expire_all()
            .await;
    }

    pub async fn restart(&self) {
        let mut own = self.own.lock().await;
        let running = own.take().expect("a log of its own");
        *own = Some(running.restart().await);
    }

    /// The vids that a subscription brings until it has caught up; no gap may be reported.
    pub async fn vids(&self, params: &SubscribeParams) -> Vec<u64> {
        let (steps, _) = self.open(params).await.until_caught_up().await;
        assert!(
            gap_ranges(&steps).is_empty(),
            "a gap was reported: {steps:?}"
        );
        vids_of(&steps)
    }
}
