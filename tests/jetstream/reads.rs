//! Reading the stream: complete pages, whatever others have stored and whichever replica answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, Stream};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::sync::watch;
use vidette::cursor::Epoch;
use vidette::engine::{
    Engine as _, JetStreamEngine, JetStreamOptions, Page, PageBudget, ReadRequest,
};
use vidette::error::ErrorKind;
use vidette::event::Event;
use vidette::topic::{Filter, Topic};

use crate::common::nats::{NatsCluster, NatsServer, requirements};

const MANY: PageBudget = PageBudget {
    events: 1000,
    bytes: 512 * 1024,
    scan: 8192,
};

/// An engine, and a plain client that stores messages as others do.
struct Log {
    nats: NatsCluster,
    context: Context,
    engine: Arc<JetStreamEngine>,
}

impl Log {
    async fn start() -> Self {
        let nats = NatsCluster::start(1).await;
        let context = async_nats::jetstream::new(nats.client().await);
        context
            .create_stream(stream_config(1))
            .await
            .expect("a stream");
        let options = nats.options("doors");
        Self::open(nats, options).await
    }

    async fn open(nats: NatsCluster, options: JetStreamOptions) -> Self {
        let engine = JetStreamEngine::open(options, requirements()).await;
        Log {
            context: async_nats::jetstream::new(nats.client().await),
            engine: Arc::new(engine.expect("an engine")),
            nats,
        }
    }

    async fn stream(&self) -> Stream {
        self.context.get_stream("doors").await.expect("a stream")
    }

    fn epoch(&self) -> Epoch {
        self.engine.state().lineage.epoch().clone()
    }

    /// Stores a message, and returns its vid.
    async fn store(&self, topic: &str, data: &str) -> u64 {
        self.store_with(topic, HeaderMap::new(), data).await
    }

    async fn store_with(&self, topic: &str, headers: HeaderMap, data: &str) -> u64 {
        let (subject, data) = (format!("doors.{topic}"), data.to_owned().into());
        let asked = self.context.publish_with_headers(subject, headers, data);
        let ack = asked.await.expect("it is sent").await;
        ack.expect("it is stored").sequence
    }

    /// Stores a message for each topic, in any order; returns their vids.
    async fn store_all(
        &self,
        topics: impl Iterator<Item = String>,
        data: &str,
    ) -> BTreeMap<String, u64> {
        let storing = topics.map(async |topic| {
            let vid = self.store(&topic, data).await;
            (topic, vid)
        });
        let storing: Vec<_> = storing.collect();
        stream::iter(storing).buffer_unordered(256).collect().await
    }

    async fn read(&self, after: u64, through: u64, topics: &[&str], budget: PageBudget) -> Page {
        let request = request(after, through, topics, budget);
        self.engine.read(request).await.expect("a page")
    }

    /// Reads page by page to the end, as a subscriber does.
    async fn read_all(&self, through: u64, topics: &[&str], budget: PageBudget) -> Vec<u64> {
        let (mut after, mut seen) = (0, Vec::new());
        while after < through {
            let page = self.read(after, through, topics, budget).await;
            assert!(page.through > after && page.through <= through, "{page:?}");
            seen.extend(vids(&page));
            after = page.through;
        }
        seen
    }

    async fn newest(&self, through: u64, topics: &[&str], events: usize) -> Vec<(String, u64)> {
        let (mut after, mut found) = (0, Vec::new());
        while after < through {
            let request = request(after, through, topics, PageBudget { events, ..MANY });
            let page = self.engine.read_newest(request).await.expect("a page");
            assert!(page.through > after && page.events.len() <= events);
            found.extend(page.events.iter().map(named));
            after = page.through;
        }
        found
    }

    async fn topics(&self, topics: &[&str], limit: usize) -> Vec<(String, u64)> {
        let (mut all, mut after): (Vec<(String, u64)>, Option<Topic>) = (Vec::new(), None);
        loop {
            let listed = self.engine.topics(filter(topics), after, limit).await;
            let listed = listed.expect("topics");
            assert!(listed.len() <= limit);
            after = listed.last().map(|(topic, _)| topic.clone());
            if after.is_none() {
                return all;
            }
            all.extend(listed.iter().map(|(t, vid)| (t.as_str().to_owned(), *vid)));
        }
    }
}

