//! What a publisher over HTTP is answered: where its events stand on the bus (contract §5).

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::json::paid_json;
use crate::bus::{Bus, Receipt};

/// Where one published event stands.
#[derive(Serialize)]
pub(super) struct PublishedEvent {
    vid: u64,
    cursor: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl PublishedEvent {
    pub(super) fn of(bus: &Bus, receipt: Receipt) -> Self {
        PublishedEvent {
            vid: receipt.vid,
            cursor: bus.cursor(receipt.vid).to_string(),
            duplicate: receipt.duplicate,
        }
    }
}

#[derive(Serialize)]
struct PublishedBatch {
    first_vid: u64,
    last_vid: u64,
    cursor: String,
    events: Vec<PublishedEvent>,
}

/// The answer to one event.
pub(super) fn one(bus: &Bus, receipts: &[Receipt]) -> Response {
    Json(PublishedEvent::of(bus, receipts[0])).into_response()
}

/// The answer to a batch.
pub(super) fn batch(bus: &Bus, receipts: &[Receipt]) -> Response {
    paid_json(bus, &PublishedBatch::of(bus, receipts))
}

impl PublishedBatch {
    fn of(bus: &Bus, receipts: &[Receipt]) -> Self {
        let (first_vid, last_vid) = Receipt::range(receipts);
        let events = receipts.iter().map(|one| PublishedEvent::of(bus, *one));
        PublishedBatch {
            first_vid,
            last_vid,
            cursor: bus.cursor(last_vid).to_string(),
            events: events.collect(),
        }
    }
}
