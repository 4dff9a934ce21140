//! One cell from beginning to end.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cells::{Cell, STALE_AFTER};
use crate::checker::{self, Findings};
use crate::clients;
use crate::common::nats::NatsCluster;
use crate::common::publisher::{Draft, Publisher, Way};
use crate::common::read::Transport;
use crate::observer;
use crate::record::Place;
use crate::stage::Stage;
use crate::table;
use crate::times::{Span, Times};

/// Publishers, two at each gateway.
const WAYS: [Way; 4] = [Way::Events, Way::Publish, Way::Topics, Way::PublishStream];
/// Readers that go from gateway to gateway and from transport to transport.
const WANDERERS: usize = 3;
/// Acknowledged before anything fails.
const WARM_EVENTS: usize = 40;
/// How long everything goes on after the fault.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// The longest that publishers, and then readers, take to come to their end.
const ENDING: Duration = Duration::from_secs(60);
/// By the design, with what the looks at gateways and servers take.
const PUBLISHING_WITHIN: Duration = Duration::from_millis(2500);
const TAIL_WITHIN: Duration = Duration::from_secs(2);
const RED_WITHIN: Duration = STALE_AFTER.saturating_add(Duration::from_millis(3500));
const GREEN_WITHIN: Duration = Duration::from_millis(3500);
const REFUSED_WITHIN: Duration = Duration::from_millis(12_500);

/// Runs it, prints its line, and says what was wrong.
pub(crate) async fn run(nats: &mut NatsCluster, number: usize, cell: &Cell) -> Vec<String> {
    let running = AssertUnwindSafe(run_through(nats, number, cell));
    let Ok(wrong) = running.catch_unwind().await else {
        println!("{:<24}the run itself failed, see above", cell.name);
        revive(nats).await;
        return vec!["the run itself failed".to_owned()];
    };
    wrong
}

/// All servers run again, for the next cell.
async fn revive(nats: &mut NatsCluster) {
    for server in &mut nats.servers {
        if server.is_running() {
            server.thaw();
        } else {
            server.start();
        }
    }
    nats.until_ready().await;
}

async fn run_through(nats: &mut NatsCluster, number: usize, cell: &Cell) -> Vec<String> {
    let mut stage = Stage::set(nats, &format!("cell{number}"), cell.made).await;
    let mut observers = observe(&stage);
    let mut publishers = start_publishers(&stage);
    let mut readers = start_readers(&stage);
    until_warm(&stage).await;

    let began = stage.record.now();
    stage.suffer(cell.fault).await;
    let ended = stage.record.now();
    stage.until_healthy().await;
    sleep(AFTERWARDS).await;
    observers.shutdown().await;

    stage.record.stop_publishers();
    all_end(&mut publishers, "publishers").await;
    let end = publish_end(&stage).await;
    stage.record.end_at(&end);
    all_end(&mut readers, "readers").await;

    let stream = stage.scan().await;
    let name = &stage.stream().name;
    stage
        .stream()
        .api(&format!("STREAM.DELETE.{name}"), &Value::Null)
        .await;
    let history = stage.record.history().clone();
    let times = Times::of(&history, Span { began, ended }, cell.is_tail_from_end);
    let (found, examples) = checker::check(&history, &stream);
    let mut wrong = wrong_times(cell, &times);
    if found != Findings::default() {
        wrong.push(format!("{found:?}"));
    }
    if history.served_while_red > 0 {
        wrong.push(format!(
            "{} polls served while red",
            history.served_while_red
        ));
    }
    table::print_row(cell.name, &history, &times, &wrong);
    for example in examples {
        println!("    {example}");
    }
    wrong
}

fn observe(stage: &Stage<'_>) -> JoinSet<()> {
    let mut observers = JoinSet::new();
    for (gateway, url) in stage.urls().into_iter().enumerate() {
        observers.spawn(observer::watch_gateway(gateway, url, stage.record.clone()));
    }
    let streams = stage.streams.clone();
    observers.spawn(observer::watch_leader(streams, stage.record.clone()));
    observers
}

fn start_publishers(stage: &Stage<'_>) -> JoinSet<()> {
    let mut publishers = JoinSet::new();
    for (number, way) in WAYS.into_iter().enumerate() {
        let record = stage.record.clone();
        publishers.spawn(clients::publish(number, way, stage.urls(), record));
    }
    publishers
}

fn start_readers(stage: &Stage<'_>) -> JoinSet<()> {
    let mut readers = JoinSet::new();
    for number in 0..WANDERERS {
        let record = stage.record.clone();
        readers.spawn(clients::wander(number, stage.urls(), record));
    }
    let staying = [Transport::Sse, Transport::Grpc];
    for ((gateway, url), via) in stage.urls().into_iter().enumerate().zip(staying) {
        readers.spawn(clients::stay(gateway, via, url, stage.record.clone()));
    }
    readers
}

async fn until_warm(stage: &Stage<'_>) {
    let warm = async {
        while stage.record.history().acknowledged.len() < WARM_EVENTS {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(ENDING, warm).await.expect("the first events");
}

async fn all_end(clients: &mut JoinSet<()>, who: &str) {
    let ending = async {
        while let Some(ended) = clients.join_next().await {
            ended.expect("a client that does not panic");
        }
    };
    let ended = timeout(ENDING, ending).await;
    assert!(
        ended.is_ok(),
        "{} {who} do not come to an end",
        clients.len()
    );
}

/// The last event of the log.
async fn publish_end(stage: &Stage<'_>) -> Place {
    let mut publisher = Publisher::new(Way::Events, &stage.urls()[0]);
    let end = publisher.publish(&[Draft::new("end", "end")]).await.all();
    Place::of(&end[0].cursor)
}

fn wrong_times(cell: &Cell, times: &Times) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut within = |what: &str, took: Duration, most: Duration| {
        if took > most {
            wrong.push(format!("{what} late"));
        }
    };
    // A log that cannot be reached by either gateway is back with its network.
    if !cell.has_to_be_red {
        within("publishing", times.publishing, PUBLISHING_WITHIN);
    }
    within("tail", times.tail, TAIL_WITHIN);
    within("green", times.green, GREEN_WITHIN);
    // A frozen gateway answers nobody, neither well nor badly.
    if !cell.freezes_gateway() {
        within("refused", times.refused, REFUSED_WITHIN);
    }
    if cell.has_to_be_red {
        within("red", times.red.unwrap_or(Duration::MAX), RED_WITHIN);
    }
    if times.hung > 0 && !cell.freezes_gateway() {
        wrong.push(format!("{} publishers not answered", times.hung));
    }
    wrong
}
