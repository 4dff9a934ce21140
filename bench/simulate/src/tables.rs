//! The tables of docs/scale.md that follow from the figures alone.

use std::fmt::Write as _;

use crate::capacity::{NatsNeed, Need, PageCost, Transport, cpu_decides_from, pages_by_memory};
use crate::parameters::{self, Figure, Parameters};
use crate::worst_cases;

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
        ("summary", summary(p)),
        ("fleet", fleet(p)),
        ("figures", figure_table(figures)),
        ("page", page_table(p)),
        ("machines-1M", machine_table(p, 1e6)),
        ("machines-100M", machine_table(p, 1e8)),
        ("nats", nats_table(p)),
        ("publishing", publishing_table(p)),
        ("worst", worst_cases::table_of(p)),
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
        _ if value.fract().abs() < 1e-9 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

pub(crate) fn grouped(value: f64) -> String {
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

/// What a million pages of one event a second need.
fn summary(p: &Parameters) -> String {
    let page = PageCost::of(p, Transport::Sse, true);
    let need = Need::of(p, &page, 1e6, 1.0, 1.0);
    format!(
        "- **{} machines of {} cores and {} GB**: {} are needed so that all pages, should all connections break at\n  \
         once, are answered within {} s while deliveries go on; {} for the CPU of deliveries, {} for memory, {} for a\n  \
         network of {} Gbit/s. The rest is spare. On 1 Gbit/s egress would decide, with {}.\n\
         - Memory hardly ever decides. From {} events a second for each page a machine runs out of CPU before it runs\n  \
         out of memory, and even idle pages need machines for the moment when they all reconnect.\n",
        number(need.machines()),
        number(p.machine_cores),
        number(p.machine_gb),
        number(need.storm),
        number(p.patience_s),
        number(need.cpu),
        number(need.memory),
        number(need.egress),
        number(p.machine_gbit),
        number(need.egress * p.machine_gbit),
        number(cpu_decides_from(p, &page)),
    )
}

/// The fleet of the simulation.
fn fleet(p: &Parameters) -> String {
    let gateways = crate::runs::gateways(p);
    format!(
        "{gateways} gateways of {} cores, {} pages each over SSE and TLS, {} event/s for each page.\n",
        number(p.machine_cores),
        grouped(f64::from(crate::runs::PAGES) / gateways as f64),
        number(crate::runs::RATE),
    )
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

/// Cores for what is published, by engine.
fn publishing_table(p: &Parameters) -> String {
    let row = |name: &str, each_us: f64, leader_us: f64, follower_us: f64| {
        let cores = |us: f64| format!("{:.3}", us * 1000.0 / 1e6);
        vec![
            name.to_owned(),
            cores(each_us),
            cores(leader_us),
            cores(follower_us),
        ]
    };
    let single = (p.nats_leader_publish_cpu_us, p.nats_follower_publish_cpu_us);
    let group = (p.nats_leader_group_cpu_us, p.nats_follower_group_cpu_us);
    let (alone_us, batch_us) = (p.nats_gateway_publish_cpu_us, p.nats_gateway_group_cpu_us);
    let rows = [
        row("SQLite, one event a request", p.publish_cpu_us, 0.0, 0.0),
        row(
            "SQLite, 100 events a request",
            p.publish_batch_cpu_us,
            0.0,
            0.0,
        ),
        row("NATS, one event a request", alone_us, single.0, single.1),
        row("NATS, 10 events a request", batch_us, group.0, group.1),
    ];
    let columns = [
        "1,000 events/s",
        "cores of the gateway",
        "of the stream's leader",
        "of each follower",
    ];
    table(&columns, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_as_many_digits_as_it_deserves() {
        let numbers = [0.05, 3.0, 2.349, 12.34, 12.0, 1234.5, 1_234_567.0].map(number);
        assert_eq!(
            numbers,
            ["0.05", "3", "2.35", "12.3", "12", "1,234", "1,234,567"]
        );
    }
}
