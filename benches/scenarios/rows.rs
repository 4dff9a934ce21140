//! Which figures are shown.

/// A figure: its name, its place in the result, and the unit in which it is shown.
pub(crate) struct Row(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) f64,
);

pub(crate) const LOAD: &[Row] = &[
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

pub(crate) const IDLE: &[Row] = &[
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

pub(crate) const PUBLISH: &[Row] = &[
    Row("published /s", "/publish/per_second", 1.0),
    Row("answered p50, ms", "/publish/answer_us/p50", 1000.0),
    Row("answered p99, ms", "/publish/answer_us/p99", 1000.0),
    Row("latency p50, ms", "/delivery/latency_us/p50", 1000.0),
    Row("latency p99, ms", "/delivery/latency_us/p99", 1000.0),
    Row("missing", "/delivery/missing", 1.0),
    Row("server CPU, s", "/server/cpu_s", 1.0),
    Row("machine CPU, s", "/machine/cpu_s", 1.0),
    Row("machine CPU, µs a publish", "/machine/us_per_publish", 1.0),
    Row("client CPU, s", "/client/cpu_s", 1.0),
    Row("others' CPU, s", "/client/other_cpu_s", 1.0),
];

pub(crate) const RESUME: &[Row] = &[
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

pub(crate) const RECOVER: &[Row] = &[
    Row("caught up, events /s", "/resume/caught_up/per_second", 1.0),
    Row("all have all after, ms", "/resume/caught_up/seconds", 0.001),
    Row("missing", "/resume/caught_up/missing", 1.0),
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

pub(crate) const LOW_LOAD: &[Row] = &[
    Row("latency p50, ms", "/delivery/latency_us/p50", 1000.0),
    Row("latency p99, ms", "/delivery/latency_us/p99", 1000.0),
    Row("missing", "/delivery/missing", 1.0),
    Row("server CPU, µs a delivery", "/server/us_per_delivery", 1.0),
    Row(
        "machine CPU, µs a delivery",
        "/machine/us_per_delivery",
        1.0,
    ),
];

pub(crate) const TLS_LOAD: &[Row] = &[
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

pub(crate) const TLS_IDLE: &[Row] = &[
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
