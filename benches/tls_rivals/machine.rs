//! CPU time of the machine and of a server, from /proc.

use std::fs::{read_dir, read_to_string};
use std::time::Instant;

const TICKS_PER_SECOND: f64 = 100.0;

/// What was used up to a moment, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    at: Instant,
    machine: f64,
    server: f64,
}

/// What was used between two moments.
pub(crate) struct Spent {
    pub(crate) seconds: f64,
    pub(crate) machine_s: f64,
    pub(crate) server_s: f64,
}

impl Used {
    /// By the machine, and by this process and its children.
    pub(crate) fn now(server: u32) -> Self {
        Used {
            at: Instant::now(),
            machine: machine_seconds(),
            server: server_seconds(server),
        }
    }

    pub(crate) fn since(self, earlier: Used) -> Spent {
        Spent {
            seconds: (self.at - earlier.at).as_secs_f64(),
            machine_s: self.machine - earlier.machine,
            server_s: self.server - earlier.server,
        }
    }
}

/// User, system and interrupts; not idle, nor waiting for disks.
fn machine_seconds() -> f64 {
    let text = read_to_string("/proc/stat").expect("/proc/stat");
    let ticks = text.split_whitespace().skip(1).take(8);
    let ticks = ticks.map(|word| word.parse::<f64>().expect("ticks"));
    let busy = ticks.enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    busy.map(|(_, ticks)| ticks).sum::<f64>() / TICKS_PER_SECOND
}

fn server_seconds(server: u32) -> f64 {
    let entries = read_dir("/proc").expect("/proc").flatten();
    let stats = entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<f64> = fields
            .split(' ')
            .map(|field| field.parse().unwrap_or_default())
            .collect();
        Some((pid, fields))
    });
    let is_its = |(pid, fields): &(u32, Vec<f64>)| {
        *pid == server || fields.get(1) == Some(&f64::from(server))
    };
    // User and system time (proc(5)).
    let ticks = stats
        .filter(is_its)
        .map(|(_, fields)| fields[11] + fields[12]);
    ticks.sum::<f64>() / TICKS_PER_SECOND
}