/// As the engine would create it, but for an administrator who may delete single messages.
fn stream_config(replicas: usize) -> Config {
    Config {
        name: "doors".into(),
        subjects: vec!["doors.>".into()],
        num_replicas: replicas,
        max_age: Duration::from_secs(3600),
        duplicate_window: Duration::from_secs(120),
        allow_direct: true,
        allow_atomic_publish: true,
        max_messages_per_subject: -1,
        ..Config::default()
    }
}

fn filter(topics: &[&str]) -> Filter {
    Filter::parse(topics.iter().copied()).expect("a filter")
}

fn request(after: u64, through: u64, topics: &[&str], budget: PageBudget) -> ReadRequest {
    ReadRequest {
        after,
        through,
        filter: filter(topics),
        budget,
    }
}

fn vids(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.vid).collect()
}

fn named(event: &Arc<Event>) -> (String, u64) {
    (event.sent.topic.as_str().to_owned(), event.vid)
}

#[tokio::test]
async fn pages_have_what_a_plain_list_has() {
    let log = Log::start().await;
    let topics = [
        "a",
        "a.1",
        "a.2",
        "b.1",
        "b.1.x",
        "c",
        "vidette.x",
        "*",
        "a.>",
        "a\u{85}",
    ];
    let mut list = BTreeMap::new();
    for n in 0..200 {
        let topic = topics[n * n % 7 + n % 4];
        list.insert(log.store(topic, &"x".repeat(n)).await, topic);
    }
    // Holes, also at both ends.
    let stream = log.stream().await;
    for hole in [1, 2, 17, 18, 19, 60, 199] {
        stream.delete_message(hole).await.expect("it is deleted");
        list.remove(&hole);
    }
    let many: Vec<_> = (0..12).map(|n| format!("{n}.*")).collect();
    let mut many: Vec<_> = many.iter().map(String::as_str).collect();
    many.extend(["a.*", "*.1"]);
    let filters: [&[&str]; 8] = [
        &[],
        &["a"],
        &["b.>", "c"],
        &["*.1", "a.*", "a.1"],
        &["none", "no.>"],
        &["a", "a.1", "a.2", "b.1", "c", "d", "e"],
        &["vidette.>", "c"],
        &many,
    ];
    for topics in filters {
        let is_there = |topic: &str| {
            let topic = Topic::for_publisher(topic);
            topic.is_ok_and(|topic| filter(topics).matches(&topic))
        };
        let expected = list.iter().filter(|(_, topic)| is_there(topic));
        let expected: Vec<u64> = expected.map(|(vid, _)| *vid).collect();
        for budget in [
            MANY,
            PageBudget { events: 7, ..MANY },
            PageBudget {
                bytes: 2000,
                ..MANY
            },
        ] {
            let read = log.read_all(200, topics, budget).await;
            assert_eq!(read, expected, "{topics:?} {budget:?}");
        }
    }
}

#[tokio::test]
async fn a_page_ends_where_it_was_asked_to_and_names_the_oldest_vid() {
    let log = Log::start().await;
    for _ in 0..20 {
        log.store("a", "x").await;
    }
    for (after, through, expected) in [(0, 20, 1..=20), (3, 7, 4..=7), (19, 20, 20..=20)] {
        let page = log.read(after, through, &["a"], MANY).await;
        assert_eq!(vids(&page), expected.collect::<Vec<_>>());
        assert_eq!((page.through, page.first), (through, 1));
    }
    log.stream()
        .await
        .purge()
        .sequence(12)
        .await
        .expect("it is purged");
    let page = log.read(5, 20, &["a"], MANY).await;
    assert_eq!(
        (page.through, page.first),
        (20, 12),
        "a reader behind it is told of a gap"
    );
    assert_eq!(vids(&page), (12..=20).collect::<Vec<_>>());
    let error = log.engine.read(request(0, 21, &["a"], MANY)).await;
    let error = error.expect_err("there is no 21, so nobody can say what it is");
    assert_eq!(error.kind(), ErrorKind::Behind);
}

