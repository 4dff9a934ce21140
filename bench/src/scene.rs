//! Where a run takes place: the server, its addresses, and the steps all runs are made of.

use std::time::{Duration, Instant};

use super::address::Address;
use super::args::{PublishArgs, ReaderArgs, TargetArgs};
use super::exchange;
use super::gateway::OwnGateway;
use super::load::{self, Counted, Load, Via};
use super::process::Processes;
use super::progress::Progress;
use super::publish::{self, Published, Publishing};
use super::report::{Connect, Delivery, Quantiles, columns, per_second};
use crate::limits;

/// Between the last connection and the first event, and before memory is looked at.
const SETTLE: Duration = Duration::from_secs(1);

/// The cursor of who reads only what comes from now on.
const LATEST: &str = "latest";

pub(crate) struct Scene {
    pub(crate) run: u32,
    pub(crate) server: Processes,
    pub(crate) progress: Progress,
    base: Address,
    publish_to: Option<Address>,
    _own: Option<OwnGateway>,
}

impl Scene {
    pub(crate) fn open(target: &TargetArgs) -> Result<Self, String> {
        // A refused raise leaves the limit as it was, which is told when it is too low.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let own = match &target.url {
            Some(_) => None,
            None => Some(OwnGateway::start(&target.engine, target.config.as_deref())?),
        };
        let url = target
            .url
            .as_deref()
            .or(own.as_ref().map(|own| own.url.as_str()))
            .unwrap_or_default();
        let pids = own
            .as_ref()
            .map_or(target.server_pid.clone(), |own| vec![own.pid()]);
        let server = Processes(pids);
        if !server.0.is_empty() && !server.is_visible() {
            return Err(
                "--server-pid: there is no such process, or this user may not see it".to_owned(),
            );
        }
        Ok(Scene {
            run: fastrand::u32(..),
            base: Address::parse(url)?,
            publish_to: target
                .publish_url
                .as_deref()
                .map(Address::parse)
                .transpose()?,
            progress: Progress::new(),
            server,
            _own: own,
        })
    }

    /// Where the log of the gateway ends now; nothing where there is no gateway.
    pub(crate) fn cursor(&self) -> Result<String, String> {
        if self.publish_to.is_some() {
            return Ok(String::new());
        }
        let bus = exchange::get_json(&self.base.at("/v1/bus"))
            .map_err(|e| format!("no gateway answers: {e}"))?;
        match (bus["last"].as_u64(), bus["epoch"].as_str()) {
            (Some(last), Some(epoch)) => Ok(format!("{last}-{epoch}")),
            _ => Err("what answers is no gateway: it tells no epoch at /v1/bus".to_owned()),
        }
    }

    pub(crate) fn readers(&self, via: Via, args: &ReaderArgs, connections: usize) -> load::Plan {
        let address = match via {
            Via::Sse => self
                .base
                .clone()
                .or_path("/v1/sse?topic={topic}&after={cursor}"),
            Via::Poll => self
                .base
                .clone()
                .or_path("/v1/poll?topic={topic}&after={cursor}"),
            Via::Grpc => self.base.clone(),
        };
        load::Plan {
            run: self.run,
            via,
            address,
            readers: args.readers,
            connections: connections.min(args.readers),
            topics: args.topics,
            first_topic: 0,
            publishers: 0,
            cursor: LATEST.to_owned(),
            coalesce: Duration::from_secs_f64(args.coalesce / 1000.0),
            churn: 0.0,
        }
    }

    pub(crate) fn publishing(&self, args: &PublishArgs, topics: usize) -> publish::Plan {
        let path = if args.batch == 1 {
            "/v1/topics/{topic}"
        } else {
            "/v1/events"
        };
        publish::Plan {
            run: self.run,
            address: self
                .publish_to
                .clone()
                .unwrap_or_else(|| self.base.at(path)),
            first_topic: 0,
            topics,
            publishers: args.publishers,
            batch: args.batch,
            rate: args.rate,
            events: u64::MAX / 2,
            duration: Duration::from_secs_f64(args.seconds),
            payload_bytes: args.size,
        }
    }

    /// Connects all readers, as far as that goes.
    pub(crate) fn connect(&self, plan: &load::Plan) -> Result<(Load, Connect), String> {
        let files = if plan.via == Via::Grpc {
            plan.connections
        } else {
            plan.readers
        } + limits::OTHER_FILES;
        let (allowed, _) = rlimit::Resource::NOFILE
            .get()
            .unwrap_or((u64::MAX, u64::MAX));
        if files as u64 > allowed {
            return Err(format!(
                "so many readers need {files} open files, and {allowed} are allowed here (ulimit -n)"
            ));
        }
        let begun = Instant::now();
        let load = Load::start(plan.clone());
        let line = || {
            format!(
                "{} of {} readers connected, {} failed",
                load.ready(),
                plan.readers,
                load.failed()
            )
        };
        let all = || load.ready() + load.failed() >= plan.readers || !load.is_running();
        self.progress.wait(limits::CONNECT_WAIT, line, all);
        let seconds = begun.elapsed().as_secs_f64();
        let connect = Connect {
            seconds,
            per_second: per_second(load.ready() as u64, seconds),
        };
        self.progress.pause(SETTLE, "all is quiet for a moment");
        load.work();
        Ok((load, connect))
    }

    /// Publishes to the plan's end.
    pub(crate) fn publish(
        &self,
        plan: &publish::Plan,
        load: Option<&Load>,
    ) -> Result<Published, String> {
        let publishing = Publishing::start(plan);
        let delivered = || load.map_or(0, Load::delivered);
        let line = || {
            format!(
                "{} published, {} delivered",
                publishing.accepted(),
                delivered()
            )
        };
        let at_most = plan.duration + limits::ANSWER_WAIT;
        self.progress
            .wait(at_most, line, || !publishing.is_running());
        publishing.stop();
        publishing.finish()
    }

    /// Waits until so many events have been delivered, or none has come for some time.
    pub(crate) fn drain(&self, load: &Load, wanted: u64, patience: f64) {
        let patience = Duration::from_secs_f64(patience);
        let mut last = (load.delivered(), Instant::now());
        let line = || format!("{} of {wanted} delivered", load.delivered());
        let is_interrupted = self.progress.wait(limits::RESUME_WAIT, line, || {
            let delivered = load.delivered();
            if delivered != last.0 {
                last = (delivered, Instant::now());
            }
            delivered >= wanted || last.1.elapsed() >= patience || !load.is_running()
        });
        if is_interrupted {
            // What is on its way is not missing.
            self.progress
                .wait_through(SETTLE, line, || load.delivered() >= wanted);
        }
    }
}

