//! What was measured, as JSON. `report_text` has it for a person.
//!
//! The names of the fields are read by scripts and stay as they are: errors are called `faults`
//! there.

use hdrhistogram::Histogram;
use serde::Serialize;

/// One run.
#[derive(Serialize, Default)]
pub(crate) struct Report {
    pub(crate) bench: &'static str,
    pub(crate) readers: usize,
    /// Those that were connected when publishing began.
    pub(crate) ready: usize,
    /// Those that never connected.
    pub(crate) failed: usize,
    /// Those whose connection broke later.
    pub(crate) lost: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connect: Option<ConnectReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publish: Option<PublishReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery: Option<DeliveryReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resume: Option<ResumeReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<ServerReport>,
    pub(crate) machine: MachineReport,
    pub(crate) client: ClientReport,
    #[serde(rename = "first_fault", skip_serializing_if = "Option::is_none")]
    pub(crate) first_error: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct ConnectReport {
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
}

#[derive(Serialize)]
pub(crate) struct PublishReport {
    pub(crate) accepted: u64,
    #[serde(rename = "faults")]
    pub(crate) errors: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// From sending a request to its answer.
    pub(crate) answer_us: Quantiles,
}

#[derive(Serialize, Default)]
pub(crate) struct DeliveryReport {
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) missing: u64,
    pub(crate) repeated: u64,
    pub(crate) out_of_order: u64,
    pub(crate) readers_with_missing: usize,
    /// Events of another run.
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

/// Readers that caught up, and the latency of live readers meanwhile.
#[derive(Serialize)]
pub(crate) struct ResumeReport {
    pub(crate) behind: u32,
    pub(crate) caught_up: DeliveryReport,
    pub(crate) live_alone_us: Quantiles,
    pub(crate) live_beside_us: Quantiles,
    pub(crate) live_p99_ratio: f64,
    /// Events that live readers missed, or received twice or out of order.
    pub(crate) live_wrong: u64,
}

/// What the server's processes used.
#[derive(Serialize)]
pub(crate) struct ServerReport {
    pub(crate) connect_cpu_s: f64,
    /// While events were published and delivered.
    pub(crate) cpu_s: f64,
    pub(crate) deliveries_per_cpu_s: f64,
    pub(crate) us_per_delivery: Option<f64>,
    pub(crate) rss_before_bytes: u64,
    pub(crate) rss_idle_bytes: u64,
    pub(crate) rss_peak_bytes: u64,
    /// Seconds since the readers connected, and resident bytes; evenly over the run.
    pub(crate) rss_over_time_bytes: Vec<(f64, u64)>,
    pub(crate) rss_reader_bytes: u64,
    pub(crate) pss_reader_bytes: u64,
}

/// What all processes and the kernel used together, this client included.
#[derive(Serialize, Default)]
pub(crate) struct MachineReport {
    pub(crate) connect_cpu_s: f64,
    /// While events were published and delivered, or while readers waited.
    pub(crate) cpu_s: f64,
    pub(crate) us_per_delivery: Option<f64>,
    /// The same for each event that was accepted, whoever read it.
    pub(crate) us_per_publish: Option<f64>,
    /// What a hypervisor took of the cores meanwhile: no part of the above.
    pub(crate) stolen_s: f64,
}

#[derive(Serialize, Default)]
pub(crate) struct ClientReport {
    /// From the first publish to the last delivery, or while readers waited.
    pub(crate) seconds: f64,
    pub(crate) cpu_s: f64,
    /// What the rest of the machine used meanwhile: repeat a run where it is not small.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) other_cpu_s: Option<f64>,
}

#[derive(Serialize, Clone, Copy, Default)]
pub(crate) struct Quantiles {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Quantiles {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let quantiles = [0.5, 0.9, 0.99, 0.999];
        let [p50, p90, p99, p999] = quantiles.map(|q| histogram.value_at_quantile(q));
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

/// Columns of doubling width, without the empty ones.
pub(crate) fn columns(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let steps = histogram.iter_log(1, 2.0);

    // The histogram gives the last value of a step; the edge is the one after it.
    let columns = steps.map(|step| {
        let edge = step.value_iterated_to() + 1;
        (edge, step.count_since_last_iteration())
    });
    columns.filter(|(_, count)| *count > 0).collect()
}

impl Report {
    /// Whether no event was missing, repeated or out of order, and no reader or publisher had an
    /// error.
    pub(crate) fn is_clean(&self) -> bool {
        // Deliveries are in two places, of which a run has only the one that it measured.
        let resume = self.resume.as_ref();
        let caught_up = resume.map(|resume| &resume.caught_up);
        let mut deliveries = self.delivery.iter().chain(caught_up);

        // Live readers count, too: catching up must not cost them an event.
        let live_wrong = resume.map_or(0, |resume| resume.live_wrong);
        deliveries.all(|delivery| delivery.wrong() == 0)
            && live_wrong == 0
            && self.lost + self.failed == 0
            && self.publish_errors() == 0
    }

    /// Instead of a table of zeros: why nobody was served, or nothing was published.
    pub(crate) fn why_nothing_happened(&self) -> Option<String> {
        let publish = self.publish.as_ref();
        let is_refused = publish.is_some_and(|publish| publish.accepted == 0 && publish.errors > 0);
        let what = match self.ready {
            0 => "no reader was served",
            _ if is_refused => "no event was accepted",
            _ => return None,
        };
        let why = self.first_error.as_deref().unwrap_or("no answer came");
        Some(format!("{what}: {why}"))
    }

    fn publish_errors(&self) -> u64 {
        let publish = self.publish.as_ref();
        publish.map_or(0, |publish| publish.errors)
    }
}

impl DeliveryReport {
    /// Events that were missing, repeated or out of order.
    pub(crate) fn wrong(&self) -> u64 {
        self.missing + self.repeated + self.out_of_order
    }
}
