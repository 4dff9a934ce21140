//! An engine around another one, for tests that need a log which behaves oddly.
//!
//! A test implements [`Hooks`] with the few methods that it changes; everything else goes to the
//! engine inside. What an engine promises is then written down once, here, and a new method of
//! [`Engine`] is delegated in one place.

use std::sync::Arc;

use async_trait::async_trait;
use vidette::cursor::Vid;
use vidette::engine::{
    Appended, BatchBounds, Engine, LogState, Moment, Page, ReadRequest, Removal, RemovalStep,
    Retention, Tail, TrimStep,
};
use vidette::error::Result;
use vidette::event::NewEvent;
use vidette::topic::{Filter, Topic};

/// What a test changes in an engine. Each method may call the engine inside, or not.
#[async_trait]
pub trait Hooks: Send + Sync + 'static {
    /// The name that the log gets.
    fn kind(&self) -> &'static str {
        "wrapped"
    }

    fn state(&self, inner: &dyn Engine) -> Arc<LogState> {
        inner.state()
    }

    fn batch_bounds(&self, inner: &dyn Engine) -> BatchBounds {
        inner.batch_bounds()
    }

    fn take_tail(&self, inner: &dyn Engine, after: Vid) -> Option<Box<dyn Tail>> {
        inner.take_tail(after)
    }

    async fn confirmed_last(&self, inner: &dyn Engine) -> Result<Vid> {
        inner.confirmed_last().await
    }

    async fn append(
        &self,
        inner: &dyn Engine,
        batches: Vec<Vec<NewEvent>>,
        now: Moment,
    ) -> Result<Appended> {
        inner.append(batches, now).await
    }

    async fn read(&self, inner: &dyn Engine, request: ReadRequest) -> Result<Page> {
        inner.read(request).await
    }

    async fn read_newest(&self, inner: &dyn Engine, request: ReadRequest) -> Result<Page> {
        inner.read_newest(request).await
    }

    async fn trim(
        &self,
        inner: &dyn Engine,
        retention: Retention,
        counted_ms: i64,
    ) -> Result<TrimStep> {
        inner.trim(retention, counted_ms).await
    }
}

/// The engine inside, changed by the hooks.
pub struct WrappingEngine<H> {
    pub inner: Arc<dyn Engine>,
    pub hooks: H,
}

impl<H: Hooks> WrappingEngine<H> {
    pub fn around(inner: Arc<dyn Engine>, hooks: H) -> Self {
        WrappingEngine { inner, hooks }
    }
}

#[async_trait]
impl<H: Hooks> Engine for WrappingEngine<H> {
    fn kind(&self) -> &'static str {
        self.hooks.kind()
    }

    fn durability(&self) -> String {
        self.inner.durability()
    }

    fn state(&self) -> Arc<LogState> {
        self.hooks.state(&*self.inner)
    }

    fn batch_bounds(&self) -> BatchBounds {
        self.hooks.batch_bounds(&*self.inner)
    }

    fn take_tail(&self, after: Vid) -> Option<Box<dyn Tail>> {
        self.hooks.take_tail(&*self.inner, after)
    }

    async fn confirmed_last(&self) -> Result<Vid> {
        self.hooks.confirmed_last(&*self.inner).await
    }

    fn writable(&self) -> Result<()> {
        self.inner.writable()
    }

    fn newest_moment(&self) -> Option<Moment> {
        self.inner.newest_moment()
    }

    async fn note_moment(&self, now: Moment) -> Result<()> {
        self.inner.note_moment(now).await
    }

    fn wal_bytes(&self) -> u64 {
        self.inner.wal_bytes()
    }

    fn skipped_messages(&self) -> u64 {
        self.inner.skipped_messages()
    }

    async fn append(&self, batches: Vec<Vec<NewEvent>>, now: Moment) -> Result<Appended> {
        self.hooks.append(&*self.inner, batches, now).await
    }

    async fn read(&self, request: ReadRequest) -> Result<Page> {
        self.hooks.read(&*self.inner, request).await
    }

    async fn read_newest(&self, request: ReadRequest) -> Result<Page> {
        self.hooks.read_newest(&*self.inner, request).await
    }

    async fn vid_before(&self, time_ms: i64) -> Result<Vid> {
        self.inner.vid_before(time_ms).await
    }

    async fn topics(
        &self,
        filter: Filter,
        after: Option<Topic>,
        limit: usize,
    ) -> Result<Vec<(Topic, Vid)>> {
        self.inner.topics(filter, after, limit).await
    }

    async fn trim(&self, retention: Retention, counted_ms: i64) -> Result<TrimStep> {
        self.hooks.trim(&*self.inner, retention, counted_ms).await
    }

    async fn remove(&self, what: &Removal) -> Result<RemovalStep> {
        self.inner.remove(what).await
    }
}
