//! The steps of a subscription as messages of `Subscribe`.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::client_proto::{self, subscribe_response::Message};
use super::encoded::{encode, encoded_batch};
use crate::bus::{Batch, Closing, Step, Subscription};
use crate::cursor::{Epoch, Gap, Vid};
use crate::topic::Filter;
use crate::transport::reader::Reader;

/// A step's message, framed.
pub(super) fn message(reader: &Reader, step: Step) -> Bytes {
    let subscription = &reader.subscription;
    if let Step::Events(batch, position) = &step {
        let message = events(subscription, batch, *position);
        reader.count_page(batch, message.len());
        return message;
    }
    let message = other_message(subscription, step);
    reader.count_bytes(message.len());
    message
}

fn other_message(subscription: &Subscription, step: Step) -> Bytes {
    let cursor = |vid| subscription.log().cursor(vid).to_string();
    match step {
        Step::Events(batch, position) => events(subscription, &batch, position),
        Step::Hello {
            epoch,
            first,
            last,
            heartbeat,
            cut_to,
        } => hello(&epoch, first..=last, heartbeat, cut_to.as_ref()),
        Step::CaughtUp(vid) => caught_up(cursor(vid)),
        Step::Progress(vid) => progress(cursor(vid)),
        Step::Gap(gap) => encode(Message::Gap(gap.into())),
        Step::Closing(closing) => encode(Message::Closing(closing.into())),
    }
}

fn events(subscription: &Subscription, batch: &Batch, position: Vid) -> Bytes {
    let message = encoded_batch(batch, || subscription.log().cursor(position).to_string());
    // Paid from the memory budget until the connection has taken it.
    subscription.memory().share(message)
}

fn hello(
    epoch: &Epoch,
    retained: RangeInclusive<Vid>,
    heartbeat: Duration,
    cut_to: Option<&Filter>,
) -> Bytes {
    let filter = cut_to.map(|filter| filter.topics().map(str::to_owned).collect());
    encode(Message::Hello(client_proto::Hello {
        epoch: epoch.to_string(),
        first: *retained.start(),
        last: *retained.end(),
        heartbeat_ms: u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX),
        filter: filter.unwrap_or_default(),
    }))
}

fn caught_up(cursor: String) -> Bytes {
    encode(Message::CaughtUp(client_proto::CaughtUp { cursor }))
}

fn progress(cursor: String) -> Bytes {
    encode(Message::Progress(client_proto::Progress { cursor }))
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
