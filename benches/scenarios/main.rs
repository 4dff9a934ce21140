//! The scenarios of docs/performance.md, each one a command: `make bench-A`, or `cargo bench
//! --bench scenarios -- A B --rounds 3 --json results.jsonl`. Without names: all of them.
//!
//! Each server in turn, round by round, so that other work on the machine affects all of them
//! alike; every run has a fresh server. It prints medians with the lowest and highest, and ratios,
//! as Markdown. Clients are `vidette bench`; servers to compare with are the two example programs,
//! and nginx with nchan where that is installed. Bounded: each run ends within `RUN_WAIT`; loopback
//! only.

mod scenarios;
mod search;
#[allow(dead_code, unreachable_pub)] // the tests use all of it
#[path = "../../tests/common/secure.rs"]
mod secure;
mod servers;
mod table;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/common/tls.rs"]
mod tls;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/common/token.rs"]
mod token;

use std::fs::OpenOptions;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

use scenarios::{SCENARIOS, Scenario, TLS};
use servers::{RunningServer, Server};

/// A run that takes longer is given up.
const RUN_WAIT: Duration = Duration::from_secs(420);

#[derive(Parser)]
struct Options {
    /// Scenarios by name; all when none is given
    names: Vec<String>,
    /// Rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// A tenth of the readers for two seconds, to see that everything runs; the figures mean
    /// nothing
    #[arg(long)]
    quick: bool,
    /// Only these servers: vidette, vidette-memory, vidette-tls, naive, tonic, nchan
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

impl Options {
    fn wants_scenario(&self, scenario: &Scenario) -> bool {
        let names = || {
            [Some(scenario.name), scenario.part_of]
                .into_iter()
                .flatten()
        };
        self.names.is_empty() || names().any(|name| self.names.iter().any(|n| n == name))
    }

    fn wants_server(&self, server: Server) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == server.name())
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Err(text) = check_names(&options.names) {
        eprintln!("{text}");
        return ExitCode::from(64);
    }
    servers::build_examples();
    let wanted = SCENARIOS.iter().filter(|s| options.wants_scenario(s));
    let (parts, alone): (Vec<_>, Vec<_>) = wanted.partition(|s| s.part_of.is_some());
    for scenario in alone {
        // Printed at once, because all scenarios together take hours.
        let results = run(scenario, &options);
        let table = table::markdown(scenario, &results, options.rounds);
        println!("## {}. {}\n\n{table}", scenario.name, scenario.title);
        if let Some(page) = &options.write {
            table::write(page, scenario.name, &table);
        }
    }
    run_tls(&parts, &options);
    ExitCode::SUCCESS
}

/// Several scenarios, without encryption and with it, in one table.
fn run_tls(parts: &[&Scenario], options: &Options) {
    if parts.is_empty() {
        return;
    }
    let results: Vec<_> = parts
        .iter()
        .map(|scenario| (*scenario, run(scenario, options)))
        .collect();
    let table = table::of_parts(TLS, &results, options.rounds);
    println!("## TLS\n\n{table}");
    if let Some(page) = &options.write {
        table::write(page, TLS, &table);
    }
}

fn check_names(names: &[String]) -> Result<(), String> {
    let known = SCENARIOS.iter().map(|scenario| scenario.name);
    let known: Vec<_> = known.chain([TLS]).collect();
    let mut names = names.iter().map(String::as_str);
    match names.find(|name| !known.contains(name)) {
        Some(unknown) => Err(format!("unknown scenario {unknown}; there are {known:?}")),
        None => Ok(()),
    }
}

/// The results of each server that can be run here.
fn run(scenario: &Scenario, options: &Options) -> Vec<(Server, Vec<Value>)> {
    let mut results = available(scenario, options);
    for round in 1..=options.rounds {
        // Round by round, so that a slow hour of the machine affects all servers.
        for (server, values) in &mut results {
            let result = run_once(scenario, *server, options);
            let (scenario_name, server_name) = (scenario.name, server.name());
            let brief = table::brief(scenario, &result);
            eprintln!("{scenario_name} round {round} {server_name}: {brief}");
            values.push(result);
        }
    }
    results
}

/// The wanted servers that are installed, without results so far.
fn available(scenario: &Scenario, options: &Options) -> Vec<(Server, Vec<Value>)> {
    let mut available = Vec::new();
    for server in scenario.servers.iter().copied() {
        match server.missing() {
            _ if !options.wants_server(server) => {}
            None => available.push((server, Vec::new())),
            Some(how) => eprintln!("{}: no column for {}: {how}", scenario.name, server.name()),
        }
    }
    available
}

fn run_once(scenario: &Scenario, server: Server, options: &Options) -> Value {
    if !scenario.is_search {
        return measure(scenario, server, &[], options);
    }
    search::highest_rate(|rate, seconds| {
        let flags = search::flags(rate, seconds);
        measure(scenario, server, &flags, options)
    })
}

/// One run against a fresh server.
fn measure(scenario: &Scenario, server: Server, more: &[String], options: &Options) -> Value {
    let running = RunningServer::start(server, scenario.flags[0]);
    let args = args(scenario, &running, more, options.quick);
    let result = bench(&args);

    // The next server has the machine to itself.
    drop(running);
    if let Some(path) = &options.json {
        let (scenario, server) = (scenario.name, server.name());
        let run = json!({ "scenario": scenario, "server": server, "args": args, "result": result });
        append_line(path, &run);
    }
    result
}

fn args(
    scenario: &Scenario,
    running: &RunningServer,
    more: &[String],
    is_quick: bool,
) -> Vec<String> {
    let mut args = vec!["bench".to_owned()];
    args.extend(scenario.flags.iter().map(ToString::to_string));
    if is_quick {
        shrink(&mut args, more.is_empty());
    }
    args.extend(more.iter().cloned());
    args.extend(running.flags.iter().cloned());
    args.push("--json".to_owned());
    args
}

fn append_line(path: &Path, line: &Value) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| writeln!(file, "{line}"))
        .expect("the file of results can be written");
}

/// A tenth of the readers and topics, and a short run unless a flag says how long.
fn shrink(args: &mut Vec<String>, is_short: bool) {
    for at in 1..args.len() {
        if matches!(args[at - 1].as_str(), "-n" | "-k" | "--behind") {
            let count: u32 = args[at].parse().expect("a count");
            args[at] = (count / 10).max(1).to_string();
        }
    }
    let short = match args[1].as_str() {
        "idle" => ["--hold", "1"],
        _ => ["-d", "2"],
    };
    if is_short {
        args.extend(short.map(str::to_owned));
    }
}

/// Runs `vidette bench`. Returns its JSON, or an object with the error.
fn bench(args: &[String]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
    command.args(args).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("vidette bench starts");
    if !ends_in_time(&mut child) {
        return json!({ "error": "the run did not end" });
    }

    // Both are short enough for the pipes to hold them until now.
    let output = read_all(child.stdout.take());
    let error = read_all(child.stderr.take());
    serde_json::from_str(&output).unwrap_or_else(|_| json!({ "error": error }))
}

fn ends_in_time(child: &mut Child) -> bool {
    let begun = Instant::now();
    while child.try_wait().expect("it can be waited for").is_none() {
        if begun.elapsed() > RUN_WAIT {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn read_all(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    let mut pipe = pipe.expect("a pipe");
    pipe.read_to_string(&mut text).expect("UTF-8");
    text
}
