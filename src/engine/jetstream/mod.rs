//! A log on NATS JetStream, which any number of gateways append to and read.
//!
//! vid = the sequence of a message in its stream. Invariants:
//! - an event is acknowledged once a majority of the stream's servers has it;
//! - only the tail makes events visible, in the order of the stream;
//! - what a server says is believed about another log, or about vids that are gone, only where its
//!   leader is in touch with a majority;
//! - a page is complete up to its `through`, or it is an error: a replica that lags is never taken
//!   at its word.

mod admin;
mod api;
mod connection;
mod copied;
mod copy_source;
mod durability;
mod epoch;
mod import;
mod lease;
mod lineage;
mod message;
mod monitor;
mod options;
mod publish;
mod read;
mod stream_config;
mod subjects;
mod tail;
mod watch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio_util::task::AbortOnDropHandle;

use super::lease::LeaseHolder;
use super::{
    Appended, BatchBounds, Engine, LogRequirements, LogState, Moment, OpenError, Page, ReadRequest,
    Retention, SourceLease, Tail, TrimStep,
};
use crate::cursor::Vid;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::topic::{Filter, Topic};
use api::Api;
use lease::LeaseBucket;
use publish::Publisher;
use stream_config::watch_servers;
use subjects::Subjects;
use watch::StreamWatch;

pub(crate) use admin::{StreamReport, inspect, renew_epoch};
pub(crate) use import::JetStreamTarget;
pub use options::{JetStreamOptions, NatsCredentials, NatsTls};

/// A log on a stream of NATS JetStream.
pub struct JetStreamEngine {
    stream: Arc<SharedStream>,
    publisher: Publisher,
    batch_bounds: BatchBounds,
    durability: String,
    /// Taken once.
    tail: Mutex<Option<tail::StreamTail>>,
    _watching: AbortOnDropHandle<()>,
}

/// What the parts of the engine share.
struct SharedStream {
    api: Api,
    subjects: Subjects,
    watch: StreamWatch,
    /// For stored messages.
    requests: read::Requests,
    /// The newest vid that the tail has brought.
    tail_at: AtomicU64,
    /// Messages that are no events.
    skipped: AtomicU64,
}

impl JetStreamEngine {
    /// Connects, and opens the stream, or creates it where the options say so.
    ///
    /// # Errors
    /// The servers cannot be reached or are too old, or the stream is not there or unfit as a log;
    /// the text names each field that does not fit.
    pub async fn open(
        options: JetStreamOptions,
        required: LogRequirements,
    ) -> std::result::Result<Self, OpenError> {
        let (client, connects) = connection::connect_at_start(&options).await?;
        let api = Api::new(client, &options.stream);
        let opened = stream_config::open(&api, &options, &required).await?;
        import::refuse_unfinished(&api).await?;

        let (client, max_event_bytes) = (api.client().clone(), required.max_event_bytes);
        let watching_servers = watch_servers(client, connects.clone(), max_event_bytes);
        let stream = Arc::new(SharedStream {
            watch: StreamWatch::new(api.clone(), opened.view, connects),
            requests: read::Requests::new(api.clone()),
            api,
            subjects: opened.subjects,
            tail_at: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        });
        let watching = stream.clone();
        Ok(JetStreamEngine {
            publisher: Publisher::new(stream.clone(), options.clone(), opened.dedupe_window),
            tail: Mutex::new(Some(tail::StreamTail::new(
                stream.clone(),
                options.stale_after,
            ))),
            batch_bounds: opened.batch_bounds,
            durability: opened.keepers.durability(&options.monitors).await,
            stream,
            _watching: AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::join!(watching.watch.run(), watching_servers);
            })),
        })
    }
}

#[async_trait]
impl Engine for JetStreamEngine {
    fn kind(&self) -> &'static str {
        "jetstream"
    }

    fn durability(&self) -> String {
        self.durability.clone()
    }

    fn state(&self) -> Arc<LogState> {
        self.stream.watch.state()
    }

    fn batch_bounds(&self) -> BatchBounds {
        self.batch_bounds
    }

    fn take_tail(&self, after: Vid) -> Option<Box<dyn Tail>> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = tail.take()?.starting_after(after);
        Some(Box::new(tail))
    }

    async fn confirmed_last(&self) -> Result<Vid> {
        let view = self.stream.watch.ask_now().await;
        let view = view.map_err(|_| Error::behind())?;
        if !view.is_confirmed {
            return Err(Error::behind());
        }
        Ok(view.bounds.last)
    }

    fn source_lease(&self) -> Option<Arc<SourceLease>> {
        let bucket = LeaseBucket::of(self.stream.clone());
        Some(Arc::new(SourceLease::new(
            bucket,
            LeaseHolder::this_gateway(),
        )))
    }

    fn skipped_messages(&self) -> u64 {
        self.stream.skipped.load(Ordering::Relaxed)
    }

    fn writable(&self) -> Result<()> {
        self.publisher.writable()
    }

    async fn append(&self, batches: Vec<Vec<NewEvent>>, _now: Moment) -> Result<Appended> {
        self.publisher.append(batches).await
    }

    async fn read(&self, request: ReadRequest) -> Result<Page> {
        read::page(&self.stream, request).await
    }

    async fn read_newest(&self, request: ReadRequest) -> Result<Page> {
        read::newest(&self.stream, request).await
    }

    async fn vid_before(&self, time_ms: i64) -> Result<Vid> {
        read::vid_before(&self.stream, time_ms).await
    }

    async fn topics(
        &self,
        filter: Filter,
        after: Option<Topic>,
        limit: usize,
    ) -> Result<Vec<(Topic, Vid)>> {
        read::topics(&self.stream, filter, after, limit).await
    }

    /// The servers do it by themselves, by the configuration of the stream.
    async fn trim(&self, _retention: Retention, _counted_ms: i64) -> Result<TrimStep> {
        Ok(TrimStep::NOTHING)
    }
}
