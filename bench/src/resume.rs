//! Readers that come back all at once, each with the same events behind it, while others read live.
//!
//! The live readers are measured twice, alone and beside those that catch up.

use std::time::Duration;

use super::args::{PublishArgs, ReaderArgs, ResumeArgs};
use super::load::{self, Load, Via};
use super::markers::now_us;
use super::measure::{about, publish_report};
use super::meter::Meter;
use super::publish::{self, Publishing};
use super::report::{Delivery, Report, Resume};
use super::scene::{Scene, delivery, wanted};
use crate::limits;

const OLD_TOPIC: usize = 0;
const LIVE_TOPIC: usize = 1;
/// Events a request when the old ones are published.
const BATCH: u32 = 500;

pub(crate) fn run(args: &ResumeArgs) -> Result<Report, String> {
    let scene = Scene::open(&args.load.target)?;
    let cursor = scene.cursor()?;
    let old = scene.publish(&old_events(&scene, args), None)?;
    let alone = live_alone(&scene, args)?;

    let mut meter = Meter::start(scene.server.clone());
    let (live, _) = scene.connect(&live_readers(&scene, args))?;
    meter.begin_work();
    let publishing = Publishing::start(&live_events(&scene, args, limits::RESUME_WAIT));
    let begun_us = now_us();
    let plan = late_readers(&scene, args, cursor);
    let late = Load::start(plan.clone());
    late.work(); // each is expected to get everything, whenever it comes
    scene.drain(&late, wanted(&old, plan.readers), args.load.publish.drain);
    meter.end_work();
    publishing.stop();
    let published = publishing.finish()?;
    scene.drain(
        &live,
        wanted(&published, args.live),
        args.load.publish.drain,
    );

    let ready = late.ready();
    let (late, live) = (late.finish()?, live.finish()?);
    let (client, server) = meter.finish(ready, late.tally.delivered + live.tally.delivered);
    let caught_up = delivery(&late, &old, OLD_TOPIC, begun_us);
    let beside = delivery(&live, &published, LIVE_TOPIC, published.start_us);
    Ok(Report {
        publish: Some(publish_report(&old)),
        resume: Some(compare(args.behind, caught_up, &alone, &beside)),
        client,
        server,
        first_fault: late.first_fault.clone().or(live.first_fault),
        ..about("resume", plan.readers, ready, None, &late)
    })
}

#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn compare(behind: u32, caught_up: Delivery, alone: &Delivery, beside: &Delivery) -> Resume {
    let wrong = |d: &Delivery| d.missing + d.repeated + d.out_of_order;
    Resume {
        behind,
        caught_up,
        live_alone_us: alone.latency_us,
        live_beside_us: beside.latency_us,
        live_p99_ratio: beside.latency_us.p99 as f64 / alone.latency_us.p99.max(1) as f64,
        live_wrong: wrong(alone) + wrong(beside),
    }
}

/// The live readers while nobody catches up.
fn live_alone(scene: &Scene, args: &ResumeArgs) -> Result<Delivery, String> {
    let (load, _) = scene.connect(&live_readers(scene, args))?;
    let duration = Duration::from_secs_f64(args.load.publish.seconds);
    let published = scene.publish(&live_events(scene, args, duration), Some(&load))?;
    scene.drain(
        &load,
        wanted(&published, args.live),
        args.load.publish.drain,
    );
    Ok(delivery(
        &load.finish()?,
        &published,
        LIVE_TOPIC,
        published.start_us,
    ))
}

fn old_events(scene: &Scene, args: &ResumeArgs) -> publish::Plan {
    let events = PublishArgs {
        rate: 0.0,
        publishers: 1,
        batch: BATCH,
        ..args.load.publish.clone()
    };
    let duration = limits::RESUME_WAIT;
    publish::Plan {
        events: args.behind.into(),
        duration,
        first_topic: OLD_TOPIC,
        ..scene.publishing(&events, 1)
    }
}

fn live_events(scene: &Scene, args: &ResumeArgs, duration: Duration) -> publish::Plan {
    publish::Plan {
        duration,
        first_topic: LIVE_TOPIC,
        ..scene.publishing(&args.load.publish, 1)
    }
}

fn late_readers(scene: &Scene, args: &ResumeArgs, cursor: String) -> load::Plan {
    let readers = ReaderArgs {
        topics: 1,
        ..args.load.readers.clone()
    };
    let plan = scene.readers(args.via, &readers, args.streams.connections);
    load::Plan {
        cursor,
        publishers: 1,
        ..plan
    }
}

fn live_readers(scene: &Scene, args: &ResumeArgs) -> load::Plan {
    let readers = ReaderArgs {
        topics: 1,
        readers: args.live,
        ..args.load.readers.clone()
    };
    let publishers = usize::from(args.load.publish.publishers);
    load::Plan {
        first_topic: LIVE_TOPIC,
        publishers,
        ..scene.readers(Via::Sse, &readers, 1)
    }
}
