//! The charts of docs/scale.md.

use crate::capacity::{NatsNeed, Need, PageCost, Transport};
use crate::chart::{Axis, Chart, Line};
use crate::history::Report;
use crate::hot_topic::Lag;
use crate::parameters::Parameters;
use crate::run_tables::{HOT_PARTS, Results};
use crate::runs;
use crate::tables::KINDS;

type Points = Vec<(f64, f64)>;

/// Charts by the names of their files.
pub(crate) fn all(p: &Parameters, results: &Results) -> Vec<(&'static str, Chart)> {
    vec![
        ("boundary", boundary(p)),
        ("machines", machines(p)),
        (
            "storm_pages",
            storm(results, "Pages that are connected", |r| &r.connected),
        ),
        ("storm_cpu", storm_cpu(results)),
        ("rolling_cpu", rolling_cpu(results)),
        ("rolling_connects", rolling_connects(results)),
        ("hot_topic", hot_topic(results)),
        ("nats", nats(p)),
    ]
}

/// Numbers at even steps on a logarithmic axis.
fn steps(from: f64, to: f64) -> impl Iterator<Item = f64> {
    const STEPS: i32 = 60;
    (0..=STEPS).map(move |n| from * (to / from).powf(f64::from(n) / f64::from(STEPS)))
}

fn line(name: impl Into<String>, points: Points) -> Line {
    Line {
        name: name.into(),
        points,
    }
}

/// Pages that a machine takes, by memory, CPU and egress.
fn boundary(p: &Parameters) -> Chart {
    let (from, to) = (0.01, 100.0);
    let of_kind = |(name, transport, tls): (&'static str, Transport, bool)| {
        let page = PageCost::of(p, transport, tls);
        let pages = |rate| {
            let one = Need::of(p, &page, 1.0, rate, 0.0);
            1.0 / one.memory.max(one.cpu).max(one.egress)
        };
        line(
            name,
            steps(from, to).map(|rate| (rate, pages(rate))).collect(),
        )
    };
    let kinds = KINDS
        .into_iter()
        .filter(|(_, transport, tls)| *tls || *transport == Transport::Sse);
    Chart {
        title: "Pages of one machine of 8 cores and 16 GB: flat while memory decides",
        x: Axis::logarithmic("events a second for each page", from, to),
        y: Axis::logarithmic("pages", 1e3, 1e7),
        lines: kinds.map(of_kind).collect(),
    }
}

/// Machines for a million pages, by what decides.
fn machines(p: &Parameters) -> Chart {
    let page = PageCost::of(p, Transport::Sse, true);
    let by = |name: &'static str, choose: fn(&Need) -> f64| {
        let need = |rate| choose(&Need::of(p, &page, 1e6, rate, rate));
        line(
            name,
            steps(0.01, 20.0).map(|rate| (rate, need(rate))).collect(),
        )
    };
    Chart {
        title: "Machines for 1,000,000 pages over SSE and TLS, by what runs out",
        x: Axis::logarithmic("events a second for each page", 0.01, 20.0),
        y: Axis::logarithmic("machines", 0.01, 100.0),
        lines: vec![
            by("memory", |need| need.memory),
            by("CPU of deliveries, at 60 %", |need| need.cpu),
            by("egress, 60 % of 10 Gbit/s", |need| need.egress),
            by("all reconnect, and are answered within 10 s", |need| {
                need.storm
            }),
        ],
    }
}

/// The first three runs, in which one gateway is killed, and those in which all connections break.
fn chosen_storms(results: &Results) -> impl Iterator<Item = &(&'static str, Report)> {
    [0, 1, 3, 4, 6]
        .into_iter()
        .filter_map(|index| results.storms.get(index))
}

fn plain(name: &str) -> String {
    name.replace('`', "")
}

