//! A line for each cell: counts, times and verdict.

use std::time::Duration;

use crate::record::{History, What};
use crate::times::Times;

pub(crate) fn print_head() {
    println!(
        "{:<24}{:>6}{:>6}{:>7}{:>5}{:>5}{:>7}{:>7}{:>7}{:>7}{:>7}{:>7}{:>8}  verdict",
        "cell",
        "sent",
        "acks",
        "read",
        "gaps",
        "refd",
        "elect",
        "publ",
        "pause",
        "tail",
        "red",
        "green",
        "refused"
    );
}

pub(crate) fn print_row(name: &str, history: &History, times: &Times, wrong: &[String]) {
    let told = || history.readings.iter().flat_map(|reading| &reading.told);
    let events = told().filter(|told| matches!(told.what, What::Event(..)));
    let gaps = told().filter(|told| matches!(told.what, What::Gap(_)));
    let verdict = if wrong.is_empty() {
        "holds".to_owned()
    } else {
        wrong.join("; ")
    };
    println!(
        "{name:<24}{:>6}{:>6}{:>7}{:>5}{:>5}{:>7}{:>7}{:>7}{:>7}{:>7}{:>7}{:>8}  {verdict}",
        history.sent,
        history.acknowledged.len(),
        events.count(),
        gaps.count(),
        history.refusals.len(),
        optional(times.election),
        seconds(times.publishing),
        seconds(times.pause),
        seconds(times.tail),
        optional(times.red),
        seconds(times.green),
        seconds(times.refused),
    );
}

fn seconds(time: Duration) -> String {
    if time == Duration::MAX {
        return "never".to_owned();
    }
    format!("{:.2}", time.as_secs_f64())
}

fn optional(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), seconds)
}
