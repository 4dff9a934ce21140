//! The plain runs: readers that get what is published, and readers that only wait.

use std::time::Duration;

use super::args::{IdleArgs, LoadArgs};
use super::load::{Counted, Via};
use super::meter::Meter;
use super::publish::Published;
use super::report::{Connect, Publish, Quantiles, Report, per_second};
use super::scene::{Scene, delivery, wanted};

/// How readers are connected.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Those that gRPC streams share.
    pub(crate) connections: usize,
    /// Readers that hang up and come back, a second.
    pub(crate) churn: f64,
}

pub(crate) const PLAIN: Shape = Shape {
    connections: 1,
    churn: 0.0,
};

/// Readers, then publishers, then a wait for the last delivery.
pub(crate) fn events(
    bench: &'static str,
    via: Via,
    args: &LoadArgs,
    shape: Shape,
) -> Result<Report, String> {
    let scene = Scene::open(&args.target)?;
    let mut readers = scene.readers(via, &args.readers, shape.connections);
    readers.publishers = usize::from(args.publish.publishers);
    readers.churn = shape.churn;
    // Who may come back before the first event says where it began.
    if via == Via::Poll || shape.churn > 0.0 {
        readers.cursor = scene.cursor()?;
    }
    let mut meter = Meter::start(scene.server.clone());
    let (load, connect) = scene.connect(&readers)?;
    let ready = load.ready();
    meter.begin_work();
    let published = scene.publish(
        &scene.publishing(&args.publish, args.readers.topics),
        Some(&load),
    )?;
    scene.drain(
        &load,
        wanted(&published, readers.readers),
        args.publish.drain,
    );
    meter.end_work();
    let counted = load.finish()?;
    let (client, server) = meter.finish(ready, counted.tally.delivered);
    Ok(Report {
        publish: Some(publish_report(&published)),
        delivery: Some(delivery(&counted, &published, 0, published.start_us)),
        client,
        server,
        first_fault: counted.first_fault.clone().or(published.first_fault),
        ..about(bench, readers.readers, ready, Some(connect), &counted)
    })
}

/// Readers that wait.
pub(crate) fn idle(args: &IdleArgs) -> Result<Report, String> {
    let scene = Scene::open(&args.target)?;
    let mut readers = scene.readers(args.via, &args.readers, args.streams.connections);
    if args.via == Via::Poll {
        readers.cursor = scene.cursor()?;
    }
    let mut meter = Meter::start(scene.server.clone());
    let (load, connect) = scene.connect(&readers)?;
    meter.begin_work();
    scene
        .progress
        .pause(Duration::from_secs_f64(args.hold), "readers are waiting");
    meter.note_idle();
    meter.end_work();
    let ready = load.ready();
    let counted = load.finish()?;
    let (client, server) = meter.finish(ready, 0);
    let first_fault = counted.first_fault.clone();
    Ok(Report {
        server,
        client,
        first_fault,
        ..about("idle", readers.readers, ready, Some(connect), &counted)
    })
}

pub(crate) fn about(
    bench: &'static str,
    readers: usize,
    ready: usize,
    connect: Option<Connect>,
    counted: &Counted,
) -> Report {
    let Counted { failed, lost, .. } = *counted;
    Report {
        bench,
        readers,
        ready,
        failed,
        lost,
        connect,
        ..Report::default()
    }
}

pub(crate) fn publish_report(published: &Published) -> Publish {
    let seconds = Duration::from_micros(published.end_us - published.start_us).as_secs_f64();
    Publish {
        accepted: published.events(),
        faults: published.faults,
        seconds,
        per_second: per_second(published.events(), seconds),
        answer_us: Quantiles::of(&published.answer_us),
    }
}
