//! What is measured, with which servers, and which figures are shown.

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
pub(crate) const TLS: &str = "TLS";

/// A figure: its name, its place in the result, and the unit in which it is shown.
pub(crate) struct Row(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) f64,
);

const LOAD: &[Row] = &[
    Row("published /s", "/publish/per_second", 1.0),
    Row("deliveries /s", "/delivery/per_second", 1.0),
    Row("latency p50, ms", "/delivery/latency_us/p50", 1000.0),
    Row("latency p99, ms", "/delivery/latency_us/p99", 1000.0),
    Row("latency p99.9, ms", "/delivery/latency_us/p999", 1000.0),
    Row("missing", "/delivery/missing", 1.0),
    Row("repeated", "/delivery/repeated", 1.0),
    Row("out of order", "/delivery/out_of_order", 1.0),
    Row("server CPU, s", "/server/cpu_s", 1.0),
    Row("machine CPU, s", "/machine/cpu_s", 1.0),
    Row(
        "machine CPU, µs a delivery",
        "/machine/us_per_delivery",
        1.0,
    ),
    Row(
        "deliveries a server CPU second",
        "/server/deliveries_per_cpu_s",
        1.0,
    ),
    Row("memory at most, MB", "/server/rss_peak_bytes", 1e6),
    Row("client CPU, s", "/client/cpu_s", 1.0),
    Row("others' CPU, s", "/client/other_cpu_s", 1.0),
];

const IDLE: &[Row] = &[
    Row("readers", "/ready", 1.0),
    Row("connects /s", "/connect/per_second", 1.0),
    Row(
        "server CPU while connecting, s",
        "/server/connect_cpu_s",
        1.0,
    ),
    Row(
        "machine CPU while connecting, s",
        "/machine/connect_cpu_s",
        1.0,
    ),
    Row("memory before, MB", "/server/rss_before_bytes", 1e6),
    Row("memory with all waiting, MB", "/server/rss_idle_bytes", 1e6),
    Row("bytes a reader (RSS)", "/server/rss_reader_bytes", 1.0),
    Row("bytes a reader (PSS)", "/server/pss_reader_bytes", 1.0),
    Row("others' CPU, s", "/client/other_cpu_s", 1.0),
];

const PUBLISH: &[Row] = &[
    Row("published /s", "/publish/per_second", 1.0),
    Row("answered p50, ms", "/publish/answer_us/p50", 1000.0),
    Row("answered p99, ms", "/publish/answer_us/p99", 1000.0),
    Row("latency p50, ms", "/delivery/latency_us/p50", 1000.0),
    Row("latency p99, ms", "/delivery/latency_us/p99", 1000.0),
    Row("missing", "/delivery/missing", 1.0),
    Row("server CPU, s", "/server/cpu_s", 1.0),
    Row("machine CPU, s", "/machine/cpu_s", 1.0),
    Row(
        "machine CPU, µs a delivery",
        "/machine/us_per_delivery",
        1.0,
    ),
    Row("client CPU, s", "/client/cpu_s", 1.0),
    Row("others' CPU, s", "/client/other_cpu_s", 1.0),
];

const RESUME: &[Row] = &[
    Row("caught up, events /s", "/resume/caught_up/per_second", 1.0),
    Row("caught up after, s", "/resume/caught_up/seconds", 1.0),
    Row("missing", "/resume/caught_up/missing", 1.0),
    Row("live p99 alone, ms", "/resume/live_alone_us/p99", 1000.0),
    Row("live p99 beside, ms", "/resume/live_beside_us/p99", 1000.0),
    Row("live p99 ratio", "/resume/live_p99_ratio", 1.0),
    Row("server CPU, s", "/server/cpu_s", 1.0),
    Row("machine CPU, s", "/machine/cpu_s", 1.0),
    Row(
        "machine CPU, µs a delivery",
        "/machine/us_per_delivery",
        1.0,
    ),
    Row("memory at most, MB", "/server/rss_peak_bytes", 1e6),
    Row("others' CPU, s", "/client/other_cpu_s", 1.0),
];

use Server::{Naive, Nchan, Tonic, Vidette, VidetteMemory, VidetteTls};

const SSE_SERVERS: &[Server] = &[Vidette, Naive, Nchan];

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

const TLS_SERVERS: &[Server] = &[Vidette, VidetteTls];

const TLS_LOAD: &[Row] = &[
    Row("latency p50, ms", "/delivery/latency_us/p50", 1000.0),
    Row("latency p99, ms", "/delivery/latency_us/p99", 1000.0),
    Row("missing", "/delivery/missing", 1.0),
    Row("server CPU, s", "/server/cpu_s", 1.0),
    Row("machine CPU, s", "/machine/cpu_s", 1.0),
    Row(
        "machine CPU, µs a delivery",
        "/machine/us_per_delivery",
        1.0,
    ),
    Row(
        "deliveries a server CPU second",
        "/server/deliveries_per_cpu_s",
        1.0,
    ),
    Row("client CPU, s", "/client/cpu_s", 1.0),
    Row("others' CPU, s", "/client/other_cpu_s", 1.0),
];

const TLS_IDLE: &[Row] = &[
    Row("readers", "/ready", 1.0),
    Row("connects /s", "/connect/per_second", 1.0),
    Row(
        "server CPU while connecting, s",
        "/server/connect_cpu_s",
        1.0,
    ),
    Row("bytes a reader (RSS)", "/server/rss_reader_bytes", 1.0),
    Row("others' CPU, s", "/client/other_cpu_s", 1.0),
];

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
        servers: &[Vidette, VidetteMemory, Naive, Nchan],
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
        servers: &[Vidette, VidetteMemory, Naive, Nchan],
        rows: PUBLISH,
        ..load(
            "F",
            "8 publishers, one event a request, as fast as they are accepted",
            &["publish", "-p", "8"],
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
        servers: &[Vidette, Tonic],
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
