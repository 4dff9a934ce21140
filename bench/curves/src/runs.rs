//! Runs from lines of JSON, grouped into what is drawn together.

use serde_json::Value;

/// The runs of one transport and one number of readers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) transport: String,
    pub(crate) readers: u64,
    pub(crate) servers: Vec<ServerCurve>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServerCurve {
    pub(crate) server: String,
    /// From the lowest rate to the highest.
    pub(crate) points: Vec<Point>,
}

/// The medians of a server's rounds at one rate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) rate: f64,
    /// It kept up with the rate in every round.
    pub(crate) holds: bool,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Cores of the whole machine that were busy.
    pub(crate) cores: f64,
}

impl Group {
    /// The name of its file.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.transport, self.readers)
    }

    pub(crate) fn title(&self) -> String {
        let transport = match self.transport.as_str() {
            "sse" => "Server-Sent Events",
            "poll" => "long-poll",
            "grpc" => "gRPC",
            other => other,
        };
        format!("{} readers by {transport}", in_groups(self.readers))
    }

    pub(crate) fn points(&self) -> impl Iterator<Item = &Point> {
        self.servers.iter().flat_map(|curve| &curve.points)
    }
}

/// A number in groups of three digits.
fn in_groups(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Groups, servers and rates, each in the order in which they first come.
pub(crate) fn groups(text: &str) -> Result<Vec<Group>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let runs = lines.map(run).collect::<Result<Vec<_>, _>>()?;
    let runs: Vec<Run> = runs.into_iter().flatten().collect();
    let names = unique(&runs, |run| (run.transport.clone(), run.readers));
    let group = |(transport, readers): (String, u64)| {
        let of_group = |run: &&Run| run.transport == transport && run.readers == readers;
        let runs: Vec<_> = runs.iter().filter(of_group).collect();
        let servers = unique(&runs, |run| run.server.clone());
        let curves = servers.into_iter().map(|server| curve(server, &runs));
        let servers = curves.collect();
        Group {
            transport,
            readers,
            servers,
        }
    };
    Ok(names.into_iter().map(group).collect())
}

fn curve(server: String, runs: &[&Run]) -> ServerCurve {
    let runs: Vec<_> = runs.iter().filter(|run| run.server == server).collect();
    let mut rates = unique(&runs, |run| run.point.rate);
    rates.sort_by(f64::total_cmp);
    let point = |rate: f64| {
        let at_rate = runs
            .iter()
            .filter(|run| (run.point.rate - rate).abs() < f64::EPSILON);
        let points: Vec<_> = at_rate.map(|run| &run.point).collect();
        let median_of = |figure: fn(&Point) -> f64| median(points.iter().map(|p| figure(p)));
        Point {
            rate,
            holds: points.iter().all(|point| point.holds),
            p50_ms: median_of(|point| point.p50_ms),
            p99_ms: median_of(|point| point.p99_ms),
            cores: median_of(|point| point.cores),
        }
    };
    let points = rates.into_iter().map(point).collect();
    ServerCurve { server, points }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn unique<T, K: PartialEq>(items: &[T], key: impl Fn(&T) -> K) -> Vec<K> {
    let mut keys = Vec::new();
    for item in items {
        let key = key(item);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

struct Run {
    transport: String,
    readers: u64,
    server: String,
    point: Point,
}

/// A run; none where the server did not start, or nothing was delivered.
fn run(line: &str) -> Result<Option<Run>, String> {
    let run: Value = serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))?;
    let number = |pointer: &str| run.pointer(pointer).and_then(Value::as_f64);
    let text = |name: &str| run[name].as_str().map(str::to_owned);
    let figures = (|| {
        let seconds = number("/result/client/seconds").filter(|seconds| *seconds > 0.0)?;
        Some(Point {
            rate: number("/rate")?,
            holds: run["holds"].as_bool()?,
            p50_ms: number("/result/delivery/latency_us/p50")? / 1000.0,
            p99_ms: number("/result/delivery/latency_us/p99")? / 1000.0,
            cores: number("/result/machine/cpu_s")? / seconds,
        })
    })();
    let is_drawn = |point: &Point| point.p50_ms > 0.0 && point.cores > 0.0;
    let names = text("transport")
        .zip(text("server"))
        .zip(run["readers"].as_u64());
    let ((transport, server), readers) = names.ok_or_else(|| format!("no curve's run: {line}"))?;
    Ok(figures.filter(is_drawn).map(|point| Run {
        transport,
        readers,
        server,
        point,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(server: &str, rate: u32, p50_us: u32, holds: bool) -> String {
        format!(
            "{{\"transport\":\"sse\",\"readers\":1000,\"server\":\"{server}\",\"rate\":{rate},\
             \"holds\":{holds},\"result\":{{\"delivery\":{{\"latency_us\":{{\"p50\":{p50_us},\
             \"p99\":9000}}}},\"machine\":{{\"cpu_s\":3.0}},\"client\":{{\"seconds\":2.0}}}}}}\n"
        )
    }

    #[test]
    fn rounds_become_medians_and_a_rate_holds_if_it_always_did() {
        let rounds = [
            line("b", 20, 5000, true),
            line("b", 10, 1000, true),
            line("b", 10, 3000, true),
            line("b", 10, 2000, false),
            line("a", 10, 7000, true),
        ];
        let groups = groups(&rounds.concat()).expect("runs");
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].title(), "1,000 readers by Server-Sent Events");
        let names: Vec<_> = groups[0].servers.iter().map(|s| &s.server).collect();
        assert_eq!(names, ["b", "a"]);
        let point = |rate: f64, holds, p50_ms| Point {
            rate,
            holds,
            p50_ms,
            p99_ms: 9.0,
            cores: 1.5,
        };
        let expected = [point(10.0, false, 2.0), point(20.0, true, 5.0)];
        assert_eq!(groups[0].servers[0].points, expected);
    }

    #[test]
    fn a_run_that_failed_is_left_out_and_what_is_no_run_is_an_error() {
        let failed = "{\"transport\":\"sse\",\"readers\":1,\"server\":\"a\",\"rate\":1,\
                      \"holds\":false,\"result\":{\"error\":\"it does not start\"}}";
        assert_eq!(groups(failed), Ok(Vec::new()));
        assert!(groups("{}").is_err());
        assert!(groups("nothing").is_err());
    }
}
