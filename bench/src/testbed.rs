//! The server of a run, its addresses, and the steps that all runs are made of.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::Access;
use super::address::Address;
use super::args::{PublishArgs, ReaderArgs, TargetArgs};
use super::exchange;
use super::gateway::OwnGateway;
use super::load::{ReaderPlan, ReaderResults, RunningReaders, Transport};
use super::process::Processes;
use super::progress::Progress;
use super::publish::{PublishPlan, Published, RunningPublishers};
use super::report::{ConnectReport, DeliveryReport, Quantiles, columns, per_second};
use super::template::{BodyTemplate, MessageTemplate};
use crate::limits;

/// Between the last connection and the first event, and before memory is measured.
const SETTLE: Duration = Duration::from_secs(1);

/// The cursor of a reader that reads only what comes from now on.
const LATEST: &str = "latest";

const NO_SUCH_PROCESS: &str = "--server-pid: no such process, or this user may not see it";
const NO_EPOCH: &str = "the server is not a gateway: its /v1/bus has no epoch";

pub(crate) struct Testbed {
    pub(crate) run: u32,
    pub(crate) server: Processes,
    pub(crate) progress: Progress,
    access: Arc<Access>,
    base: Address,
    publish_to: Option<Address>,
    publish_body: Option<BodyTemplate>,
    grpc_request: Option<MessageTemplate>,
    /// The gateway that others may use too.
    running_url: Option<String>,
    /// It may be published to even where it has events.
    has_agreed: bool,
    _own: Option<OwnGateway>,
}

impl Testbed {
    pub(crate) fn open(target: &TargetArgs) -> Result<Self, String> {
        // Where raising fails the limit stays, and is reported if it is too low.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let own = own_gateway(target)?;
        let publish_to = target.publish_url.as_deref().map(Address::parse);
        let (base, publish_to) = (base_address(target, own.as_ref())?, publish_to.transpose()?);

        // Found now rather than by every connection.
        let access = Access::read(&target.access)?;
        for address in std::iter::once(&base).chain(&publish_to) {
            access.check(address)?;
            exchange::check_reachable(address)?;
        }
        Ok(Testbed {
            // A random number keeps topics and markers apart from those of earlier runs.
            run: fastrand::u32(..),
            access: Arc::new(access),
            base,
            publish_to,
            publish_body: target.publish_body.clone(),
            grpc_request: target.grpc_request.clone(),
            running_url: target.url.clone(),
            has_agreed: target.yes,
            progress: Progress::new(),
            server: server_processes(target, own.as_ref())?,
            _own: own,
        })
    }

    pub(crate) fn is_gateway(&self) -> bool {
        self.publish_to.is_none()
    }

    /// The end of the gateway's log now; empty where there is no gateway.
    pub(crate) fn cursor(&self) -> Result<String, String> {
        // Another server has no such address.
        if !self.is_gateway() {
            return Ok(String::new());
        }
        let bus = exchange::get_json(&self.base.at("/v1/bus"), &self.access);
        let bus = bus.map_err(|error| no_gateway(&error))?;

        // A cursor names a place and the log that it belongs to, so both are needed.
        let (last, epoch) = (bus["last"].as_u64(), bus["epoch"].as_str());
        let cursor = last.zip(epoch);
        let cursor = cursor.map(|(last, epoch)| format!("{last}-{epoch}"));
        cursor.ok_or_else(|| NO_EPOCH.to_owned())
    }

    /// A request that is written out elsewhere holds one event.
    pub(crate) fn check_batch(&self, batch: u32) -> Result<(), String> {
        let base = self.publish_to.as_ref().unwrap_or(&self.base);
        if batch > 1 && (self.publish_body.is_some() || base.is_nats) {
            return Err("--batch is for servers that take the gateway's requests".to_owned());
        }
        Ok(())
    }

    /// The address of a server that others may use too.
    pub(crate) fn running_url(&self) -> Option<&str> {
        self.running_url.as_deref()
    }

    pub(crate) fn has_agreed(&self) -> bool {
        self.has_agreed
    }

    /// Does the gateway say that nothing was published to it yet?
    pub(crate) fn is_log_empty(&self) -> bool {
        let bus = exchange::get_json(&self.base.at("/v1/bus"), &self.access);
        bus.is_ok_and(|bus| bus["last"].as_u64() == Some(0))
    }