#[tokio::test]
async fn a_snapshot_has_the_newest_event_of_each_topic() {
    let log = Log::start().await;
    for topic in ["a.1", "a.2", "a.1", "b.1", "a.3", "a.2", "vidette.x"] {
        log.store(topic, "x").await;
    }
    let newest = async |through, topics: &[&str], events| {
        let found = log.newest(through, topics, events).await;
        found.into_iter().map(|(_, vid)| vid).collect::<Vec<_>>()
    };
    for events in [1, 2, 100] {
        assert_eq!(newest(7, &[], events).await, [3, 4, 5, 6]);
        assert_eq!(newest(6, &["a.>", "b.*"], events).await, [3, 4, 5, 6]);
        assert_eq!(newest(6, &["a.*", "a.2"], events).await, [3, 5, 6]);
        assert!(newest(6, &["c", "vidette.x"], events).await.is_empty());
        // A reader gets the newer one live.
        assert_eq!(newest(5, &["a.*"], events).await, [3, 5]);
    }
}

#[tokio::test]
async fn a_snapshot_of_more_topics_than_the_servers_look_up_at_once_is_as_complete() {
    const TOPICS: usize = 2500;
    let log = Log::start().await;
    let topics = (0..TOPICS).map(|n| format!("t.{}", n * 7 % TOPICS));
    let mut newest = log.store_all(topics, "x").await;
    for n in [3, 1200, 2499] {
        let topic = format!("t.{n}");
        newest.insert(topic.clone(), log.store(&topic, "x").await);
    }
    let through = log.store("other", "x").await;

    let by_vid = |newest: &BTreeMap<String, u64>| {
        let mut sorted: Vec<_> = newest.clone().into_iter().collect();
        sorted.sort_by_key(|(_, vid)| *vid);
        sorted
    };
    assert_eq!(log.newest(through, &["t.*"], 999).await, by_vid(&newest));

    // Of what has come since, as much as the request takes in.
    let moved = log.store("t.7", "x").await;
    let later = log.store("t.9", "x").await;
    newest.insert("t.7".into(), moved);
    newest.remove("t.9");
    assert_eq!(log.newest(moved, &["t.*"], 1000).await, by_vid(&newest));
    newest.insert("t.9".into(), later);
    assert_eq!(log.newest(later, &["t.*"], 1000).await, by_vid(&newest));
    let listed: BTreeMap<_, _> = log.topics(&["t.*"], 1000).await.into_iter().collect();
    assert_eq!(listed, newest);
}

#[tokio::test]
async fn topics_are_listed_in_byte_order() {
    let log = Log::start().await;
    for topic in ["b", "a.2", "a.10", "ä", "a", "a.2", "vidette.x", "a.>", "*"] {
        log.store(topic, "x").await;
    }
    let named = |list: &[(&str, u64)]| {
        let list = list.iter().map(|(topic, vid)| ((*topic).to_owned(), *vid));
        list.collect::<Vec<_>>()
    };
    for limit in [1, 2, 5, 100] {
        let all = named(&[("a", 5), ("a.10", 3), ("a.2", 6), ("b", 1), ("ä", 4)]);
        assert_eq!(log.topics(&[], limit).await, all);
        let some = named(&[("a.10", 3), ("a.2", 6), ("b", 1)]);
        assert_eq!(log.topics(&["a.*", "b", "a.2"], limit).await, some);
        assert!(log.topics(&["c.>"], limit).await.is_empty());
    }
}

#[tokio::test]
async fn reading_since_a_time_begins_with_the_first_event_of_it() {
    let log = Log::start().await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let vid = log.store("a", "x").await;
        let page = log.read(vid - 1, vid, &[], MANY).await;
        times.push(page.events[0].time_ms);
        // So that each has a time of its own.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let before = async |time| log.engine.vid_before(time).await.expect("a vid");
    for (index, time) in (0..).zip(&times) {
        assert_eq!(before(*time).await, index);
        assert_eq!(before(*time + 1).await, index + 1);
    }
    assert_eq!(before(i64::MIN).await, 0);
    assert_eq!(before(i64::MAX).await, 5);
    log.stream()
        .await
        .purge()
        .sequence(4)
        .await
        .expect("it is purged");
    assert_eq!(before(times[0]).await, 3);
}

