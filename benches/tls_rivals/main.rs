//! TLS beside nginx with nchan: `make bench-tls-rivals`.
//!
//! Both have the same certificate (ECDSA, P-256), speak TLS 1.3 with the same client, and give
//! tickets. Each server in turn, round by round, freshly started for each measurement: connections
//! with a full handshake and with a resumed one, 1,000 readers of one topic, and pages that wait.
//! As on loopback a part of a server's sending is charged to its client, figures are per CPU time
//! of the whole machine as well as of the server. Bounded in counts and time; loopback only.
//!
//! `--floor` runs the handshake of rustls alone, in memory: what no server over it can go below.

mod connects;
mod floor;
mod machine;
mod servers;
mod table;
#[allow(dead_code, unreachable_pub)] // the tests use all of it
#[path = "../../tests/common/tls.rs"]
mod tls;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use serde_json::{Value, json};

use connects::{Handshake, Offer};
use servers::{Running, Server};

#[derive(Parser)]
struct Options {
    /// Rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Connections of each kind
    #[arg(long, default_value_t = 6000, value_parser = clap::value_parser!(u32).range(1..=9000))]
    connects: u32,
    /// Pages that wait
    #[arg(long, default_value_t = 8000, value_parser = clap::value_parser!(u32).range(1..=9000))]
    idle: u32,
    /// Seconds to publish to 1,000 readers
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Only these parts: connect, load, idle
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Another program of the gateway, in a column of its own
    #[arg(long)]
    beside: Option<PathBuf>,
    /// Only the handshake of rustls, in memory
    #[arg(long)]
    floor: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }

    /// Those that can be run here; the first is compared with the others.
    fn servers(&self) -> Vec<Server> {
        let own = Server::Vidette(env!("CARGO_BIN_EXE_vidette").into());
        let beside = self.beside.clone().map(Server::Vidette);
        let nginx = Some(Server::Nginx).filter(|_| servers::has_nginx());
        if nginx.is_none() {
            eprintln!("nginx or its module nchan is not installed");
        }
        [own].into_iter().chain(beside).chain(nginx).collect()
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let identity = tls::Authority::new("tls rivals").issue(&tls::LOCAL_NAMES);
    if options.floor {
        print!("{}", floor::table(&identity));
        return ExitCode::SUCCESS;
    }

    let servers = options.servers();
    let mut results = vec![Vec::new(); servers.len()];
    for round in 1..=options.rounds {
        // Round by round, so that a slow minute of the machine affects all of them.
        for (server, results) in servers.iter().zip(&mut results) {
            let result = measure(server, &identity, &options);
            eprintln!("round {round} {}: {result}", server.name());
            results.push(result);
        }
    }
    print!("{}", table::markdown(&servers, &results));
    ExitCode::SUCCESS
}

/// One round of one server.
fn measure(server: &Server, identity: &tls::Identity, options: &Options) -> Value {
    let mut result = json!({});
    if options.wants("connect") {
        for (name, handshake, offer) in CONNECTS {
            let running = Running::start(server, identity);
            result[name] = connects::measure(&running, options.connects, handshake, offer);
        }
    }
    if options.wants("load") {
        let seconds = options.seconds.to_string();
        let flags = ["-n", "1000", "-r", "200", "--coalesce", "5", "-d", &seconds];
        result["load"] = bench("fanout", &flags, &Running::start(server, identity));
    }
    if options.wants("idle") {
        let count = options.idle.to_string();
        let flags = ["-n", count.as_str()];
        result["idle"] = bench("idle", &flags, &Running::start(server, identity));
    }
    result
}

/// Kinds of connections.
const CONNECTS: [(&str, Handshake, Offer); 3] = [
    ("full", Handshake::Full, Offer::X25519),
    ("resumed", Handshake::Resumed, Offer::X25519),
    ("hybrid", Handshake::Full, Offer::PostQuantum),
];

/// `vidette bench` against a server that runs.
fn bench(name: &str, flags: &[&str], running: &Running) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
    command.args(["bench", name, "--json", "--insecure-tls"]);
    command.args(flags).args(running.bench_flags());
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.expect("vidette bench starts");
    let mut result = serde_json::from_slice(&output.stdout).unwrap_or_default();
    add_machine(&mut result);
    result
}

/// CPU time of the whole machine: the server's, the client's, and what the kernel did for them.
fn add_machine(result: &mut Value) {
    let figure = |path: &str| result.pointer(path).and_then(Value::as_f64);
    let parts = ["/server/cpu_s", "/client/cpu_s", "/client/other_cpu_s"];
    let seconds: f64 = parts.iter().filter_map(|path| figure(path)).sum();
    let delivered = figure("/delivery/delivered").unwrap_or_default();
    if delivered > 0.0 {
        let server_us = figure("/server/cpu_s").unwrap_or_default() * 1e6 / delivered;
        result["machine_us"] = json!(seconds * 1e6 / delivered);
        result["server_us"] = json!(server_us);
    }
}
