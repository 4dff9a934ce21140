//! How much memory the server takes while a run goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::process::Processes;
use crate::limits;

const INTERVAL: Duration = Duration::from_millis(250);

/// Samples the memory of processes on a thread of its own.
pub(crate) struct MemoryWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Vec<(f64, u64)>)>,
}

impl MemoryWatch {
    pub(crate) fn start(processes: &Processes) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (processes, stopped) = (processes.clone(), stop.clone());
        let thread = std::thread::spawn(move || watch(&processes, &stopped));
        MemoryWatch { stop, thread }
    }

    /// The peak, and some of the samples.
    pub(crate) fn finish(self) -> (u64, Vec<(f64, u64)>) {
        // Woken, so that the end of a run does not wait for the next sample.
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

fn watch(processes: &Processes, stopped: &AtomicBool) -> (u64, Vec<(f64, u64)>) {
    let (begun, mut peak, mut samples) = (Instant::now(), 0, MemorySamples::default());

    // Where the server's processes are unknown there is nothing to sample.
    while !stopped.load(Ordering::Relaxed) && !processes.0.is_empty() {
        // The peak is of all samples, also of those that are not kept.
        let rss = processes.rss();
        peak = rss.max(peak);
        samples.take(begun.elapsed().as_secs_f64(), rss);

        // Parked rather than asleep, so that the end of the run can wake it.
        std::thread::park_timeout(INTERVAL);
    }
    (peak, samples.kept)
}

/// Samples at evenly spaced times, at most [`limits::MEMORY_SAMPLES`] however long the run takes.
struct MemorySamples {
    kept: Vec<(f64, u64)>,
    taken: usize,
    /// One of so many is kept.
    spacing: usize,
}

impl Default for MemorySamples {
    fn default() -> Self {
        MemorySamples {
            kept: Vec::new(),
            taken: 0,
            spacing: 1,
        }
    }
}

impl MemorySamples {
    fn take(&mut self, seconds: f64, bytes: u64) {
        // How long the run takes is not known, so the spacing grows with it.
        if self.taken.is_multiple_of(self.spacing) {
            // Tenths of a second are precise enough, and keep the report short.
            self.keep((seconds * 10.0).round() / 10.0, bytes);
        }
        self.taken += 1;
    }

    fn keep(&mut self, seconds: f64, bytes: u64) {
        // When all places are taken, every other sample goes, and samples are kept half as often.
        if self.kept.len() == limits::MEMORY_SAMPLES {
            let mut is_even = [true, false].into_iter().cycle();
            self.kept.retain(|_| is_even.next().unwrap_or_default());
            self.spacing *= 2;
        }
        self.kept.push((seconds, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stay_evenly_spaced_and_few_however_many_are_taken() {
        let mut samples = MemorySamples::default();
        for at in 0..10_000_u32 {
            samples.take(f64::from(at), at.into());
            assert!(samples.kept.len() <= limits::MEMORY_SAMPLES);
        }
        let at: Vec<u64> = samples.kept.iter().map(|(_, at)| *at).collect();
        let spacing = at[1] - at[0];
        assert!(
            at.len() > limits::MEMORY_SAMPLES / 2
                && at.windows(2).all(|pair| pair[1] - pair[0] == spacing)
        );
    }
}
