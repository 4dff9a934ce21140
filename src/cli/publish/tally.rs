//! What has been answered, and how that is shown while it goes on.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::lines::Line;
use crate::cli::{Failure, Outcome};

/// How often a line tells of the progress where there is no terminal for a bar.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Tally {
    pub(super) published: u64,
    /// The one after the last line that was answered.
    pub(super) next_line: u64,
    duplicates: u64,
    failed: u64,
    last_cursor: String,
    begun: Instant,
    told: Instant,
    bar: ProgressBar,
}

impl Tally {
    /// The length of the input in bytes, where that is known, and the line to begin with.
    pub(super) fn new(length: Option<u64>, next_line: u64) -> Self {
        let (bar, template) = match length {
            _ if !std::io::stderr().is_terminal() => (ProgressBar::hidden(), "{msg}"),
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{wide_bar} {percent}%  {msg}, {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}"),
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a template of our own"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let now = Instant::now();
        Tally {
            published: 0,
            next_line,
            duplicates: 0,
            failed: 0,
            last_cursor: String::new(),
            begun: now,
            told: now,
            bar,
        }
    }

    /// A line's answer.
    pub(super) fn count(&mut self, line: &Line, answer: &Value) {
        if let Some(cursor) = answer["cursor"].as_str() {
            cursor.clone_into(&mut self.last_cursor);
            self.published += 1;
            self.duplicates += u64::from(answer["duplicate"] == true);
        } else {
            let detail = answer["error"]["detail"]
                .as_str()
                .unwrap_or("an answer that cannot be read");
            self.refuse(line, detail);
        }
        self.show(line);
    }

    /// A line that cannot be published.
    pub(super) fn refuse(&mut self, line: &Line, why: &str) {
        self.failed += 1;
        self.next_line = self.next_line.max(line.number + 1);
        self.tell(&format!("line {}: {why}", line.number));
    }

    fn show(&mut self, line: &Line) {
        self.next_line = self.next_line.max(line.number + 1);
        self.bar.set_position(line.through);
        self.bar.set_message(format!("{} events", self.published));
        if self.bar.is_hidden() && self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            self.tell(&format!(
                "{} events published, up to line {}",
                self.published, line.number
            ));
        }
    }

    /// Says something, above the bar where there is one.
    pub(super) fn tell(&self, text: &str) {
        self.bar.suspend(|| eprintln!("vidette: {text}"));
    }

    /// The bar's end, before the last word.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn finish(self) -> Outcome {
        self.clear();
        let Tally {
            published,
            duplicates,
            failed,
            last_cursor,
            begun,
            ..
        } = self;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{published} events published in {seconds:.1} s, {duplicates} of them known already; up to {last_cursor}"
        );
        if failed > 0 {
            Err(Failure::new(format!("{failed} lines were not published")))
        } else {
            Ok(())
        }
    }
}
