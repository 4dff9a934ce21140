//! What processes use, from /proc (Linux). Where there is none, or this user may not see it,
//! everything is 0.

use std::collections::HashMap;
use std::fs::{DirEntry, read_dir, read_to_string};
use std::time::Instant;

/// The kernel reports CPU time in hundredths of a second (`USER_HZ`) on every architecture that
/// Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

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
        // A process that has ended, or that this user may not see, shows no resident bytes.
        !self.0.is_empty() && self.rss() > 0
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stats = self
            .all()
            .into_iter()
            .filter_map(|pid| stat(&pid.to_string()));
        stats.map(|stat| stat.cpu_seconds).sum()
    }

    pub(crate) fn memory(&self) -> Memory {
        Memory {
            rss: self.rss(),
            pss: self.sum("smaps_rollup", "Pss:"),
        }
    }

    pub(crate) fn rss(&self) -> u64 {
        self.sum("status", "VmRSS:")
    }

    fn sum(&self, file: &str, field: &str) -> u64 {
        // Asked anew each time, because a server may start processes at any time.
        let all = self.all().into_iter();
        all.filter_map(|pid| bytes(&format!("/proc/{pid}/{file}"), field))
            .sum()
    }

    /// The processes and their descendants, the parents first.
    fn all(&self) -> Vec<u32> {
        let mut all = self.0.clone();
        // Reading all of /proc for nothing would cost the client CPU.
        if all.is_empty() {
            return all;
        }

        // Children of children are found as the list grows.
        let mut children = children();
        let mut at = 0;
        while at < all.len() {
            let new = children.remove(&all[at]).unwrap_or_default();
            all.extend(new.into_iter().filter(|pid| !self.0.contains(pid)));
            at += 1;
        }
        all
    }
}

/// The children of every process.
fn children() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in pids() {
        // A process may end between listing and reading.
        if let Some(stat) = stat(&pid.to_string()) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    children
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| pid_of(&entry))
}

/// Other entries of /proc are no numbers.
fn pid_of(entry: &DirEntry) -> Option<u32> {
    entry.file_name().to_string_lossy().parse().ok()
}

/// CPU seconds of this process.
pub(crate) fn own_cpu_seconds() -> f64 {
    stat("self").map_or(0.0, |stat| stat.cpu_seconds)
}

/// What the whole machine has spent since it started, at some moment.
///
/// Busy time is what is left of the cores' time: the kernel measures idle time exactly, but only
/// samples busy time at its ticks, and misses work that wakes between two of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MachineClock {
    at: Instant,
    cores: f64,
    /// All cores together: idle, or waiting for disks.
    idle_s: f64,
    /// What a hypervisor took.
    stolen_s: f64,
}

/// CPU seconds of the whole machine between two moments.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct MachineCpu {
    /// User, nice, system, irq and softirq.
    pub(crate) busy_s: f64,
    pub(crate) stolen_s: f64,
}

impl MachineClock {
    pub(crate) fn read() -> Self {
        let text = read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(&text, Instant::now())
    }

    fn parse(text: &str, at: Instant) -> Self {
        // The first line sums all cores, each of which has a line of its own below.
        let mut lines = text.lines().take_while(|line| line.starts_with("cpu"));
        let sum = lines.next().unwrap_or_default();
        let cores = lines.map(|_| 1.0).sum();

        // user nice system idle iowait irq softirq steal (proc_stat(5))
        let words = sum.split_whitespace().skip(1);
        let ticks: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
        let seconds = |at: usize| ticks.get(at).copied().unwrap_or_default() / TICKS_PER_SECOND;
        MachineClock {
            at,
            cores,
            idle_s: seconds(3) + seconds(4),
            stolen_s: seconds(7),
        }
    }

    pub(crate) fn since(&self, earlier: &MachineClock) -> MachineCpu {
        let all_s = (self.at - earlier.at).as_secs_f64() * self.cores;
        let stolen_s = self.stolen_s - earlier.stolen_s;

        // The kernel counts in hundredths, so an idle machine may seem to have less than none.
        let busy_s = all_s - (self.idle_s - earlier.idle_s) - stolen_s;
        MachineCpu {
            busy_s: busy_s.max(0.0),
            stolen_s,
        }
    }
}

struct ProcessStat {
    parent: u32,
    cpu_seconds: f64,
}

fn stat(pid: &str) -> Option<ProcessStat> {
    let text = read_to_string(format!("/proc/{pid}/stat")).ok()?;

    // The name is in brackets and may hold brackets and spaces itself.
    let (_, after_name) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();

    // Behind the name, user and system time are the 12th and the 13th field (proc(5)).
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    let (user, system) = (ticks(11)?, ticks(12)?);
    Some(ProcessStat {
        parent: fields.get(1)?.parse().ok()?,
        cpu_seconds: (user + system) / TICKS_PER_SECOND,
    })
}

fn bytes(path: &str, name: &str) -> Option<u64> {
    let text = read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    // The kernel counts in kB, which are KiB.
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_machine_is_busy_whenever_it_is_neither_idle_nor_robbed() {
        let begun = Instant::now();
        let before = "cpu  10 0 10 1000 100 0 0 50 0 0\ncpu0 1\ncpu1 1\nintr 7\n";
        let after = "cpu  90 0 10 1100 140 0 0 60 5 0\ncpu0 1\ncpu1 1\nintr 7\n";
        let before = MachineClock::parse(before, begun);
        let after = MachineClock::parse(after, begun + Duration::from_secs(2));

        // Four seconds of two cores, of which 1.4 were idle and 0.1 stolen.
        let cpu = after.since(&before);
        assert!((cpu.busy_s - 2.5).abs() < 1e-9, "{cpu:?}");
        assert!((cpu.stolen_s - 0.1).abs() < 1e-9, "{cpu:?}");
    }
}
