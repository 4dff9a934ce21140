//! How a copy is shown while it goes on, and when it has ended.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::copy::{CopyPlan, CopyProgress};
use crate::engine::import::CopiedVids;

/// How often the progress is printed where there is no terminal for a bar.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// How often the bar is drawn anew.
const TICK: Duration = Duration::from_millis(200);
const BAR: &str = "{wide_bar} {percent}%  {msg}, {eta} left";

/// The bar, or lines now and then.
pub(super) struct CopyDisplay {
    bar: ProgressBar,
    begins_after: u64,
    reported: Instant,
}

impl CopyDisplay {
    /// Says what will be done.
    pub(super) fn begin(plan: &CopyPlan) -> Self {
        let display = CopyDisplay {
            bar: progress_bar(plan.source.bounds.last - plan.after),
            begins_after: plan.after,
            reported: Instant::now(),
        };
        display.print(&intention(plan));
        display
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, progress: &CopyProgress) {
        self.bar.set_position(progress.through - self.begins_after);
        let count = HumanCount(progress.events);
        self.bar.set_message(format!("{count} events"));
        if self.bar.is_hidden() && self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            let through = progress.through;
            self.print(&format!("{count} events copied, up to vid {through}"));
        }
    }

    /// Ends the bar, before the last words.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn print(&self, text: &str) {
        // The bar is drawn on standard error too.
        self.bar.suspend(|| eprintln!("vidette: {text}"));
    }
}

fn intention(plan: &CopyPlan) -> String {
    let (after, last) = (plan.after, plan.source.bounds.last);
    let begins = if plan.goes_on {
        format!("goes on behind vid {after} of the source, up to {last}")
    } else {
        let (events, first) = (HumanCount(plan.events()), after + 1);
        format!("copies {events} events, vids {first} to {last} of the source")
    };
    match plan.vids {
        CopiedVids::Kept => format!("{begins}; vids are kept"),
        CopiedVids::New => format!("{begins}; events get new vids"),
    }
}

/// What was done, in one line.
pub(super) fn summary(plan: &CopyPlan, done: &CopyProgress) -> String {
    let seconds = done.elapsed.as_secs_f64();
    let elapsed_ms = done.elapsed.as_millis().max(1);
    let rate = u128::from(done.events) * 1000 / elapsed_ms;
    let rate = HumanCount(u64::try_from(rate).unwrap_or(u64::MAX));
    let (events, bytes) = (HumanCount(done.events), HumanBytes(done.bytes));
    let (first, last) = (plan.after + 1, done.through);
    let vids = match plan.vids {
        CopiedVids::Kept => format!("vids {first} to {last} are kept"),
        CopiedVids::New => format!("vids {first} to {last} of the source have new ones"),
    };
    let holes = match done.holes {
        0 => String::new(),
        holes => format!(", {} of them without an event", HumanCount(holes)),
    };
    format!("{events} events ({bytes}) copied in {seconds:.1} s, {rate} events/s; {vids}{holes}")
}

/// What becomes of cursors, once it is done.
pub(super) fn cursors(vids: CopiedVids) -> &'static str {
    match vids {
        CopiedVids::Kept => "cursors of the source are good on the copy",
        CopiedVids::New => "cursors of the source get a gap (reset) on the target",
    }
}

/// A bar on a terminal.
fn progress_bar(vids: u64) -> ProgressBar {
    // A file or a pipe gets no control characters.
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(vids);
    let style = ProgressStyle::with_template(BAR);
    bar.set_style(style.expect("the template is correct"));
    bar.enable_steady_tick(TICK);
    bar
}
