//! Sending spans to a collector.
//!
//! Invariants:
//! - one batch is sent at a time, and what waits meanwhile is bounded;
//! - every span is counted once: as sent, or as dropped by its reason;
//! - a collector that is away is logged once, and so is its coming back.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use super::otlp;
use super::otlp::proto::trace_service_client::TraceServiceClient;
use super::otlp::proto::{ExportTraceServiceRequest, Resource};
use super::span::PublishTrace;
use crate::limits;
use crate::metrics::Spans;

/// A collector that takes spans.
pub(super) struct Collector {
    client: TraceServiceClient<Channel>,
    resource: Resource,
    /// It has failed, which has been logged.
    is_away: bool,
}

/// The task that sends spans; it ends with this.
pub(crate) struct TraceExport {
    task: AbortOnDropHandle<()>,
    ending: CancellationToken,
}

impl TraceExport {
    pub(super) fn start(
        collector: Collector,
        queued: mpsc::Receiver<PublishTrace>,
        counts: Spans,
    ) -> Self {
        let ending = CancellationToken::new();
        let exporter = Exporter {
            collector,
            queued,
            counts,
            ending: ending.clone(),
        };
        TraceExport {
            task: AbortOnDropHandle::new(tokio::spawn(exporter.run())),
            ending,
        }
    }

    /// Sends what waits, within [`limits::TRACES_FLUSH`].
    pub(crate) async fn end(self) {
        self.ending.cancel();
        if timeout(limits::TRACES_FLUSH, self.task).await.is_err() {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}

struct Exporter {
    collector: Collector,
    queued: mpsc::Receiver<PublishTrace>,
    counts: Spans,
    ending: CancellationToken,
}

impl Exporter {
    async fn run(mut self) {
        let mut traces = Vec::with_capacity(limits::TRACES_TOGETHER);
        while self.gather(&mut traces).await {
            self.send(&traces).await;
            traces.clear();
        }
    }

    /// Waits for spans, and then a while for more. False once the gateway ends and none are left.
    async fn gather(&mut self, traces: &mut Vec<PublishTrace>) -> bool {
        tokio::select! {
            biased;
            first = self.queued.recv() => traces.extend(first),
            () = self.ending.cancelled() => self.queued.close(),
        }
        let until = Instant::now() + limits::TRACES_SENT_EVERY;
        while traces.len() < limits::TRACES_TOGETHER {
            let missing = limits::TRACES_TOGETHER - traces.len();
            let is_open = !self.queued.is_closed();
            let more = timeout_at(until, self.queued.recv_many(traces, missing));
            tokio::select! {
                biased;
                more = more => match more {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                },
                // What has come is all there is, but for what waits already.
                () = self.ending.cancelled(), if is_open => self.queued.close(),
            }
        }
        !traces.is_empty()
    }

    async fn send(&mut self, traces: &[PublishTrace]) {
        let spans = traces.iter().map(otlp::spans_of).sum();
        let request = otlp::request(&self.collector.resource, traces);
        let mut pause = limits::TRACES_RETRY_AFTER;
        for tries in 1..=limits::TRACES_TRIES {
            match self.collector.export(request.clone()).await {
                Ok(rejected) => {
                    self.counts.count_exported(spans - rejected.min(spans));
                    return self.counts.count_rejected(rejected.min(spans));
                }
                Err(error) if is_passing(&error) && tries < limits::TRACES_TRIES => {
                    self.pause(pause).await;
                    pause *= 2;
                }
                Err(_) => break,
            }
        }
        self.counts.count_unreachable(spans);
    }

    /// At the end of the gateway there is no time to wait.
    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.ending.cancelled() => {}
        }
    }
}

impl Collector {
    /// Connects when there is something to send. None where the address cannot be used.
    pub(super) fn at(endpoint: &str) -> Option<Self> {
        let is_encrypted = endpoint.starts_with("https:");
        let mut endpoint = Endpoint::from_shared(endpoint.to_owned()).ok()?;
        if is_encrypted {
            let tls = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(tls).ok()?;
        }
        let channel = endpoint
            .connect_timeout(limits::COLLECTOR_CONNECT)
            .timeout(limits::COLLECTOR_ANSWER)
            .connect_lazy();
        let host = nix::unistd::gethostname().ok();
        Some(Collector {
            client: TraceServiceClient::new(channel),
            resource: otlp::resource(host.and_then(|host| host.into_string().ok())),
            is_away: false,
        })
    }

    /// Sends spans, and gives how many of them the collector has refused.
    async fn export(&mut self, request: ExportTraceServiceRequest) -> Result<u64, Status> {
        let answer = self.client.export(request).await;
        match &answer {
            Ok(_) if self.is_away => tracing::info!("the collector takes spans again"),
            Err(error) if !self.is_away => {
                tracing::warn!(%error, "the collector does not take spans; they are dropped");
            }
            _ => {}
        }
        self.is_away = answer.is_err();
        let partial = answer?.into_inner().partial_success;
        Ok(partial.map_or(0, |partial| partial.rejected_spans.max(0).cast_unsigned()))
    }
}

/// As the specification of OTLP has it.
fn is_passing(error: &Status) -> bool {
    matches!(
        error.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}