    pub(crate) fn reader_plan(
        &self,
        via: Transport,
        args: &ReaderArgs,
        connections: usize,
    ) -> ReaderPlan {
        ReaderPlan {
            run: self.run,
            via,
            address: self.base.clone().or_path(subscribe_path(via)),
            access: self.access.clone(),
            readers: args.readers,
            connections: connections.min(args.readers),
            topics: args.topics,
            first_topic: 0,
            publishers: 0,
            // A run that needs more replaces these.
            cursor: LATEST.to_owned(),
            coalesce: Duration::from_secs_f64(args.coalesce / 1000.0),
            churn: 0.0,
            grpc_request: self.grpc_request.clone(),
        }
    }

    pub(crate) fn publish_plan(&self, args: &PublishArgs, topics: usize) -> PublishPlan {
        PublishPlan {
            run: self.run,
            address: self.publish_address(args.batch),
            access: self.access.clone(),
            first_topic: 0,
            topics,
            publishers: args.publishers,
            batch: args.batch,
            rate: args.rate,
            // The duration ends the publishing, not a number of events.
            events: u64::MAX / 2,
            duration: Duration::from_secs_f64(args.seconds),
            payload_bytes: args.size,
            body: self.publish_body.clone(),
        }
    }

    fn publish_address(&self, batch: u32) -> Address {
        // An event that is sent alone has its topic in the path; those of a batch name theirs.
        let path = match batch {
            1 => "/v1/topics/{topic}",
            _ => "/v1/events",
        };
        self.publish_to
            .clone()
            .unwrap_or_else(|| self.base.at(path))
    }

    /// Connects all readers, or as many as possible.
    pub(crate) fn connect(
        &self,
        plan: &ReaderPlan,
    ) -> Result<(RunningReaders, ConnectReport), String> {
        // Found now rather than as thousands of failed connections.
        check_open_files(plan)?;

        // The rate of connecting is a figure of its own.
        let begun = Instant::now();
        let load = RunningReaders::start(plan.clone());
        self.wait_for_readers(&load, plan.readers);
        let seconds = begun.elapsed().as_secs_f64();
        let connect = ConnectReport {
            seconds,
            per_second: per_second(load.ready() as u64, seconds),
        };

        // What connecting has started is not to be taken for work.
        self.progress
            .pause(SETTLE, "waiting for the server to settle");
        load.work();
        Ok((load, connect))
    }

    fn wait_for_readers(&self, load: &RunningReaders, readers: usize) {
        // Those that failed do not come back, so they are waited for as if they were connected.
        let counts = || (load.ready(), load.failed());
        let line = || {
            let (ready, failed) = counts();
            format!("{ready} of {readers} readers connected, {failed} failed")
        };
        let all = || load.ready() + load.failed() >= readers || !load.is_running();
        self.progress.wait(limits::CONNECT_WAIT, line, all);
    }

    /// Publishes to the plan's end.
    pub(crate) fn publish(
        &self,
        plan: &PublishPlan,
        load: Option<&RunningReaders>,
    ) -> Result<Published, String> {
        let publishers = RunningPublishers::start(plan);
        let line = || {
            let delivered = load.map_or(0, RunningReaders::delivered);
            format!("{} published, {delivered} delivered", publishers.accepted())
        };

        // The last request may be answered after the end, but is not waited for without a bound.
        let at_most = plan.duration + limits::ANSWER_WAIT;
        let is_done = || !publishers.is_running();
        self.progress.wait(at_most, line, is_done);

        // After an interrupt, or when the server is stuck, they still run.
        publishers.stop();
        publishers.finish()
    }

    /// Waits until so many events have been delivered, or none has come for some time.
    pub(crate) fn drain(&self, load: &RunningReaders, wanted: u64, patience_s: f64) {
        // How long an answer takes depends on the load, so the wait ends with a quiet time.
        let mut quiet = QuietTime::new(patience_s);
        let line = || format!("{} of {wanted} delivered", load.delivered());
        let is_interrupted = self.progress.wait(limits::RESUME_WAIT, line, || {
            let delivered = load.delivered();
            delivered >= wanted || quiet.is_over(delivered) || !load.is_running()
        });

        // Events that are still on their way are not missing.
        if is_interrupted {
            let is_done = || load.delivered() >= wanted;
            self.progress.wait_through(SETTLE, line, is_done);
        }
    }
}

/// Time without a delivery.
struct QuietTime {
    patience: Duration,
    delivered: u64,
    since: Instant,
}

impl QuietTime {
    fn new(patience_s: f64) -> Self {
        QuietTime {
            patience: Duration::from_secs_f64(patience_s),
            delivered: 0,
            since: Instant::now(),
        }
    }