/// How many deliveries there should be, if all of so many readers are there.
pub(crate) fn wanted(published: &Published, readers: usize) -> u64 {
    let topics = published.accepted.len();
    (0..topics)
        .map(|k| {
            published.accepted[k] * (readers / topics + usize::from(k < readers % topics)) as u64
        })
        .sum()
}

/// What readers got of what was published to their topics.
pub(crate) fn delivery(
    counted: &Counted,
    published: &Published,
    first_topic: usize,
    start_us: u64,
) -> Delivery {
    let wanted = |topic: usize| {
        published
            .accepted
            .get(topic - first_topic)
            .copied()
            .unwrap_or_default()
    };
    let missing = counted
        .received
        .iter()
        .map(|(topic, received)| wanted(*topic).saturating_sub(*received));
    let tally = &counted.tally;
    let seconds = Duration::from_micros(tally.last_us.saturating_sub(start_us)).as_secs_f64();
    Delivery {
        expected: counted
            .received
            .iter()
            .map(|(topic, _)| wanted(*topic))
            .sum(),
        delivered: tally.delivered,
        missing: missing.clone().sum(),
        repeated: tally.repeated,
        out_of_order: tally.out_of_order,
        readers_with_missing: missing.filter(|missing| *missing > 0).count(),
        strange: tally.strange,
        reconnects: tally.reconnects,
        resumed: tally.resumed,
        bytes: tally.bytes,
        seconds,
        per_second: per_second(tally.delivered, seconds),
        latency_us: Quantiles::of(&tally.latency_us),
        latency_histogram_us: columns(&tally.latency_us),
    }
}
