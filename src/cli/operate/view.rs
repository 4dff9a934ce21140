//! Answers of the admin API, for a person.

use std::fmt::Write as _;

use serde_json::Value;

use super::table::Table;

const NONE: &str = "-";

/// A number or a text as it is; what is missing is a dash.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => NONE.to_owned(),
        Value::String(text) if text.is_empty() => NONE.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => NONE.to_owned(),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

pub(super) fn status(answer: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    let health = &answer["health"];
    line(
        "gateway",
        format!(
            "vidette {}, up {}",
            cell(&answer["version"]),
            span(&answer["uptime_s"])
        ),
    );
    line("health", health_text(health));
    line("log", log_text(answer));
    line("rates", rates_text(&answer["rates"]));
    line("readers", readers_text(answer));
    line("memory", memory_text(&answer["memory"]));
    line("totals", totals_text(&answer["totals"]));
    for source in answer["sources"].as_array().into_iter().flatten() {
        line("source", source_text(source));
    }
    text.push('\n');
    text + &transports(&answer["transports"])
}

fn health_text(health: &Value) -> String {
    let ready = match health["trouble"].as_str() {
        Some(trouble) => format!("not ready: {trouble}"),
        None => "ready".to_owned(),
    };
    if health["read_only"] == true {
        return format!("{ready}; READ-ONLY, nothing is published");
    }
    ready
}

fn log_text(answer: &Value) -> String {
    let (first, last, epoch) = (&answer["first"], &answer["last"], cell(&answer["epoch"]));
    let (events, size) = (&answer["events"], bytes(&answer["bytes"]));
    let engine = cell(&answer["engine"]);
    format!("vids {first} to {last} of {epoch}, {events} events, {size}, {engine}")
}

fn rates_text(rates: &Value) -> String {
    if rates.is_null() {
        return "not known yet".to_owned();
    }
    let (events, deliveries) = (&rates["events_per_s"], &rates["deliveries_per_s"]);
    format!("{events} events/s published, {deliveries} deliveries/s")
}

fn readers_text(answer: &Value) -> String {
    let (readers, connections) = (&answer["subscribers"], &answer["connections"]);
    format!("{readers} on {connections} connections")
}

fn memory_text(memory: &Value) -> String {
    let used = memory["used_bytes"].as_object();
    let kinds = used.into_iter().flatten();
    let kinds: Vec<String> = kinds
        .map(|(kind, used)| format!("{kind} {}", bytes(used)))
        .collect();
    format!(
        "{} budget: {}",
        bytes(&memory["budget_bytes"]),
        kinds.join(", ")
    )
}

fn totals_text(totals: &Value) -> String {
    let (published, gaps, refused) = (
        &totals["events_published"],
        &totals["gaps"],
        &totals["publishes_refused"],
    );
    format!("{published} published, {gaps} gaps, {refused} publishes refused")
}

fn source_text(source: &Value) -> String {
    let fields = source.as_object().into_iter().flatten();
    let shown: Vec<String> = fields
        .map(|(name, value)| format!("{name} {}", cell(value)))
        .collect();
    shown.join(", ")
}

fn transports(transports: &Value) -> String {
    let head = ["TRANSPORT", "READERS", "DELIVERIES", "PER SECOND"];
    let mut table = Table::new(head, [false, true, true, true]);
    for one in transports.as_array().into_iter().flatten() {
        let names = ["transport", "subscribers", "deliveries", "deliveries_per_s"];
        table.add(names.map(|name| cell(&one[name])));
    }
    table.text()
}

pub(super) fn connections(answer: &Value) -> String {
    let head = [
        "ID",
        "LAG",
        "POSITION",
        "OPEN",
        "TRANSPORT",
        "PEER",
        "CALLER",
        "TOPICS",
    ];
    let numbers = [true, true, true, true, false, false, false, false];
    let mut table = Table::new(head, numbers);
    for one in answer["connections"].as_array().into_iter().flatten() {
        let plain = |name: &str| cell(&one[name]);
        table.add([
            plain("id"),
            plain("lag"),
            plain("position"),
            span(&one["open_for_s"]),
            plain("transport"),
            plain("peer"),
            plain("names"),
            plain("topics"),
        ]);
    }
    format!("{}{} readers in all\n", table.text(), answer["open"])
}

pub(super) fn topics(answer: &Value, is_json: bool) -> String {
    let mut text = String::new();
    for one in answer["topics"].as_array().into_iter().flatten() {
        let vid = one["vid"].to_string();
        let _ = if is_json {
            writeln!(text, "{one}")
        } else {
            writeln!(text, "{vid:>12}  {}", cell(&one["topic"]))
        };
    }
    text
}

/// Seconds, in the two largest units.
fn span(seconds: &Value) -> String {
    let seconds = seconds.as_u64().unwrap_or(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

fn bytes(value: &Value) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut rest, mut unit) = (value.as_u64().unwrap_or(0), 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (rest, whole, unit) = (whole % 1024, whole / 1024, unit + 1);
    }
    match unit {
        0 => format!("{whole} B"),
        _ => format!("{whole}.{} {}", rest * 10 / 1024, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_and_sizes_are_short() {
        let spans = [5, 65, 3700, 90_000].map(|s| span(&json!(s)));
        assert_eq!(spans, ["5s", "1m5s", "1h1m", "1d1h"]);
        let sizes = [0, 1023, 1536, 5 << 30].map(|b: u64| bytes(&json!(b)));
        assert_eq!(sizes, ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    }
}
