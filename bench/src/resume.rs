//! Readers that all come back at once, each with the same events to catch up on, while others read
//! live.
//!
//! The live readers are measured twice, alone and beside those that catch up.

use std::time::Duration;

use super::args::{PublishArgs, ReaderArgs, ResumeArgs};
use super::load::{ReaderPlan, ReaderResults, RunningReaders, Transport};
use super::markers::now_us;
use super::measure::{about, publish_report};
use super::meter::{Meter, UsageReports};
use super::publish::{PublishPlan, Published, RunningPublishers};
use super::report::{DeliveryReport, Report, ResumeReport};
use super::testbed::{Testbed, delivery, wanted};
use crate::limits;

const OLD_TOPIC: usize = 0;
/// A server that replays what a topic has must not do so for live readers, so each run of them has
/// a topic of its own.
const ALONE_TOPIC: usize = 1;
const BESIDE_TOPIC: usize = 2;
/// Events per request when the old ones are published. Another server takes them one by one.
const BATCH: u32 = 500;

pub(crate) fn run(args: &ResumeArgs) -> Result<Report, String> {
    let bed = Testbed::open(&args.load.target)?;
    bed.ask_to_publish(BESIDE_TOPIC + 1)?;

    // The late readers come back with a cursor from before all old events.
    let cursor = bed.cursor()?;
    let old = bed.publish(&old_events(&bed, args), None)?;

    // The same live load twice; the second time others catch up meanwhile.
    let alone = live_alone(&bed, args)?;
    let late_plan = late_readers(&bed, args, cursor);
    let beside = live_beside(&bed, args, &late_plan, &old)?;
    Ok(report(args, &late_plan, &old, &alone, beside))
}

/// Live readers, and others that caught up beside them.
struct BesideResults {
    late: ReaderResults,
    /// Late readers that were connected.
    ready: usize,
    /// When they began.
    begun_us: u64,
    live: ReaderResults,
    published: Published,
    used: UsageReports,
}

fn live_beside(
    bed: &Testbed,
    args: &ResumeArgs,
    late_plan: &ReaderPlan,
    old: &Published,
) -> Result<BesideResults, String> {
    // Live readers connect before the measuring, late ones within it.
    let mut meter = Meter::start(bed.server.clone());
    let (live, _) = bed.connect(&live_readers(bed, args, BESIDE_TOPIC))?;
    meter.begin_work();
    let events = live_events(bed, args, BESIDE_TOPIC, limits::RESUME_WAIT);
    let publishers = RunningPublishers::start(&events);
    let begun_us = now_us();
    let late = catch_up(bed, args, late_plan, old);
    meter.end_work();

    // Only catching up is measured; the last live events may come after it.
    publishers.stop();
    let published = publishers.finish()?;
    bed.drain(
        &live,
        wanted(&published, args.live),
        args.load.publish.drain,
    );
    let ready = late.ready();
    let (late, live) = (late.finish()?, live.finish()?);
    let delivered = late.tally.delivered + live.tally.delivered;
    let used = meter.finish(ready, delivered);
    Ok(BesideResults {
        late,
        ready,
        begun_us,
        live,
        published,
        used,
    })
}

fn report(
    args: &ResumeArgs,
    late_plan: &ReaderPlan,
    old: &Published,
    alone: &DeliveryReport,
    results: BesideResults,
) -> Report {
    let (late, live) = (&results.late, &results.live);
    let published = &results.published;

    // The rate counts from when the readers came back, not from when the old events were due.
    let caught_up = delivery(late, old, OLD_TOPIC, results.begun_us);
    let beside = delivery(live, published, BESIDE_TOPIC, published.start_us);
    Report {
        publish: Some(publish_report(old)),
        resume: Some(compare(args.behind, caught_up, alone, &beside)),
        client: results.used.client,
        machine: results.used.machine,
        server: results.used.server,
        first_error: first_error(late, live),
        ..about("resume", late_plan.readers, results.ready, None, late)
    }
}

/// Starts the late readers and waits until they have received everything.
fn catch_up(
    bed: &Testbed,
    args: &ResumeArgs,
    plan: &ReaderPlan,
    old: &Published,
) -> RunningReaders {
    let late = RunningReaders::start(plan.clone());

    // Each is expected to receive everything, whenever it connects.
    late.work();
    bed.drain(&late, wanted(old, plan.readers), args.load.publish.drain);
    late
}

fn first_error(late: &ReaderResults, live: &ReaderResults) -> Option<String> {
    let first = late.first_error.as_ref().or(live.first_error.as_ref());
    first.cloned()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn compare(
    behind: u32,
    caught_up: DeliveryReport,
    alone: &DeliveryReport,
    beside: &DeliveryReport,
) -> ResumeReport {
    // The ratio of the tails shows most clearly what catching up costs the others.
    let (alone_us, beside_us) = (alone.latency_us, beside.latency_us);
    ResumeReport {
        behind,
        caught_up,
        live_alone_us: alone_us,
        live_beside_us: beside_us,
        live_p99_ratio: beside_us.p99 as f64 / alone_us.p99.max(1) as f64,
        live_wrong: alone.wrong() + beside.wrong(),
    }
}

/// The live readers while nobody catches up.
fn live_alone(bed: &Testbed, args: &ResumeArgs) -> Result<DeliveryReport, String> {
    let (load, _) = bed.connect(&live_readers(bed, args, ALONE_TOPIC))?;

    // As long as the user asked for; catching up takes as long as it takes.
    let duration = Duration::from_secs_f64(args.load.publish.seconds);
    let published = bed.publish(&live_events(bed, args, ALONE_TOPIC, duration), Some(&load))?;
    let patience_s = args.load.publish.drain;
    bed.drain(&load, wanted(&published, args.live), patience_s);
    let (results, start_us) = (load.finish()?, published.start_us);
    Ok(delivery(&results, &published, ALONE_TOPIC, start_us))
}

fn old_events(bed: &Testbed, args: &ResumeArgs) -> PublishPlan {
    let events = PublishArgs {
        rate: 0.0,
        publishers: 1,
        batch: if bed.is_gateway() { BATCH } else { 1 },
        ..args.load.publish.clone()
    };
    PublishPlan {
        events: args.behind.into(),
        duration: limits::RESUME_WAIT,
        first_topic: OLD_TOPIC,
        ..bed.publish_plan(&events, 1)
    }
}

fn live_events(bed: &Testbed, args: &ResumeArgs, topic: usize, duration: Duration) -> PublishPlan {
    PublishPlan {
        duration,
        first_topic: topic,
        ..bed.publish_plan(&args.load.publish, 1)
    }
}

fn late_readers(bed: &Testbed, args: &ResumeArgs, cursor: String) -> ReaderPlan {
    let readers = ReaderArgs {
        topics: 1,
        ..args.load.readers.clone()
    };
    ReaderPlan {
        cursor,
        publishers: 1,
        ..bed.reader_plan(args.via, &readers, args.streams.connections)
    }
}

fn live_readers(bed: &Testbed, args: &ResumeArgs, topic: usize) -> ReaderPlan {
    let readers = ReaderArgs {
        topics: 1,
        readers: args.live,
        ..args.load.readers.clone()
    };
    ReaderPlan {
        first_topic: topic,
        publishers: usize::from(args.load.publish.publishers),
        ..bed.reader_plan(Transport::Sse, &readers, 1)
    }
}
