//! The tables of docs/scale.md that follow from the figures alone.

use std::fmt::Write as _;

use crate::capacity::{NatsNeed, Need, PageCost, Transport, cpu_decides_from, pages_by_memory};
use crate::parameters::{self, Figure, Parameters};

/// How pages may be connected, with the names that the page uses.
pub(crate) const KINDS: [(&str, Transport, bool); 6] = [
    ("SSE", Transport::Sse, false),
    ("SSE, TLS", Transport::Sse, true),
    ("long-poll", Transport::Poll, false),
    ("long-poll, TLS", Transport::Poll, true),
    ("gRPC", Transport::Grpc, false),
    ("gRPC, TLS", Transport::Grpc, true),
];

/// Events a second for each page.
const RATES: [f64; 5] = [0.01, 0.1, 1.0, 5.0, 20.0];

/// Parts of the page by their names.
pub(crate) type Tables = Vec<(&'static str, String)>;

pub(crate) fn of_formulas(figures: &[Figure], p: &Parameters) -> Tables {
    vec![
        ("figures", figure_table(figures)),
        ("page", page_table(p)),
        ("machines-1M", machine_table(p, 1e6)),
        ("machines-100M", machine_table(p, 1e8)),
        ("nats", nats_table(p)),
        (
            "fingerprint",
            format!("Figures `{}`.\n", parameters::fingerprint()),
        ),
    ]
}

/// A table: its columns, the first of which is text, and its rows.
pub(crate) fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("\n| {} |\n", columns.join(" | "));
    let rules: Vec<_> = (0..columns.len())
        .map(|index| if index == 0 { "---" } else { "--:" })
        .collect();
    let _ = writeln!(text, "|{}|", rules.join("|"));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text + "\n"
}

/// `1,234`, `12.3`, `0.05`: as many digits as such a figure deserves.
pub(crate) fn number(value: f64) -> String {
    match value {
        _ if value >= 100.0 => grouped(value),
        _ if value >= 10.0 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        _ if value == value.round() => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn figure_table(figures: &[Figure]) -> String {
    let row = |figure: &Figure| {
        let value = format!("{} {}", number(figure.value), figure.unit);
        vec![
            format!("`{}`", figure.name),
            value,
            figure.what.clone(),
            figure.source.clone(),
        ]
    };
    let rows: Vec<_> = figures.iter().map(row).collect();
    let table = table(&["name", "figure", "what", "source"], &rows);
    // The texts are read from the left.
    table.replacen("|---|--:|--:|--:|", "|---|--:|---|---|", 1)
}

fn page_table(p: &Parameters) -> String {
    let row = |(name, transport, tls): (&str, Transport, bool)| {
        let page = PageCost::of(p, transport, tls);
        vec![
            name.to_owned(),
            number(page.bytes()),
            number(page.idle_cpu_us),
            number(page.write_cpu_us),
            number(page.write_bytes),
            grouped((pages_by_memory(p, &page) / 1e4).floor() * 1e4),
            number(cpu_decides_from(p, &page)),
        ]
    };
    let columns = [
        "page",
        "memory with the kernel's, bytes",
        "CPU waiting, µs a second",
        "CPU of a delivery, µs",
        "a delivery on the wire, bytes",
        "pages for which a machine has memory",
        "events/s for each page from which CPU decides",
    ];
    table(&columns, &KINDS.map(row))
}

fn machine_table(p: &Parameters, pages: f64) -> String {
    let page = PageCost::of(p, Transport::Sse, true);
    let row = |rate: f64| {
        // One topic for all: the bus has as many events as a page gets.
        let need = Need::of(p, &page, pages, rate, rate);
        let (first, _) = need.decides();
        vec![
            number(rate),
            grouped(pages * rate),
            number(need.memory),
            number(need.cpu),
            number(need.egress),
            number(need.storm),
            first.to_owned(),
            number(need.machines()),
            number(pages * rate * page.write_bytes * 8.0 / 1e9),
        ]
    };
    let columns = [
        "events/s for each page",
        "deliveries/s",
        "machines by memory",
        "by CPU",
        "by egress",
        "by reconnects",
        "decides",
        "machines, with spare ones",
        "egress of all, Gbit/s",
    ];
    table(&columns, &RATES.map(row))
}

fn nats_table(p: &Parameters) -> String {
    let mut rows = Vec::new();
    for gateways in [5.0, 50.0, 500.0] {
        for events in [10.0, 1000.0, 10_000.0] {
            let need = NatsNeed::of(p, gateways, events);
            rows.push(vec![
                number(gateways),
                number(events),
                number(need.egress_gbit),
                number(need.tail_cores),
                number(need.leader_cores),
                number(events * p.tail_event_cpu_us / 1e6),
            ]);
        }
    }
    let columns = [
        "gateways",
        "events/s of the bus",
        "egress of each of 3 servers, Gbit/s",
        "cores of all servers for the tails",
        "cores of the stream's leader",
        "cores of each gateway for events that nobody there reads",
    ];
    table(&columns, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_as_many_digits_as_it_deserves() {
        let numbers = [0.05, 3.0, 3.14159, 12.34, 12.0, 1234.5, 1_234_567.0].map(number);
        assert_eq!(
            numbers,
            ["0.05", "3", "3.14", "12.3", "12", "1,234", "1,234,567"]
        );
    }
}
