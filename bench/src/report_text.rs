//! The report for a person: one line for each part of it.

use std::fmt::{self, Formatter, Write as _};

use super::report::{
    ClientReport, ConnectReport, DeliveryReport, MachineReport, PublishReport, Quantiles, Report,
    ResumeReport, ServerReport,
};

/// The width of the longest bar of a histogram.
const BAR_COLUMNS: u64 = 40;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_readers(f)?;

        // A run has only the parts that it measured.
        write_part(f, self.publish.as_ref())?;
        write_part(f, self.delivery.as_ref())?;
        write_part(f, self.resume.as_ref())?;
        write_part(f, self.server.as_ref())?;
        write!(f, "{}{}", self.machine, self.client)?;
        match &self.first_error {
            Some(error) => write!(f, "\nfirst error: {error}"),
            None => Ok(()),
        }
    }
}

impl Report {
    fn write_readers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "readers    {} of {}", self.ready, self.readers)?;
        write_part(f, self.connect.as_ref())?;
        writeln!(f, "; {} failed, {} lost", self.failed, self.lost)
    }
}

fn write_part(f: &mut Formatter<'_>, part: Option<&impl fmt::Display>) -> fmt::Result {
    part.map_or(Ok(()), |part| write!(f, "{part}"))
}

impl fmt::Display for ConnectReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let per_second = grouped(self.per_second);
        write!(f, " in {:.2} s ({per_second}/s)", self.seconds)
    }
}

impl fmt::Display for PublishReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (accepted, seconds, errors) = (self.accepted, self.seconds, self.errors);
        let per_second = grouped(self.per_second);
        write!(
            f,
            "published  {accepted} in {seconds:.1} s ({per_second}/s), "
        )?;
        writeln!(f, "{errors} refused")?;
        writeln!(f, "answered   {}", self.answer_us)
    }
}

impl fmt::Display for MachineReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (connecting, working) = (self.connect_cpu_s, self.cpu_s);
        write!(
            f,
            "machine    {connecting:.2} CPU s connecting, then {working:.2} CPU s"
        )?;
        write_us_per_delivery(f, self.us_per_delivery)?;
        if let Some(us) = self.us_per_publish {
            write!(f, ", {us:.2} µs a publish")?;
        }
        writeln!(f, "; stolen: {:.2} s", self.stolen_s)
    }
}

/// A run without deliveries has no such figure.
fn write_us_per_delivery(f: &mut Formatter<'_>, us: Option<f64>) -> fmt::Result {
    us.map_or(Ok(()), |us| write!(f, " ({us:.2} µs a delivery)"))
}

impl fmt::Display for ClientReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (cpu_s, seconds) = (self.cpu_s, self.seconds);
        write!(f, "client     {cpu_s:.2} CPU s in {seconds:.1} s")?;
        match self.other_cpu_s {
            Some(other) => write!(f, "; others on this machine: {other:.2} CPU s"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for DeliveryReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // What was expected stands beside what came, so that a difference is seen at once.
        let per_second = grouped(self.per_second);
        write!(f, "delivered  {} of {}", self.delivered, self.expected)?;
        write!(f, " ({per_second}/s): ")?;
        self.write_wrong(f)?;
        self.write_churn(f)?;
        writeln!(f, "latency    {}", self.latency_us)?;
        f.write_str(&bars(&self.latency_histogram_us))
    }
}

impl DeliveryReport {
    fn write_wrong(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (missing, repeated) = (self.missing, self.repeated);
        let out_of_order = self.out_of_order;
        writeln!(
            f,
            "{missing} missing, {repeated} repeated, {out_of_order} out of order"
        )
    }

    /// How often readers came back; nothing where none was meant to hang up.
    fn write_churn(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (reconnects, resumed) = (self.reconnects, self.resumed);
        // A line of zeros would only raise questions.
        if reconnects == 0 {
            return Ok(());
        }
        writeln!(
            f,
            "came back  {reconnects} times, to {resumed} events that were due meanwhile"
        )
    }
}

