//! What processes cost, from /proc (Linux). Where there is none, or not for us to see, everything is 0.

use std::collections::HashMap;
use std::fs::read_to_string;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The kernel tells CPU time in hundredths of a second (`USER_HZ`) on every architecture Rust knows.
const TICKS_A_SECOND: f64 = 100.0;

/// Some processes and all their living descendants.
#[derive(Debug, Clone, Default)]
pub(super) struct Processes(pub(super) Vec<u32>);

/// Resident bytes: with shared pages counted in each process, and counted once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) rss: u64,
    pub(super) pss: u64,
}

impl Processes {
    pub(super) fn is_visible(&self) -> bool {
        !self.0.is_empty() && self.rss() > 0
    }

    pub(super) fn cpu_seconds(&self) -> f64 {
        self.all().into_iter().filter_map(|pid| stat(&pid.to_string())).map(|(_, seconds)| seconds).sum()
    }

    pub(super) fn memory(&self) -> Memory {
        let pss = self.all().iter().filter_map(|pid| bytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum();
        Memory { rss: self.rss(), pss }
    }

    fn rss(&self) -> u64 {
        self.all().iter().filter_map(|pid| bytes(&format!("/proc/{pid}/status"), "VmRSS:")).sum()
    }

    fn all(&self) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        let entries = if self.0.is_empty() { None } else { std::fs::read_dir("/proc").ok() };
        for entry in entries.into_iter().flatten().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
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
pub(super) fn own_cpu_seconds() -> f64 {
    stat("self").map_or(0.0, |(_, seconds)| seconds)
}

/// Busy CPU seconds of the whole machine, stolen ones included.
pub(super) fn machine_cpu_seconds() -> f64 {
    let text = read_to_string("/proc/stat").unwrap_or_default();
    let numbers: Vec<f64> = text.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
    let idle = |place: usize| matches!(place, 3 | 4);
    numbers.iter().enumerate().filter(|(place, _)| !idle(*place)).map(|(_, ticks)| ticks).sum::<f64>() / TICKS_A_SECOND
}

/// Parent and CPU seconds.
fn stat(pid: &str) -> Option<(u32, f64)> {
    let text = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((fields.get(1)?.parse().ok()?, (ticks(11)? + ticks(12)?) / TICKS_A_SECOND))
}

fn bytes(path: &str, name: &str) -> Option<u64> {
    let text = read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Watches how much memory processes take at most.
pub(super) struct PeakWatch {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl PeakWatch {
    pub(super) fn start(processes: &Processes) -> Self {
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let watch = (processes.clone(), stop.clone(), peak.clone());
        let thread = std::thread::spawn(move || {
            let (processes, stop, peak) = watch;
            while !stop.load(Ordering::Relaxed) && !processes.0.is_empty() {
                peak.fetch_max(processes.rss(), Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(250));
            }
        });
        PeakWatch { stop, peak, thread: Some(thread) }
    }

    pub(super) fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        self.peak.load(Ordering::Relaxed)
    }
}
