//! What was measured, for a person and as JSON.

use std::fmt::{self, Write as _};

use hdrhistogram::Histogram;
use serde::Serialize;

/// One run.
#[derive(Serialize, Default)]
pub(crate) struct Report {
    pub(crate) bench: &'static str,
    pub(crate) readers: usize,
    /// Those that were there when publishing began.
    pub(crate) ready: usize,
    /// Those that never were.
    pub(crate) failed: usize,
    /// Those that were cut later.
    pub(crate) lost: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connect: Option<Connect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publish: Option<Publish>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery: Option<Delivery>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resume: Option<Resume>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<Server>,
    pub(crate) client: Client,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_fault: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Connect {
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
}

#[derive(Serialize)]
pub(crate) struct Publish {
    pub(crate) accepted: u64,
    pub(crate) faults: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// From sending a request to its answer.
    pub(crate) answer_us: Quantiles,
}

#[derive(Serialize)]
pub(crate) struct Delivery {
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) missing: u64,
    pub(crate) repeated: u64,
    pub(crate) out_of_order: u64,
    pub(crate) readers_with_missing: usize,
    /// Events of somebody else's run.
    pub(crate) strange: u64,
    /// Readers that hung up and came back.
    pub(crate) reconnects: u64,
    /// Events that were due while their reader was away; their latency is not counted.
    pub(crate) resumed: u64,
    pub(crate) bytes: u64,
    /// From the first event that was due to the last delivery.
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// From when an event was due to when it was read.
    pub(crate) latency_us: Quantiles,
    /// Upper edge of each column, and events in it.
    pub(crate) latency_histogram_us: Vec<(u64, u64)>,
}

/// Readers that caught up, and how those fared who read live.
#[derive(Serialize)]
pub(crate) struct Resume {
    pub(crate) behind: u32,
    pub(crate) caught_up: Delivery,
    pub(crate) live_alone_us: Quantiles,
    pub(crate) live_beside_us: Quantiles,
    pub(crate) live_p99_ratio: f64,
    /// Missing, repeated or out of order among the live ones.
    pub(crate) live_wrong: u64,
}

/// What the server's processes took.
#[derive(Serialize)]
pub(crate) struct Server {
    pub(crate) connect_cpu_s: f64,
    /// While it was published and delivered.
    pub(crate) cpu_s: f64,
    pub(crate) deliveries_per_cpu_s: f64,
    pub(crate) rss_before_bytes: u64,
    pub(crate) rss_idle_bytes: u64,
    pub(crate) rss_peak_bytes: u64,
    /// Seconds since the readers connected, and resident bytes; evenly over the run.
    pub(crate) rss_over_time_bytes: Vec<(f64, u64)>,
    pub(crate) rss_reader_bytes: u64,
    pub(crate) pss_reader_bytes: u64,
}

#[derive(Serialize, Default)]
pub(crate) struct Client {
    /// From the first publish to the last delivery, or while readers waited.
    pub(crate) seconds: f64,
    pub(crate) cpu_s: f64,
    /// What the rest of the machine used meanwhile: repeat a run where it is not small.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) other_cpu_s: Option<f64>,
}