#[tokio::test]
async fn what_others_put_into_headers_changes_no_event_but_their_own() {
    let log = Log::start().await;
    log.store("before", "x").await;
    let mut spoofed = HeaderMap::new();
    for (name, value) in [
        ("Nats-Sequence", "99"),
        ("Nats-Subject", "doors.evil"),
        ("Nats-Time-Stamp", "1970-01-01T00:00:00Z"),
        ("Nats-Last-Sequence", "77"),
        ("Nats-Num-Pending", "0"),
        ("Status", "204"),
        ("Description", "EOB"),
    ] {
        spoofed.insert(name, value);
    }
    log.store_with("spoofed", spoofed, "x").await;
    let mut large = HeaderMap::new();
    large.insert("Large", "y".repeat(63 * 1024).as_str());
    log.store_with("large", large, "x").await;
    // What looks like the end of a page, and like nobody being there.
    let mut raw = RawClient::connect(&log.nats).await;
    for status in ["204 EOB", "404 Message Not Found", "503", "408 Bad Request"] {
        let headers =
            format!("NATS/1.0 {status}\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 3\r\n\r\n");
        raw.publish("doors.status", headers.as_bytes(), "x").await;
    }
    let last = log.store("after", "x").await;

    let page = log.read(0, last, &[], MANY).await;
    let found: Vec<_> = page.events.iter().map(named).collect();
    let expected = [("before", 1), ("spoofed", 2), ("status", 4), ("status", 5)];
    let rest = [("status", 6), ("status", 7), ("after", 8)];
    let expected = expected.into_iter().chain(rest);
    let expected: Vec<_> = expected
        .map(|(topic, vid)| (topic.to_owned(), vid))
        .collect();
    let small = found.iter().filter(|(topic, _)| topic != "large");
    assert_eq!(small.cloned().collect::<Vec<_>>(), expected);
    assert_eq!(page.through, last);
    assert!(page.events[1].time_ms > 1_500_000_000_000);
    let newest = log.newest(last, &[], 1).await;
    assert!(newest.contains(&("status".to_owned(), 7)));
}

/// A client that gets such a message loses its connection.
#[tokio::test]
async fn messages_with_broken_headers_are_passed_over() {
    let log = Log::start().await;
    let mut expected = Vec::new();
    for n in 0..40 {
        expected.push(log.store(&format!("t.{}", n % 3), "x").await);
    }
    let mut raw = RawClient::connect(&log.nats).await;
    let broken: [&[u8]; 3] = [
        b"garbage\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0\r\na: \xff\r\n\r\n",
    ];
    for headers in broken {
        raw.publish("doors.t.1", headers, "x").await;
        expected.push(log.store("t.1", "x").await);
    }
    let last = *expected.last().expect("a vid");
    assert_eq!(last, 46);
    assert_eq!(log.read_all(last, &[], MANY).await, expected);
    // Known by now, they cost no connection any more.
    let few = PageBudget { events: 9, ..MANY };
    assert_eq!(log.read_all(last, &[], few).await, expected);
    expected.retain(|vid| *vid % 3 == 2 || *vid > 40);
    assert_eq!(log.read_all(last, &["t.1"], few).await, expected);
}

