//! `[bus]`, `[retention]`, and the limits of events and subscribers.

use std::time::Duration;

use super::errors::ErrorCollector;
use super::section::Section;
use super::sources::SourcesConfig;
use crate::bus::BusOptions;
use crate::engine::Retention;
use crate::limits;

const MIB: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 3600);

const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);
const DEFAULT_DEDUPE_WINDOW: Duration = Duration::from_secs(120);
const DEFAULT_MAX_SUBSCRIBERS: usize = 100_000;
const DEFAULT_MAX_EVENT_BYTES: usize = 1024 * 1024;
const DEFAULT_MAX_AGE: Duration = DAY.saturating_mul(7);
const DEFAULT_MAX_EVENTS: u64 = 10_000_000;
const DEFAULT_MAX_BYTES: u64 = 4096 * MIB;

const HEARTBEAT: &str = "bus.heartbeat";
const MAX_AGE: &str = "retention.max_age";
const DEDUPE_WINDOW: &str = "retention.dedupe_window";
const MAX_EVENT_BYTES: &str = "limits.max_event_bytes";

const AGE_RULE: &str = "retention.max_age has to be at least three times bus.heartbeat, \
    or a connected subscriber could fall out of retention";
const DEDUPE_RULE: &str = "retention.dedupe_window has to be at most retention.max_age: a stream \
    of NATS remembers no id for longer than it keeps events";
const SIZE_RULE: &str = "retention.max_events has to be at least 1, \
    and retention.max_bytes at least limits.max_event_bytes";

const NOBODY_READS: &str = "has to be at least 1: with 0 nobody could read; leave it out for the \
    default";

/// Reads the settings of the bus.
pub(super) fn bus(root: &mut Section, sources: &SourcesConfig) -> BusOptions {
    let heartbeat = root.section("bus").duration("heartbeat", DEFAULT_HEARTBEAT);

    // These two are limits of the bus, though their section has those of the server, too.
    let limits = root.section("limits");
    let max_subscribers = limits.value("max_subscribers", DEFAULT_MAX_SUBSCRIBERS);
    limits.require("max_subscribers", max_subscribers > 0, NOBODY_READS);
    let max_event_bytes = limits.value("max_event_bytes", DEFAULT_MAX_EVENT_BYTES);
    BusOptions {
        heartbeat,
        max_subscribers,
        max_event_bytes,
        retention: retention(root.section("retention"), default_dedupe_window(sources)),
    }
}

fn retention(section: &mut Section, dedupe_window: Duration) -> Retention {
    Retention {
        max_age: section.duration("max_age", DEFAULT_MAX_AGE),
        max_events: section.value("max_events", DEFAULT_MAX_EVENTS),
        max_bytes: section.value("max_bytes", DEFAULT_MAX_BYTES),
        dedupe_window: section.duration("dedupe_window", dedupe_window),
    }
}

/// How long ids are remembered: longer where jobs may be given again after an outage.
fn default_dedupe_window(sources: &SourcesConfig) -> Duration {
    if sources.gearman.is_empty() {
        DEFAULT_DEDUPE_WINDOW
    } else {
        limits::SOURCE_DEDUPE_WINDOW
    }
}

/// Rules between the settings of the bus.
pub(super) fn check(options: &BusOptions, errors: &ErrorCollector) {
    let (heartbeat, retention) = (options.heartbeat, &options.retention);
    errors.require(
        HEARTBEAT,
        !heartbeat.is_zero(),
        "bus.heartbeat has to be more than 0s; leave it out for the default",
    );

    // A heartbeat carries the cursor, and up to two of them may be lost with a connection.
    let outlasts = retention.max_age >= heartbeat.saturating_mul(3);
    errors.require(MAX_AGE, outlasts, AGE_RULE);
    check_sizes(options, errors);
}

/// A stream of NATS remembers no id for longer than it keeps events.
pub(super) fn check_for_stream(options: &BusOptions, errors: &ErrorCollector) {
    let retention = &options.retention;
    let is_allowed = retention.dedupe_window <= retention.max_age;
    errors.require(DEDUPE_WINDOW, is_allowed, DEDUPE_RULE);
}

fn check_sizes(options: &BusOptions, errors: &ErrorCollector) {
    let most = limits::MAX_EVENT_BYTES_CEILING;

    // An event has to fit into one message of gRPC and into one line of NDJSON.
    let is_allowed = (1..=most).contains(&options.max_event_bytes);
    let rule = format!("limits.max_event_bytes has to be from 1 to {most}");
    errors.require(MAX_EVENT_BYTES, is_allowed, rule);

    // A log that cannot hold one event of the largest size would refuse it each time.
    let Retention {
        max_events,
        max_bytes,
        ..
    } = options.retention;
    let holds_one = max_events > 0 && max_bytes >= options.max_event_bytes as u64;
    errors.require("retention", holds_one, SIZE_RULE);
}
