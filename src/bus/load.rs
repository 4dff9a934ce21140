//! How busy the machine is, as far as this process can see it.
//!
//! Measured only while readers are being notified: the first round after a quiet time starts the
//! measuring, and it ends when none has begun for [`limits::LOAD_IS_QUIET_AFTER`], so that a
//! gateway without events does nothing. Invariants:
//! - the load is between 0 (all cores are free) and 1,000 (none is); at first it is 0;
//! - where the machine's counters cannot be read, the CPU time of this process alone counts;
//! - a quota of a container counts like a machine with that many cores.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::limits;

/// The measured load; one for each bus.
#[derive(Debug, Default)]
pub(super) struct LoadMeter {
    busy_permille: AtomicU32,
    /// A round has begun since the last measurement.
    is_used: AtomicBool,
    is_measuring: AtomicBool,
    /// Readers that rounds have woken.
    woken: AtomicU64,
}

impl LoadMeter {
    /// How much of the machine's cores is busy: a mean over about [`limits::LOAD_MEAN_OVER`].
    pub(super) fn busy_permille(&self) -> u32 {
        self.busy_permille.load(Ordering::Relaxed)
    }

    /// Has a round begun within [`limits::LOAD_IS_QUIET_AFTER`]?
    pub(super) fn has_live_readers(&self) -> bool {
        self.is_measuring.load(Ordering::Relaxed)
    }

    /// Notes that a round begins, and measures from now on.
    pub(super) fn round_begins(self: &Arc<Self>) {
        // Read first: as a rule both are set, and many threads share them.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::SeqCst);
        }
        if !self.is_measuring.load(Ordering::SeqCst) {
            self.start();
        }
    }

    /// Notes that a round has woken so many readers.
    pub(super) fn note_woken(&self, readers: usize) {
        self.woken.fetch_add(readers as u64, Ordering::Relaxed);
    }

    /// How many readers rounds have woken.
    pub(super) fn woken(&self) -> u64 {
        self.woken.load(Ordering::Relaxed)
    }

    fn start(self: &Arc<Self>) {
        if !self.is_measuring.swap(true, Ordering::SeqCst) {
            tokio::spawn(self.clone().measure());
        }
    }

    async fn measure(self: Arc<Self>) {
        let (mut probe, mut used_at) = (Probe::start(), Instant::now());
        // Whatever was measured before the quiet time says nothing about now.
        self.busy_permille.store(0, Ordering::Relaxed);

        while used_at.elapsed() < limits::LOAD_IS_QUIET_AFTER {
            sleep(limits::LOAD_MEASURED_EVERY).await;
            self.add(&probe.measure());
            if self.is_used.swap(false, Ordering::SeqCst) {
                used_at = Instant::now();
            }
        }

        self.is_measuring.store(false, Ordering::SeqCst);
        // A round that began meanwhile has found somebody measuring.
        if self.is_used.load(Ordering::SeqCst) {
            self.start();
        }
    }

    /// Adds a measurement to the mean: the longer it took, the more it weighs.
    fn add(&self, measured: &Measured) {
        let over = as_micros(measured.over);
        let before = self.busy_permille();
        let weight_permille = per_mille(over, over + as_micros(limits::LOAD_MEAN_OVER));
        let mean = before * (1000 - weight_permille) + measured.busy_permille * weight_permille;
        self.busy_permille.store(mean / 1000, Ordering::Relaxed);
    }
}

fn as_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A part of the whole, at most all of it.
fn per_mille(part: u64, whole: u64) -> u32 {
    let permille = part.saturating_mul(1000) / whole.max(1);
    u32::try_from(permille.min(1000)).expect("it is 1,000 at most")
}

/// What was measured, and over which time.
struct Measured {
    busy_permille: u32,
    over: Duration,
}

/// In `/proc`, times are in ticks of this many a second (`USER_HZ`, see `proc(5)`).
const TICKS_PER_SECOND: u64 = 100;

/// Reads the counters of the machine and of this process.
struct Probe {
    /// `/proc/stat` and `/proc/self/stat`; none where there is no such file.
    machine: Option<File>,
    process: Option<File>,
    /// Cores that this process may use, by its affinity and the quota of its container.
    cores: u64,
    last: Counters,
}

#[derive(Clone, Copy)]
struct Counters {
    at: Instant,
    machine: MachineTicks,
    process_ticks: u64,
}

/// Ticks of all cores since the machine has started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct MachineTicks {
    busy: u64,
    idle: u64,
}

