//! Gearman jobs become events: vidette is a worker.
//!
//! The worker is our own, because the existing crate (gearman 0.2) cannot keep three promises. It
//! answers one job at a time on a connection, so that each job would wait for a sync of its own,
//! and the order of the queue would hold with a single connection only; here a connection grabs
//! many jobs at once, which one commit publishes in the queue's order. It can report a job only as
//! done or as failed, and a job server never gives a failed job again; here a job that cannot be
//! stored now is held, and when the gateway ends its connection is closed without an answer. And it
//! ignores whether an answer was sent, which has to be known to expect the job again. Invariants:
//! - a job is answered `WORK_COMPLETE` with its vid after its event is durable, `WORK_EXCEPTION`
//!   with the reason after its dead letter is durable, and otherwise not at all: then the job
//!   server gives it again;
//! - jobs of one server become events in the order in which the server gives them.

mod connection;
mod decode;
mod packet;
mod queue;
mod record;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;

use super::state::SourceState;
use super::work::{MakeSource, Pulled, Source, SourceError, WorkOutcome};
use crate::bus::BusOptions;
use crate::config::GearmanConfig;
use crate::limits;
use connection::GearmanConnection;
use packet::WorkerRequest;

/// The kind, as in `[[source.gearman]]` and in `vidette.dead.gearman`.
const KIND: &str = "gearman";

/// One source for each job server.
pub(super) fn plan(
    config: &GearmanConfig,
    options: &BusOptions,
) -> Vec<(Arc<SourceState>, MakeSource)> {
    // A job is given again after an outage, which may last longer than a short window.
    if options.retention.dedupe_window < limits::SOURCE_DEDUPE_WINDOW {
        warn_of_short_window(config, options);
    }
    let plan = |server: &String| WorkerPlan {
        config: Arc::new(config.clone()),
        server: server.clone(),
        max_event_bytes: options.max_event_bytes,
    };
    let servers = config.servers.iter();
    servers.map(|server| plan(server).planned()).collect()
}

fn warn_of_short_window(config: &GearmanConfig, options: &BusOptions) {
    // Configured on purpose, perhaps: so a warning, not an error.
    let window = humantime::format_duration(options.retention.dedupe_window);
    tracing::warn!(
        source = config.name,
        "retention.dedupe_window is only {window}: a job that is given again later than that may \
         become a second event"
    );
}

/// Which jobs to take.
#[derive(Clone)]
struct WorkerPlan {
    config: Arc<GearmanConfig>,
    server: String,
    max_event_bytes: usize,
}

impl WorkerPlan {
    fn planned(self) -> (Arc<SourceState>, MakeSource) {
        // Each job server has a state of its own, so that it shows which one is down.
        let state = SourceState::new(format!("{}@{}", self.config.name, self.server), KIND);
        let make = move || Box::new(GearmanSource::new(self.clone())) as Box<dyn Source>;
        (Arc::new(state), Arc::new(make))
    }

    async fn connect(&self) -> Result<GearmanConnection, SourceError> {
        let max_body_bytes = self.max_event_bytes + limits::GEARMAN_ARGUMENTS_BYTES;
        GearmanConnection::open(&self.server, &self.config.function, max_body_bytes).await
    }
}

/// The jobs of one function of one job server.
struct GearmanSource {
    plan: WorkerPlan,
    connection: Option<GearmanConnection>,
    /// The handles of the jobs that were pulled and are not answered yet, in the order pulled.
    handles: Vec<Bytes>,
    /// The last pull found no job.
    is_idle: bool,
    lag: Option<u64>,
    lag_asked: Option<Instant>,
}

impl GearmanSource {
    fn new(plan: WorkerPlan) -> Self {
        GearmanSource {
            plan,
            connection: None,
            handles: Vec::new(),
            is_idle: false,
            lag: None,
            lag_asked: None,
        }
    }

    async fn connected(&mut self) -> Result<&mut GearmanConnection, SourceError> {
        // A connection is used for as long as its source lives; the driver drops both at an error.
        let open = match self.connection.take() {
            Some(open) => open,
            None => self.plan.connect().await?,
        };
        Ok(self.connection.insert(open))
    }

    /// Measures the lag: nothing waits for an idle source; a busy one asks the job server now and
    /// then.
    async fn measure_lag(&mut self) {
        // The status has a line for each function of the server, so it is not asked for lightly.
        if self.is_idle {
            self.lag = Some(0);
        } else if self.is_lag_due() {
            self.lag_asked = Some(Instant::now());
            self.lag = queue::waiting_jobs(&self.plan.server, &self.plan.config.function).await;
        }
    }

    fn is_lag_due(&self) -> bool {
        let interval = limits::GEARMAN_STATUS_INTERVAL;
        self.lag_asked
            .is_none_or(|asked| asked.elapsed() >= interval)
    }
}

#[async_trait]
impl Source for GearmanSource {
    async fn pull(&mut self) -> Result<Vec<Pulled>, SourceError> {
        let (is_idle, concurrency) = (self.is_idle, self.plan.config.concurrency);
        let connection = self.connected().await?;

        // Asking an empty queue again and again would cost both sides; it announces a job.
        if is_idle {
            connection.sleep().await?;
        }
        let jobs = connection.grab(concurrency).await?;
        self.is_idle = jobs.is_empty();
        self.measure_lag().await;

        // The handles are needed to answer the jobs, in the order pulled.
        let pulled = jobs.iter().map(|job| record::pulled(job, &self.plan));
        let pulled = pulled.collect();
        self.handles = jobs.into_iter().map(|job| job.handle).collect();
        Ok(pulled)
    }

    async fn acknowledge(&mut self, outcomes: Vec<WorkOutcome>) -> Result<(), SourceError> {
        let handles = std::mem::take(&mut self.handles);
        let results: Vec<String> = outcomes.iter().map(result_text).collect();

        // All answers go out in one write; a lost one only means that its job comes again.
        let answers = handles.iter().zip(&outcomes).zip(&results);
        let answers = answers.map(|((handle, outcome), result)| answer(handle, outcome, result));
        self.connected().await?.send(answers).await
    }

    fn lag(&self) -> Option<u64> {
        self.lag
    }
}

/// What the producer of a job gets: the vid of its event, or why there is none.
fn result_text(outcome: &WorkOutcome) -> String {
    match outcome {
        WorkOutcome::Published(receipt) => receipt.vid.to_string(),
        WorkOutcome::Refused(reason) => reason.clone(),
    }
}

fn answer<'a>(handle: &'a Bytes, outcome: &WorkOutcome, result: &'a str) -> WorkerRequest<'a> {
    let result = result.as_bytes();
    match outcome {
        WorkOutcome::Published(_) => WorkerRequest::WorkComplete { handle, result },
        WorkOutcome::Refused(_) => WorkerRequest::WorkException {
            handle,
            reason: result,
        },
    }
}