fn storm(results: &Results, title: &'static str, choose: fn(&Report) -> &Points) -> Chart {
    let lines =
        chosen_storms(results).map(|(name, report)| line(plain(name), choose(report).clone()));
    Chart {
        title,
        x: Axis::linear("seconds; the trouble begins at 1", 40.0),
        y: Axis::linear("pages", f64::from(runs::PAGES)),
        lines: lines.map(up_to_40_s).collect(),
    }
}

fn storm_cpu(results: &Results) -> Chart {
    let lines = chosen_storms(results).map(|(name, report)| {
        let percents = report.busiest.iter().map(|(at, part)| (*at, part * 100.0));
        up_to_40_s(line(plain(name), percents.collect()))
    });
    Chart {
        title: "CPU of the busiest gateway",
        x: Axis::linear("seconds; the trouble begins at 1", 40.0),
        y: Axis::linear("% of its cores, in 100 ms", 100.0),
        lines: lines.collect(),
    }
}

fn up_to_40_s(mut line: Line) -> Line {
    line.points.retain(|(at, _)| *at <= 40.0);
    if let Some((_, last)) = line.points.last().copied() {
        line.points.push((40.0, last));
    }
    line
}

fn rolling_lines(results: &Results, choose: impl Fn(&Report) -> Points) -> Vec<Line> {
    let runs = results.rolling.iter().take(4);
    runs.map(|(policy, over_s, report)| {
        let name = format!("{}, over = {over_s} s", policy.name());
        line(name, choose(report))
    })
    .collect()
}

fn last_second(lines: &[Line]) -> f64 {
    let ends = lines.iter().filter_map(|line| line.points.last());
    ends.map(|(at, _)| *at).fold(0.0, f64::max)
}

fn rolling_cpu(results: &Results) -> Chart {
    let lines = rolling_lines(results, |report| {
        let percents = report.busiest.iter().map(|(at, part)| (*at, part * 100.0));
        percents.collect()
    });
    Chart {
        title: "All gateways are restarted in turn: CPU of the busiest one",
        x: Axis::linear("seconds", last_second(&lines)),
        y: Axis::linear("% of its cores, in 100 ms", 100.0),
        lines,
    }
}

fn rolling_connects(results: &Results) -> Chart {
    let lines = rolling_lines(results, |report| report.arrivals.clone());
    let most = lines.iter().flat_map(|line| &line.points);
    let most = most.map(|(_, value)| *value).fold(0.0, f64::max);
    Chart {
        title: "All gateways are restarted in turn: pages that come back",
        x: Axis::linear("seconds", last_second(&lines)),
        y: Axis::linear("connects in a second", most),
        lines,
    }
}

fn hot_topic(results: &Results) -> Chart {
    let of_part = |part: f64| {
        let is_of_part =
            |(of, _, lag): &&(f64, f64, Lag)| (*of - part).abs() < 1e-9 && lag.keeps_up;
        let lags = results.hot.iter().filter(is_of_part);
        let points = lags.map(|(_, rate, lag)| (*rate, lag.p99_s * 1000.0));
        line(
            format!("{} % of the pages read it", part * 100.0),
            points.collect(),
        )
    };
    Chart {
        title: "A hot topic: after how long 99 % of its deliveries are written",
        x: Axis::logarithmic("events a second", 0.1, 1000.0),
        y: Axis::logarithmic("ms", 1.0, 10_000.0),
        lines: HOT_PARTS.map(of_part).into(),
    }
}

fn nats(p: &Parameters) -> Chart {
    let of_rate = |events: f64| {
        let egress = |gateways| NatsNeed::of(p, gateways, events).egress_gbit;
        let points = steps(3.0, 3000.0).map(|gateways| (gateways, egress(gateways)));
        line(format!("{events} events/s"), points.collect())
    };
    Chart {
        title: "What each of three servers of NATS sends to the tails of gateways",
        x: Axis::logarithmic("gateways", 3.0, 3000.0),
        y: Axis::logarithmic("Gbit/s", 0.001, 100.0),
        lines: [10.0, 100.0, 1000.0, 10_000.0].map(of_rate).into(),
    }
}
