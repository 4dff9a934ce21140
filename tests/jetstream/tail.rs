//! The end of a stream, followed while others publish to it and servers come and go.

mod cluster;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::{self, Context};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use vidette::bus::{Bus, BusOptions};
use vidette::cursor::Vid;
use vidette::engine::{Engine as _, JetStreamEngine, JetStreamOptions, LogState, Tail, TailStep};

use crate::common::nats::{NatsCluster, requirements};
use crate::raw_client::RawClient;

/// The longest that something is waited for that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// An engine, its tail, and what it has brought.
struct Followed {
    engine: JetStreamEngine,
    tail: Box<dyn Tail>,
    events: Vec<(Vid, String)>,
    /// When each of them came.
    came_at: Vec<Instant>,
    through: Vid,
    /// How many vids were passed over that were not reported as trimmed or skipped.
    holes: u64,
    is_live: bool,
}

impl Followed {
    async fn open(options: JetStreamOptions) -> Self {
        let engine = JetStreamEngine::open(options, requirements()).await;
        Self::of(engine.expect("an engine"))
    }

    fn of(engine: JetStreamEngine) -> Self {
        let through = engine.state().bounds.last;
        let tail = engine.take_tail(through).expect("the tail");
        Followed {
            engine,
            tail,
            events: Vec::new(),
            came_at: Vec::new(),
            through,
            holes: 0,
            is_live: false,
        }
    }

    /// The same, at its end.
    async fn live(options: JetStreamOptions) -> Self {
        let mut followed = Self::open(options).await;
        followed.until_live(true).await;
        followed
    }

    async fn step(&mut self) -> TailStep {
        let step = timeout(PATIENCE, self.tail.next()).await;
        let step = step.expect("a step of the tail");
        match &step {
            TailStep::Events { events, through } => {
                for event in events {
                    assert!(
                        event.vid > self.through && event.vid <= *through,
                        "{step:?}"
                    );
                    self.holes += event.vid - self.through - 1;
                    self.through = event.vid;
                    let topic = event.sent.topic.as_str().to_owned();
                    self.events.push((event.vid, topic));
                    self.came_at.push(Instant::now());
                }
                self.holes += through - self.through;
                self.through = *through;
            }
            TailStep::Skipped { through } => {
                assert!(*through > self.through, "{step:?}");
                self.through = *through;
            }
            TailStep::Trimmed { first } => self.through = self.through.max(first - 1),
            TailStep::Reset(log) => {
                self.through = log.bounds.last;
                self.events.clear();
                self.came_at.clear();
            }
            TailStep::Live(is_live) => self.is_live = *is_live,
        }
        step
    }

    async fn until_live(&mut self, is_live: bool) {
        while self.is_live != is_live {
            self.step().await;
        }
    }

    /// Everything up to this vid has come, is left out, or is gone.
    async fn until(&mut self, vid: Vid) {
        while self.through < vid {
            self.step().await;
        }
    }

    async fn until_reset(&mut self) -> LogState {
        loop {
            if let TailStep::Reset(log) = self.step().await {
                return log;
            }
        }
    }

    async fn until_trimmed(&mut self) -> Vid {
        loop {
            if let TailStep::Trimmed { first } = self.step().await {
                return first;
            }
        }
    }

    async fn follow_for(&mut self, time: Duration) {
        let following = async {
            loop {
                self.step().await;
            }
        };
        let _ = timeout(time, following).await;
    }

    fn vids(&self) -> Vec<Vid> {
        self.events.iter().map(|(vid, _)| *vid).collect()
    }
}

/// A plain client, as a publisher that knows nothing of gateways.
struct Plain {
    client: Client,
    context: Context,
}

impl Plain {
    async fn of(nats: &NatsCluster) -> Self {
        let client = nats.client().await;
        Plain {
            context: jetstream::new(client.clone()),
            client,
        }
    }

    async fn publish(&self, subject: &str) -> Vid {
        let sent = self.context.publish(subject.to_owned(), "{}".into()).await;
        sent.expect("it is sent")
            .await
            .expect("it is stored")
            .sequence
    }

    async fn publish_many(&self, count: usize) -> Vid {
        let mut last = 0;
        for number in 0..count {
            last = self.publish(&format!("doors.door.{number}")).await;
        }
        last
    }