    fn is_over(&mut self, delivered: u64) -> bool {
        // Each delivery starts the time anew.
        if delivered != self.delivered {
            (self.delivered, self.since) = (delivered, Instant::now());
        }
        self.since.elapsed() >= self.patience
    }
}

/// Starts a gateway, unless a running server is to be measured.
fn own_gateway(target: &TargetArgs) -> Result<Option<OwnGateway>, String> {
    if target.url.is_some() {
        return Ok(None);
    }
    let (program, config) = (target.gateway.as_deref(), target.config.as_deref());
    OwnGateway::start(program, &target.engine, config).map(Some)
}

fn base_address(target: &TargetArgs, own: Option<&OwnGateway>) -> Result<Address, String> {
    let own = own.map(|own| own.url.as_str());
    Address::parse(own.or(target.url.as_deref()).unwrap_or_default())
}

fn server_processes(target: &TargetArgs, own: Option<&OwnGateway>) -> Result<Processes, String> {
    // Without a process there is nothing to measure, which is allowed for another server.
    let pids = own.map_or(target.server_pid.clone(), |own| vec![own.pid()]);
    let server = Processes(pids);
    if !server.0.is_empty() && !server.is_visible() {
        return Err(NO_SUCH_PROCESS.to_owned());
    }
    Ok(server)
}

fn subscribe_path(via: Transport) -> &'static str {
    match via {
        Transport::Sse => "/v1/sse?topic={topic}&after={cursor}",
        Transport::Poll => "/v1/poll?topic={topic}&after={cursor}",
        // The path of a gRPC call is its method.
        Transport::Grpc => "/vidette.v1.EventBus/Subscribe",
    }
}

fn check_open_files(plan: &ReaderPlan) -> Result<(), String> {
    // Streams of gRPC share connections; every other reader has one of its own.
    let connections = match plan.via {
        Transport::Grpc => plan.connections,
        Transport::Sse | Transport::Poll => plan.readers,
    };
    let files = (connections + limits::OTHER_FILES) as u64;

    // Where the limit is unknown the connections themselves will show it.
    let allowed = rlimit::Resource::NOFILE.get();
    let (allowed, _) = allowed.unwrap_or((u64::MAX, u64::MAX));
    if files > allowed {
        return Err(too_few_files(files, allowed));
    }
    Ok(())
}

fn too_few_files(files: u64, allowed: u64) -> String {
    format!("so many readers need {files} open files, and only {allowed} are allowed (ulimit -n)")
}

fn no_gateway(error: &io::Error) -> String {
    format!("no gateway answers: {error}")
}

/// How many deliveries there should be, if all of so many readers are connected.
pub(crate) fn wanted(published: &Published, readers: usize) -> u64 {
    let topics = published.accepted.len();
    // Reader i reads topic i mod topics, so the first topics may have one reader more.
    let readers_of = |topic: usize| readers / topics + usize::from(topic < readers % topics);
    let accepted = published.accepted.iter().enumerate();
    accepted
        .map(|(topic, events)| events * readers_of(topic) as u64)
        .sum()
}

/// What readers received of the events on their topics.
pub(crate) fn delivery(
    results: &ReaderResults,
    published: &Published,
    first_topic: usize,
    start_us: u64,
) -> DeliveryReport {
    let tally = &results.tally;
    let took_us = tally.last_us.saturating_sub(start_us);
    let seconds = Duration::from_micros(took_us).as_secs_f64();
    DeliveryReport {
        delivered: tally.delivered,
        repeated: tally.repeated,
        out_of_order: tally.out_of_order,
        strange: tally.strange,
        reconnects: tally.reconnects,
        resumed: tally.resumed,
        bytes: tally.bytes,
        seconds,
        per_second: per_second(tally.delivered, seconds),
        latency_us: Quantiles::of(&tally.latency_us),
        latency_histogram_us: columns(&tally.latency_us),
        ..expectation(results, published, first_topic)
    }
}

/// How many events were expected and how many are missing, reader by reader.
fn expectation(
    results: &ReaderResults,
    published: &Published,
    first_topic: usize,
) -> DeliveryReport {
    // A reader of a topic that was never published to expects nothing.
    let wanted = |topic: usize| {
        let accepted = published.accepted.get(topic - first_topic);
        accepted.copied().unwrap_or_default()
    };
    let mut report = DeliveryReport::default();

    // Repeated events are not among those received, so they cannot hide missing ones.
    for (topic, received) in &results.received {
        let missing = wanted(*topic).saturating_sub(*received);
        report.expected += wanted(*topic);
        report.missing += missing;
        report.readers_with_missing += usize::from(missing > 0);
    }
    report
}
