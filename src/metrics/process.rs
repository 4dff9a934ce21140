//! The process, as the client libraries of Prometheus show it.

use std::fs;

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo as _};

use super::exposition::Shown;

/// The open files of this process. Newer kernels say their number as the size of this folder.
const OPEN_FILES: &str = "/proc/self/fd";

/// What the kernel says of this process. It takes as long as there are files open, so it is not
/// for a thread that serves others.
pub(crate) fn shown() -> Vec<Shown> {
    // A system that does not say it has none of these.
    read().unwrap_or_default()
}

fn read() -> ProcResult<Vec<Shown>> {
    let process = Process::myself()?;
    let (stat, limits) = (process.stat()?, process.limits()?);
    let max_files = match limits.max_open_files.soft_limit {
        LimitValue::Value(limit) => limit,
        LimitValue::Unlimited => u64::MAX,
    };
    let ticks = (stat.utime + stat.stime, procfs::ticks_per_second());
    let started_s = seconds(procfs::boot_time_secs()?, 1) + seconds(stat.starttime, ticks.1);
    Ok(vec![
        Shown::seconds(
            "process_cpu_seconds",
            "CPU time that the process has used",
            seconds(ticks.0, ticks.1),
        ),
        Shown::moment(
            "process_start_time_seconds",
            "When the process was started, in seconds since 1970",
            started_s,
        ),
        Shown::gauge(
            "process_resident_memory_bytes",
            "Memory of the process that is not swapped out",
            stat.rss_bytes().get(),
        ),
        Shown::gauge(
            "process_virtual_memory_bytes",
            "Address space of the process",
            stat.vsize,
        ),
        Shown::gauge("process_open_fds", "Open files and sockets", open_files()),
        Shown::gauge(
            "process_max_fds",
            "How many files and sockets may be open",
            max_files,
        ),
        Shown::gauge(
            "process_threads",
            "Threads of the process",
            stat.num_threads.unsigned_abs(),
        ),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "times have few digits")]
fn seconds(ticks: u64, per_second: u64) -> f64 {
    ticks as f64 / per_second as f64
}

fn open_files() -> u64 {
    let said = fs::metadata(OPEN_FILES).map_or(0, |folder| folder.len());
    if said > 0 {
        return said;
    }
    fs::read_dir(OPEN_FILES).map_or(0, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_all_of_them() {
        assert_eq!(shown().len(), 7, "{:?}", read().err());
        assert!(open_files() > 2);
    }
}
