//! The steps of a subscription as messages of `Subscribe`.

use bytes::Bytes;

use super::client_proto::{self, subscribe_response::Message};
use super::encoded::{encode, encoded_batch};
use crate::bus::{Bus, Closing, Step};
use crate::cursor::{Gap, Vid};

/// A step's message, framed.
pub(super) fn message(bus: &Bus, step: Step) -> Bytes {
    let cursor = |vid: Vid| bus.cursor(vid).to_string();
    match step {
        Step::Events(batch, position) => {
            // Paid from the memory budget until the connection has taken it.
            let message = encoded_batch(&batch, || cursor(position));
            bus.memory().share(message)
        }
        Step::CaughtUp(vid) => {
            let cursor = cursor(vid);
            encode(Message::CaughtUp(client_proto::CaughtUp { cursor }))
        }
        Step::Progress(vid) => {
            let cursor = cursor(vid);
            encode(Message::Progress(client_proto::Progress { cursor }))
        }
        Step::Gap(gap) => encode(Message::Gap(gap.into())),
        Step::Closing(closing) => encode(Message::Closing(closing.into())),
        Step::Hello {
            epoch,
            first,
            last,
            heartbeat,
        } => encode(Message::Hello(client_proto::Hello {
            epoch: epoch.to_string(),
            first,
            last,
            heartbeat_ms: u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX),
        })),
    }
}

impl From<Closing> for client_proto::Closing {
    fn from(closing: Closing) -> Self {
        client_proto::Closing {
            reason: closing.reason.as_str().into(),
            retry_ms: closing.retry_ms,
        }
    }
}

impl From<Gap> for client_proto::Gap {
    fn from(gap: Gap) -> Self {
        client_proto::Gap {
            reason: gap.reason.as_str().into(),
            requested: gap.requested,
            first: gap.first,
            last: gap.last,
            epoch: gap.epoch.to_string(),
        }
    }
}
