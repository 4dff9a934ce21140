//! What a Rust program reads and publishes with: a reader that resumes by itself, and publishing
//! that does not publish twice.
//!
//! It is the feature `client`, which the `vidette` command is built with and is the first user of,
//! and `client-grpc`, by which it reads and publishes over gRPC too:
//!
//! ```toml
//! vidette = { version = "0.1", default-features = false, features = ["client"] }
//! ```
//!
//! Reading is a stream of [`ReadItem`]s. Save the cursor of each event once it has been handled,
//! and start from it the next time: nothing that is still retained is missed, and what is gone is
//! reported as a gap.
//!
//! ```no_run
//! use futures_util::StreamExt as _;
//! use vidette::client::{Client, ReadItem, ReadOptions};
//!
//! # async fn example(saved: String) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:8080")?;
//! let mut reader = client.read(ReadOptions::new().topic("door.*").after(&saved));
//! while let Some(item) = reader.next().await {
//!     match item? {
//!         ReadItem::Event(event) => {
//!             println!("{} {}: {}", event.vid, event.topic, event.to_json());
//!             // Save event.cursor here, together with what the event has changed.
//!         }
//!         ReadItem::Gap(gap) => eprintln!("{gap}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Publishing takes one event or a batch ([`Client::publish`], [`Client::publish_batch`]), or a
//! stream of any length ([`Client::publisher`]).
//!
//! ```no_run
//! use vidette::client::{Client, EventParts, NewEvent};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:8080")?;
//! let parts = EventParts {
//!     topic: "door.3",
//!     kind: Some("opened"),
//!     data: r#"{"doorno":3}"#.into(),
//!     ..EventParts::default()
//! };
//! let event = NewEvent::check(parts, vidette::limits::MAX_EVENT_BYTES_CEILING)?;
//! let receipt = client.publish(event).await?;
//! println!("published as {}", receipt.cursor);
//! # Ok(())
//! # }
//! ```
//!
//! Where the gateway wants to know who asks, a client has a token ([`TokenSource`]), and follows
//! its renewals; see [`ClientOptions`].
//!
//! Invariants:
//! - nothing runs before it is asked for: there are no tasks, threads or globals of its own;
//! - what is buffered has a bound, and whoever is slow is waited for;
//! - it knows the nouns and the wire, and nothing of the gateway's inside.

mod address;
mod admin;
mod backoff;
mod clock;
mod error;
mod event;
#[cfg(feature = "client-grpc")]
mod grpc;
mod http;
mod options;
mod publish;
mod read;
mod tls;
mod token;

use std::time::Duration;

use futures_util::Stream;

use crate::limits;
use http::GatewayHttp;
use publish::PublishWire;

pub use crate::cursor::{Cursor, Epoch, Vid};
pub use crate::event::{EventParts, NewEvent};
pub use clock::ClientClock;
pub use error::{ClientError, ClientErrorKind};
pub use event::{EventData, ReceivedEvent};
pub use options::ClientOptions;
pub use publish::{PublishLine, PublishReceipt, PublishReport, Publisher};
pub use read::{
    GapPolicy, GapReport, Interruption, LogBounds, ReadItem, ReadOptions, Reader, ReaderActivity,
    ReaderStatus, Transport,
};
pub use token::TokenSource;

/// A gateway to read from and to publish to. Cloning it is cheap, and shares its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: GatewayHttp,
    retry_for: Duration,
    wire: PublishWire,
}

impl Client {
    /// A client of the gateway at this address, such as `http://127.0.0.1:8080` or
    /// `https://gateway.example`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientErrorKind::Address`] when this is no address of HTTP.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Self::with_options(url, ClientOptions::new())
    }

    /// A client with a token, or with certificates of its own.
    ///
    /// # Errors
    /// [`ClientErrorKind::Address`] when this is no address of HTTP, or not one for these options;
    /// [`ClientErrorKind::Tls`] when a certificate or a key cannot be used.
    pub fn with_options(url: &str, options: ClientOptions) -> Result<Self, ClientError> {
        Ok(Client {
            http: GatewayHttp::new(url, options)?,
            retry_for: limits::PUBLISH_RETRY_FOR,
            wire: PublishWire::Http,
        })
    }

    /// How long publishing goes on while the gateway is away: 110 s unless it is set. Keep it below
    /// the gateway's `retention.dedupe_window`, or an event may be published twice. With zero there
    /// is one try.
    #[must_use]
    pub fn retry_for(mut self, outage: Duration) -> Self {
        self.retry_for = outage;
        self
    }

    /// Publishes over gRPC, on a connection that all clones of this client share. Reading has its
    /// own choice, [`Transport::Grpc`].
    ///
    /// # Errors
    /// [`ClientErrorKind::Address`] when this is no address of gRPC.
    #[cfg(feature = "client-grpc")]
    pub fn publish_over_grpc(mut self) -> Result<Self, ClientError> {
        self.wire = PublishWire::Grpc(grpc::shared_connection(&self.http)?);
        Ok(self)
    }

    /// Asks whether the gateway is ready: events can be published and read.
    ///
    /// # Errors
    /// [`ClientErrorKind::Unreachable`] when nobody answers, and
    /// [`ClientErrorKind::Unavailable`] when the gateway is not ready.
    pub async fn ready(&self) -> Result<(), ClientError> {
        let asked = self.http.get("/readyz", None).send().await;
        let answer = asked.map_err(|error| self.http.no_answer(&error))?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(http::refusal(answer, |status| status == 503).await)
    }

    /// Reads the bus. Errors come as the last item of the stream; see [`Reader`].
    pub fn read(&self, options: ReadOptions) -> Reader {
        Reader::new(self.http.clone(), options)
    }

    /// Publishes an event, and gives its place on the bus once it is durable.
    ///
    /// An event without an id gets a random one, so that it can be sent again after a failure
    /// without being published twice (not when there is one try only).
    ///
    /// # Errors
    /// [`ClientErrorKind::Refused`] when the gateway does not take the event,
    /// [`ClientErrorKind::Unreachable`] or [`ClientErrorKind::Unavailable`] when it has not been
    /// published, and [`ClientErrorKind::OutcomeUnknown`] when it may have been.
    pub async fn publish(&self, event: NewEvent) -> Result<PublishReceipt, ClientError> {
        let receipts = self.publish_batch(vec![event]).await?;

        // A batch of one event has one receipt.
        receipts
            .into_iter()
            .next()
            .ok_or_else(|| ClientError::protocol("the gateway's answer has no receipt"))
    }

    /// Publishes events as one batch: all of them get vids in this order, with no other event
    /// between, or none does.
    ///
    /// # Errors
    /// As those of [`publish`](Self::publish).
    pub async fn publish_batch(
        &self,
        events: Vec<NewEvent>,
    ) -> Result<Vec<PublishReceipt>, ClientError> {
        publish::publish_batch(&self.http, &self.wire, self.retry_for, events).await
    }

    /// Publishes a stream of lines in their order, and reports about each of them; see
    /// [`Publisher`].
    pub fn publisher<K, I>(&self, lines: I) -> Publisher<K, I>
    where
        I: Stream<Item = std::io::Result<PublishLine<K>>> + Unpin,
    {
        Publisher::new(self.http.clone(), self.wire.clone(), self.retry_for, lines)
    }
}
