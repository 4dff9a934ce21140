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
use crate::engine::jetstream::api::{ApiError, DirectGet, StoredMessage};
use crate::engine::jetstream::watch::StreamView;
use crate::limits;

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
) -> Result<Option<BridgePage>, ApiError> {
    sleep(pause).await;
    let request = DirectGet {
        seq: Some(after + 1),
        next_by_subj: Some(">".to_owned()),
        batch: limits::NATS_BRIDGE_MESSAGES,
        max_bytes: limits::NATS_BRIDGE_BYTES,
        ..DirectGet::default()
    };
    let read = stream.api.direct_get(&request, limits::NATS_BRIDGE_WAIT);
    let messages = read.await?.messages;
    if messages.is_empty() {
        return Ok(None);
    }

    // Only now: the page names no incarnation of the stream.
    let view = stream.watch.ask_now().await?;
    Ok(Some(BridgePage { messages, view }))
}
