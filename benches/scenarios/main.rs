//! The scenarios of docs/performance.md, each one a command: `make bench-A`, or `cargo bench
//! --bench scenarios -- A B --rounds 3 --json results.jsonl`. Without names: all of them.
//!
//! Each server in turn, round by round, so that what else the machine does meets all of them alike;
//! every run has a fresh server. It prints medians with the lowest and highest, and ratios, as
//! Markdown. Clients are `vidette bench`; servers to compare with are the two example programs, and
//! nginx with nchan where that is installed. Bounded: each run ends within `RUN_WAIT`; loopback
//! only.

mod scenarios;
mod search;
mod servers;
mod table;

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

use scenarios::{SCENARIOS, Scenario};
use servers::{Running, Server};

/// After this a run is given up.
const RUN_WAIT: Duration = Duration::from_secs(420);

#[derive(Parser)]
struct Options {
    /// Scenarios by name; all when none is given
    names: Vec<String>,
    /// Rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// A tenth of the readers for two seconds: does everything run? The figures are worth nothing
    #[arg(long)]
    quick: bool,
    /// Only these servers: vidette, vidette-memory, naive, tonic, nchan
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// One line of JSON a run is added to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Puts each table into this page, between `<!-- NAME -->` and `<!-- /NAME -->`
    #[arg(long)]
    write: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let unknown: Vec<_> = options
        .names
        .iter()
        .filter(|name| SCENARIOS.iter().all(|s| s.name != **name))
        .collect();
    if !unknown.is_empty() {
        let known: Vec<_> = SCENARIOS.iter().map(|s| s.name).collect();
        eprintln!("no such scenario: {unknown:?}; there are {known:?}");
        return ExitCode::from(64);
    }
    servers::build_examples();
    let wanted =
        |s: &&Scenario| options.names.is_empty() || options.names.iter().any(|name| s.name == name);
    for scenario in SCENARIOS.iter().filter(wanted) {
        let results = run(scenario, &options);
        let table = table::markdown(scenario, &results, options.rounds);
        println!("## {}. {}\n\n{table}", scenario.name, scenario.title);
        if let Some(page) = &options.write {
            table::write(page, scenario.name, &table);
        }
    }
    ExitCode::SUCCESS
}

/// The results of each server that can be run here.
fn run(scenario: &Scenario, options: &Options) -> Vec<(Server, Vec<Value>)> {
    let is_wanted = |server: &Server| {
        options.only.is_empty() || options.only.iter().any(|name| name == server.name())
    };
    let mut results = Vec::new();
    for server in scenario.servers.iter().copied().filter(is_wanted) {
        match server.missing() {
            None => results.push((server, Vec::new())),
            Some(how) => eprintln!("{}: no column for {}: {how}", scenario.name, server.name()),
        }
    }
    for round in 1..=options.rounds {
        for (server, values) in &mut results {
            let result = if scenario.is_search {
                search::highest_rate(|rate, seconds| {
                    measure(scenario, *server, &search::flags(rate, seconds), options)
                })
            } else {
                measure(scenario, *server, &[], options)
            };
            eprintln!(
                "{} round {round} {}: {}",
                scenario.name,
                server.name(),
                table::brief(scenario, &result)
            );
            values.push(result);
        }
    }
    results
}

/// One run against a fresh server.
fn measure(scenario: &Scenario, server: Server, more: &[String], options: &Options) -> Value {
    let running = Running::start(server, scenario.flags[0]);
    let mut args: Vec<String> = ["bench"]
        .iter()
        .chain(scenario.flags)
        .map(ToString::to_string)
        .collect();
    if options.quick {
        shrink(&mut args, more.is_empty());
    }
    args.extend(
        more.iter()
            .cloned()
            .chain(running.flags.iter().cloned())
            .chain(["--json".to_owned()]),
    );
    let result = bench(&args);
    drop(running);
    if let Some(path) = &options.json {
        let line = json!({ "scenario": scenario.name, "server": server.name(), "args": args, "result": result });
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| writeln!(file, "{line}"))
            .expect("the file of results can be written");
    }
    result
}

/// A tenth of the readers and topics, and short if nothing else says how long.
fn shrink(args: &mut Vec<String>, is_short: bool) {
    for at in 1..args.len() {
        if matches!(args[at - 1].as_str(), "-n" | "-k" | "--behind") {
            let count: u32 = args[at].parse().expect("a count");
            args[at] = (count / 10).max(1).to_string();
        }
    }
    let short = if args[1] == "idle" {
        ["--hold", "1"]
    } else {
        ["-d", "2"]
    };
    if is_short {
        args.extend(short.map(str::to_owned));
    }
}

/// Runs `vidette bench` and takes its JSON; what went wrong otherwise.
fn bench(args: &[String]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("vidette bench starts");
    let begun = Instant::now();
    while child.try_wait().expect("it can be waited for").is_none() {
        if begun.elapsed() > RUN_WAIT {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            return json!({ "error": "the run did not end" });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let (mut said, mut complained) = (String::new(), String::new());
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut said)
        .expect("UTF-8");
    child
        .stderr
        .take()
        .expect("a pipe")
        .read_to_string(&mut complained)
        .expect("UTF-8");
    serde_json::from_str(&said).unwrap_or_else(|_| json!({ "error": complained }))
}
