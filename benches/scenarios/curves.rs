//! Latency and CPU over the rate: every server in turn, from low rates to high ones, until it falls
//! behind. One line of JSON a run; `vidette-curves` draws them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::servers::Server;
use crate::{Options, client};

/// All runs have the same publishers and the same client, whose polling interval is the shortest.
const PUBLISHERS: &str = "4";
const COALESCE_MS: &str = "0.5";
/// Missing events are given up after so many seconds without a delivery.
const DRAIN: &str = "2";
/// A server that accepts less of a rate than this has fallen behind.
const ACCEPTED: f64 = 0.95;
/// A server whose p99 is higher has fallen behind, too: each further rate would take longer.
const BEHIND_US: f64 = 1e6;
/// Starting, connecting, settling and draining.
const OVERHEAD: Duration = Duration::from_millis(2100);

struct Curve {
    transport: &'static str,
    /// The command of `vidette bench`, and its flags.
    bench: &'static [&'static str],
    readers: u32,
    rates: &'static [u32],
    /// Those of a quick look.
    few_rates: &'static [u32],
    servers: &'static [Server],
}

use Server::{Centrifugo, Naive, Nchan, Tonic, Vidette};

const SSE: Curve = Curve {
    transport: "sse",
    bench: &["fanout"],
    readers: 1000,
    rates: &[1, 2, 5, 10, 20, 50, 100, 200, 400],
    few_rates: &[10, 50, 100, 200],
    servers: &[Vidette, Naive, Nchan, Centrifugo],
};

const POLL: Curve = Curve {
    transport: "poll",
    bench: &["poll"],
    servers: &[Vidette, Nchan],
    few_rates: &[5, 20, 50, 100],
    ..SSE
};

const GRPC: Curve = Curve {
    transport: "grpc",
    bench: &["grpc", "-c", "10"],
    servers: &[Vidette, Tonic, Centrifugo],
    ..SSE
};

/// The same with 100 readers.
const fn of_few(curve: &Curve) -> Curve {
    Curve {
        readers: 100,
        rates: &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000],
        few_rates: &[10, 100, 500, 1000],
        ..*curve
    }
}

/// The same with 10,000 readers.
const fn of_many(curve: &Curve) -> Curve {
    Curve {
        readers: 10_000,
        rates: &[1, 2, 5, 10, 20],
        few_rates: &[1, 5, 20],
        ..*curve
    }
}

const CURVES: &[Curve] = &[
    of_few(&SSE),
    SSE,
    of_many(&SSE),
    of_few(&POLL),
    POLL,
    of_many(&POLL),
    of_few(&GRPC),
    GRPC,
    of_many(&GRPC),
];

impl Curve {
    fn name(&self) -> String {
        format!("{}-{}", self.transport, self.readers)
    }

    fn rates(&self, options: &Options) -> &'static [u32] {
        if options.quick {
            self.few_rates
        } else {
            self.rates
        }
    }

    fn servers(&self, options: &Options) -> Vec<Server> {
        let wanted = self.servers.iter().copied();
        wanted.filter(|s| options.can_run(*s)).collect()
    }

    fn args(&self, rate: u32, seconds: f64) -> Vec<String> {
        let (readers, rate, seconds) = (
            self.readers.to_string(),
            rate.to_string(),
            seconds.to_string(),
        );
        let flags = [
            "-n",
            &readers,
            "-r",
            &rate,
            "-d",
            &seconds,
            "-p",
            PUBLISHERS,
            "--coalesce",
            COALESCE_MS,
            "--drain",
            DRAIN,
        ];
        let all = self.bench.iter().copied().chain(flags);
        all.map(str::to_owned).collect()
    }
}

/// Measures all curves that are wanted, or one as in `sse-1000`, and adds them to the file.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let path = options.json.as_ref().ok_or("--curves needs --json FILE")?;
    let curves = wanted(options)?;
    let seconds = options.seconds.unwrap_or(10.0);
    let count: usize = curves
        .iter()
        .map(|curve| curve.rates(options).len() * curve.servers(options).len())
        .sum();
    let each = Duration::from_secs_f64(seconds) + OVERHEAD;
    let minutes = (each * u32::try_from(count).unwrap_or(u32::MAX)).as_secs_f64() / 60.0;
    eprintln!("at most {count} runs, about {minutes:.0} minutes");
    if options.list {
        return Ok(());
    }
    for curve in curves {
        measure(curve, seconds, options, &mut |line| {
            client::append_line(path, line);
        });
    }
    Ok(())
}

fn wanted(options: &Options) -> Result<Vec<&'static Curve>, String> {
    let names: Vec<_> = CURVES.iter().map(Curve::name).collect();
    if let Some(unknown) = options.names.iter().find(|name| !names.contains(name)) {
        return Err(format!("unknown curve {unknown}; there are {names:?}"));
    }
    let is_wanted =
        |curve: &&Curve| options.names.is_empty() || options.names.contains(&curve.name());
    Ok(CURVES.iter().filter(is_wanted).collect())
}

fn measure(curve: &Curve, seconds: f64, options: &Options, write: &mut dyn FnMut(&Value)) {
    let mut servers = curve.servers(options);
    for rate in curve.rates(options) {
        // In turn, so that other work on the machine affects all of them alike.
        servers.retain(|server| {
            let args = curve.args(*rate, seconds);
            let result = client::measure(options, *server, &args);
            let holds = holds(&result, f64::from(*rate) * seconds);
            eprintln!(
                "{} at {rate}/s, {}: {}",
                curve.name(),
                server.name(),
                brief(&result)
            );
            write(&json!({
                "transport": curve.transport, "readers": curve.readers, "server": server.name(),
                "rate": rate, "seconds": seconds, "holds": holds, "args": args, "result": result,
            }));
            holds
        });
    }
}

/// Whether a server keeps up with a rate, of which so many events were due.
fn holds(result: &Value, due: f64) -> bool {
    let number = |pointer: &str| result.pointer(pointer).and_then(Value::as_f64);
    let is_zero = |pointer: &str| number(pointer) == Some(0.0);
    let is_at_least = |pointer: &str, least: f64| number(pointer).is_some_and(|n| n >= least);
    is_zero("/delivery/missing")
        && is_zero("/lost")
        && is_zero("/failed")
        && is_at_least("/publish/accepted", due * ACCEPTED)
        && !is_at_least("/delivery/latency_us/p99", BEHIND_US)
}

fn brief(result: &Value) -> String {
    if let Some(error) = result["error"].as_str() {
        return error.to_owned();
    }
    let number = |pointer: &str| {
        result
            .pointer(pointer)
            .and_then(Value::as_f64)
            .unwrap_or(-1.0)
    };
    let p50_ms = number("/delivery/latency_us/p50") / 1000.0;
    let p99_ms = number("/delivery/latency_us/p99") / 1000.0;
    let (us, missing) = (
        number("/machine/us_per_delivery"),
        number("/delivery/missing"),
    );
    format!(
        "p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, machine {us:.2} µs a delivery, missing {missing}"
    )
}
