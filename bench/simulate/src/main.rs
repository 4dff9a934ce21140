//! `make simulate`: how many machines a fleet of gateways needs, and what happens to a million
//! pages when a gateway is lost or all are restarted. It writes its tables into docs/scale.md and
//! its charts into docs/scale/.
//!
//! All of it is computed from `parameters.toml`, which has the measured figures and their commands.
//! Runs are the same each time: their seed is fixed.

// Counts, microseconds and parts of them are far below 2^52, gateways below 2^16.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]

mod balancer;
mod capacity;
mod chart;
mod charts;
mod clients;
mod cpu;
mod fleet;
mod history;
mod hot_topic;
mod page;
mod parameters;
mod plan;
mod run_tables;
mod runs;
mod tables;
mod worst_cases;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match simulate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn simulate() -> Result<(), String> {
    let (figures, parameters) = parameters::read()?;
    let mut page = page::read()?;
    for (name, text) in tables::of_formulas(&figures, &parameters) {
        page = page::with_block(&page, name, &text)?;
    }
    let results = run_tables::Results::run(&parameters);
    for (name, text) in results.tables(&parameters) {
        page = page::with_block(&page, name, &text)?;
    }
    let folder = docs().join("scale");
    let write = |path: PathBuf, text: &str| {
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for (name, chart) in charts::all(&parameters, &results) {
        write(folder.join(name).with_extension("svg"), &chart.svg())?;
    }
    write(page::path(), &page)
}

/// The folder of the pages.
fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}
