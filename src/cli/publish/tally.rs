//! What has been answered, and how that is shown while it goes on.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::input::LinePlace;
use crate::cli::{CommandResult, Failure};
use crate::client::{PublishReceipt, PublishReport};

/// How often the progress is printed where there is no terminal for a bar.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// How often the bar is drawn anew.
const TICK: Duration = Duration::from_millis(200);

const BAR: &str = "{wide_bar} {percent}%  {msg}, {eta} left";
const SPINNER: &str = "{spinner} {msg}, {elapsed}";

/// Counts of lines, and the bar that shows them.
pub(super) struct PublishTally {
    published: u64,
    duplicates: u64,
    failed: u64,
    /// The one after the last line that was answered.
    next_line: u64,
    last_cursor: String,
    begun: Instant,
    reported: Instant,
    bar: ProgressBar,
}

impl PublishTally {
    /// The length of the input in bytes, where that is known, and the line to begin with.
    pub(super) fn new(length_bytes: Option<u64>, next_line: u64) -> Self {
        let now = Instant::now();
        PublishTally {
            published: 0,
            duplicates: 0,
            failed: 0,
            next_line,
            last_cursor: String::new(),
            begun: now,
            reported: now,
            bar: progress_bar(length_bytes),
        }
    }

    /// Counts what has been reported, and prints what a person should know.
    pub(super) fn take(&mut self, report: PublishReport<LinePlace>) {
        match report {
            PublishReport::Published { key, receipt } => self.published(key, receipt),
            PublishReport::Refused { key, reason } => self.refused(key, &reason),
            PublishReport::Interrupted(error) => self.print(&format!("{error}; trying again")),
        }
    }

    fn published(&mut self, line: LinePlace, receipt: PublishReceipt) {
        self.published += 1;
        self.duplicates += u64::from(receipt.duplicate);
        self.last_cursor = receipt.cursor;

        self.passed(line);
        self.print_progress(line);
    }

    fn refused(&mut self, line: LinePlace, reason: &str) {
        self.failed += 1;
        self.passed(line);
        self.print(&format!("line {}: {reason}", line.number));
    }

    fn passed(&mut self, line: LinePlace) {
        // Lines that were put off are answered after later ones.
        self.next_line = self.next_line.max(line.number + 1);
        self.bar.set_position(line.end_bytes);
        self.bar.set_message(format!("{} events", self.published));
    }

    /// Where there is no bar, a line now and then.
    fn print_progress(&mut self, line: LinePlace) {
        // A log file gets a line now and then, not one for each event.
        if self.bar.is_hidden() && self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            let (count, number) = (self.published, line.number);
            self.print(&format!("{count} events published, up to line {number}"));
        }
    }

    /// Prints a text, above the bar where there is one.
    fn print(&self, text: &str) {
        // The bar is drawn on standard error too.
        self.bar.suspend(|| eprintln!("vidette: {text}"));
    }

    /// How much is published, and how to go on with the rest: `unsettled` is the first line that
    /// has no answer, where there is one.
    pub(super) fn how_to_go_on(&self, unsettled: Option<u64>) -> String {
        // What has no answer may still be published: its id makes sure that it is not twice.
        let next_line = unsettled.unwrap_or(self.next_line);
        let count = self.published;
        format!("{count} events are published; go on with --from-line {next_line}")
    }

    /// Ends the bar, before the last words.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// All lines are answered.
    pub(super) fn finish(&self) -> CommandResult {
        self.clear();
        println!("{}", self.summary());
        // Lines that were refused have been reported; the exit code counts for scripts.
        match self.failed {
            0 => Ok(()),
            failed => Err(Failure::new(format!("{failed} lines were not published"))),
        }
    }

    fn summary(&self) -> String {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (count, known, cursor) = (self.published, self.duplicates, &self.last_cursor);
        format!(
            "{count} events published in {seconds:.1} s, \
             {known} of them known already; up to {cursor}"
        )
    }
}

/// On a terminal a bar, or where the length is not known a sign that it goes on.
fn progress_bar(length_bytes: Option<u64>) -> ProgressBar {
    // A file or a pipe gets no control characters.
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }

    let (bar, template) = match length_bytes {
        Some(bytes) => (ProgressBar::new(bytes), BAR),
        None => (ProgressBar::new_spinner(), SPINNER),
    };
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.expect("the template is correct"));
    bar.enable_steady_tick(TICK);
    bar
}
