//! Metrics as they are shown: a name, a text of help, and a value for each set of labels.
//!
//! Invariant: what is shown is made anew for each request, so nothing has to be kept up to date
//! meanwhile.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::histogram::HistogramValues;

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;

/// One metric, with all its values.
#[derive(Debug)]
pub(crate) struct Shown {
    name: Cow<'static, str>,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

#[derive(Debug, Clone)]
enum Value {
    Counter(u64),
    Seconds(f64),
    Gauge(i64),
    Moment(f64),
    Histogram(Box<HistogramValues>),
}

impl Shown {
    fn new(name: impl Into<Cow<'static, str>>, help: &'static str, kind: MetricType) -> Self {
        Shown {
            name: name.into(),
            help,
            kind,
            samples: Vec::new(),
        }
    }

    fn with(mut self, labels: Labels, value: Value) -> Self {
        self.samples.push((labels, value));
        self
    }

    pub(crate) fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Shown::new(name, help, MetricType::Counter).with(Vec::new(), Value::Counter(value))
    }

    /// A counter of seconds.
    pub(super) fn seconds(name: &'static str, help: &'static str, value: f64) -> Self {
        Shown::new(name, help, MetricType::Counter).with(Vec::new(), Value::Seconds(value))
    }

    pub(crate) fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Shown::new(name, help, MetricType::Gauge).with(Vec::new(), gauge(value))
    }

    /// A moment, in seconds since 1970.
    pub(super) fn moment(name: &'static str, help: &'static str, value: f64) -> Self {
        Shown::new(name, help, MetricType::Gauge).with(Vec::new(), Value::Moment(value))
    }

    /// What is always 1, and has its labels to say something.
    pub(crate) fn info<V: Into<String>, const N: usize>(
        name: impl Into<Cow<'static, str>>,
        help: &'static str,
        labels: [(&'static str, V); N],
    ) -> Self {
        Shown::new(name, help, MetricType::Gauge).with(owned(labels), Value::Gauge(1))
    }

    pub(crate) fn counters<V: Into<String>, const N: usize>(
        name: impl Into<Cow<'static, str>>,
        help: &'static str,
        values: impl IntoIterator<Item = ([(&'static str, V); N], u64)>,
    ) -> Self {
        let mut shown = Shown::new(name, help, MetricType::Counter);
        let values = values.into_iter();
        let samples = values.map(|(labels, value)| (owned(labels), Value::Counter(value)));
        shown.samples.extend(samples);
        shown
    }

    pub(crate) fn gauges<V: Into<String>, const N: usize>(
        name: impl Into<Cow<'static, str>>,
        help: &'static str,
        values: impl IntoIterator<Item = ([(&'static str, V); N], u64)>,
    ) -> Self {
        let mut shown = Shown::new(name, help, MetricType::Gauge);
        let values = values.into_iter();
        let samples = values.map(|(labels, value)| (owned(labels), gauge(value)));
        shown.samples.extend(samples);
        shown
    }

    pub(super) fn histogram(
        name: impl Into<Cow<'static, str>>,
        help: &'static str,
        values: HistogramValues,
    ) -> Self {
        let value = Value::Histogram(Box::new(values));
        Shown::new(name, help, MetricType::Histogram).with(Vec::new(), value)
    }

    pub(super) fn histograms<V: Into<String>, const N: usize>(
        name: impl Into<Cow<'static, str>>,
        help: &'static str,
        values: impl IntoIterator<Item = ([(&'static str, V); N], HistogramValues)>,
    ) -> Self {
        let mut shown = Shown::new(name, help, MetricType::Histogram);
        let values = values.into_iter();
        let samples = values.map(|(labels, values)| {
            let value = Value::Histogram(Box::new(values));
            (owned(labels), value)
        });
        shown.samples.extend(samples);
        shown
    }

    /// Adds it to what is rendered.
    pub(crate) fn register(self, registry: &mut Registry) {
        registry.register_collector(Box::new(self));
    }
}

fn owned<V: Into<String>, const N: usize>(labels: [(&'static str, V); N]) -> Labels {
    labels.map(|(name, value)| (name, value.into())).into()
}

fn gauge(value: u64) -> Value {
    // The format has no larger numbers.
    Value::Gauge(i64::try_from(value).unwrap_or(i64::MAX))
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = format!("{}.", self.help);
        let mut metric = encoder.encode_descriptor(&self.name, &help, None, self.kind)?;
        for (labels, value) in &self.samples {
            if labels.is_empty() {
                return value.encode(metric);
            }
            value.encode(metric.encode_family(labels)?)?;
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        match self {
            Value::Counter(value) => ConstCounter::new(*value).encode(encoder),
            Value::Seconds(value) => ConstCounter::new(*value).encode(encoder),
            Value::Gauge(value) => ConstGauge::new(*value).encode(encoder),
            Value::Moment(value) => ConstGauge::new(*value).encode(encoder),
            Value::Histogram(values) => {
                let (sum, count, buckets) = (values.sum(), values.count(), values.buckets());
                encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            }
        }
    }
}
