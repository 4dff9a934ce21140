//! Pages that are read while no consumer delivers.
//!
//! To make a consumer takes the leader of the whole cluster, which may be gone while the stream is
//! well. Invariants:
//! - a page is handed on with what the stream said after it was read, so that it can be believed;
//! - what a replica has is the beginning of what the stream has: one that lags delays, and never
//!   changes the order. That nothing more comes proves nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::cursor::Vid;
use crate::engine::jetstream::SharedStream;
use crate::engine::jetstream::api::{ApiError, DirectGet, LeaderMessage, StoredMessage};
use crate::engine::jetstream::watch::StreamView;
use crate::limits;

/// Who is asked for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskedOf {
    /// Any replica.
    Replicas,
    /// The leader, message by message: one whose headers are none ends the connection of a client
    /// that gets it in another way, and so would each page with it.
    Leader,
}

/// Messages, and what the stream said to a question that was asked when they had come.
pub(super) struct BridgePage {
    pub(super) messages: Vec<StoredMessage>,
    pub(super) view: Arc<StreamView>,
}

/// The next messages after this vid; none where the replica that answers has no more.
///
/// # Errors
/// No replica or no leader has answered.
pub(super) async fn page(
    stream: Arc<SharedStream>,
    after: Vid,
    pause: Duration,
    asked_of: AskedOf,
) -> Result<Option<BridgePage>, ApiError> {
    sleep(pause).await;
    let messages = match asked_of {
        AskedOf::Replicas => of_replicas(&stream, after).await?,
        AskedOf::Leader => of_leader(&stream, after).await?,
    };
    if messages.is_empty() {
        return Ok(None);
    }

    // Only now: the page names no incarnation of the stream.
    let view = stream.watch.ask_now().await?;
    Ok(Some(BridgePage { messages, view }))
}

async fn of_replicas(stream: &SharedStream, after: Vid) -> Result<Vec<StoredMessage>, ApiError> {
    let request = DirectGet {
        seq: Some(after + 1),
        next_by_subj: Some(">".to_owned()),
        batch: limits::NATS_BRIDGE_MESSAGES,
        max_bytes: limits::NATS_BRIDGE_BYTES,
        ..DirectGet::default()
    };
    let read = stream.api.direct_get(&request, limits::NATS_BRIDGE_WAIT);
    Ok(read.await?.messages)
}

/// What was read before the leader did not answer is good.
async fn of_leader(stream: &SharedStream, after: Vid) -> Result<Vec<StoredMessage>, ApiError> {
    let (mut messages, mut last) = (Vec::new(), after);
    while messages.len() < limits::NATS_BRIDGE_LEADER_MESSAGES {
        let next = stream
            .api
            .leader_message(last + 1, ">", limits::NATS_BRIDGE_WAIT);
        let message = match next.await {
            Ok(Some(LeaderMessage::Readable(message))) => message,
            Ok(Some(LeaderMessage::Unreadable(vid))) => {
                tracing::warn!(
                    vid,
                    "a message of the stream has broken headers; it is left out"
                );
                stream.requests.note_unreadable(vid);
                StoredMessage::unreadable(vid)
            }
            Err(error) if messages.is_empty() => return Err(error),
            Ok(None) | Err(_) => break,
        };
        last = message.vid;
        messages.push(message);
    }
    Ok(messages)
}
