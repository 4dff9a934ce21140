//! What an operator has done, on the log.
//!
//! Invariant: a note says what was done and by whom; it is written after the action, which stands
//! whether or not there is a note of it.

use serde_json::Value;

use crate::bus::Bus;
use crate::caller::{ADMIN, Caller};
use crate::cursor::Vid;
use crate::event::{ContentType, NewEvent};
use crate::topic::Topic;

/// Notes an action; gives the vid of the note, where there is one.
pub(super) async fn note(bus: &Bus, action: &'static str, details: &Value) -> Option<Vid> {
    let event = NewEvent {
        topic: Topic::trusted(ADMIN),
        kind: Some(action.into()),
        id: None,
        content_type: ContentType::trusted("application/json"),
        headers: Vec::new(),
        data: details.to_string().into(),
    };
    match bus.publish(&Caller::gateway(), vec![event]).await {
        Ok(receipts) => receipts.first().map(|receipt| receipt.vid),
        Err(error) => {
            tracing::warn!(%error, action, "an operator's action was not noted on the log");
            None
        }
    }
}