#[tokio::test]
async fn a_page_of_a_new_stream_is_never_one_of_the_old_log() {
    let log = Log::start().await;
    for _ in 0..50 {
        log.store("a", "old").await;
    }
    let epoch = log.epoch();
    let (engine, old_epoch) = (log.engine.clone(), epoch.clone());
    let (pages, mut read) = watch::channel(0);
    let reading = tokio::spawn(async move {
        loop {
            let page = engine.read(request(0, 40, &[], MANY)).await;
            // As the bus does: what the engine is on now says whose page it was.
            if *engine.state().lineage.epoch() != old_epoch {
                return;
            }
            let Ok(page) = page else { continue };
            for event in &page.events {
                assert_eq!(event.sent.data, "old");
            }
            pages.send_modify(|pages| *pages += 1);
        }
    });
    let many = read.wait_for(|pages| *pages > 10).await;
    drop(many.expect("pages of the old one"));
    log.context
        .delete_stream("doors")
        .await
        .expect("it is deleted");
    log.context
        .create_stream(stream_config(1))
        .await
        .expect("a stream");
    for _ in 0..50 {
        log.store("a", "new").await;
    }
    let patience = Duration::from_secs(10);
    let found_out = tokio::time::timeout(patience, reading).await;
    let found_out = found_out.expect("the engine finds out");
    found_out.expect("no page of the new one");
    assert_ne!(log.epoch(), epoch);
    let page = log.read(0, 50, &[], MANY).await;
    assert!(page.events.iter().all(|event| event.sent.data == "new"));
}

/// A follower that was frozen has yet to get what was published meanwhile, and answers at once.
#[tokio::test]
async fn a_follower_that_lags_hides_nothing() {
    let nats = NatsCluster::start(3).await;
    let context = async_nats::jetstream::new(nats.client().await);
    let mut stream = context
        .create_stream(stream_config(3))
        .await
        .expect("a stream");
    let info = stream.info().await.expect("an answer");
    let leader = info
        .cluster
        .as_ref()
        .and_then(|c| c.leader.clone())
        .expect("a leader");
    let follower = nats
        .servers
        .iter()
        .position(|server| server.name() != leader);
    let follower = follower.expect("a follower");

    let mut options = nats.options("doors");
    options.servers = vec![nats.servers[follower].url()];
    let mut log = Log::open(nats, options).await;
    let others = log
        .nats
        .servers
        .iter()
        .filter(|server| server.name() == leader);
    let others: Vec<_> = others.map(NatsServer::url).collect();
    let client = async_nats::connect(others.as_slice())
        .await
        .expect("a connection");
    log.context = async_nats::jetstream::new(client);

    log.until_it_answers_reads(follower).await;

    // Even on a quiet day it gets an event a little later than the publisher its answer.
    for n in 0..250 {
        let vid = log.store(&format!("own.{n}"), "x").await;
        let newest = request(vid - 1, vid, &["own.*"], MANY);
        let newest = log.engine.read_newest(newest);
        let page = log.read(vid - 1, vid, &["own.*"], MANY);
        let (page, newest) = tokio::join!(page, newest);
        assert_eq!((vids(&page), page.through), (vec![vid], vid));
        assert_eq!(vids(&newest.expect("a page")), [vid]);
    }

    let (messages, data) = (1500, "x".repeat(2000));
    for round in 0..3 {
        let base = 250 + round * messages;
        let last = base + messages;
        log.nats.servers[follower].freeze();
        // Already waiting for it when it answers again.
        let patterns = [&[][..], &["t1.>"], &["t0.>", "t2.>"]];
        let reading = patterns.map(|topics: &[&str]| log.read_while_it_lags(base, last, topics));
        let reading = futures_util::future::join_all(reading);
        let snapshot = format!("t1.{round}.*");
        let snapshot = log.newest_while_it_lags(last, &snapshot);
        let storing = async {
            let topics = (0..messages).map(|n| format!("t{}.{round}.{n}", n % 3));
            let stored = log.store_all(topics, &data).await;
            log.nats.servers[follower].thaw();
            stored
        };
        let (read, newest, stored) = tokio::join!(reading, snapshot, storing);

        for (topics, read) in patterns.iter().zip(read) {
            let is_wanted = |topic: &str| {
                filter(topics).matches(&Topic::for_publisher(topic).expect("a topic"))
            };
            let expected = stored.iter().filter(|(topic, _)| is_wanted(topic));
            let mut expected: Vec<u64> = expected.map(|(_, vid)| *vid).collect();
            expected.sort_unstable();
            assert_eq!(read, expected, "{topics:?}");
        }
        assert_eq!(newest, messages / 3);
    }
}

