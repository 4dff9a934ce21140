//! The line that shows how far a run is, while it goes on; and its early end when somebody
//! interrupts.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends the run early; what has been measured is told.
pub(crate) fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// How often conditions are looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How often the line changes.
const REDRAW: Duration = Duration::from_millis(200);

pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}").expect("a template of our own"),
        );
        Progress(bar)
    }

    /// Waits until a condition holds, for so long, or for an interrupt; tells whether it was
    /// interrupted.
    pub(crate) fn wait(
        &self,
        at_most: Duration,
        line: impl Fn() -> String,
        mut holds: impl FnMut() -> bool,
    ) -> bool {
        let is_interrupted = || INTERRUPTED.load(Ordering::Relaxed);
        self.wait_through(at_most, line, || is_interrupted() || holds());
        is_interrupted()
    }

    /// Waits until a condition holds, or for so long, whoever interrupts.
    pub(crate) fn wait_through(
        &self,
        at_most: Duration,
        line: impl Fn() -> String,
        mut holds: impl FnMut() -> bool,
    ) {
        let begun = Instant::now();
        let mut drawn: Option<Instant> = None;
        while begun.elapsed() < at_most && !holds() {
            if drawn.is_none_or(|at| at.elapsed() >= REDRAW) {
                self.0.set_message(line());
                self.0.tick();
                drawn = Some(Instant::now());
            }
            std::thread::sleep(LOOK.min(at_most.saturating_sub(begun.elapsed())));
        }
    }

    /// Waits for so long, or for an interrupt.
    pub(crate) fn pause(&self, duration: Duration, line: &str) {
        self.wait(duration, || line.to_owned(), || false);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
