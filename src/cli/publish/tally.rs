//! What has been answered, and how that is shown while it goes on.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::input::LinePlace;
use crate::cli::{CommandResult, Failure};
use crate::client::{PublishReceipt, PublishReport};

/// How often a line reports the progress where there is no terminal for a bar.
const REPORT_EVERY: Duration = Duration::from_secs(10);

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

    /// Counts what has been reported, and shows what a person should know.
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

        // Where there is no bar, a line now and then.
        if self.bar.is_hidden() && self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            let (published, number) = (self.published, line.number);
            self.print(&format!(
                "{published} events published, up to line {number}"
            ));
        }
    }

    fn refused(&mut self, line: LinePlace, reason: &str) {
        self.failed += 1;
        self.passed(line);
        self.print(&format!("line {}: {reason}", line.number));
    }

    fn passed(&mut self, line: LinePlace) {
        self.next_line = self.next_line.max(line.number + 1);
        self.bar.set_position(line.end_bytes);
        self.bar.set_message(format!("{} events", self.published));
    }

    /// Prints a text, above the bar where there is one.
    fn print(&self, text: &str) {
        self.bar.suspend(|| eprintln!("vidette: {text}"));
    }

    /// How much is published, and how to go on with the rest: `unsettled` is the first line that
    /// has no answer, where there is one.
    pub(super) fn how_to_go_on(&self, unsettled: Option<u64>) -> String {
        let next_line = unsettled.unwrap_or(self.next_line);
        let published = self.published;
        format!("{published} events are published; go on with --from-line {next_line}")
    }

    /// Ends the bar, before the last words.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// All lines are answered.
    pub(super) fn finish(&self) -> CommandResult {
        self.clear();
        let seconds = self.begun.elapsed().as_secs_f64();
        println!(
            "{} events published in {seconds:.1} s, {} of them known already; up to {}",
            self.published, self.duplicates, self.last_cursor
        );
        match self.failed {
            0 => Ok(()),
            failed => Err(Failure::new(format!("{failed} lines were not published"))),
        }
    }
}

/// On a terminal a bar, or where the length is not known a sign that it goes on.
fn progress_bar(length_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match length_bytes {
        _ if !std::io::stderr().is_terminal() => (ProgressBar::hidden(), "{msg}"),
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{wide_bar} {percent}%  {msg}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}"),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is correct"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
