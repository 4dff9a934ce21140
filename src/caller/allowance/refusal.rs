//! What a client is told that has reached a limit of its own.
//!
//! Invariant: each refusal is counted by its reason, and names the setting.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::metrics::RefusalReason;
use crate::quota::{ClientKind, PublishRate, Quotas};

/// None is a connection.
pub(super) fn too_many_subscriptions(
    quotas: &Quotas,
    kind: Option<ClientKind>,
    at_most: NonZeroU32,
) -> Error {
    let (who, setting, reason) = match kind {
        Some(kind) => (
            who(kind),
            format!("{}.subscriptions", section(kind)),
            subscriptions(kind),
        ),
        None => (
            "this connection",
            "limits.subscriptions_per_connection".to_owned(),
            RefusalReason::ConnectionSubscriptions,
        ),
    };
    quotas.refusals().count(reason);
    let detail = format!(
        "{who} has {at_most} subscriptions open, which is its limit ({setting}); end one of them, \
         or try again later"
    );
    Error::new(ErrorKind::Busy, detail)
}

pub(super) fn batch_too_large(
    quotas: &Quotas,
    kind: ClientKind,
    events: usize,
    rate: PublishRate,
) -> Error {
    quotas.refusals().count(publishing(kind));
    let (who, section, most) = (who(kind), section(kind), rate.burst_events);
    Error::too_large(format!(
        "the batch has {events} events, and {who} may publish {most} at once \
         ({section}.published_events_burst); send smaller batches"
    ))
}

pub(super) fn publishing_too_fast(
    quotas: &Quotas,
    kind: ClientKind,
    rate: PublishRate,
    wait: Duration,
) -> Error {
    quotas.refusals().count(publishing(kind));
    let (who, section, most) = (who(kind), section(kind), rate.events_per_second);
    let detail = format!(
        "{who} publishes faster than it may ({section}.published_events_per_second = {most}); \
         nothing was taken. Try again, with the same ids if the events have any"
    );
    Error::new(ErrorKind::Busy, detail).passing_after(wait)
}

fn who(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::Address => "this address",
        ClientKind::Caller => "this caller",
        ClientKind::Key => "this key or certificate",
    }
}

fn section(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::Address => "limits.address",
        ClientKind::Caller => "limits.caller",
        ClientKind::Key => "limits.key",
    }
}

fn subscriptions(kind: ClientKind) -> RefusalReason {
    match kind {
        ClientKind::Address => RefusalReason::AddressSubscriptions,
        ClientKind::Caller => RefusalReason::CallerSubscriptions,
        ClientKind::Key => RefusalReason::KeySubscriptions,
    }
}

fn publishing(kind: ClientKind) -> RefusalReason {
    match kind {
        ClientKind::Address => RefusalReason::AddressPublishing,
        ClientKind::Caller => RefusalReason::CallerPublishing,
        ClientKind::Key => RefusalReason::KeyPublishing,
    }
}
