//! The table that a person reads.

use crate::ground::Row;
use crate::memory::MIB;

const HEADS: [&str; 8] = [
    "line",
    "attack",
    "resident MiB before / peak / after",
    "live p50 / p99 / max ms",
    "live events, refused",
    "what the attacker got",
    "s",
    "verdict",
];

/// The head of the table.
pub fn print_heads() {
    println!("| {} |", HEADS.join(" | "));
    println!("|{}|", HEADS.map(|_| "---").join("|"));
}

/// One row, as soon as it is known.
pub fn print_row(row: &Row) {
    let memory = [row.before_bytes, row.peak_bytes, row.after_bytes]
        .map(|bytes| (bytes / MIB).to_string())
        .join(" / ");
    let latency = [500, 990, 1000]
        .map(|per_mille| row.live.latency(per_mille).as_millis().to_string())
        .join(" / ");
    let refused: Vec<String> = row.live.refused.iter().map(counted).collect();
    let refused = if refused.is_empty() {
        "0".to_owned()
    } else {
        refused.join(", ")
    };
    let over = if row.is_secure { " over TLS" } else { "" };
    let got: Vec<String> = row.got.iter().map(counted).collect();
    let verdict = if row.wrong.is_empty() {
        "held".to_owned()
    } else {
        format!("**{}**", row.wrong.join("; "))
    };
    println!(
        "| {} | {}{over} | {memory} | {latency} | {}, {refused} | {} | {:.0} | {verdict} |",
        row.line,
        row.name,
        row.live.acknowledged,
        got.join(", "),
        row.took.as_secs_f64(),
    );
}

fn counted((what, count): (&String, &usize)) -> String {
    format!("{count} × {what}")
}
