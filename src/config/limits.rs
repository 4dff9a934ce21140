//! `[limits]`: what clients together may use.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::section::Section;
use crate::limits;
use crate::memory::default_budget_bytes;

const DEFAULT_MAX_CONNECTIONS: usize = 100_000;
const PER_ADDRESS: &str = "max_connections_per_address";
const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const MIN_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Half of the smallest default: enough for one request of the largest size.
const MIN_MEMORY_BUDGET: u64 = limits::MIN_MEMORY_BUDGET_BYTES / 2;

/// The settings of the section that concern the server.
pub(super) struct ServerLimits {
    pub(super) max_connections: usize,
    pub(super) max_connections_per_address: Option<NonZeroUsize>,
    pub(super) memory_budget: u64,
    pub(super) write_timeout: Duration,
    pub(super) keep_alive_timeout: Duration,
}

impl ServerLimits {
    pub(super) fn read(section: &mut Section) -> Self {
        ServerLimits {
            max_connections: max_connections(section),
            // 0 is no limit.
            max_connections_per_address: NonZeroUsize::new(section.value(PER_ADDRESS, 0)),
            memory_budget: memory_budget(section),
            write_timeout: write_timeout(section),
            keep_alive_timeout: keep_alive_timeout(section),
        }
    }
}

fn max_connections(section: &mut Section) -> usize {
    let most = section.value("max_connections", DEFAULT_MAX_CONNECTIONS);
    section.require("max_connections", most > 0, NOBODY_CONNECTS);
    most
}

const NOBODY_CONNECTS: &str = "has to be at least 1: with 0 nobody could connect; leave it out for \
    the default";

fn write_timeout(section: &mut Section) -> Duration {
    let timeout = section.duration("write_timeout", DEFAULT_WRITE_TIMEOUT);
    section.require("write_timeout", !timeout.is_zero(), CUT_AT_ONCE);
    timeout
}

const CUT_AT_ONCE: &str = "has to be more than 0s: every connection would be cut at once; leave it \
    out for the default";

fn memory_budget(section: &mut Section) -> u64 {
    // The default is a part of what this machine, or its control group, has.
    let bytes = section.value("memory_budget", default_budget_bytes());
    let rule = format!("has to be at least {MIN_MEMORY_BUDGET} bytes");
    section.require("memory_budget", bytes >= MIN_MEMORY_BUDGET, rule);
    bytes
}

fn keep_alive_timeout(section: &mut Section) -> Duration {
    let timeout = section.duration("keep_alive_timeout", limits::DEFAULT_KEEP_ALIVE);

    // A client has to have time to send its next request.
    let is_allowed = timeout >= MIN_KEEP_ALIVE;
    section.require("keep_alive_timeout", is_allowed, "has to be at least 1s");
    timeout
}
