//! The simulated runs, and their tables of docs/scale.md.

use crate::balancer::Policy;
use crate::clients::Client;
use crate::history::Report;
use crate::hot_topic::Lag;
use crate::parameters::Parameters;
use crate::plan::Setup;
use crate::runs::{self, PAGES, Trouble};
use crate::tables::{Tables, number, table};

use Client::{Backoff, EventSource, Jittered};
use Trouble::{AllBroken, OneKilled};

/// Parts of a gateway's pages that read the hot topic, …
pub(crate) const HOT_PARTS: [f64; 3] = [0.01, 0.1, 1.0];
/// … and its events a second.
pub(crate) const HOT_RATES: [f64; 8] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0];

pub(crate) struct Results {
    pub(crate) storms: Vec<(&'static str, Report)>,
    /// By the policy of the balancers and the time of the drain.
    pub(crate) rolling: Vec<(Policy, f64, Report)>,
    pub(crate) hot: Vec<(f64, f64, Lag)>,
    pub(crate) drain: Report,
    pub(crate) drain_at_once: Report,
}

impl Results {
    pub(crate) fn run(p: &Parameters) -> Self {
        let drains = Policy::ALL.map(|policy| [(policy, 0.0), (policy, p.drain_over_s)]);
        let rolling = drains
            .into_iter()
            .flatten()
            .map(|(policy, over_s)| (policy, over_s, runs::rolling_restart(p, policy, over_s)));
        let hot = HOT_PARTS
            .iter()
            .flat_map(|part| HOT_RATES.map(|rate| (*part, rate)));
        Results {
            storms: storms(p),
            rolling: rolling.collect(),
            hot: hot
                .map(|(part, rate)| (part, rate, runs::hot_topic(p, part, rate)))
                .collect(),
            drain: runs::measured_drain(p, p.drain_over_s),
            drain_at_once: runs::measured_drain(p, 0.0),
        }
    }

