//! The CPU of one gateway: connections wait their turn for what deliveries leave of it.
//!
//! Invariants:
//! - work is done in the order in which it comes, none is lost and none is done twice;
//! - a window never has more work than the cores can do in it.

/// The length of a window in which CPU time is counted, in microseconds.
pub(crate) const WINDOW_US: u64 = 100_000;

/// However busy deliveries are, new connections get this part of the cores.
const LEAST_PART: f64 = 0.05;

/// The cores of a gateway.
#[derive(Debug, Clone)]
pub(crate) struct Cpu {
    cores: f64,
    /// When all work that has come will be done, in microseconds.
    free_at_us: f64,
    /// Work done for connections in each window, in microseconds of CPU.
    busy_us: Vec<f64>,
}

impl Cpu {
    pub(crate) fn new(cores: f64) -> Self {
        Cpu {
            cores,
            free_at_us: 0.0,
            busy_us: Vec::new(),
        }
    }

    /// Takes in work of so much CPU while deliveries use so many cores. Gives when it is done.
    pub(crate) fn work(&mut self, now_us: u64, cost_us: f64, delivering_cores: f64) -> u64 {
        let cores = (self.cores - delivering_cores).max(LEAST_PART * self.cores);
        let start = self.free_at_us.max(now_us as f64);
        let end = start + cost_us / cores;
        self.note(start, end, cores);
        self.free_at_us = end;
        end.ceil() as u64
    }

    fn note(&mut self, start: f64, end: f64, cores: f64) {
        let mut from = start;
        while from < end {
            let window = (from / WINDOW_US as f64) as usize;
            let until = end.min((window + 1) as f64 * WINDOW_US as f64);
            if self.busy_us.len() <= window {
                self.busy_us.resize(window + 1, 0.0);
            }
            self.busy_us[window] += (until - from) * cores;
            from = until;
        }
    }

    /// Nothing that has come is worked on any more: the process has ended.
    pub(crate) fn reset(&mut self, now_us: u64) {
        self.free_at_us = now_us as f64;
    }

    /// How many cores connections used in a window.
    pub(crate) fn cores_used(&self, window: usize) -> f64 {
        self.busy_us.get(window).copied().unwrap_or(0.0) / WINDOW_US as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_waits_for_what_came_before_it_and_is_counted_once() {
        let mut cpu = Cpu::new(2.0);
        assert_eq!(cpu.work(0, 100_000.0, 0.0), 50_000);
        assert_eq!(cpu.work(10_000, 100_000.0, 0.0), 100_000);
        assert_eq!(cpu.work(200_000, 300_000.0, 0.0), 350_000, "it was idle");
        let used = [0, 1, 2, 3, 4].map(|window| (cpu.cores_used(window) * 10.0).round() as u32);
        assert_eq!(used, [20, 0, 20, 10, 0]);
    }

    #[test]
    fn deliveries_leave_less_of_it_but_never_nothing() {
        assert_eq!(Cpu::new(2.0).work(0, 1000.0, 1.0), 1000);
        assert_eq!(Cpu::new(2.0).work(0, 1000.0, 9.0), 10_000);
    }
}
