//! All attacks, in the order in which they run.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::ground::Ground;
use crate::{
    bodies, cold, connections, database, drain, jumps, messages, resets, retention, streams,
    wildcards, windows,
};

/// One kind of attack.
pub struct Attack {
    /// Its line in docs/hardening.md.
    pub line: &'static str,
    pub name: &'static str,
    /// Lines of `[limits]` beside those of every attack.
    pub limits: &'static str,
    /// The rest of the configuration.
    pub config: &'static str,
    /// The gateway's wall clock can be set.
    pub has_clock: bool,
    /// The live reader's stream may end: the gateway is restarted.
    pub may_cut_streams: bool,
    /// A live event that takes longer stands for a gateway that hangs.
    pub live_hang: Duration,
    pub run: for<'g> fn(&'g mut Ground) -> LocalBoxFuture<'g, ()>,
}

/// What most attacks have in common.
const PLAIN: Attack = Attack {
    line: "",
    name: "",
    limits: "",
    config: "",
    has_clock: false,
    may_cut_streams: false,
    live_hang: Duration::from_secs(5),
    run: |_| Box::pin(async {}),
};

/// A stalled connection or stream is cut soon.
const CUT_SOON: &str = "write_timeout = \"2s\"";

pub const ALL: &[Attack] = &[
    Attack {
        line: "A1",
        name: "expiring_topics",
        config: "[retention]\nmax_events = 1000",
        run: |ground| Box::pin(retention::expiring_topics(ground)),
        ..PLAIN
    },
    Attack {
        line: "A2",
        name: "leaving_cold_readers",
        run: |ground| Box::pin(cold::leaving_cold_readers(ground)),
        ..PLAIN
    },
    Attack {
        line: "A3",
        name: "many_wildcards",
        run: |ground| Box::pin(wildcards::many_wildcards(ground)),
        ..PLAIN
    },
    Attack {
        line: "A4",
        name: "outside_reader",
        run: |ground| Box::pin(database::outside_reader(ground)),
        ..PLAIN
    },
    Attack {
        line: "A6",
        name: "late_callers_of_a_drain",
        limits: "write_timeout = \"30s\"",
        may_cut_streams: true,
        live_hang: Duration::from_secs(20), // nothing is published while it drains
        run: |ground| Box::pin(drain::late_callers(ground)),
        ..PLAIN
    },
    Attack {
        line: "A8",
        name: "large_lines",
        config: "[retention]\nmax_bytes = 67108864",
        run: |ground| Box::pin(streams::large_lines(ground)),
        ..PLAIN
    },
    Attack {
        line: "A9",
        name: "reset_burst",
        run: |ground| Box::pin(resets::reset_burst(ground)),
        ..PLAIN
    },
    Attack {
        line: "A9",
        name: "rapid_reset",
        run: |ground| Box::pin(resets::rapid_reset(ground)),
        ..PLAIN
    },
    Attack {
        line: "A10",
        name: "clock_jump",
        config: "[retention]\nmax_age = \"1h\"",
        has_clock: true,
        run: |ground| Box::pin(jumps::ten_years_ahead(ground)),
        ..PLAIN
    },
    Attack {
        line: "A12",
        name: "held_write_lock",
        live_hang: Duration::from_secs(20), // nothing is published while it is held
        run: |ground| Box::pin(database::held_write_lock(ground)),
        ..PLAIN
    },
    Attack {
        line: "B1",
        name: "h2_zero_window",
        limits: CUT_SOON,
        run: |ground| Box::pin(windows::h2_zero_window(ground)),
        ..PLAIN
    },
    Attack {
        line: "B1",
        name: "h2_tiny_window",
        limits: CUT_SOON,
        run: |ground| Box::pin(windows::h2_tiny_window(ground)),
        ..PLAIN
    },
    Attack {
        line: "B1",
        name: "h1_never_reads",
        limits: CUT_SOON,
        run: |ground| Box::pin(windows::h1_never_reads(ground)),
        ..PLAIN
    },
    Attack {
        line: "B2",
        name: "grpc_empty_items",
        run: |ground| Box::pin(messages::grpc_empty_items(ground)),
        ..PLAIN
    },
    Attack {
        line: "B2",
        name: "json_empty_items",
        run: |ground| Box::pin(messages::json_empty_items(ground)),
        ..PLAIN
    },
    Attack {
        line: "B3",
        name: "http_endless_bodies",
        run: |ground| Box::pin(bodies::http(ground)),
        ..PLAIN
    },
    Attack {
        line: "B3",
        name: "grpc_endless_bodies",
        run: |ground| Box::pin(bodies::grpc(ground)),
        ..PLAIN
    },
    Attack {
        line: "B4",
        name: "snapshot_pages",
        run: |ground| Box::pin(retention::snapshot_pages(ground)),
        ..PLAIN
    },
    Attack {
        line: "C7",
        name: "too_many_connections",
        limits: "max_connections = 30",
        run: |ground| Box::pin(connections::too_many(ground)),
        ..PLAIN
    },
    Attack {
        line: "C7",
        name: "slow_heads",
        run: |ground| Box::pin(connections::slow_heads(ground)),
        ..PLAIN
    },
];