    async fn stream(&self) -> jetstream::stream::Stream {
        self.context.get_stream("doors").await.expect("the stream")
    }

    /// Asks the JSON API; for what the library has no call.
    async fn ask(&self, subject: &str, body: &str) -> serde_json::Value {
        let subject = format!("$JS.API.{subject}");
        let answer = self.client.request(subject, body.to_owned().into()).await;
        serde_json::from_slice(&answer.expect("an answer").payload).expect("JSON")
    }

    /// Deletes the stream and makes it again, with the same configuration and mark; messages of
    /// this one can be deleted.
    async fn recreate(&self) {
        let mut config = self.stream().await.cached_info().config.clone();
        config.deny_delete = false;
        self.context.delete_stream("doors").await.expect("deleted");
        self.context.create_stream(config).await.expect("created");
    }
}

#[tokio::test]
async fn events_of_plain_clients_come_in_order_and_what_is_no_topic_is_left_out() {
    let nats = NatsCluster::start(1).await;
    let mut followed = Followed::live(nats.options("doors")).await;
    let plain = Plain::of(&nats).await;
    for subject in [
        "doors.door.1",
        "doors.vidette.other",
        "doors.door.2",
        "doors.a\u{85}b",
        "doors.door.3",
        "doors.vidette.last",
    ] {
        plain.publish(subject).await;
    }
    followed.until(6).await;
    let expected = [(1, "door.1"), (3, "door.2"), (5, "door.3")];
    let expected = expected.map(|(vid, topic)| (vid, topic.to_owned()));
    assert_eq!(followed.events, expected);
    assert_eq!((followed.holes, followed.engine.skipped_messages()), (3, 3));
    assert!(followed.engine.state().live);
}

