//! Results as Markdown: medians with the lowest and the highest, and ratios to the first server.

use std::fmt::Write as _;

use serde_json::Value;

use crate::servers::Server;

/// A figure: its name, its place in a result, its unit, and whether more of it is better.
struct Row(&'static str, &'static str, f64, Better);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}
use Better::{Less, More};

const ROWS: &[Row] = &[
    Row("full handshake: connects /s", "/full/per_second", 1.0, More),
    Row("… server CPU, µs", "/full/server_us", 1.0, Less),
    Row("… machine CPU, µs", "/full/machine_us", 1.0, Less),
    Row("resumed: connects /s", "/resumed/per_second", 1.0, More),
    Row("… server CPU, µs", "/resumed/server_us", 1.0, Less),
    Row("… machine CPU, µs", "/resumed/machine_us", 1.0, Less),
    Row(
        "full, X25519MLKEM768 offered: connects /s",
        "/hybrid/per_second",
        1.0,
        More,
    ),
    Row("… server CPU, µs", "/hybrid/server_us", 1.0, Less),
    Row("… machine CPU, µs", "/hybrid/machine_us", 1.0, Less),
    Row("A: deliveries /s", "/load/delivery/per_second", 1.0, More),
    Row("… p50, ms", "/load/delivery/latency_us/p50", 1000.0, Less),
    Row("… p99, ms", "/load/delivery/latency_us/p99", 1000.0, Less),
    Row("… missing", "/load/delivery/missing", 1.0, Less),
    Row("… server CPU a delivery, µs", "/load/server_us", 1.0, Less),
    Row(
        "… machine CPU a delivery, µs",
        "/load/machine_us",
        1.0,
        Less,
    ),
    Row(
        "idle: bytes a page (RSS)",
        "/idle/server/rss_reader_bytes",
        1.0,
        Less,
    ),
    Row("… (PSS)", "/idle/server/pss_reader_bytes", 1.0, Less),
];

/// The results of each server, one value a round.
pub(crate) fn markdown(servers: &[Server], results: &[Vec<Value>]) -> String {
    let mut text = String::from("|");
    for (at, server) in servers.iter().enumerate() {
        let ratio = if at > 0 { " | times better" } else { "" };
        let _ = write!(text, " | {}{ratio}", server.name());
    }
    let columns = "--:|".repeat(2 * servers.len() - 1);
    let _ = writeln!(text, " |\n|---|{columns}");
    for row in ROWS {
        push_row(&mut text, row, results);
    }
    text
}

fn push_row(text: &mut String, row: &Row, results: &[Vec<Value>]) {
    let figures: Vec<_> = results.iter().map(|values| figures(row, values)).collect();
    if figures.iter().all(Vec::is_empty) {
        return;
    }
    let _ = write!(text, "| {}", row.0);
    for (at, own) in figures.iter().enumerate() {
        let _ = write!(text, " | {}", shown(own));
        if at > 0 {
            let _ = write!(text, " | {}", ratio(row, &figures[0], own));
        }
    }
    text.push_str(" |\n");
}

/// In order.
fn figures(row: &Row, values: &[Value]) -> Vec<f64> {
    let found = values
        .iter()
        .filter_map(|value| value.pointer(row.1)?.as_f64());
    let mut found: Vec<f64> = found.map(|figure| figure / row.2).collect();
    found.sort_by(f64::total_cmp);
    found
}

fn median(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len() / 2).copied()
}

fn shown(sorted: &[f64]) -> String {
    let Some(middle) = median(sorted) else {
        return String::new();
    };
    let decimals = usize::from(middle < 100.0) + usize::from(middle < 10.0);
    let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
    match sorted.len() {
        1 => format!("{middle:.decimals$}"),
        _ => format!("{middle:.decimals$} ({first:.decimals$}–{last:.decimals$})"),
    }
}

/// How many times better the first server is.
fn ratio(row: &Row, first: &[f64], other: &[f64]) -> String {
    match (median(first), median(other)) {
        (Some(first), Some(other)) if first > 0.0 && other > 0.0 => {
            let times = if row.3 == More {
                first / other
            } else {
                other / first
            };
            format!("{times:.2}")
        }
        _ => String::new(),
    }
}
