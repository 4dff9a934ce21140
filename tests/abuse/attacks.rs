//! All attacks, in the order in which they run.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::ground::Ground;
use crate::{
    bodies, cold, connections, database, drain, handshakes, jumps, messages, quiet, records,
    resets, retention, strangers, streams, wildcards, windows,
};

/// Which gateways an attack is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// A plain one that asks nobody who calls, and one that encrypts and asks for tokens.
    Both,
    /// The plain one; both in the long form. What it attacks is behind encryption and tokens.
    PlainAtLeast,
    /// The one that encrypts and asks for tokens.
    Secure,
}

impl Against {
    /// Is it secure, each time?
    pub fn gateways(self, is_long: bool) -> &'static [bool] {
        match self {
            Against::Both => &[false, true],
            Against::PlainAtLeast if is_long => &[false, true],
            Against::PlainAtLeast => &[false],
            Against::Secure => &[true],
        }
    }
}

/// One kind of attack.
pub struct Attack {
    /// Its line in docs/hardening.md.
    pub line: &'static str,
    pub name: &'static str,
    pub against: Against,
    /// Lines of `[limits]` beside those of every attack.
    pub limits: &'static str,
    /// The rest of the configuration.
    pub config: &'static str,
    /// The gateway's wall clock can be set.
    pub has_clock: bool,
    /// Tokens may be signed by keys of a provider that is asked for them.
    pub has_key_server: bool,
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
    against: Against::PlainAtLeast,
    limits: "",
    config: "",
    has_clock: false,
    has_key_server: false,
    may_cut_streams: false,
    live_hang: Duration::from_secs(5),
    run: |_| Box::pin(async {}),
};

/// A stalled connection or stream is cut soon.
const CUT_SOON: &str = "write_timeout = \"2s\"";

pub const ALL: &[Attack] = &[
    Attack {
        line: "–",
        name: "none",
        against: Against::Both,
        run: |ground| Box::pin(quiet::none(ground)),
        ..PLAIN
    },
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
        against: Against::Both,
        run: |ground| Box::pin(cold::leaving_cold_readers(ground)),
        ..PLAIN
    },
    Attack {
        line: "A3",
        name: "many_wildcards",
        against: Against::Both,
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
        against: Against::Both,
        limits: "write_timeout = \"30s\"",
        may_cut_streams: true,
        live_hang: Duration::from_secs(20), // nothing is published while it drains
        run: |ground| Box::pin(drain::late_callers(ground)),
        ..PLAIN
    },
    Attack {
        line: "A8",
        name: "large_lines",
        against: Against::Both,
        config: "[retention]\nmax_bytes = 67108864",
        run: |ground| Box::pin(streams::large_lines(ground)),
        ..PLAIN
    },
    Attack {
        line: "A9",
        name: "reset_burst",
        against: Against::Both,
        run: |ground| Box::pin(resets::reset_burst(ground)),
        ..PLAIN
    },
    Attack {
        line: "A9",
        name: "rapid_reset",
        against: Against::Both,
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
        against: Against::Both,
        limits: CUT_SOON,
        run: |ground| Box::pin(windows::h2_zero_window(ground)),
        ..PLAIN
    },
    Attack {
        line: "B1",
        name: "h2_tiny_window",
        against: Against::Both,
        limits: CUT_SOON,
        run: |ground| Box::pin(windows::h2_tiny_window(ground)),
        ..PLAIN
    },
    Attack {
        line: "B1",
        name: "h1_never_reads",
        against: Against::Both,
        limits: CUT_SOON,
        run: |ground| Box::pin(windows::h1_never_reads(ground)),
        ..PLAIN
    },
    Attack {
        line: "B2",
        name: "grpc_empty_items",
        against: Against::Both,
        run: |ground| Box::pin(messages::grpc_empty_items(ground)),
        ..PLAIN
    },
    Attack {
        line: "B2",
        name: "json_empty_items",
        against: Against::Both,
        run: |ground| Box::pin(messages::json_empty_items(ground)),
        ..PLAIN
    },
    Attack {
        line: "B3",
        name: "http_endless_bodies",
        against: Against::Both,
        run: |ground| Box::pin(bodies::http(ground)),
        ..PLAIN
    },
    Attack {
        line: "B3",
        name: "grpc_endless_bodies",
        against: Against::Both,
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
        against: Against::Both,
        limits: "max_connections = 30",
        run: |ground| Box::pin(connections::too_many(ground)),
        ..PLAIN
    },
    Attack {
        line: "C7",
        name: "slow_heads",
        against: Against::Both,
        run: |ground| Box::pin(connections::slow_heads(ground)),
        ..PLAIN
    },
    Attack {
        line: "D1",
        name: "half_open_handshakes",
        against: Against::Secure,
        run: |ground| Box::pin(handshakes::half_open(ground)),
        ..PLAIN
    },
    Attack {
        line: "D1",
        name: "handshake_flood",
        against: Against::Secure,
        run: |ground| Box::pin(handshakes::flood(ground)),
        ..PLAIN
    },
    Attack {
        line: "D1",
        name: "handshake_garbage",
        against: Against::Secure,
        run: |ground| Box::pin(handshakes::garbage(ground)),
        ..PLAIN
    },
    Attack {
        line: "D2",
        name: "key_updates",
        against: Against::Secure,
        run: |ground| Box::pin(records::key_updates(ground)),
        ..PLAIN
    },
    Attack {
        line: "D2",
        name: "tiny_records",
        against: Against::Secure,
        run: |ground| Box::pin(records::tiny(ground)),
        ..PLAIN
    },
    Attack {
        line: "D2",
        name: "renegotiations",
        against: Against::Secure,
        run: |ground| Box::pin(records::renegotiations(ground)),
        ..PLAIN
    },
    Attack {
        line: "D3",
        name: "without_a_token",
        against: Against::Secure,
        run: |ground| Box::pin(strangers::without_a_token(ground)),
        ..PLAIN
    },
    Attack {
        line: "D3",
        name: "wrong_tokens",
        against: Against::Secure,
        has_key_server: true,
        run: |ground| Box::pin(strangers::wrong_tokens(ground)),
        ..PLAIN
    },
    Attack {
        line: "D3",
        name: "cookies",
        against: Against::Secure,
        config: "[auth]\ncookie = \"vidette\"",
        run: |ground| Box::pin(strangers::cookies(ground)),
        ..PLAIN
    },
];
