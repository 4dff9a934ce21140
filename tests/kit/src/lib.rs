//! `vidette-kit`: plays scripted servers to a client library and judges what the library makes of
//! them.
//!
//! Its README says how an adapter speaks; `scenarios/` holds what is played.

mod adapter;
mod answer;
mod asked;
mod control;
mod polls;
mod record;
mod runner;
mod scenario;
mod server;
mod table;
mod verdict;
mod wire;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use runner::{Outcome, Player};
use scenario::Scenario;

const USAGE: &str = "\
vidette-kit list [--level LEVEL] [--only PREFIX]
vidette-kit run [--level reader|full] [--only PREFIX] [--jobs N] [--patience SECONDS] [--results FILE]
                 [--via stream|poll] -- ADAPTER…
vidette-kit serve [ADDRESS]
vidette-kit table [--out FILE] RESULTS…
--scenarios FOLDER says where the scenarios lie, when not beside the kit's source.";

/// What the command line says.
#[derive(Debug)]
struct Options {
    level: String,
    only: String,
    jobs: usize,
    /// How long one step may wait for what it awaits.
    patience: Duration,
    results: Option<PathBuf>,
    out: Option<PathBuf>,
    scenarios: PathBuf,
    /// Streams are played as polls, for readers without streams.
    by_polls: bool,
    rest: Vec<String>,
}

/// Runs the command that these arguments say, and gives its exit status.
pub fn command_line(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let command = arguments.next().unwrap_or_default();
    let Some(options) = options(arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };

    let done = match command.as_str() {
        "list" => list(&options),
        "run" => run_all(&options),
        "serve" => serve(&options),
        "table" => print_table(&options),
        _ => Err(io::Error::other(USAGE)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(64)
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        level: "full".into(),
        only: String::new(),
        jobs: 4,
        patience: Duration::from_secs(10),
        results: None,
        out: None,
        scenarios: Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios"),
        by_polls: false,
        rest: Vec::new(),
    };

    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--level" => options.level = arguments.next()?,
            "--only" => options.only = arguments.next()?,
            "--jobs" => options.jobs = arguments.next()?.parse().ok()?,
            "--patience" => {
                options.patience = Duration::from_secs(arguments.next()?.parse().ok()?);
            }
            "--results" => options.results = Some(arguments.next()?.into()),
            "--out" => options.out = Some(arguments.next()?.into()),
            "--scenarios" => options.scenarios = arguments.next()?.into(),
            "--via" => match arguments.next()?.as_str() {
                "poll" => options.by_polls = true,
                "stream" => options.by_polls = false,
                _ => return None,
            },
            "--" => options.rest.extend(arguments.by_ref()),
            flag if flag.starts_with("--") => return None,
            _ => options.rest.push(argument),
        }
    }
    Some(options)
}

/// The scenarios of a level whose names begin as asked.
fn chosen(options: &Options) -> io::Result<Vec<Scenario>> {
    let groups = match options.level.as_str() {
        "reader" => "ABCDE",
        "full" => "ABCDEFG",
        _ => return Err(io::Error::other(USAGE)),
    };
    let mut scenarios = scenario::load_all(&options.scenarios)?;
    scenarios.retain(|scenario| {
        scenario.name.starts_with(|group| groups.contains(group))
            && scenario.name.starts_with(&options.only)
    });
    if options.by_polls {
        scenarios = scenarios.iter().filter_map(polls::by_polls).collect();
    }
    Ok(scenarios)
}

fn list(options: &Options) -> io::Result<bool> {
    for scenario in chosen(options)? {
        println!("{:36} {}", scenario.name, scenario.title);
    }
    Ok(true)
}

/// Plays all, a few at a time; true when all are as they should be.
fn run_all(options: &Options) -> io::Result<bool> {
    let scenarios = chosen(options)?;
    let waiting = Mutex::new(scenarios.iter());
    let outcomes = Mutex::new(Vec::new());
    let end_badly = AtomicBool::new(false);

    thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, 64) {
            scope.spawn(|| {
                let mut player = Player::new(&options.rest, options.patience);
                while let Some(scenario) = next(&waiting) {
                    let outcome = play(&mut player, scenario);
                    print_outcome(&outcome);
                    outcomes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(outcome);
                }
                if !player.ends_well() {
                    end_badly.store(true, Ordering::Relaxed);
                }
            });
        }
    });

    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by(|a: &Outcome, b| a.scenario.cmp(&b.scenario));
    let failed = outcomes
        .iter()
        .filter(|outcome| !outcome.wrong.is_empty())
        .count();
    println!("{} scenarios, {failed} failed", outcomes.len());
    if let Some(file) = &options.results {
        fs::write(file, serde_json::to_string_pretty(&outcomes)?)?;
    }
    let all_end_well = !end_badly.into_inner();
    if !all_end_well {
        println!("an adapter did not end well at the end of its stdin");
    }
    Ok(failed == 0 && all_end_well && !outcomes.is_empty())
}

fn next<'a>(waiting: &Mutex<std::slice::Iter<'a, Scenario>>) -> Option<&'a Scenario> {
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .next()
}

fn play(player: &mut Player<'_>, scenario: &Scenario) -> Outcome {
    player.play(scenario).unwrap_or_else(|error| Outcome {
        scenario: scenario.name.clone(),
        title: scenario.title.clone(),
        unsupported: false,
        wrong: vec![format!("could not be played: {error}")],
        library: "unknown".into(),
        milliseconds: 0,
    })
}

fn print_outcome(outcome: &Outcome) {
    let Outcome {
        scenario,
        milliseconds,
        wrong,
        unsupported,
        ..
    } = outcome;
    let word = match (unsupported, wrong.is_empty()) {
        (true, _) => "unsupported",
        (false, true) => "ok",
        (false, false) => "FAILED",
    };

    println!("{word:7} {scenario} ({milliseconds} ms)");
    for wrong in wrong {
        println!("        {wrong}");
    }
}

/// Waits for those that start scenarios themselves.
fn serve(options: &Options) -> io::Result<bool> {
    let address = options.rest.first().map_or("127.0.0.1:0", String::as_str);
    let listener = TcpListener::bind(address)?;
    println!("http://{}", listener.local_addr()?);
    control::serve(&listener, &chosen(options)?)?;
    Ok(true)
}

fn print_table(options: &Options) -> io::Result<bool> {
    let mut runs = Vec::new();
    for file in &options.rest {
        runs.push(serde_json::from_str(&fs::read_to_string(file)?)?);
    }
    let tables = table::tables(&runs);

    match &options.out {
        // A document keeps what it says around them.
        Some(file) => {
            let document = fs::read_to_string(file).unwrap_or_default();
            fs::write(
                file,
                table::into_document(&document, &tables).unwrap_or(tables),
            )?;
        }
        None => print!("{tables}"),
    }
    Ok(true)
}
