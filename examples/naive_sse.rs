//! A simple server for comparison, written in an afternoon: axum and one
//! `tokio::sync::broadcast` channel for each topic.
//!
//! `GET /sub/TOPIC` streams Server-Sent Events, `POST /pub/TOPIC` publishes its body. No ids, no
//! resuming, nothing retained: a reader that falls behind its channel loses events and is not
//! notified. Prints the address on which it listens.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// Events a channel keeps for readers that are late.
const CAPACITY: usize = 1024;

#[derive(Clone, Default)]
struct Topics(Arc<Mutex<HashMap<String, broadcast::Sender<String>>>>);

impl Topics {
    fn channel(&self, topic: String) -> broadcast::Sender<String> {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics
            .entry(topic)
            .or_insert_with(|| broadcast::Sender::new(CAPACITY))
            .clone()
    }
}

async fn subscribe(
    State(topics): State<Topics>,
    Path(topic): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = BroadcastStream::new(topics.channel(topic).subscribe());
    let blocks = events.filter_map(async |data| Some(Ok(Event::default().data(data.ok()?))));
    Sse::new(blocks).keep_alive(KeepAlive::default())
}

async fn publish(
    State(topics): State<Topics>,
    Path(topic): Path<String>,
    data: String,
) -> &'static str {
    let _ = topics.channel(topic).send(data); // nobody may be listening
    "published"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let router = Router::new()
        .route("/sub/{topic}", get(subscribe))
        .route("/pub/{topic}", post(publish));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router.with_state(Topics::default())).await?;
    Ok(())
}