impl Log {
    /// A follower takes part in answering reads some time after it has joined.
    async fn until_it_answers_reads(&self, server: usize) {
        let monitor = self.nats.servers[server].monitor_url();
        let url = format!("{monitor}/subsz?subs=1&test=$JS.API.DIRECT.GET.doors");
        let answers = async || {
            let answer = reqwest::get(&url).await.ok()?.text().await.ok()?;
            Some(answer.contains("_sys_"))
        };
        let patience = Instant::now() + Duration::from_secs(20);
        while answers().await != Some(true) {
            assert!(Instant::now() < patience, "it answers no reads");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Reads until everything is there, whatever fails meanwhile.
    async fn read_while_it_lags(&self, base: u64, last: u64, topics: &[&str]) -> Vec<u64> {
        let (mut after, mut seen) = (base, Vec::new());
        while after < last {
            let page = self.engine.read(request(after, last, topics, MANY)).await;
            let Ok(page) = page else { continue };
            seen.extend(vids(&page));
            after = page.through;
        }
        seen
    }

    async fn newest_while_it_lags(&self, last: u64, pattern: &str) -> u64 {
        let (mut after, mut seen) = (0, 0);
        while after < last {
            let request = request(after, last, &[pattern], MANY);
            let page = self.engine.read_newest(request).await;
            let Ok(page) = page else { continue };
            seen += page.events.len() as u64;
            after = page.through;
        }
        seen
    }
}

/// Takes long, so it is left to `make jetstream-long`.
#[tokio::test]
async fn a_snapshot_of_a_hundred_thousand_topics_is_read_page_by_page() {
    const TOPICS: usize = 100_001;
    if std::env::var("VIDETTE_CLUSTER").as_deref() != Ok("long") {
        return;
    }
    let log = Log::start().await;
    let newest = log
        .store_all((0..TOPICS).map(|n| format!("t.{n}")), "x")
        .await;
    let through = *newest.values().max().expect("topics");

    let begun = Instant::now();
    assert_eq!(log.read_all(through, &[], MANY).await.len(), TOPICS);
    println!("{TOPICS} events in pages in {:?}", begun.elapsed());
    let begun = Instant::now();
    let found = log.newest(through, &["t.*"], 1000).await;
    println!("{} topics in {:?}", found.len(), begun.elapsed());
    let begun = Instant::now();
    assert_eq!(log.newest(through, &["t.*"], 1000).await, found);
    println!("and again, with their vids known, in {:?}", begun.elapsed());
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), newest);

    // More than the servers list at once.
    let begun = Instant::now();
    let after = Topic::for_publisher("t.99990").expect("a topic");
    let listed = log.engine.topics(filter(&[]), Some(after), 1000).await;
    println!("the end of the list in {:?}", begun.elapsed());
    let listed = listed.expect("topics");
    let expected = newest.range("t.99991".to_owned()..);
    let listed = listed.iter().map(|(topic, vid)| (topic.as_str(), *vid));
    assert!(listed.eq(expected.map(|(topic, vid)| (topic.as_str(), *vid))));
}

/// A client that sends what others could not.
struct RawClient(BufStream<TcpStream>);

impl RawClient {
    async fn connect(nats: &NatsCluster) -> Self {
        let address = ("127.0.0.1", nats.servers[0].port());
        let socket = TcpStream::connect(address).await.expect("a connection");
        let mut client = RawClient(BufStream::new(socket));
        let options = "CONNECT {\"verbose\":false,\"headers\":true}\r\nPING\r\n";
        client
            .0
            .write_all(options.as_bytes())
            .await
            .expect("it is sent");
        client.until_pong().await;
        client
    }

    async fn publish(&mut self, subject: &str, headers: &[u8], data: &str) {
        let (length, total) = (headers.len(), headers.len() + data.len());
        let line = format!("HPUB {subject} {length} {total}\r\n");
        let message = [line.as_bytes(), headers, data.as_bytes(), b"\r\nPING\r\n"].concat();
        self.0.write_all(&message).await.expect("it is sent");
        self.until_pong().await;
    }

    async fn until_pong(&mut self) {
        self.0.flush().await.expect("it is sent");
        let mut line = String::new();
        while line.trim() != "PONG" {
            line.clear();
            self.0.read_line(&mut line).await.expect("a line");
            assert!(!line.starts_with("-ERR"), "{line}");
        }
    }
}