impl fmt::Display for ResumeReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_caught_up(f)?;
        self.caught_up.write_wrong(f)?;

        // The two lines stand below each other, to compare.
        writeln!(f, "live alone {}", self.live_alone_us)?;
        writeln!(f, "… beside   {}", self.live_beside_us)?;
        self.write_live(f)
    }
}

impl ResumeReport {
    fn write_caught_up(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let caught_up = &self.caught_up;
        let per_second = grouped(caught_up.per_second);
        write!(
            f,
            "caught up  {} of {}",
            caught_up.delivered, caught_up.expected
        )?;
        write!(f, " in {:.2} s ({per_second}/s): ", caught_up.seconds)
    }

    fn write_live(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (ratio, wrong) = (self.live_p99_ratio, self.live_wrong);
        write!(f, "live p99 ratio {ratio:.2}, ")?;
        writeln!(f, "{wrong} missing, repeated or out of order")
    }
}

impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (connecting, working) = (self.connect_cpu_s, self.cpu_s);
        write!(
            f,
            "server     {connecting:.2} CPU s connecting, then {working:.2} CPU s"
        )?;

        write_us_per_delivery(f, self.us_per_delivery)?;
        self.write_memory(f)?;
        writeln!(f)
    }
}

impl ServerReport {
    fn write_memory(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [before, idle, peak] = self.megabytes();
        let each = self.rss_reader_bytes;
        write!(
            f,
            "; memory {before} MB, with readers {idle} MB ({each} B each), "
        )?;
        write!(f, "at most {peak} MB")?;

        // Growth over a long run shows as a difference between these.
        match quarters(&self.rss_over_time_bytes) {
            Some((first, last)) => write_quarters(f, first, last),
            None => Ok(()),
        }
    }

    fn megabytes(&self) -> [u64; 3] {
        let bytes = [
            self.rss_before_bytes,
            self.rss_idle_bytes,
            self.rss_peak_bytes,
        ];
        bytes.map(|bytes| bytes / 1_000_000)
    }
}

fn write_quarters(f: &mut Formatter<'_>, first: f64, last: f64) -> fmt::Result {
    write!(
        f,
        "; {first:.1} MB in the first quarter, {last:.1} MB in the last"
    )
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Measured in microseconds, but people think of latency in milliseconds.
        let shown = [self.p50, self.p90, self.p99, self.p999, self.max];
        let [p50, p90, p99, p999, max] = shown.map(milliseconds);
        write!(
            f,
            "p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max} ms"
        )
    }
}

/// The mean of the first and of the last quarter of the samples, in MB; nothing where there were
/// few.
fn quarters(samples: &[(f64, u64)]) -> Option<(f64, f64)> {
    // The means even out the samples, and the quarters show a trend.
    let quarter = samples.len() / 4;
    let (first, last) = (&samples[..quarter], &samples[samples.len() - quarter..]);
    (quarter > 1).then(|| (mean_megabytes(first), mean_megabytes(last)))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mean_megabytes(samples: &[(f64, u64)]) -> f64 {
    let megabytes = samples.iter().map(|(_, bytes)| *bytes as f64 / 1e6);
    megabytes.sum::<f64>() / samples.len() as f64
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn milliseconds(us: u64) -> String {
    format!("{:.2}", us as f64 / 1000.0)
}

/// A number without its fraction, in groups of three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        // Groups are counted from the right, so the first one may be shorter.
        let follows_a_group = (digits.len() - at).is_multiple_of(3);
        if at > 0 && follows_a_group {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bars(columns: &[(u64, u64)]) -> String {
    // Relative to the highest column, which fills the width.
    let highest = columns.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let mut text = String::new();
    for (edge_us, count) in columns {
        let (edge, bar) = (milliseconds(*edge_us), bar(*count, highest));
        let _ = writeln!(text, "  < {edge:>9} ms {bar} {count}"); // a string takes everything
    }
    text
}

fn bar(count: u64, highest: u64) -> String {
    // Rounded up, so that a single event is still seen.
    let columns = (count * BAR_COLUMNS).div_ceil(highest);
    "█".repeat(usize::try_from(columns).unwrap_or(0))
}
