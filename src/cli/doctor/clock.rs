//! Is the clock of the machine plausible, does it jump, and does anything keep it right?

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::process::Command;

use super::finding::Finding;

/// When this was written, in seconds since 1970; no clock that is right is before it.
const WRITTEN_AT: Duration = Duration::from_secs(1_790_000_000);
/// A clock that is adjusted as usual differs by far less within a look of seconds.
const JUMP: Duration = Duration::from_millis(100);
/// The shortest look at it.
const LOOK: Duration = Duration::from_millis(50);
const TIMEDATECTL_PATIENCE: Duration = Duration::from_secs(2);
/// Made by systemd-timesyncd once it has set the clock.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// Both clocks, when the command began.
pub(super) struct ClockWatch {
    wall: SystemTime,
    steady: Instant,
}

impl ClockWatch {
    pub(super) fn start() -> Self {
        ClockWatch {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// To be asked last: the longer the look, the more it shows.
    pub(super) async fn look(self) -> Vec<Finding> {
        tokio::time::sleep(LOOK.saturating_sub(self.steady.elapsed())).await;
        let now = SystemTime::now();
        vec![
            plausible(now),
            self.steadiness(now, self.steady.elapsed()),
            kept_right().await,
        ]
    }

    fn steadiness(&self, now: SystemTime, passed: Duration) -> Finding {
        let expected = self.wall + passed;
        let off = now
            .duration_since(expected)
            .unwrap_or_else(|e| e.duration());
        if off <= JUMP {
            return Finding::good("clock", "it does not jump");
        }
        Finding::warning(
            "clock",
            format!("it jumped by {} ms within {passed:?}", off.as_millis()),
            "have one program alone set the clock, and slew it; ages of events are counted by a \
             clock that does not jump, their times are not",
        )
    }
}

fn plausible(now: SystemTime) -> Finding {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if since >= WRITTEN_AT {
        return Finding::good("clock", "the date is plausible");
    }
    Finding::problem(
        "clock",
        "the date is in the past: it is before this version was made",
        "set the clock, as by systemd-timesyncd or chrony: tokens would be refused, and times of \
         events wrong",
    )
}

async fn kept_right() -> Finding {
    match is_synchronized().await {
        Some(true) => Finding::good("clock", "it is synchronized"),
        Some(false) => Finding::warning(
            "clock",
            "nothing keeps it right",
            "enable systemd-timesyncd or chrony: tokens expire by this clock",
        ),
        None => Finding::good("clock", "whether it is synchronized is not known here"),
    }
}

async fn is_synchronized() -> Option<bool> {
    if Path::new(SYNCHRONIZED).exists() {
        return Some(true);
    }
    let mut command = Command::new("timedatectl");
    command
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let said = tokio::time::timeout(TIMEDATECTL_PATIENCE, command.output());
    match said.await.ok()?.ok()?.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_clock_that_jumps_or_is_in_the_past_is_found() {
        let watch = ClockWatch::start();
        let second = Duration::from_secs(1);
        let level = |now| watch.steadiness(now, second).level;
        assert_eq!(level(watch.wall + second), Level::Good);
        assert_eq!(level(watch.wall + 2 * second), Level::Warning);
        assert_eq!(level(watch.wall - second), Level::Warning);
        assert_eq!(plausible(SystemTime::now()).level, Level::Good);
        assert_eq!(plausible(UNIX_EPOCH + second).level, Level::Problem);
    }
}
