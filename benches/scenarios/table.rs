//! Results as Markdown: medians, the lowest and the highest, and ratios to the first server.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::rows::Row;
use crate::scenarios::Scenario;
use crate::servers::Server;

/// The results of each server, one value a round.
type Results = [(Server, Vec<Value>)];

pub(crate) fn markdown(scenario: &Scenario, results: &Results, rounds: u32) -> String {
    let mut text = command(scenario, rounds);
    if let Some((first, others)) = results.split_first() {
        push_head(&mut text, first.0, others);
        for row in scenario.rows {
            push_row(&mut text, row, &first.1, others);
        }
    }
    push_errors(&mut text, results);
    text
}

/// A server, and what each round gave.
type ServerResults = (Server, Vec<Value>);

/// Several scenarios of the same servers in one table.
pub(crate) fn of_parts(
    name: &str,
    parts: &[(&Scenario, Vec<ServerResults>)],
    rounds: u32,
) -> String {
    let run = format!("cargo bench --bench scenarios -- {name} --rounds {rounds}");
    let mut text = format!("```sh\n{run}\n```\n\n");
    let mut has_head = false;
    for (scenario, results) in parts {
        let Some((first, others)) = results.split_first() else {
            continue;
        };
        if !std::mem::replace(&mut has_head, true) {
            push_head(&mut text, first.0, others);
        }
        let cells = " |".repeat(1 + 2 * others.len());
        let _ = writeln!(text, "| **{}** |{cells}", scenario.title);
        for row in scenario.rows {
            push_row(&mut text, row, &first.1, others);
        }
    }
    for (_, results) in parts {
        push_errors(&mut text, results);
    }
    text
}

/// How to run the scenario again.
fn command(scenario: &Scenario, rounds: u32) -> String {
    let (name, flags) = (scenario.name, scenario.flags.join(" "));
    let run = format!("cargo bench --bench scenarios -- {name} --rounds {rounds}");
    format!("```sh\n{run}   # vidette bench {flags}\n```\n\n")
}

fn push_head(text: &mut String, first: Server, others: &Results) {
    let _ = write!(text, "| | {}", first.name());
    for (server, _) in others {
        let _ = write!(text, " | {} | ratio", server.name());
    }
    let _ = writeln!(text, " |\n|---|--:{} |", "|--:|--:".repeat(others.len()));
}

fn push_row(text: &mut String, row: &Row, first: &[Value], others: &Results) {
    let own = figures(row, first);
    let _ = write!(text, "| {} | {}", row.0, shown(&own));
    for (_, values) in others {
        let other = figures(row, values);
        let _ = write!(text, " | {} | {}", shown(&other), ratio(&own, &other));
    }
    text.push_str(" |\n");
}

fn push_errors(text: &mut String, results: &Results) {
    for (server, values) in results {
        for error in values.iter().filter_map(|value| value["error"].as_str()) {
            let _ = writeln!(text, "\n{}: {}", server.name(), error.trim());
        }
    }
}

/// Replaces a scenario's table in a page.
pub(crate) fn write(page: &Path, name: &str, table: &str) {
    let text = std::fs::read_to_string(page).expect("the page can be read");
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let Some((before, after)) = around(&text, &begin, &end) else {
        eprintln!(
            "{} has no place {begin} … {end} for this table",
            page.display()
        );
        return;
    };
    let text = format!("{before}{begin}\n{table}{end}{after}");
    std::fs::write(page, text).expect("the page can be written");
}

/// The text before the one mark and after the other.
fn around<'t>(text: &'t str, begin: &str, end: &str) -> Option<(&'t str, &'t str)> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some((before, after))
}

/// One run in a line.
pub(crate) fn brief(scenario: &Scenario, result: &Value) -> String {
    if let Some(error) = result["error"].as_str() {
        return error.trim().to_owned();
    }
    let one = std::slice::from_ref(result);
    let rows = scenario.rows.iter();
    let shown = rows.map(|row| format!("{} {}", row.0, shown(&figures(row, one))));
    shown.collect::<Vec<_>>().join("; ")
}

/// A row's figures of all rounds, sorted.
fn figures(Row(_, pointer, divisor): &Row, values: &[Value]) -> Vec<f64> {
    // A run that failed has no figures, and is named below the table.
    let found = values
        .iter()
        .filter_map(|value| value.pointer(pointer)?.as_f64());
    let mut figures: Vec<f64> = found.map(|figure| figure / divisor).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len() / 2).copied()
}

fn shown(sorted: &[f64]) -> String {
    let (Some(middle), Some(low), Some(high)) = (median(sorted), sorted.first(), sorted.last())
    else {
        return "–".to_owned();
    };

    // One value needs no range.
    let [middle, low, high] = [middle, *low, *high].map(number);
    if low == high {
        middle
    } else {
        format!("{middle} ({low}–{high})")
    }
}

fn ratio(own: &[f64], other: &[f64]) -> String {
    match (median(own), median(other)) {
        (Some(own), Some(other)) if own > 0.0 && other > 0.0 => format!("{:.2}", own / other),
        _ => String::new(),
    }
}

/// Three significant digits, in groups.
fn number(number: f64) -> String {
    let decimals = match number.abs() {
        n if n >= 100.0 || n.fract() == 0.0 => return grouped(number),
        n if n >= 10.0 => 1,
        _ => 2,
    };
    format!("{number:.decimals$}")
}

fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
