//! Gearman jobs become events: vidette is a worker.
//!
//! The worker is our own, because three promises cannot be kept on the crate that there is (gearman
//! 0.2). It answers one job at a time on a connection, so each job would wait for a sync of its own
//! and the order of the queue would hold only with one connection; here a connection grabs many
//! jobs at once, which are published in the queue's order by one commit. It can answer a job only
//! well or badly, and a job server gives a job that failed to nobody again; here a job that cannot
//! be stored just now is held, and its connection broken off without an answer when the gateway
//! ends. And it drops the result of sending an answer, which has to be known to expect the job
//! again. Invariants:
//! - a job is answered `WORK_COMPLETE` with its vid after its event is durable, `WORK_EXCEPTION`
//!   with the reason after its dead letter is, and otherwise not at all: then the job server gives
//!   it again;
//! - jobs of one server become events in the order in which the server gives them.

mod connection;
mod packet;
mod queue;
mod record;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;

use super::{MakeSource, Outcome, Planned, Pulled, Source, SourceFault, SourceState};
use crate::bus::BusOptions;
use crate::config::GearmanConfig;
use crate::limits;
use connection::Connection;
use packet::Request;

/// The kind, as in `[[source.gearman]]` and in `vidette.dead.gearman`.
const KIND: &str = "gearman";

/// One source for each job server.
pub(super) fn plan(config: &GearmanConfig, options: &BusOptions) -> Vec<Planned> {
    if options.retention.dedupe_window < limits::SOURCE_DEDUPE_WINDOW {
        let window = humantime::format_duration(options.retention.dedupe_window);
        tracing::warn!(
            source = config.name,
            "retention.dedupe_window is only {window}: a job that is given again later than that may become a second event"
        );
    }
    let (config, max_event_bytes) = (Arc::new(config.clone()), options.max_event_bytes);
    let planned = |server: &String| {
        let state = SourceState::new(format!("{}@{server}", config.name), KIND);
        let (config, server) = (config.clone(), server.clone());
        let make = move || -> Box<dyn Source> {
            Box::new(GearmanSource::new(
                config.clone(),
                server.clone(),
                max_event_bytes,
            ))
        };
        (Arc::new(state), Box::new(make) as MakeSource)
    };
    config.servers.iter().map(planned).collect()
}

/// The jobs of one function of one job server.
struct GearmanSource {
    config: Arc<GearmanConfig>,
    server: String,
    max_event_bytes: usize,
    connection: Option<Connection>,
    /// The handles of the jobs in hand, in the order pulled.
    handles: Vec<Bytes>,
    /// The last look found nothing.
    is_idle: bool,
    lag: Option<u64>,
    lag_asked: Option<Instant>,
}

impl GearmanSource {
    fn new(config: Arc<GearmanConfig>, server: String, max_event_bytes: usize) -> Self {
        GearmanSource {
            config,
            server,
            max_event_bytes,
            connection: None,
            handles: Vec::new(),
            is_idle: false,
            lag: None,
            lag_asked: None,
        }
    }

    async fn connected(&mut self) -> Result<&mut Connection, SourceFault> {
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            let max_body_bytes = self.max_event_bytes + limits::GEARMAN_ARGUMENTS_BYTES;
            Connection::open(&self.server, &self.config.function, max_body_bytes).await?
        };
        Ok(self.connection.insert(connection))
    }

    /// Asks how much waits, now and then.
    async fn measure_lag(&mut self) {
        if self.is_idle {
            self.lag = Some(0);
        } else if self
            .lag_asked
            .is_none_or(|asked| asked.elapsed() >= limits::GEARMAN_STATUS_INTERVAL)
        {
            self.lag_asked = Some(Instant::now());
            self.lag = queue::waiting_jobs(&self.server, &self.config.function).await;
        }
    }
}

#[async_trait]
impl Source for GearmanSource {
    async fn pull(&mut self) -> Result<Vec<Pulled>, SourceFault> {
        let (is_idle, concurrency) = (self.is_idle, self.config.concurrency);
        let connection = self.connected().await?;
        if is_idle {
            connection.sleep().await?;
        }
        let jobs = connection.grab(concurrency).await?;
        self.is_idle = jobs.is_empty();
        self.measure_lag().await;
        let pulled = jobs
            .iter()
            .map(|job| record::pulled(job, &self.config, &self.server, self.max_event_bytes))
            .collect();
        self.handles = jobs.into_iter().map(|job| job.handle).collect();
        Ok(pulled)
    }

    async fn acknowledge(&mut self, outcomes: Vec<Outcome>) -> Result<(), SourceFault> {
        let handles = std::mem::take(&mut self.handles);
        let results: Vec<String> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Published(receipt) => receipt.vid.to_string(),
                Outcome::Refused(reason) => reason.clone(),
            })
            .collect();
        let answers =
            handles
                .iter()
                .zip(&outcomes)
                .zip(&results)
                .map(|((handle, outcome), result)| match outcome {
                    Outcome::Published(_) => Request::WorkComplete {
                        handle,
                        result: result.as_bytes(),
                    },
                    Outcome::Refused(_) => Request::WorkException {
                        handle,
                        reason: result.as_bytes(),
                    },
                });
        self.connected().await?.send(answers).await
    }

    fn lag(&self) -> Option<u64> {
        self.lag
    }
}
