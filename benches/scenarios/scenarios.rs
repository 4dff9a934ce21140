//! What is measured, and with which servers.

use std::time::Duration;

use crate::Options;
use crate::rows::{IDLE, LOAD, LOW_LOAD, PUBLISH, RECOVER, RESUME, Row, TLS_IDLE, TLS_LOAD};
use crate::servers::Server;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Flags of `vidette bench`.
    pub(crate) flags: &'static [&'static str],
    /// The first one is compared with each of the others.
    pub(crate) servers: &'static [Server],
    pub(crate) rows: &'static [Row],
    /// The highest rate that holds, instead of one run.
    pub(crate) is_search: bool,
    /// It is one part of a table of this name, run where that is asked for.
    pub(crate) part_of: Option<&'static str>,
}

/// The table of what encryption and tokens cost.
const TLS: &str = "TLS";
/// The table of low rates.
const LOW: &str = "L";
/// Tables that hold several scenarios each.
pub(crate) const GROUPS: &[&str] = &[LOW, TLS];

impl Scenario {
    /// About how long one run takes: starting, connecting, settling and draining count.
    pub(crate) fn seconds(&self, options: &Options) -> u64 {
        let overhead = Duration::from_millis(3500);
        let default = if options.quick { 2.0 } else { 10.0 };
        let measured = Duration::from_secs_f64(options.seconds.unwrap_or(default));
        match self.flags[0] {
            _ if self.is_search => 100,
            "resume" => 20,
            _ => (measured + overhead).as_secs(),
        }
    }
}

use Server::{Centrifugo, Naive, Nats, NatsSync, Nchan, Tonic, Vidette, VidetteMemory, VidetteTls};

const SSE_SERVERS: &[Server] = &[Vidette, Naive, Nchan, Centrifugo];
const PUBLISH_SERVERS: &[Server] = &[
    Vidette,
    VidetteMemory,
    NatsSync,
    Nats,
    Naive,
    Nchan,
    Centrifugo,
];

const fn load(name: &'static str, title: &'static str, flags: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        title,
        flags,
        servers: SSE_SERVERS,
        rows: LOAD,
        is_search: false,
        part_of: None,
    }
}

/// Readers by SSE at a rate that leaves the machine mostly idle; the client polls its sockets every
/// half a millisecond for all servers.
const fn low(name: &'static str, title: &'static str, flags: &'static [&'static str]) -> Scenario {
    Scenario {
        rows: LOW_LOAD,
        part_of: Some(LOW),
        ..load(name, title, flags)
    }
}

const TLS_SERVERS: &[Server] = &[Vidette, VidetteTls];

