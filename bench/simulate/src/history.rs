//! What has happened in a run, and what is said of it.

use crate::clients::SECOND_US;
use crate::cpu::{Cpu, WINDOW_US};

/// Windows of one second.
const WINDOWS_A_SECOND: usize = (SECOND_US / WINDOW_US) as usize;

/// Notes of a run, by windows.
#[derive(Debug, Default)]
pub(crate) struct History {
    gateways: usize,
    /// Pages and delivering cores of each gateway, for each window.
    samples: Vec<Vec<(u32, f64)>>,
    arrivals: Vec<u32>,
    back: Vec<u32>,
    pauses_us: Vec<u64>,
    last_back_us: u64,
    pub(crate) gave_up: u64,
    pub(crate) turned_away: u64,
}

/// A run in figures.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// Seconds, and pages that are connected, each window.
    pub(crate) connected: Vec<(f64, f64)>,
    /// Seconds, and pages that asked for a gateway in the second that ended then.
    pub(crate) arrivals: Vec<(f64, f64)>,
    /// Pages that were back, in each second.
    pub(crate) back_a_second: Vec<u32>,
    /// Seconds, and the part of its cores that the busiest gateway used in that window.
    pub(crate) busiest: Vec<(f64, f64)>,
    /// The highest part of its cores that a gateway used in a second.
    pub(crate) peak_cpu: f64,
    pub(crate) pauses: usize,
    pub(crate) pause_p50_s: f64,
    pub(crate) pause_p99_s: f64,
    pub(crate) pause_most_s: f64,
    pub(crate) all_back_s: f64,
    pub(crate) gave_up: u64,
    pub(crate) turned_away: u64,
    /// Pages of each gateway in the end.
    pub(crate) pages: Vec<u32>,
}

impl Report {
    /// Pages of the fullest gateway in the end, by the mean of all.
    pub(crate) fn fullest(&self) -> f64 {
        let most = self.pages.iter().copied().max().unwrap_or(0);
        f64::from(most) / self.mean_pages()
    }

    pub(crate) fn emptiest(&self) -> f64 {
        let least = self.pages.iter().copied().min().unwrap_or(0);
        f64::from(least) / self.mean_pages()
    }

    fn mean_pages(&self) -> f64 {
        f64::from(self.connected_in_the_end()) / self.pages.len() as f64
    }

    pub(crate) fn connected_in_the_end(&self) -> u32 {
        self.pages.iter().sum()
    }
}

fn count_at(counts: &mut Vec<u32>, at_us: u64) {
    let window = (at_us / WINDOW_US) as usize;
    if counts.len() <= window {
        counts.resize(window + 1, 0);
    }
    counts[window] += 1;
}

impl History {
    pub(crate) fn new(gateways: usize) -> Self {
        History {
            gateways,
            ..History::default()
        }
    }

    pub(crate) fn note_arrival(&mut self, at_us: u64) {
        count_at(&mut self.arrivals, at_us);
    }

    pub(crate) fn note_pause(&mut self, at_us: u64, pause_us: u64) {
        count_at(&mut self.back, at_us);
        self.pauses_us.push(pause_us);
        self.last_back_us = at_us;
    }

    pub(crate) fn sample(&mut self, states: impl Iterator<Item = (u32, f64)>) {
        self.samples.push(states.collect());
    }

    pub(crate) fn report(mut self, cores: f64, cpus: &[Cpu]) -> Report {
        self.pauses_us.sort_unstable();
        let used = self.parts_used(cores, cpus);
        let seconds = |window: usize| window as f64 / WINDOWS_A_SECOND as f64;
        let total = |sample: &Vec<(u32, f64)>| sample.iter().map(|(pages, _)| *pages).sum::<u32>();
        let connected = self.samples.iter().map(total).map(f64::from);
        let busiest = used
            .iter()
            .map(|parts| parts.iter().copied().fold(0.0, f64::max));
        Report {
            connected: connected
                .enumerate()
                .map(|(at, n)| (seconds(at), n))
                .collect(),
            arrivals: in_the_last_second(&self.arrivals)
                .enumerate()
                .map(|(at, n)| (seconds(at), f64::from(n)))
                .collect(),
            back_a_second: self
                .back
                .chunks(WINDOWS_A_SECOND)
                .map(|counts| counts.iter().sum())
                .collect(),
            busiest: busiest
                .enumerate()
                .map(|(at, part)| (seconds(at), part))
                .collect(),
            peak_cpu: peak(&used, self.gateways),
            pauses: self.pauses_us.len(),
            pause_p50_s: self.quantile_s(0.5),
            pause_p99_s: self.quantile_s(0.99),
            pause_most_s: self.quantile_s(1.0),
            all_back_s: self.last_back_us as f64 / SECOND_US as f64,
            gave_up: self.gave_up,
            turned_away: self.turned_away,
            pages: self.samples.last().map_or(Vec::new(), |sample| {
                sample.iter().map(|(pages, _)| *pages).collect()
            }),
        }
    }

    fn quantile_s(&self, part: f64) -> f64 {
        let Some(last) = self.pauses_us.len().checked_sub(1) else {
            return 0.0;
        };
        let index = (last as f64 * part).round() as usize;
        self.pauses_us[index] as f64 / SECOND_US as f64
    }

    /// For each window the part of its cores that each gateway used.
    fn parts_used(&self, cores: f64, cpus: &[Cpu]) -> Vec<Vec<f64>> {
        let of_window = |(window, sample): (usize, &Vec<(u32, f64)>)| {
            let gateways = sample.iter().zip(cpus);
            gateways
                .map(|((_, delivering), cpu)| {
                    let connecting = cpu.cores_used(window);
                    ((connecting + delivering) / cores).min(1.0)
                })
                .collect()
        };
        self.samples.iter().enumerate().map(of_window).collect()
    }
}

fn in_the_last_second(counts: &[u32]) -> impl Iterator<Item = u32> {
    (0..counts.len()).map(|at| {
        let from = (at + 1).saturating_sub(WINDOWS_A_SECOND);
        counts[from..=at].iter().sum()
    })
}

/// The highest mean of a second of one gateway.
fn peak(used: &[Vec<f64>], gateways: usize) -> f64 {
    let mean = |windows: &[Vec<f64>], gateway: usize| {
        let sum: f64 = windows.iter().map(|parts| parts[gateway]).sum();
        sum / windows.len() as f64
    };
    let seconds = used.windows(WINDOWS_A_SECOND.min(used.len()).max(1));
    seconds
        .flat_map(|windows| (0..gateways).map(move |gateway| mean(windows, gateway)))
        .fold(0.0, f64::max)
}
