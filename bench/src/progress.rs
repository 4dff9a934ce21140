//! The line that shows the progress of a run, and the early end of a run that is interrupted.

use std::io::{IsTerminal as _, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends the run early; what has been measured is reported.
pub(crate) fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// How often conditions are checked.
const CHECK: Duration = Duration::from_millis(2);
/// How often the line changes.
const REDRAW: Duration = Duration::from_millis(200);

fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}").expect("a template of our own")
}

pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        // In a pipe or a log the line would only be noise.
        let bar = if stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(style());
        Progress(bar)
    }

    /// Waits until a condition holds, the time is up, or an interrupt comes. Returns whether it was
    /// interrupted.
    pub(crate) fn wait(
        &self,
        at_most: Duration,
        line: impl Fn() -> String,
        mut holds: impl FnMut() -> bool,
    ) -> bool {
        self.wait_through(at_most, line, || is_interrupted() || holds());
        is_interrupted()
    }

    /// Waits until a condition holds or the time is up, regardless of interrupts.
    pub(crate) fn wait_through(
        &self,
        at_most: Duration,
        line: impl Fn() -> String,
        mut holds: impl FnMut() -> bool,
    ) {
        // Polling is precise enough here, and needs nothing of the threads that do the work.
        let begun = Instant::now();
        let mut drawn: Option<Instant> = None;
        while begun.elapsed() < at_most && !holds() {
            // Drawing as often as the condition is checked would take CPU from what is measured.
            if drawn.is_none_or(|at| at.elapsed() >= REDRAW) {
                self.draw(line());
                drawn = Some(Instant::now());
            }
            std::thread::sleep(CHECK.min(at_most.saturating_sub(begun.elapsed())));
        }
    }

    fn draw(&self, line: String) {
        self.0.set_message(line);
        self.0.tick();
    }

    /// Waits for so long, or until an interrupt.
    pub(crate) fn pause(&self, duration: Duration, line: &str) {
        // No condition can hold here: only the time or an interrupt ends the pause.
        self.wait(duration, || line.to_owned(), || false);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // The line would otherwise stay on the terminal, above the report.
        self.0.finish_and_clear();
    }
}