const fn tls(
    name: &'static str,
    title: &'static str,
    flags: &'static [&'static str],
    rows: &'static [Row],
) -> Scenario {
    Scenario {
        servers: TLS_SERVERS,
        rows,
        part_of: Some(TLS),
        ..load(name, title, flags)
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    load(
        "A",
        "1,000 readers of one topic, 200 events a second",
        &["fanout", "-n", "1000", "-r", "200", "--coalesce", "5"],
    ),
    Scenario {
        is_search: true,
        ..load(
            "A-max",
            "1,000 readers of one topic: the highest rate with a p99 under 250 ms and nothing \
             missing",
            &["fanout", "-n", "1000", "--coalesce", "5", "--drain", "2"],
        )
    },
    load(
        "B",
        "10,000 readers of one topic, 20 events a second",
        &["fanout", "-n", "10000", "-r", "20", "--coalesce", "5"],
    ),
    Scenario {
        servers: &[Vidette, VidetteMemory, Naive, Nchan, Centrifugo],
        ..load(
            "C",
            "10,000 readers, each of its own topic, 5,000 events a second",
            &[
                "fanout", "-n", "10000", "-k", "10000", "-r", "5000", "-p", "4",
            ],
        )
    },
    Scenario {
        rows: IDLE,
        ..load(
            "D",
            "19,000 readers that wait, of one topic",
            &["idle", "-n", "19000"],
        )
    },
    Scenario {
        rows: IDLE,
        ..load(
            "D-topics",
            "19,000 readers that wait, each of its own topic",
            &["idle", "-n", "19000", "-k", "19000"],
        )
    },
    Scenario {
        servers: &[Vidette, Nchan],
        ..load(
            "E",
            "1,000 long-pollers of one topic, 50 events a second",
            &["poll", "-n", "1000", "-r", "50"],
        )
    },
    Scenario {
        servers: PUBLISH_SERVERS,
        rows: PUBLISH,
        ..load(
            "F1",
            "1 publisher, one event a request, as fast as they are accepted",
            &["publish", "-p", "1"],
        )
    },
    Scenario {
        servers: PUBLISH_SERVERS,
        rows: PUBLISH,
        ..load(
            "F",
            "8 publishers, one event a request, as fast as they are accepted",
            &["publish", "-p", "8"],
        )
    },
    Scenario {
        servers: PUBLISH_SERVERS,
        rows: PUBLISH,
        ..load(
            "F64",
            "64 publishers, one event a request, as fast as they are accepted",
            &["publish", "-p", "64"],
        )
    },
    Scenario {
        servers: &[Vidette, VidetteMemory],
        rows: PUBLISH,
        ..load(
            "F-batch",
            "8 publishers, 100 events a request",
            &["publish", "-p", "8", "--batch", "100"],
        )
    },
    Scenario {
        servers: &[Vidette, Tonic, Centrifugo],
        ..load(
            "G",
            "1,000 gRPC streams over 10 connections, one topic, 200 events a second",
            &[
                "grpc",
                "-n",
                "1000",
                "-c",
                "10",
                "-r",
                "200",
                "--coalesce",
                "5",
            ],
        )
    },
    Scenario {
        servers: &[Vidette, Tonic],
        rows: IDLE,
        ..load(
            "G-idle",
            "100,000 gRPC streams that wait, over 100 connections",
            &["idle", "--via", "grpc", "-n", "100000", "-c", "100"],
        )
    },
    Scenario {
        servers: &[Vidette, VidetteMemory],
        rows: RESUME,
        ..load(
            "H",
            "1,000 readers resume 10,000 events behind all at once, beside 100 live ones",
            &[
                "resume", "-n", "1000", "--behind", "10000", "--live", "100", "-r", "50",
            ],
        )
    },
    Scenario {
        servers: &[Vidette, VidetteMemory, Nchan, Centrifugo],
        rows: RECOVER,
        ..load(
            "R",
            "100 readers resume 10,000 events behind all at once",
            &[
                "resume", "-n", "100", "--behind", "10000", "--live", "1", "-r", "10", "-d", "2",
            ],
        )
    },
    low(
        "L-100-10",
        "100 readers, 10 events a second",
        &["fanout", "-n", "100", "-r", "10"],
    ),
    low(
        "L-100-100",
        "100 readers, 100 events a second",
        &["fanout", "-n", "100", "-r", "100"],
    ),
    low(
        "L-1000-10",
        "1,000 readers, 10 events a second",
        &["fanout", "-n", "1000", "-r", "10"],
    ),
    low(
        "L-1000-20",
        "1,000 readers, 20 events a second",
        &["fanout", "-n", "1000", "-r", "20"],
    ),
    low(
        "L-1000-50",
        "1,000 readers, 50 events a second",
        &["fanout", "-n", "1000", "-r", "50"],
    ),
    low(
        "L-1000-100",
        "1,000 readers, 100 events a second",
        &["fanout", "-n", "1000", "-r", "100"],
    ),
    low(
        "L-1000-200",
        "1,000 readers, 200 events a second",
        &["fanout", "-n", "1000", "-r", "200"],
    ),
    low(
        "L-10000-1",
        "10,000 readers, 1 event a second",
        &["fanout", "-n", "10000", "-r", "1"],
    ),
    low(
        "L-10000-5",
        "10,000 readers, 5 events a second",
        &["fanout", "-n", "10000", "-r", "5"],
    ),
    tls(
        "TLS-A",
        "A: 1,000 readers of one topic, 200 events a second",
        &["fanout", "-n", "1000", "-r", "200", "--coalesce", "5"],
        TLS_LOAD,
    ),
    tls(
        "TLS-D",
        "D: 19,000 readers that wait",
        &["idle", "-n", "19000"],
        TLS_IDLE,
    ),
    tls(
        "TLS-G",
        "G: 1,000 gRPC streams over 10 connections, 200 events a second",
        &[
            "grpc",
            "-n",
            "1000",
            "-c",
            "10",
            "-r",
            "200",
            "--coalesce",
            "5",
        ],
        TLS_LOAD,
    ),
    tls(
        "TLS-G-idle",
        "G-idle: 20,000 gRPC streams that wait, over 200 connections",
        &["idle", "--via", "grpc", "-n", "20000", "-c", "200"],
        TLS_IDLE,
    ),
];
