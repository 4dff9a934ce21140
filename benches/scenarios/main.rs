//! The scenarios of docs/performance.md, each one a command: `make bench-A`, or `cargo bench
//! --bench scenarios -- A B --rounds 3 --json results.jsonl`. Without names: all of them.
//!
//! Each server in turn, round by round, so that other work on the machine affects all of them
//! alike; every run has a fresh server. It prints medians with the lowest and highest, and ratios,
//! as Markdown. Clients are `vidette bench`; servers to compare with are the two example programs,
//! and those of `servers` that are installed (`make bench-rivals`). A server that does not start is
//! named below the table, and the others go on. Bounded: each run ends in time; loopback only.

mod client;
mod curves;
mod rows;
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

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

use scenarios::{GROUPS, SCENARIOS, Scenario};
use servers::Server;

#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
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
    /// Only these servers, as in vidette,nchan
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Says how many runs there are and how long they take, and ends
    #[arg(long)]
    list: bool,
    /// Latency and CPU over the rate, as lines of JSON, instead of scenarios; --quick takes fewer
    /// rates
    #[arg(long)]
    curves: bool,
    /// Seconds of each run [default: 10]
    #[arg(long)]
    seconds: Option<f64>,
    /// The program of the gateway, where that is to be another build than the client's
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// The program whose `bench` is the client, and whose `serve` the gateway
    #[arg(long, env = "VIDETTE_PROGRAM", default_value = env!("CARGO_BIN_EXE_vidette"))]
    program: PathBuf,
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

    fn can_run(&self, server: Server) -> bool {
        self.wants_server(server) && server.missing().is_none()
    }

    fn wants_server(&self, server: Server) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == server.name())
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run_all(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::from(64)
        }
    }
}

fn run_all(options: &Options) -> Result<(), String> {
    check_servers(&options.only)?;
    report_missing(options);
    if !options.list {
        servers::build_examples();
    }
    if options.curves {
        return curves::run(options);
    }
    check_names(&options.names)?;
    let wanted: Vec<_> = SCENARIOS
        .iter()
        .filter(|s| options.wants_scenario(s))
        .collect();
    estimate(&wanted, options);
    if options.list {
        return Ok(());
    }
    let (parts, alone): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|s| s.part_of.is_some());
    for scenario in alone {
        // Printed at once, because all scenarios together take hours.
        let results = run(scenario, options);
        let table = table::markdown(scenario, &results, options.rounds);
        println!("## {}. {}\n\n{table}", scenario.name, scenario.title);
        if let Some(page) = &options.write {
            table::write(page, scenario.name, &table);
        }
    }
    for group in GROUPS {
        run_group(group, &parts, options);
    }
    Ok(())
}

/// Several scenarios in one table, such as those without encryption and with it.
fn run_group(name: &str, parts: &[&Scenario], options: &Options) {
    let parts = parts
        .iter()
        .filter(|scenario| scenario.part_of == Some(name));
    let results: Vec<_> = parts
        .map(|scenario| (*scenario, run(scenario, options)))
        .collect();
    if results.is_empty() {
        return;
    }
    let table = table::of_parts(name, &results, options.rounds);
    println!("## {name}\n\n{table}");
    if let Some(page) = &options.write {
        table::write(page, name, &table);
    }
}

fn check_names(names: &[String]) -> Result<(), String> {
    let known = SCENARIOS.iter().map(|scenario| scenario.name);
    let known: Vec<_> = known.chain(GROUPS.iter().copied()).collect();
    let mut names = names.iter().map(String::as_str);
    match names.find(|name| !known.contains(name)) {
        Some(unknown) => Err(format!("unknown scenario {unknown}; there are {known:?}")),
        None => Ok(()),
    }
}

fn check_servers(only: &[String]) -> Result<(), String> {
    let known: Vec<_> = servers::ALL.iter().map(|server| server.name()).collect();
    let mut names = only.iter().map(String::as_str);
    match names.find(|name| !known.contains(name)) {
        Some(unknown) => Err(format!("unknown server {unknown}; there are {known:?}")),
        None => Ok(()),
    }
}

/// Says how long it will take, because all of it takes hours.
fn estimate(wanted: &[&Scenario], options: &Options) {
    let rounds = u64::from(options.rounds);
    let of_servers = |scenario: &&Scenario| {
        let servers = scenario.servers.iter().filter(|s| options.can_run(**s));
        servers.count() as u64 * rounds
    };
    let runs: u64 = wanted.iter().map(of_servers).sum();
    let seconds = |scenario: &&Scenario| scenario.seconds(options) * of_servers(scenario);
    let seconds: u64 = wanted.iter().map(seconds).sum();
    let minutes = seconds.div_ceil(60);
    eprintln!("{runs} runs, about {minutes} minutes");
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
    let servers = scenario.servers.iter().copied();
    let available = servers.filter(|server| options.can_run(*server));
    available.map(|server| (server, Vec::new())).collect()
}

/// Each server that is skipped, once.
fn report_missing(options: &Options) {
    let wanted = servers::ALL.iter().filter(|s| options.wants_server(**s));
    for server in wanted {
        if let Some(how) = server.missing() {
            eprintln!("{} is left out: {how}", server.name());
        }
    }
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
    let args = args(scenario, more, options);
    let result = client::measure(options, server, &args);
    if let Some(path) = &options.json {
        let (scenario, server) = (scenario.name, server.name());
        let run = json!({ "scenario": scenario, "server": server, "args": args, "result": result });
        client::append_line(path, &run);
    }
    result
}

fn args(scenario: &Scenario, more: &[String], options: &Options) -> Vec<String> {
    let mut args: Vec<_> = scenario.flags.iter().map(ToString::to_string).collect();
    if options.quick {
        shrink(&mut args);
    }

    // A search chooses how long each of its runs takes.
    let quick = options.quick.then_some(2.0);
    if let Some(seconds) = options.seconds.or(quick).filter(|_| more.is_empty()) {
        set_seconds(&mut args, seconds);
    }
    args.extend(more.iter().cloned());
    args
}

/// A tenth of the readers and topics.
fn shrink(args: &mut [String]) {
    for at in 1..args.len() {
        if matches!(args[at - 1].as_str(), "-n" | "-k" | "--behind") {
            let count: u32 = args[at].parse().expect("a count");
            args[at] = (count / 10).max(1).to_string();
        }
    }
}

fn set_seconds(args: &mut Vec<String>, seconds: f64) {
    let flag = match args[0].as_str() {
        "idle" => "--hold",
        _ => "-d",
    };
    match args.iter().position(|arg| arg == flag) {
        Some(at) => args[at + 1] = seconds.to_string(),
        None => args.extend([flag.to_owned(), seconds.to_string()]),
    }
}