impl Probe {
    fn start() -> Self {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        let mut probe = Probe {
            machine: File::open("/proc/stat").ok(),
            process: File::open("/proc/self/stat").ok(),
            cores: cores as u64,
            last: Counters {
                at: Instant::now(),
                machine: MachineTicks::default(),
                process_ticks: 0,
            },
        };
        probe.last = probe.read();
        probe
    }

    fn read(&self) -> Counters {
        let machine = self.machine.as_ref().and_then(read_start);
        let process = self.process.as_ref().and_then(read_start);
        Counters {
            at: Instant::now(),
            machine: machine
                .and_then(|stat| MachineTicks::parse(&stat))
                .unwrap_or_default(),
            process_ticks: process.and_then(|stat| process_ticks(&stat)).unwrap_or(0),
        }
    }

    /// The load since the last call.
    fn measure(&mut self) -> Measured {
        let now = self.read();
        let last = std::mem::replace(&mut self.last, now);
        let over = now.at - last.at;

        let of_machine = now.machine.busy_permille_since(last.machine);
        let ticks = now.process_ticks.saturating_sub(last.process_ticks);
        let used_us = ticks * 1_000_000 / TICKS_PER_SECOND;
        let of_process = per_mille(used_us, as_micros(over) * self.cores);
        Measured {
            busy_permille: of_machine.max(of_process),
            over,
        }
    }
}

/// The start of a file in `/proc`, which has what is looked for.
fn read_start(file: &File) -> Option<String> {
    let mut start = [0; 512];
    let length = file.read_at(&mut start, 0).ok()?;
    Some(String::from_utf8_lossy(&start[..length]).into_owned())
}

/// User and system time of `/proc/self/stat`, see `proc_pid_stat(5)`.
fn process_ticks(stat: &str) -> Option<u64> {
    // The name of the program, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse);
    let (user, system): (u64, u64) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(user + system)
}

impl MachineTicks {
    /// Of `cpu  user nice system idle iowait irq softirq steal …`, see `proc_stat(5)`.
    fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks = fields.split_ascii_whitespace().map(str::parse);
        // The time of guests, which follows, is part of the user's.
        let ticks: Vec<u64> = ticks.take(8).collect::<Result<_, _>>().ok()?;
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some(MachineTicks {
            busy: ticks.iter().sum::<u64>() - idle,
            idle,
        })
    }

    fn busy_permille_since(self, earlier: MachineTicks) -> u32 {
        // The kernel's idle counter may fall back by a tick.
        let busy = self.busy.saturating_sub(earlier.busy);
        let idle = self.idle.saturating_sub(earlier.idle);
        per_mille(busy, busy + idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 20 30 700 50 5 6 7 90 10\ncpu0 1 2 3\n";

    #[test]
    fn the_line_of_all_cores_is_read() {
        let ticks = MachineTicks::parse(STAT);
        assert_eq!(
            ticks,
            Some(MachineTicks {
                busy: 168,
                idle: 750
            })
        );
        for other in ["", "cpu0 1 2 3 4 5", "cpu 1 2 3", "cpu a b c d e"] {
            assert_eq!(MachineTicks::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_time_of_a_process_of_any_name_is_read() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 0 0 0 31 11 0 0 20 0 4 0";
        assert_eq!(process_ticks(stat), Some(42));
        assert_eq!(process_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_share_is_of_the_time_between_two_readings() {
        let (earlier, later) = (
            MachineTicks { busy: 10, idle: 90 },
            MachineTicks {
                busy: 40,
                idle: 100,
            },
        );
        assert_eq!(later.busy_permille_since(earlier), 750);
        assert_eq!(
            earlier.busy_permille_since(later),
            0,
            "counters that fall back"
        );
    }

    #[test]
    fn a_mean_follows_what_is_measured() {
        let meter = LoadMeter::default();
        let busy = Measured {
            busy_permille: 1000,
            over: limits::LOAD_MEASURED_EVERY,
        };
        meter.add(&busy);
        let first = meter.busy_permille();
        assert!(100 < first && first < 900, "{first}");
        (0..50).for_each(|_| meter.add(&busy));
        assert!(meter.busy_permille() > 980);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_measured_in_a_quiet_time() {
        let meter = Arc::new(LoadMeter::default());
        assert!(!meter.has_live_readers());
        meter.round_begins();
        sleep(limits::LOAD_IS_QUIET_AFTER / 2).await;
        assert!(meter.has_live_readers());
        meter.round_begins();
        sleep(limits::LOAD_IS_QUIET_AFTER * 3 / 4).await;
        assert!(meter.has_live_readers());
        sleep(limits::LOAD_IS_QUIET_AFTER).await;
        assert!(!meter.has_live_readers());
    }
}