#[tokio::test]
async fn a_purge_is_reported_though_nothing_is_published() {
    let nats = NatsCluster::start(1).await;
    let mut followed = Followed::live(nats.options("doors")).await;
    let plain = Plain::of(&nats).await;
    plain.publish_many(10).await;
    followed.until(10).await;

    plain
        .stream()
        .await
        .purge()
        .sequence(4)
        .await
        .expect("purged");
    assert_eq!(followed.until_trimmed().await, 4);

    plain.stream().await.purge().await.expect("purged");
    assert_eq!(followed.until_trimmed().await, 11);

    plain.ask("STREAM.PURGE.doors", r#"{"seq":1000}"#).await;
    assert_eq!(followed.until_trimmed().await, 1000);
    let next = plain.publish("doors.door.1").await;
    followed.until(next).await;
    assert_eq!(
        (next, followed.events.last().map(|e| e.0)),
        (1000, Some(1000))
    );
}

#[tokio::test]
async fn an_event_that_was_deleted_alone_is_passed_over_and_a_trimmed_one_is_reported() {
    let nats = NatsCluster::start(1).await;
    let plain = Plain::of(&nats).await;
    drop(Followed::open(nats.options("doors")).await);
    plain.recreate().await;
    let mut followed = Followed::open(nats.options("doors")).await;
    plain.publish_many(6).await;
    plain
        .stream()
        .await
        .delete_message(4)
        .await
        .expect("deleted");
    plain
        .stream()
        .await
        .purge()
        .sequence(3)
        .await
        .expect("purged");

    assert_eq!(followed.until_trimmed().await, 3);
    followed.until(6).await;
    assert_eq!((followed.vids(), followed.holes), (vec![3, 5, 6], 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_retention_takes_before_they_come_are_reported_as_trimmed() {
    let nats = NatsCluster::start(1).await;
    let mut required = requirements();
    required.retention.max_events = 50;
    let engine = JetStreamEngine::open(nats.options("doors"), required).await;
    let mut followed = Followed::of(engine.expect("an engine"));
    followed.until_live(true).await;

    // Faster than the consumer delivers.
    let plain = Plain::of(&nats).await;
    let publishing = tokio::spawn(async move {
        for _ in 0..5 {
            for _ in 0..4000 {
                let sent = plain.client.publish("doors.door.1", "{}".into());
                sent.await.expect("it is sent");
            }
            plain.publish("doors.door.2").await;
        }
    });
    followed.until(5 * 4001).await;
    publishing.await.expect("everything is published");
    let came = followed.events.len();
    assert!(came < 5 * 4001, "the stream kept 50, and none was missed");
    assert_eq!(followed.holes, 0, "{came} events came");
}

#[tokio::test]
async fn a_tail_that_is_far_behind_skips_to_the_newest_events() {
    const MESSAGES: u64 = 40_000;
    let nats = NatsCluster::start(1).await;
    let mut followed = Followed::open(nats.options("doors")).await;
    let plain = Plain::of(&nats).await;
    for _ in 1..MESSAGES {
        let sent = plain.client.publish("doors.door.1", "{}".into());
        sent.await.expect("it is sent");
    }
    // The answer to the last one comes after all of them are stored.
    assert_eq!(plain.publish("doors.door.2").await, MESSAGES);

    let TailStep::Skipped { through } = followed.step().await else {
        panic!("the first step skips what is too old");
    };
    assert_eq!(through, MESSAGES - 32_768);
    followed.until_live(true).await;
    assert_eq!(
        followed.vids(),
        (through + 1..=MESSAGES).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_stream_that_was_made_anew_resets_the_tail_though_its_configuration_is_the_same() {
    let nats = NatsCluster::start(1).await;
    let mut followed = Followed::live(nats.options("doors")).await;
    let plain = Plain::of(&nats).await;
    plain.publish_many(5).await;
    followed.until(5).await;

    let before = followed.engine.state().lineage.clone();
    plain.recreate().await;
    plain.publish_many(3).await;
    let log = followed.until_reset().await;
    assert_ne!(log.lineage, before);
    assert_eq!(log.lineage, followed.engine.state().lineage);
    let next = plain.publish("doors.door.1").await;
    followed.until(next).await;
    let expected: Vec<_> = (log.bounds.last + 1..=next).collect();
    assert_eq!(
        followed.vids(),
        expected,
        "the reset said the rest is to be read"
    );
}

#[tokio::test]
async fn a_consumer_that_an_admin_deletes_is_replaced() {
    let nats = NatsCluster::start(1).await;
    let mut followed = Followed::live(nats.options("doors")).await;
    let plain = Plain::of(&nats).await;
    let mut published = Vec::new();
    for _ in 0..3 {
        let names = plain.ask("CONSUMER.NAMES.doors", "").await;
        for name in names["consumers"].as_array().expect("names") {
            let name = name.as_str().expect("a name");
            plain
                .ask(&format!("CONSUMER.DELETE.doors.{name}"), "")
                .await;
            published.push(plain.publish("doors.door.1").await);
        }
        let next = plain.publish("doors.door.2").await;
        published.push(next);
        followed.until(next).await;
    }
    assert_eq!(followed.vids(), published);
    assert!(followed.is_live);
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_costs_no_event() {
    let mut nats = NatsCluster::start(1).await;
    let mut followed = Followed::live(nats.options("doors")).await;
    let plain = Plain::of(&nats).await;
    let before = followed.engine.state().lineage.clone();
    for round in 1..=3 {
        let last = plain.publish_many(5).await;
        nats.servers[0].kill();
        nats.servers[0].start();
        nats.until_ready().await;
        let back = Instant::now();
        followed.until(last).await;
        let next = until_published(&plain).await;
        followed.until(next).await;
        assert!(back.elapsed() < Duration::from_secs(5), "round {round}");
    }
    let last = followed.through;
    assert_eq!(followed.vids(), (1..=last).collect::<Vec<_>>());
    assert_eq!(
        followed.engine.state().lineage,
        before,
        "it is the same log"
    );
    assert!(followed.is_live);
}

#[tokio::test]
async fn a_stream_that_is_shorter_than_it_was_begins_another_epoch() {
    let mut nats = NatsCluster::start(1).await;
    let mut followed = Followed::live(nats.options("doors")).await;
    let plain = Plain::of(&nats).await;
    followed.until(plain.publish_many(5).await).await;
    let before = followed.engine.state().lineage.clone();

    // As after the loss of all power: the last two events are gone.
    nats.servers[0].kill();
    let backup = copy_of_store(&nats);
    nats.servers[0].start();
    nats.until_ready().await;
    followed.until(until_published(&plain).await).await;
    followed.until(until_published(&plain).await).await;
    nats.servers[0].kill();
    put_store_back(&nats, &backup);
    nats.servers[0].start();
    nats.until_ready().await;

    let log = followed.until_reset().await;
    assert_ne!(log.lineage, before);
    assert_eq!(log.bounds.last, 5);
    let next = until_published(&plain).await;
    followed.until(next).await;
    assert_eq!((followed.vids(), followed.is_live), (vec![next], true));
}

#[tokio::test]
async fn a_stream_that_was_gone_and_is_back_begins_another_epoch() {
    let mut nats = NatsCluster::start(1).await;
    let mut followed = Followed::live(nats.options("doors")).await;
    let plain = Plain::of(&nats).await;
    followed.until(plain.publish_many(5).await).await;
    let before = followed.engine.state().lineage.clone();
    nats.servers[0].kill();
    let backup = copy_of_store(&nats);
    nats.servers[0].start();
    nats.until_ready().await;

    // As a restore does it: the time of creation and the mark are those of before.
    until_published(&plain).await;
    plain.context.delete_stream("doors").await.expect("deleted");
    followed.follow_for(Duration::from_millis(1500)).await;
    nats.servers[0].kill();
    put_store_back(&nats, &backup);
    nats.servers[0].start();
    nats.until_ready().await;
    for _ in 0..3 {
        until_published(&plain).await;
    }

    let log = followed.until_reset().await;
    assert_ne!(log.lineage, before);
    let next = until_published(&plain).await;
    followed.until(next).await;
    assert_eq!(followed.vids().last(), Some(&next));
}

/// The folder in which the only server of these keeps its streams, as it is now.
fn copy_of_store(nats: &NatsCluster) -> TempDir {
    let backup = TempDir::with_prefix("vidette-backup-").expect("a folder");
    copy_folder(&nats.folder().join("n1"), &backup.path().join("n1"));
    backup
}

fn put_store_back(nats: &NatsCluster, backup: &TempDir) {
    let store = nats.folder().join("n1");
    fs::remove_dir_all(&store).expect("removed");
    copy_folder(&backup.path().join("n1"), &store);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[tokio::test]
async fn a_gateway_is_not_ready_before_its_tail_is_at_the_end_and_is_soon_afterwards() {
    let nats = NatsCluster::start(1).await;
    let engine = JetStreamEngine::open(nats.options("doors"), requirements()).await;
    let plain = Plain::of(&nats).await;
    plain.publish_many(20).await;
    let bus = Bus::start(Arc::new(engine.expect("an engine")), bus_options());
    assert!(bus.ready().is_err(), "the end is not known yet");
    let started = Instant::now();
    let ready = async {
        while bus.ready().is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ready).await.expect("it is ready");
    assert_eq!(bus.bounds().last, 20);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "ready after {took:?}");
}

fn bus_options() -> BusOptions {
    BusOptions {
        heartbeat: Duration::from_secs(15),
        max_subscribers: 10,
        max_event_bytes: 1 << 20,
        retention: requirements().retention,
    }
}

/// Publishes one event as soon as the servers take it.
async fn until_published(plain: &Plain) -> Vid {
    let publishing = async {
        loop {
            let sent = plain.context.publish("doors.door.1", "{}".into()).await;
            let stored = timeout(Duration::from_secs(1), sent.expect("it is sent")).await;
            if let Ok(Ok(stored)) = stored {
                return stored.sequence;
            }
        }
    };
    timeout(PATIENCE, publishing).await.expect("it is stored")
}

/// A client that gets such a message loses its connection, and gets it again with the next one.
#[tokio::test]
async fn messages_with_broken_headers_are_left_out_and_the_tail_goes_on() {
    let nats = NatsCluster::start(1).await;
    let mut followed = Followed::live(nats.options("doors")).await;
    let client = nats.client().await;
    let mut raw = RawClient::connect(&nats).await;
    let broken: [&[u8]; 3] = [
        b"garbage\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0\r\na: \xff\r\n\r\n",
    ];
    for headers in broken {
        raw.publish("doors.broken", headers, "x").await;
        let context = jetstream::new(client.clone());
        let sent = context.publish("doors.whole", "1".into()).await;
        sent.expect("sent").await.expect("stored");
    }
    followed.until(6).await;
    let topics: Vec<_> = followed
        .events
        .iter()
        .map(|(_, topic)| topic.as_str())
        .collect();
    assert_eq!(topics, ["whole"; 3]);
    assert_eq!(followed.engine.skipped_messages(), 3);
}
