//! What processes use, from /proc (Linux). Where there is none, or this user may not see it,
//! everything is 0.

use std::collections::HashMap;
use std::fs::{DirEntry, read_dir, read_to_string};

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

/// Busy CPU seconds of the whole machine, stolen ones included.
pub(crate) fn machine_cpu_seconds() -> f64 {
    let text = read_to_string("/proc/stat").unwrap_or_default();

    // The first line sums all cores. Guest times, from the ninth on, are part of user time.
    let words = text.split_whitespace().skip(1).take(8);
    let ticks = words.filter_map(|word| word.parse::<f64>().ok());

    // The fourth and the fifth are times in which the machine was idle or waited for its disks.
    let busy = ticks.enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    busy.map(|(_, ticks)| ticks).sum::<f64>() / TICKS_PER_SECOND
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
