//! What processes cost, from /proc (Linux). Where there is none, or not for us to see, everything
//! is 0.

use std::collections::HashMap;
use std::fs::read_to_string;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::limits;

/// The kernel tells CPU time in hundredths of a second (`USER_HZ`) on every architecture Rust
/// knows.
const TICKS_A_SECOND: f64 = 100.0;

/// Some processes and all their living descendants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes(pub(crate) Vec<u32>);

/// Resident bytes: with shared pages counted in each process, and counted once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    pub(crate) pss: u64,
}

impl Processes {
    pub(crate) fn is_visible(&self) -> bool {
        !self.0.is_empty() && self.rss() > 0
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.all()
            .into_iter()
            .filter_map(|pid| stat(&pid.to_string()))
            .map(|(_, seconds)| seconds)
            .sum()
    }

    pub(crate) fn memory(&self) -> Memory {
        let pss = self
            .all()
            .iter()
            .filter_map(|pid| bytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:"))
            .sum();
        Memory {
            rss: self.rss(),
            pss,
        }
    }

    fn rss(&self) -> u64 {
        self.all()
            .iter()
            .filter_map(|pid| bytes(&format!("/proc/{pid}/status"), "VmRSS:"))
            .sum()
    }

    fn all(&self) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        let entries = if self.0.is_empty() {
            None
        } else {
            std::fs::read_dir("/proc").ok()
        };
        for entry in entries.into_iter().flatten().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
                continue;
            };
            if let Some((parent, _)) = stat(&format!("{pid}")) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut all = self.0.clone();
        let mut at = 0;
        while at < all.len() {
            let new = children.remove(&all[at]).unwrap_or_default();
            all.extend(new.into_iter().filter(|pid| !self.0.contains(pid)));
            at += 1;
        }
        all
    }
}

/// CPU seconds of this process.
pub(crate) fn own_cpu_seconds() -> f64 {
    stat("self").map_or(0.0, |(_, seconds)| seconds)
}

/// Busy CPU seconds of the whole machine, stolen ones included.
pub(crate) fn machine_cpu_seconds() -> f64 {
    let text = read_to_string("/proc/stat").unwrap_or_default();
    let numbers: Vec<f64> = text
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|n| n.parse().ok())
        .collect();
    let idle = |place: usize| matches!(place, 3 | 4);
    numbers
        .iter()
        .enumerate()
        .filter(|(place, _)| !idle(*place))
        .map(|(_, ticks)| ticks)
        .sum::<f64>()
        / TICKS_A_SECOND
}

/// Parent and CPU seconds.
fn stat(pid: &str) -> Option<(u32, f64)> {
    let text = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((
        fields.get(1)?.parse().ok()?,
        (ticks(11)? + ticks(12)?) / TICKS_A_SECOND,
    ))
}

fn bytes(path: &str, name: &str) -> Option<u64> {
    let text = read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes * 1024)
}

/// Watches how much memory processes take.
pub(crate) struct MemoryWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Vec<(f64, u64)>)>,
}

impl MemoryWatch {
    pub(crate) fn start(processes: &Processes) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (processes, stopped) = (processes.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let (begun, mut peak, mut looks) = (Instant::now(), 0, Looks::default());
            while !stopped.load(Ordering::Relaxed) && !processes.0.is_empty() {
                let rss = processes.rss();
                peak = rss.max(peak);
                looks.take(begun.elapsed().as_secs_f64(), rss);
                std::thread::park_timeout(Duration::from_millis(250));
            }
            (peak, looks.kept)
        });
        MemoryWatch { stop, thread }
    }

    /// The most, and some of the looks.
    pub(crate) fn finish(self) -> (u64, Vec<(f64, u64)>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

/// Looks at evenly spaced times, at most [`limits::MEMORY_LOOKS`] however long it takes.
struct Looks {
    kept: Vec<(f64, u64)>,
    taken: usize,
    /// One of so many is kept.
    spacing: usize,
}

impl Default for Looks {
    fn default() -> Self {
        Looks {
            kept: Vec::new(),
            taken: 0,
            spacing: 1,
        }
    }
}

impl Looks {
    fn take(&mut self, seconds: f64, bytes: u64) {
        if self.taken.is_multiple_of(self.spacing) {
            if self.kept.len() == limits::MEMORY_LOOKS {
                let mut nth = 0..;
                self.kept
                    .retain(|_| nth.next().is_some_and(|at: usize| at.is_multiple_of(2)));
                self.spacing *= 2;
            }
            self.kept.push(((seconds * 10.0).round() / 10.0, bytes));
        }
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_stay_evenly_spaced_and_few_however_many_are_taken() {
        let mut looks = Looks::default();
        for at in 0..10_000_u32 {
            looks.take(f64::from(at), at.into());
            assert!(looks.kept.len() <= limits::MEMORY_LOOKS);
        }
        let at: Vec<u64> = looks.kept.iter().map(|(_, at)| *at).collect();
        let spacing = at[1] - at[0];
        assert!(
            at.len() > limits::MEMORY_LOOKS / 2
                && at.windows(2).all(|pair| pair[1] - pair[0] == spacing)
        );
    }
}
