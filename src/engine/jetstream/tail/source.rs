//! Where the messages of the tail come from: a consumer, or pages while there is none.
//!
//! Invariants:
//! - one consumer is there or is being made, never two;
//! - from the first doubt about a consumer until the next one is heard of, pages are read;
//! - the next call goes on where a call that was not waited for to its end has been left.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::bridge::{self, AskedOf, BridgePage};
use super::consumer::{Consumer, Heard};
use crate::cursor::Vid;
use crate::engine::jetstream::SharedStream;
use crate::engine::jetstream::api::{ApiError, StoredMessage};
use crate::engine::jetstream::watch::StreamView;
use crate::limits;

type Waiting<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send>>;

/// The source of a tail.
pub(super) struct Source {
    stream: Arc<SharedStream>,
    /// Of the names of all its consumers.
    nonce: String,
    /// How many consumers have been tried.
    attempts: u64,
    consumer: Option<Consumer>,
    making: Option<Waiting<MadeConsumer>>,
    /// The pause before the next one is made.
    pause: Duration,
    /// Are pages read?
    is_bridging: bool,
    page: Option<Waiting<Option<BridgePage>>>,
    page_pause: Duration,
    /// Pages in a row that have not come.
    lost_pages: usize,
}

/// What has come.
pub(super) enum Received {
    /// By a consumer.
    Messages(Vec<StoredMessage>),
    /// By a page, which is to be believed only together with what the stream said.
    Page(BridgePage),
    /// What the stream said when a consumer had been made.
    Made(Arc<StreamView>),
}

/// A consumer, and what the stream said to a question that was asked when it was there.
struct MadeConsumer {
    consumer: Consumer,
    view: Arc<StreamView>,
}

impl Source {
    pub(super) fn new(stream: Arc<SharedStream>) -> Self {
        let nonce = std::iter::repeat_with(fastrand::alphanumeric).take(8);
        Source {
            stream,
            nonce: nonce.collect(),
            attempts: 0,
            consumer: None,
            making: None,
            pause: Duration::ZERO,
            is_bridging: true,
            page: None,
            page_pause: Duration::ZERO,
            lost_pages: 0,
        }
    }

    /// What comes next behind this vid.
    pub(super) async fn next(&mut self, after: Vid) -> Received {
        loop {
            self.begin(after);
            tokio::select! {
                heard = heard_of(&mut self.consumer) => {
                    if let Some(messages) = self.hear(heard) {
                        return Received::Messages(messages);
                    }
                }
                made = end_of(&mut self.making) => {
                    if let Some(view) = self.take_consumer(made) {
                        return Received::Made(view);
                    }
                }
                read = end_of(&mut self.page) => {
                    if let Some(page) = self.take_page(read) {
                        return Received::Page(page);
                    }
                }
            }
        }
    }

    /// Begins what is to be under way.
    fn begin(&mut self, after: Vid) {
        if self.consumer.is_none() && self.making.is_none() {
            self.attempts += 1;
            let name = format!("vidette-{}-{}", self.nonce, self.attempts);
            let making = make(self.stream.clone(), name, after, self.pause);
            self.making = Some(Box::pin(making));
        }
        if self.is_bridging && self.page.is_none() {
            let asked_of = if self.lost_pages >= limits::NATS_UNANSWERED_PAGES {
                AskedOf::Leader
            } else {
                AskedOf::Replicas
            };
            let page = bridge::page(self.stream.clone(), after, self.page_pause, asked_of);
            self.page = Some(Box::pin(page));
        }
    }

    fn hear(&mut self, heard: Heard) -> Option<Vec<StoredMessage>> {
        match heard {
            Heard::Doubt(why) => {
                self.doubt(&why);
                None
            }
            Heard::Alive => {
                self.is_settled();
                None
            }
            Heard::Messages(messages) => {
                self.is_settled();
                Some(messages)
            }
        }
    }

    /// The consumer delivers.
    fn is_settled(&mut self) {
        self.pause = limits::NATS_CONSUMER_PAUSE;
        self.is_bridging = false;
        self.page = None;
    }

    fn take_consumer(&mut self, made: Result<MadeConsumer, ApiError>) -> Option<Arc<StreamView>> {
        match made {
            Ok(MadeConsumer { consumer, view }) => {
                self.consumer = Some(consumer);
                Some(view)
            }
            Err(error) => {
                self.doubt(&error.to_string());
                None
            }
        }
    }

    fn take_page(&mut self, read: Result<Option<BridgePage>, ApiError>) -> Option<BridgePage> {
        self.lost_pages = if read.is_ok() { 0 } else { self.lost_pages + 1 };
        let page = read.unwrap_or_else(|error| {
            tracing::debug!(%error, "a page of the end of the stream has not come");
            None
        });
        // At once where there may be more.
        self.page_pause = match page {
            Some(_) => Duration::ZERO,
            None => limits::NATS_BRIDGE_PAUSE,
        };
        page
    }

    /// Gives the consumer up, and goes on by pages until there is another one.
    pub(super) fn doubt(&mut self, why: &str) {
        tracing::debug!(attempt = self.attempts, why, "another consumer is needed");
        self.consumer = None;
        self.making = None;
        self.is_bridging = true;
        let longer = (2 * self.pause).min(limits::NATS_CONSUMER_PAUSE_MAX);
        self.pause = longer.max(limits::NATS_CONSUMER_PAUSE);
    }

    /// Begins anew: nothing that is under way is of use any more.
    pub(super) fn restart(&mut self) {
        self.consumer = None;
        self.making = None;
        self.page = None;
        self.is_bridging = true;
        self.pause = Duration::ZERO;
        self.page_pause = Duration::ZERO;
    }

    /// The connection is there again. The consumer may be as well.
    pub(super) fn reconnected(&mut self) {
        if let Some(consumer) = &mut self.consumer {
            consumer.reconnected();
        }
        // Answers to what was asked before do not come any more.
        if self.page.is_some() {
            self.lost_pages += 1;
        }
        self.making = None;
        self.page = None;
        self.is_bridging = true;
        self.page_pause = Duration::ZERO;
        self.pause = limits::NATS_CONSUMER_PAUSE;
    }
}

async fn make(
    stream: Arc<SharedStream>,
    name: String,
    after: Vid,
    pause: Duration,
) -> Result<MadeConsumer, ApiError> {
    sleep(pause).await;
    let consumer = Consumer::create(stream.api.clone(), name, after).await?;
    // Afterwards: then both are of one incarnation of the stream, or the consumer ends.
    let view = stream.watch.ask_now().await?;
    Ok(MadeConsumer { consumer, view })
}

async fn heard_of(consumer: &mut Option<Consumer>) -> Heard {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

/// The end of what is under way, which is not under way any more then.
async fn end_of<T>(waiting: &mut Option<Waiting<T>>) -> Result<T, ApiError> {
    let ended = match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    };
    *waiting = None;
    ended
}
