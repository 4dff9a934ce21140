//! One topic that many pages of a gateway read: when its events are written to them.
//!
//! The gateway notifies the readers of a filter in rounds. A round writes to each of them once,
//! however many events have come since the last one, so more events make writes longer and not
//! more.

use crate::clients::SECOND_US;

/// What is written to whom, and what that costs.
#[derive(Debug, Clone)]
pub(crate) struct HotTopic {
    pub(crate) readers: f64,
    pub(crate) events_a_second: f64,
    pub(crate) cores: f64,
    /// CPU of writing to a reader, besides its events.
    pub(crate) write_us: f64,
    /// CPU of each event in a write.
    pub(crate) event_us: f64,
    /// Rounds are at least so far apart for each reader, within these bounds.
    pub(crate) spacing_us: f64,
    pub(crate) spacing_bounds_us: (f64, f64),
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Lag {
    pub(crate) p50_s: f64,
    pub(crate) p99_s: f64,
    /// The part of the cores that is used.
    pub(crate) cpu: f64,
    /// Events that one write carries.
    pub(crate) events_a_write: f64,
    /// Otherwise writes become longer for as long as it goes on.
    pub(crate) keeps_up: bool,
}

/// Readers of a round whose latency is noted, spread evenly over it.
const NOTED: u32 = 10;

impl HotTopic {
    pub(crate) fn run(&self) -> Lag {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let end_us = self.seconds * SECOND_US as f64;
        let (least, most) = self.spacing_bounds_us;
        let spacing_us = (self.spacing_us * self.readers).clamp(least, most);
        let mut lags_us = Vec::new();
        let (mut next_us, mut free_us, mut work_us) = (self.gap_us(&mut random), 0.0f64, 0.0);
        let (mut rounds, mut events) = (0.0, 0.0);
        while next_us < end_us {
            // A round begins with the first event after the last round and its spacing.
            let start_us = free_us.max(next_us);
            let mut due_us = Vec::new();
            while next_us <= start_us {
                due_us.push(next_us);
                next_us += self.gap_us(&mut random);
            }
            let write_us = self.write_us + due_us.len() as f64 * self.event_us;
            let round_us = self.readers * write_us / self.cores;
            note(&mut lags_us, &due_us, start_us, round_us);
            work_us += round_us;
            rounds += 1.0;
            events += due_us.len() as f64;
            free_us = start_us + round_us.max(spacing_us);
        }
        lags_us.sort_by(f64::total_cmp);
        let at = |part: f64| lags_us[((lags_us.len() - 1) as f64 * part) as usize];
        Lag {
            p50_s: at(0.5) / SECOND_US as f64,
            p99_s: at(0.99) / SECOND_US as f64,
            cpu: (work_us / free_us.max(end_us)).min(1.0),
            events_a_write: events / rounds,
            keeps_up: self.readers * self.events_a_second * self.event_us / 1e6 < self.cores,
        }
    }

    /// Events come at random, independent of each other.
    fn gap_us(&self, random: &mut fastrand::Rng) -> f64 {
        let mean_us = SECOND_US as f64 / self.events_a_second;
        -(1.0 - random.f64()).ln() * mean_us
    }
}

fn note(lags_us: &mut Vec<f64>, due_us: &[f64], start_us: f64, round_us: f64) {
    for due in due_us {
        let of_reader = |n: u32| {
            let part = f64::from(n) / f64::from(NOTED);
            start_us + round_us * part - due
        };
        lags_us.extend((1..=NOTED).map(of_reader));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(readers: f64, events_a_second: f64) -> HotTopic {
        HotTopic {
            readers,
            events_a_second,
            cores: 2.0,
            write_us: 8.0,
            event_us: 0.2,
            spacing_us: 28.0,
            spacing_bounds_us: (1000.0, 100_000.0),
            seconds: 30.0,
            seed: 1,
        }
    }

    #[test]
    fn rare_events_go_one_a_write_and_cost_what_their_writes_cost() {
        let lag = topic(1000.0, 1.0).run();
        assert!(lag.events_a_write < 1.1 && lag.keeps_up, "{lag:?}");
        let expected = 1000.0 * 8.2 / 2.0 / 1e6;
        assert!((lag.cpu / expected - 1.0).abs() < 0.3, "{lag:?}");
    }

    #[test]
    fn more_deliveries_than_the_cores_can_write_are_not_kept_up_with() {
        assert!(!topic(20_000.0, 1000.0).run().keeps_up);
    }

    #[test]
    fn many_events_share_writes_and_the_same_seed_gives_the_same() {
        let lag = topic(1000.0, 2000.0).run();
        assert!((40.0..70.0).contains(&lag.events_a_write), "{lag:?}");
        assert!(lag.cpu < 0.35, "{lag:?}");
        assert_eq!(lag, topic(1000.0, 2000.0).run());
    }
}
