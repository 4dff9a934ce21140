//! The plain runs: readers that receive what is published, and readers that only wait.

use std::time::Duration;

use super::args::{IdleArgs, LoadArgs};
use super::load::{ReaderPlan, ReaderResults, Transport};
use super::meter::{Meter, us_each};
use super::publish::Published;
use super::report::{ConnectReport, MachineReport, PublishReport, Quantiles, Report, per_second};
use super::testbed::{Testbed, delivery, wanted};

/// How readers are connected.
#[derive(Clone, Copy)]
pub(crate) struct ReaderShape {
    /// Connections that gRPC streams share.
    pub(crate) connections: usize,
    /// Readers that hang up and come back, per second.
    pub(crate) churn: f64,
}

pub(crate) const PLAIN: ReaderShape = ReaderShape {
    connections: 1,
    churn: 0.0,
};

impl ReaderShape {
    pub(crate) fn with_churn(churn: f64) -> Self {
        ReaderShape { churn, ..PLAIN }
    }

    pub(crate) fn with_connections(connections: usize) -> Self {
        ReaderShape {
            connections,
            ..PLAIN
        }
    }
}

/// Readers, then publishers, then a wait for the last delivery.
pub(crate) fn events(
    bench: &'static str,
    transport: Transport,
    args: &LoadArgs,
    shape: ReaderShape,
) -> Result<Report, String> {
    let bed = Testbed::open(&args.target)?;
    bed.ask_to_publish(args.readers.topics)?;
    bed.check_batch(args.publish.batch)?;
    let plan = reader_plan(&bed, transport, args, shape)?;
    let mut meter = Meter::start(bed.server.clone());
    let (load, connect) = bed.connect(&plan)?;

    // Those that are connected now are the ones that memory and CPU are divided by.
    let ready = load.ready();

    // Only what follows counts as work; connecting has figures of its own.
    meter.begin_work();
    let publishing = bed.publish_plan(&args.publish, args.readers.topics);
    let published = bed.publish(&publishing, Some(&load))?;

    // What was accepted at the very end may still be on its way to the readers.
    let wanted = wanted(&published, plan.readers);
    bed.drain(&load, wanted, args.publish.drain);
    meter.end_work();

    // Whatever the server did wrong is in the results, and does not end the run early.
    let results = load.finish()?;
    let used = meter.finish(ready, results.tally.delivered);
    Ok(Report {
        publish: Some(publish_report(&published)),
        delivery: Some(delivery(&results, &published, 0, published.start_us)),
        client: used.client,
        machine: MachineReport {
            us_per_publish: us_each(used.machine.cpu_s, published.events()),
            ..used.machine
        },
        server: used.server,
        first_error: results.first_error.clone().or(published.first_error),
        ..about(bench, plan.readers, ready, Some(connect), &results)
    })
}

fn reader_plan(
    bed: &Testbed,
    transport: Transport,
    args: &LoadArgs,
    shape: ReaderShape,
) -> Result<ReaderPlan, String> {
    let mut plan = bed.reader_plan(transport, &args.readers, shape.connections);

    // Each reader follows every publisher's sequence, to notice repeats and reorderings.
    plan.publishers = usize::from(args.publish.publishers);
    plan.churn = shape.churn;

    // A reader that comes back before the first event needs a cursor to resume from.
    if transport == Transport::Poll || shape.churn > 0.0 {
        plan.cursor = bed.cursor()?;
    }
    Ok(plan)
}

/// Readers that wait.
pub(crate) fn idle(args: &IdleArgs) -> Result<Report, String> {
    let bed = Testbed::open(&args.target)?;
    let mut plan = bed.reader_plan(args.via, &args.readers, args.streams.connections);

    // A poll without a cursor is answered at once, so that nobody would wait.
    if args.via == Transport::Poll {
        plan.cursor = bed.cursor()?;
    }
    let mut meter = Meter::start(bed.server.clone());
    let (load, connect) = bed.connect(&plan)?;

    // The memory of a connection is what is left once all of them have settled.
    meter.begin_work();
    let hold = Duration::from_secs_f64(args.hold);
    bed.progress.pause(hold, "readers are waiting");
    meter.note_idle();
    meter.end_work();

    let ready = load.ready();
    let results = load.finish()?;
    let used = meter.finish(ready, 0);
    Ok(Report {
        server: used.server,
        machine: used.machine,
        client: used.client,
        first_error: results.first_error.clone(),
        ..about("idle", plan.readers, ready, Some(connect), &results)
    })
}

/// The figures that every report has.
pub(crate) fn about(
    bench: &'static str,
    readers: usize,
    ready: usize,
    connect: Option<ConnectReport>,
    results: &ReaderResults,
) -> Report {
    Report {
        bench,
        readers,
        ready,
        failed: results.failed,
        lost: results.lost,
        connect,
        ..Report::default()
    }
}

pub(crate) fn publish_report(published: &Published) -> PublishReport {
    // Up to the last answer, not to the end of the run.
    let took = Duration::from_micros(published.end_us - published.start_us);
    let (events, seconds) = (published.events(), took.as_secs_f64());
    PublishReport {
        accepted: events,
        errors: published.errors,
        seconds,
        per_second: per_second(events, seconds),
        answer_us: Quantiles::of(&published.answer_us),
    }
}