#[derive(Serialize, Clone, Copy)]
pub(crate) struct Quantiles {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Quantiles {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|q| histogram.value_at_quantile(q));
        Quantiles {
            p50,
            p90,
            p99,
            p999,
            max: histogram.max(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
pub(crate) fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        (count as f64 / seconds * 10.0).round() / 10.0
    } else {
        0.0
    }
}

/// Columns that double, without the empty ones.
pub(crate) fn columns(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let columns = histogram
        .iter_log(1, 2.0)
        .map(|c| (c.value_iterated_to() + 1, c.count_since_last_iteration()));
    columns.filter(|(_, count)| *count > 0).collect()
}

impl Report {
    /// Whether nothing was missing or came twice or in another order, and no reader was cut or
    /// refused.
    pub(crate) fn is_clean(&self) -> bool {
        let caught_up = self.resume.as_ref().map(|resume| &resume.caught_up);
        let is_clean = |d: &Delivery| d.missing + d.repeated + d.out_of_order == 0;
        let live_wrong = self.resume.as_ref().map_or(0, |resume| resume.live_wrong);
        self.delivery.iter().chain(caught_up).all(is_clean)
            && self.lost + self.failed == 0
            && live_wrong == 0
            && self
                .publish
                .as_ref()
                .is_none_or(|publish| publish.faults == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            readers,
            ready,
            failed,
            lost,
            ..
        } = self;
        write!(f, "readers    {ready} of {readers}")?;
        if let Some(Connect {
            seconds,
            per_second,
        }) = &self.connect
        {
            write!(f, " in {seconds:.2} s ({}/s)", grouped(*per_second))?;
        }
        writeln!(f, "; {failed} failed, {lost} lost")?;
        if let Some(publish) = &self.publish {
            let Publish {
                accepted,
                faults,
                seconds,
                per_second,
                answer_us,
            } = publish;
            writeln!(
                f,
                "published  {accepted} in {seconds:.1} s ({}/s), {faults} refused",
                grouped(*per_second)
            )?;
            writeln!(f, "answered   {answer_us}")?;
        }
        if let Some(delivery) = &self.delivery {
            write!(f, "{delivery}")?;
        }
        if let Some(resume) = &self.resume {
            write!(f, "{resume}")?;
        }
        if let Some(server) = &self.server {
            writeln!(f, "server     {server}")?;
        }
        let Client {
            seconds,
            cpu_s,
            other_cpu_s,
        } = &self.client;
        write!(f, "client     {cpu_s:.2} CPU s in {seconds:.1} s")?;
        if let Some(other) = other_cpu_s {
            write!(f, "; others on this machine: {other:.2} CPU s")?;
        }
        match &self.first_fault {
            Some(fault) => write!(f, "\nfirst fault: {fault}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Delivery {
            expected,
            delivered,
            missing,
            repeated,
            out_of_order,
            per_second,
            ..
        } = self;
        write!(
            f,
            "delivered  {delivered} of {expected} ({}/s): ",
            grouped(*per_second)
        )?;
        writeln!(
            f,
            "{missing} missing, {repeated} repeated, {out_of_order} out of order"
        )?;
        if self.reconnects > 0 {
            writeln!(
                f,
                "came back  {} times, to {} events that were due meanwhile",
                self.reconnects, self.resumed
            )?;
        }
        writeln!(f, "latency    {}", self.latency_us)?;
        f.write_str(&bars(&self.latency_histogram_us))
    }
}

impl fmt::Display for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Delivery {
            expected,
            delivered,
            missing,
            repeated,
            out_of_order,
            seconds,
            per_second,
            ..
        } = &self.caught_up;
        write!(
            f,
            "caught up  {delivered} of {expected} in {seconds:.2} s ({}/s): ",
            grouped(*per_second)
        )?;
        writeln!(
            f,
            "{missing} missing, {repeated} repeated, {out_of_order} out of order"
        )?;
        writeln!(f, "live alone {}", self.live_alone_us)?;
        writeln!(f, "… beside   {}", self.live_beside_us)?;
        writeln!(
            f,
            "live p99 ratio {:.2}, {} missing, repeated or out of order",
            self.live_p99_ratio, self.live_wrong
        )
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} CPU s connecting, then {:.2} CPU s",
            self.connect_cpu_s, self.cpu_s
        )?;
        if self.deliveries_per_cpu_s > 0.0 {
            write!(
                f,
                " ({} deliveries a CPU second)",
                grouped(self.deliveries_per_cpu_s)
            )?;
        }
        let [before, idle, peak] = [
            self.rss_before_bytes,
            self.rss_idle_bytes,
            self.rss_peak_bytes,
        ]
        .map(|bytes| bytes / 1_000_000);
        write!(
            f,
            "; memory {before} MB, with readers {idle} MB ({} B each), at most {peak} MB",
            self.rss_reader_bytes
        )?;
        match quarters(&self.rss_over_time_bytes) {
            Some((first, last)) => write!(
                f,
                "; {first:.1} MB in the first quarter, {last:.1} MB in the last"
            ),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, p999, max] =
            [self.p50, self.p90, self.p99, self.p999, self.max].map(milliseconds);
        write!(
            f,
            "p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max} ms"
        )
    }
}

/// The mean of the first and of the last quarter of the looks, in MB; nothing where there were few.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn quarters(looks: &[(f64, u64)]) -> Option<(f64, f64)> {
    let quarter = looks.len() / 4;
    let mean = |looks: &[(f64, u64)]| {
        looks
            .iter()
            .map(|(_, bytes)| *bytes as f64 / 1e6)
            .sum::<f64>()
            / quarter as f64
    };
    (quarter > 1).then(|| {
        (
            mean(&looks[..quarter]),
            mean(&looks[looks.len() - quarter..]),
        )
    })
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn milliseconds(us: u64) -> String {
    format!("{:.2}", us as f64 / 1000.0)
}

/// A number without its fraction, in groups of three digits.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bars(columns: &[(u64, u64)]) -> String {
    let highest = columns.iter().map(|(_, count)| *count).max().unwrap_or(1);
    columns
        .iter()
        .fold(String::new(), |mut text, (edge_us, count)| {
            let bar = "█".repeat(usize::try_from((count * 40).div_ceil(highest)).unwrap_or(0));
            let _ = writeln!(text, "  < {:>9} ms {bar} {count}", milliseconds(*edge_us));
            text
        })
}