    pub(crate) fn tables(&self, p: &Parameters) -> Tables {
        vec![
            ("storms", storm_table(&self.storms)),
            ("rolling", rolling_table(&self.rolling)),
            ("balancers", balancer_table(p, &self.rolling)),
            ("hot", hot_table(&self.hot)),
            ("drain", drain_table(&self.drain, &self.drain_at_once)),
        ]
    }
}

fn storms(p: &Parameters) -> Vec<(&'static str, Report)> {
    let setup = |client| runs::setup(p, client, Policy::LeastConnections);
    let small = |client| {
        let all = setup(client);
        // As many pages on a quarter of the cores.
        Setup {
            cores: all.cores / 4.0,
            cores_per_page: all.cores_per_page / 4.0,
            ..all
        }
    };
    let runs = [
        (
            "one gateway killed; `EventSource`, 3 s",
            setup(EventSource),
            OneKilled,
        ),
        (
            "one gateway killed; 1 to 3 s at random",
            setup(Jittered),
            OneKilled,
        ),
        ("one gateway killed; Rust client", setup(Backoff), OneKilled),
        (
            "all connections broken; `EventSource`, 3 s",
            setup(EventSource),
            AllBroken,
        ),
        (
            "all connections broken; 1 to 3 s at random",
            setup(Jittered),
            AllBroken,
        ),
        (
            "all connections broken; Rust client",
            setup(Backoff),
            AllBroken,
        ),
        (
            "the same with a quarter of the cores; `EventSource`",
            small(EventSource),
            AllBroken,
        ),
        (
            "the same with a quarter of the cores; Rust client",
            small(Backoff),
            AllBroken,
        ),
    ];
    runs.map(|(name, setup, trouble)| (name, runs::storm(setup, trouble)))
        .into()
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn most(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
}

/// Pause, CPU and failures of a run.
fn cells(report: &Report) -> Vec<String> {
    vec![
        number(report.pause_p50_s),
        number(report.pause_p99_s),
        number(report.pause_most_s),
        number(most(&report.arrivals)),
        percent(report.peak_cpu),
    ]
}

const CELLS: [&str; 5] = [
    "pause p50, s",
    "p99, s",
    "longest, s",
    "most connects in a second",
    "peak CPU of a gateway (1 s)",
];

fn storm_table(storms: &[(&'static str, Report)]) -> String {
    let row = |(name, report): &(&str, Report)| {
        let mut row = vec![(*name).to_owned(), number(report.pauses as f64)];
        row.extend(cells(report));
        // The trouble begins after one second.
        row.push(number(report.all_back_s - 1.0));
        row.push(number(report.gave_up as f64));
        row
    };
    let columns = [
        &["what", "pages"],
        &CELLS[..],
        &["all are back after, s", "gave up"],
    ]
    .concat();
    table(&columns, &storms.iter().map(row).collect::<Vec<_>>())
}

fn rolling_table(rolling: &[(Policy, f64, Report)]) -> String {
    let row = |(policy, over_s, report): &(Policy, f64, Report)| {
        let mut row = vec![policy.name().to_owned(), number(*over_s)];
        row.extend(cells(report));
        row.push(number(report.pauses as f64 / f64::from(PAGES)));
        row.push(number(report.turned_away as f64));
        row
    };
    let columns = [
        &["balancers", "`over`, s"],
        &CELLS[..],
        &["ends for each page", "came to a gateway that ends"],
    ]
    .concat();
    table(&columns, &rolling.iter().map(row).collect::<Vec<_>>())
}

fn balancer_table(p: &Parameters, rolling: &[(Policy, f64, Report)]) -> String {
    let paced = rolling.iter().filter(|(_, over_s, _)| *over_s > 0.0);
    let row = |(policy, _, report): &(Policy, f64, Report)| {
        let page = crate::capacity::PageCost::of(p, crate::capacity::Transport::Sse, true);
        let pages = report.pages.iter().copied().max().unwrap_or(0);
        let cpu = f64::from(pages) * page.cores(runs::RATE) / p.machine_cores;
        let counts: Vec<_> = report.pages.iter().map(|n| number(f64::from(*n))).collect();
        vec![
            policy.name().to_owned(),
            number(report.fullest()),
            number(report.emptiest()),
            percent(cpu),
            counts.join(", "),
        ]
    };
    let columns = [
        "balancers",
        "fullest gateway, by the mean",
        "emptiest",
        "CPU of the fullest by deliveries",
        "pages of each gateway, in the order of their restarts",
    ];
    table(&columns, &paced.map(row).collect::<Vec<_>>())
}

fn hot_table(hot: &[(f64, f64, Lag)]) -> String {
    let row = |(part, rate, lag): &(f64, f64, Lag)| {
        let if_it_keeps_up = |value: f64| {
            if lag.keeps_up {
                number(value)
            } else {
                "falls behind".to_owned()
            }
        };
        vec![
            percent(*part),
            number(*rate),
            if_it_keeps_up(lag.p50_s * 1000.0),
            if_it_keeps_up(lag.p99_s * 1000.0),
            percent(lag.cpu),
            if_it_keeps_up(lag.events_a_write),
        ]
    };
    let columns = [
        "pages that read it",
        "events/s",
        "written after p50, ms",
        "p99, ms",
        "CPU",
        "events in a write",
    ];
    table(&columns, &hot.iter().map(row).collect::<Vec<_>>())
}

fn drain_table(paced: &Report, at_once: &Report) -> String {
    let cell = |counts: &[u32], second| counts.get(second).copied().unwrap_or(0).to_string();
    let row = |second: usize| {
        vec![
            second.to_string(),
            cell(&MEASURED_BACK, second),
            cell(&paced.back_a_second, second),
            cell(&MEASURED_BACK_AT_ONCE, second),
            cell(&at_once.back_a_second, second),
        ]
    };
    let columns = [
        "second",
        "back, `over` = 20 s, measured",
        "simulated",
        "back, `over` = 0, measured",
        "simulated",
    ];
    table(
        &columns,
        &(0..MEASURED_BACK.len()).map(row).collect::<Vec<_>>(),
    )
}

/// Of the 10,000 readers that are ended over 20 s, how many were back in each second: the table of
/// docs/performance.md, "The end of a gateway".
pub(crate) const MEASURED_BACK: [u32; 23] = [
    0, 135, 352, 512, 522, 489, 495, 496, 493, 491, 513, 497, 503, 460, 561, 493, 470, 518, 487,
    503, 512, 357, 141,
];

/// The same where all are ended at once.
const MEASURED_BACK_AT_ONCE: [u32; 4] = [0, 3753, 4971, 1276];
