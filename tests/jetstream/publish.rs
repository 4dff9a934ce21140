//! Publishing: order, atomic batches, known ids, and what becomes of events when servers fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use vidette::cursor::Vid;
use vidette::engine::{
    Appended, Engine, JetStreamEngine, JetStreamOptions, Moment, PageBudget, ReadRequest, Receipt,
};
use vidette::error::{Error, ErrorKind};
use vidette::event::{EventParts, NewEvent};
use vidette::limits;
use vidette::topic::Filter;

use crate::common::nats::{NatsCluster, NatsSetup, requirements};
use crate::common::nats_stream::{NatsStream, Stored};

/// The longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of servers that close batches which nobody ends sooner than they do by default.
const SHORT_BATCHES: &str = "limits { batch { timeout: 2s } }";

fn event(topic: &str, id: &str, data: &str) -> NewEvent {
    let parts = EventParts {
        topic,
        id: Some(id),
        data: Bytes::copy_from_slice(data.as_bytes()),
        ..EventParts::default()
    };
    NewEvent::check(parts, 1 << 20).expect("an event")
}

/// A batch with these ids; an empty one is none. Data says which event it is.
fn batch(ids: &[&str]) -> Vec<NewEvent> {
    let events = ids.iter().enumerate();
    events
        .map(|(index, id)| event("door.3", id, &format!("{id}/{index}")))
        .collect()
}

async fn engine(nats: &NatsCluster, stream: &str) -> JetStreamEngine {
    open(nats.options(stream)).await
}

/// Servers reserve what a stream may take, and here are many streams.
async fn open(options: JetStreamOptions) -> JetStreamEngine {
    let mut required = requirements();
    required.retention.max_bytes = 100 << 20;
    let opened = JetStreamEngine::open(options, required).await;
    opened.expect("an engine")
}

async fn append(engine: &JetStreamEngine, batches: Vec<Vec<NewEvent>>) -> Appended {
    let now = Moment {
        time_ms: 0,
        counted_ms: 0,
    };
    let appended = timeout(PATIENCE, engine.append(batches, now)).await;
    appended.expect("in time").expect("an answer")
}

/// The vids of one batch, with a mark where the id was known.
async fn publish(engine: &JetStreamEngine, batch: Vec<NewEvent>) -> Vec<(Vid, bool)> {
    let mut appended = append(engine, vec![batch]).await;
    vids(&appended.batches.remove(0).expect("a success"))
}

async fn refused(engine: &JetStreamEngine, batch: Vec<NewEvent>) -> Error {
    let mut appended = append(engine, vec![batch]).await;
    appended.batches.remove(0).expect_err("a refusal")
}

fn vids(receipts: &[Receipt]) -> Vec<(Vid, bool)> {
    receipts.iter().map(|r| (r.vid, r.duplicate)).collect()
}

fn new(vids: std::ops::RangeInclusive<Vid>) -> Vec<(Vid, bool)> {
    vids.map(|vid| (vid, false)).collect()
}

async fn stream(nats: &NatsCluster, name: &str) -> NatsStream {
    NatsStream::new(nats.client().await, name)
}

async fn stored_data(stream: &NatsStream) -> Vec<String> {
    let all = stream.all().await;
    let data = all.into_values().map(|stored| stored.data);
    data.map(|data| String::from_utf8(data).expect("text"))
        .collect()
}

#[tokio::test]
async fn publishing_keeps_its_promises_on_one_server() {
    promises(1).await;
}

#[tokio::test]
async fn publishing_keeps_its_promises_on_three_servers() {
    promises(3).await;
}

/// On streams of one cluster, as starting one takes a while.
async fn promises(servers: usize) {
    let nats = NatsCluster::start_setup(&NatsSetup {
        servers,
        jetstream: SHORT_BATCHES.to_owned(),
        ..NatsSetup::default()
    })
    .await;
    batches_of_two_gateways_are_whole_and_in_order(&nats).await;
    known_ids_get_the_vid_of_the_first_event(&nats).await;
    ids_that_come_twice_in_a_group_are_stored_once(&nats).await;
    what_is_asked_about_ids_is_never_stored(&nats).await;
    a_batch_is_as_large_as_the_servers_take_it(&nats).await;
    an_event_that_is_too_large_refuses_its_own_batch_alone(&nats).await;
    no_header_of_a_publisher_reaches_the_server(&nats).await;
    events_come_back_as_they_were_sent(&nats).await;
    batches_that_others_leave_open_are_waited_for(&nats).await;
    nothing_is_appended_once_the_vids_run_out(&nats).await;
}

async fn batches_of_two_gateways_are_whole_and_in_order(nats: &NatsCluster) {
    let writers = [engine(nats, "order").await, engine(nats, "order").await];
    let write = async |name: usize| {
        for group in 0..10 {
            let batches = (0..3).map(|batch| {
                let events = (0..=batch * 3).map(|index| {
                    let id = if index == 1 {
                        format!("{name}-{group}-{batch}")
                    } else {
                        String::new()
                    };
                    event("a", &id, &format!("{name} {group} {batch} {index}"))
                });
                events.collect()
            });
            let appended = append(&writers[name], batches.collect()).await;
            for batch in appended.batches {
                let vids = vids(&batch.expect("a success"));
                let first = vids[0].0;
                assert_eq!(vids, new(first..=first + vids.len() as Vid - 1));
            }
        }
    };
    tokio::join!(write(0), write(1));

    let stored = stored_data(&stream(nats, "order").await).await;
    assert_eq!(stored.len(), 2 * 10 * (1 + 4 + 7));
    for name in ["0", "1"] {
        let own: Vec<_> = stored
            .iter()
            .filter(|data| data.starts_with(name))
            .collect();
        let mut sorted = own.clone();
        sorted.sort();
        assert_eq!(own, sorted);
    }
    // The events of a batch are neighbours.
    let batch_of = |data: &str| data.rsplit_once(' ').expect("a place").0.to_owned();
    let mut batches: Vec<_> = stored.iter().map(|data| batch_of(data)).collect();
    batches.dedup();
    assert_eq!(batches.len(), 2 * 10 * 3);
}

async fn known_ids_get_the_vid_of_the_first_event(nats: &NatsCluster) {
    let (here, there) = (engine(nats, "ids").await, engine(nats, "ids").await);
    assert_eq!(publish(&here, batch(&["a"])).await, new(1..=1));
    assert_eq!(publish(&there, batch(&["a"])).await, [(1, true)]);
    assert_eq!(publish(&here, batch(&["b", "", "c"])).await, new(2..=4));

    // First, last, in the middle, all; from the other gateway.
    let one = |first, vids: &[Vid]| (first, vids.to_vec());
    for (ids, (known, expected)) in [
        (["a", "d", ""], one(0, &[1, 5, 6])),
        (["e", "", "b"], one(2, &[7, 8, 2])),
        (["", "c", "f"], one(1, &[9, 4, 10])),
    ] {
        let found = publish(&there, batch(&ids)).await;
        let marked = expected.iter().enumerate();
        let marked: Vec<_> = marked.map(|(i, vid)| (*vid, i == known)).collect();
        assert_eq!(found, marked, "{ids:?}");
    }
    let all = publish(&there, batch(&["f", "a", "b", "c"])).await;
    assert_eq!(all, [(10, true), (1, true), (2, true), (4, true)]);
    assert_eq!(
        publish(&here, batch(&["~x", " y ", "~"])).await,
        new(11..=13)
    );
    let again = publish(&there, batch(&[" y ", "~", "~x"])).await;
    assert_eq!(again, [(12, true), (13, true), (11, true)]);
    assert_eq!(stream(nats, "ids").await.all().await.len(), 13);
}

async fn ids_that_come_twice_in_a_group_are_stored_once(nats: &NatsCluster) {
    let engine = engine(nats, "twice").await;
    let groups = vec![batch(&["a", "b", "a"]), batch(&["", "b"]), batch(&["a"])];
    let appended = append(&engine, groups).await;
    let answers = appended.batches.iter().map(|answer| answer.as_ref());
    let answers: Vec<_> = answers.map(|a| vids(a.expect("a success"))).collect();
    assert_eq!(answers[0], [(1, false), (2, false), (1, true)]);
    assert_eq!(answers[1], [(3, false), (2, true)]);
    assert_eq!(answers[2], [(1, true)]);
    assert_eq!(stream(nats, "twice").await.all().await.len(), 3);
}

/// Also where an administrator lets publishers roll up what came before.
async fn what_is_asked_about_ids_is_never_stored(nats: &NatsCluster) {
    let engine = engine(nats, "asked").await;
    let stream = stream(nats, "asked").await;
    publish(&engine, batch(&["a", "b"])).await;
    for allowed in [false, true] {
        stream
            .update(|config| config["allow_rollup_hdrs"] = allowed.into())
            .await;
        let known = publish(&engine, batch(&["x", "a"])).await;
        assert_eq!(known[1], (1, true));
        publish(&engine, batch(&["x", "b", ""])).await;
    }
    // The stream lives.
    publish(&engine, batch(&[""])).await;
    let stored = stored_data(&stream).await;
    assert_eq!(stored, ["a/0", "b/1", "x/0", "/2", "/2", "/0"]);
}

async fn a_batch_is_as_large_as_the_servers_take_it(nats: &NatsCluster) {
    let engine = engine(nats, "large").await;
    let bounds = engine.batch_bounds();
    assert_eq!(bounds.events, 1000);
    assert_eq!(publish(&engine, batch(&[""; 1000])).await, new(1..=1000));
    let error = refused(&engine, batch(&[""; 1001])).await;
    assert_eq!(error.kind(), ErrorKind::TooLarge);

    // Bytes: as many as the bus takes together.
    let data = "x".repeat(1 << 20);
    let count = bounds.bytes / (data.len() + 100);
    let events = (0..count).map(|_| event("a", "", &data)).collect();
    assert_eq!(
        publish(&engine, events).await,
        new(1001..=1000 + count as Vid)
    );
}

async fn an_event_that_is_too_large_refuses_its_own_batch_alone(nats: &NatsCluster) {
    let engine = engine(nats, "sizes").await;
    let stream = stream(nats, "sizes").await;
    stream
        .update(|config| config["max_msg_size"] = 5000.into())
        .await;
    let large = || {
        vec![
            event("a", "", "1"),
            event("a", "", &"x".repeat(6000)),
            event("a", "", "2"),
        ]
    };
    let groups = vec![batch(&["a", ""]), large(), batch(&["b"])];
    let appended = append(&engine, groups).await;
    let [first, second, third] = &appended.batches[..] else {
        panic!("one answer a batch")
    };
    assert_eq!(vids(first.as_ref().expect("stored")), new(1..=2));
    assert_eq!(
        second.as_ref().expect_err("too large").kind(),
        ErrorKind::TooLarge
    );
    assert_eq!(vids(third.as_ref().expect("stored")), new(3..=3));
    assert!(engine.writable().is_ok());

    // Larger than any message: it is never sent.
    let huge = NewEvent {
        data: vec![b'x'; 5 << 20].into(),
        ..event("a", "", "1")
    };
    let error = refused(&engine, vec![event("a", "", "1"), huge]).await;
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_eq!(stream.all().await.len(), 3);
}

async fn no_header_of_a_publisher_reaches_the_server(nats: &NatsCluster) {
    let engine = engine(nats, "headers").await;
    let odd = [
        ("Nats-Expected-Last-Msg-Id", "x"),
        ("Nats-Rollup", "all"),
        ("Nats-Msg-Id", "spoofed"),
        ("Status", "503"),
        ("a: b\r\nNats-TTL", "1s\r\nNats-Sequence: 99"),
        (" spaces ", " \t "),
        ("größe", "\u{2028}\u{0}日本"),
    ];
    let odd = odd.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let kinds = [" a ", "~", "Nats-Rollup: all", "\u{a0}é\u{3000}", "a: b"];
    let events = kinds.map(|kind| {
        let parts = EventParts {
            topic: "$JS.API.STREAM.PURGE.headers",
            kind: Some(kind),
            id: Some(kind),
            content_type: Some("text/x-odd; p=\"ü: ~\""),
            headers: odd.to_vec(),
            data: Bytes::from_static(b"\r\n\r\n+OK"),
        };
        NewEvent::check(parts, 100).expect("an event")
    });
    assert_eq!(publish(&engine, events.to_vec()).await, new(1..=5));

    let stream = stream(nats, "headers").await;
    for (vid, kind) in (1..).zip(kinds) {
        let (headers, message) = stored_message(&stream, vid).await;
        assert_eq!(message["subject"], "headers.$JS.API.STREAM.PURGE.headers");
        let own = [
            "Content-Type",
            "Nats-Batch-Commit",
            "Nats-Batch-Id",
            "Nats-Batch-Sequence",
            "Nats-Msg-Id",
            "Vidette-Headers",
            "Vidette-Type",
        ];
        let names = headers.keys().filter(|name| *name != "Nats-Batch-Commit");
        let expected = own.iter().filter(|name| **name != "Nats-Batch-Commit");
        assert!(names.eq(expected), "{headers:?}");

        let sent: Vec<(String, String)> =
            serde_json::from_str(&headers["Vidette-Headers"]).expect("pairs");
        assert_eq!(sent, odd);
        assert_eq!(headers["Content-Type"], "text/x-odd; p=\"ü: ~\"");
        for name in ["Nats-Msg-Id", "Vidette-Type"] {
            assert_eq!(decoded(&headers[name]), kind);
        }
    }
}

fn decoded(text: &str) -> String {
    let Some(marked) = text.strip_prefix('~') else {
        return text.to_owned();
    };
    let bytes = percent_encoding::percent_decode_str(marked);
    bytes.decode_utf8().expect("text").into_owned()
}

/// A message with its headers as the server has stored them.
async fn stored_message(stream: &NatsStream, vid: Vid) -> (BTreeMap<String, String>, Value) {
    let subject = format!("STREAM.MSG.GET.{}", stream.name);
    let answer = stream.api(&subject, &json!({ "seq": vid })).await;
    let message = answer["message"].clone();
    let headers = message["hdrs"].as_str().expect("headers");
    let headers = STANDARD.decode(headers).expect("base64");
    let headers = String::from_utf8(headers).expect("text");
    let lines = headers
        .split("\r\n")
        .skip(1)
        .filter(|line| !line.is_empty());
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_owned(), value.to_owned())
    };
    (lines.map(pair).collect(), message)
}

/// Whatever they are made of.
async fn events_come_back_as_they_were_sent(nats: &NatsCluster) {
    let engine = engine(nats, "odd").await;
    let mut sent = Vec::new();
    while sent.len() < 500 {
        let headers = (0..fastrand::usize(..4)).map(|_| (odd_text(), odd_text()));
        let (kind, id, content_type) = (odd_text(), odd_text(), odd_text());
        let parts = EventParts {
            topic: &format!("a.{}", odd_text().replace('.', "-")),
            kind: Some(&kind),
            id: Some(&format!("{id}{}", sent.len())),
            content_type: Some(&content_type),
            headers: headers.collect(),
            data: odd_text().into(),
        };
        // Some are refused before they come here.
        sent.extend(NewEvent::check(parts, 1000));
    }
    assert_eq!(publish(&engine, sent.clone()).await, new(1..=500));

    let request = ReadRequest {
        after: 0,
        through: 500,
        filter: Filter::all(),
        budget: PageBudget::of_events(500),
    };
    let mut read = Vec::new();
    while read.len() < sent.len() {
        let after = read.len() as Vid;
        let request = ReadRequest {
            after,
            ..request.clone()
        };
        let page = engine.read(request).await.expect("a page");
        assert!(page.through > after);
        read.extend(page.events.iter().map(|event| event.sent.clone()));
    }
    assert_eq!(read, sent);
}

/// A few characters that somebody may treat in a way of their own.
fn odd_text() -> String {
    let odd = [
        "~",
        " ",
        "%",
        ":",
        "Nats-",
        "Status",
        "é",
        "\u{a0}",
        "\u{2028}",
        "\u{3000}",
        "*",
        "$JS",
        "a",
        "/",
        "\"",
        "\\",
        "=",
        ";",
        "\u{1f600}",
        ".",
        "\u{feff}",
        "\u{e9}\u{301}",
    ];
    // Now and then what no label may have.
    let rare = ["\r\n", "\t", "\0", "\u{7f}"];
    let part = |_| match fastrand::usize(..60) {
        0 => rare[fastrand::usize(..rare.len())],
        _ => odd[fastrand::usize(..odd.len())],
    };
    (0..fastrand::usize(..8)).map(part).collect()
}

async fn batches_that_others_leave_open_are_waited_for(nats: &NatsCluster) {
    let engine = engine(nats, "open").await;
    let stream = stream(nats, "open").await;
    // As many as a server takes.
    for number in 0..50 {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", format!("other{number}"));
        headers.insert("Nats-Batch-Sequence", "1");
        let opened = stream
            .client()
            .request_with_headers("open.x", headers, "1".into());
        let answer = timeout(PATIENCE, opened)
            .await
            .expect("in time")
            .expect("an answer");
        assert!(answer.payload.is_empty(), "{answer:?}");
    }
    let published = publish(&engine, batch(&["a", "b"])).await;
    assert_eq!(published, new(1..=2));
    assert_eq!(stream.all().await.len(), 2);
}

async fn nothing_is_appended_once_the_vids_run_out(nats: &NatsCluster) {
    let mut options = nats.options("last");
    options.first_vid = Some(limits::MAX_VID - 1000);
    let engine = open(options).await;
    let now = Moment {
        time_ms: 0,
        counted_ms: 0,
    };
    let error = engine.append(vec![batch(&["a"])], now).await;
    assert_eq!(error.expect_err("no vids").kind(), ErrorKind::StorageFull);
    assert!(engine.writable().is_err());
    assert!(stream(nats, "last").await.all().await.is_empty());
}

/// Single events: of a batch a server by itself may store the beginning, and then it says nothing.
#[tokio::test]
async fn a_stream_without_space_says_so_and_is_written_again_when_it_has_some() {
    let nats = NatsCluster::start_setup(&NatsSetup {
        servers: 1,
        jetstream: "max_file: 2MB".to_owned(),
        ..NatsSetup::default()
    })
    .await;
    let mut required = requirements();
    required.retention.max_bytes = 1 << 20;
    let engine = JetStreamEngine::open(nats.options("full"), required).await;
    let engine = engine.expect("an engine");
    let stream = stream(&nats, "full").await;
    stream
        .update(|config| config["max_bytes"] = (-1).into())
        .await;

    let data = "x".repeat(100_000);
    let error = loop {
        let batch = vec![event("a", "", &data)];
        let answer = append(&engine, vec![batch]).await.batches.remove(0);
        if let Err(error) = answer {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(engine.writable().is_err());

    stream.purge(&json!({})).await;
    publish(&engine, batch(&["a", "b"])).await;
    assert!(engine.writable().is_ok());
}

#[tokio::test]
async fn events_whose_outcome_is_unknown_are_stored_once_though_each_try_is_delivered() {
    let nats = NatsCluster::start(1).await;
    let engines = [engine(&nats, "frozen").await, engine(&nats, "frozen").await];
    let stream = stream(&nats, "frozen").await;
    for engine in &engines {
        publish(engine, batch(&["first"])).await;
    }

    nats.servers[0].freeze();
    let (without_ids, with_ids) = tokio::join!(
        refused(&engines[0], batch(&["", ""])),
        refused(&engines[1], batch(&["a", "b"])),
    );
    for error in [without_ids, with_ids] {
        assert_eq!(error.kind(), ErrorKind::Behind);
        assert!(
            error.to_string().contains("may have been stored"),
            "{error}"
        );
    }
    assert!(engines[0].writable().is_err());
    // What waited behind them is not kept as long, and was not sent to anybody.
    let began = tokio::time::Instant::now();
    let error = refused(&engines[0], batch(&["c"])).await;
    assert!(began.elapsed() < limits::NATS_PUBLISH_DEADLINE);
    assert!(error.to_string().contains("Nothing was stored"), "{error}");
    nats.servers[0].thaw();

    // The server had taken the first tries, and stores them now.
    let count = async |data: &str| {
        let all = stream.all().await;
        all.values()
            .filter(|stored| stored.data == data.as_bytes())
            .count()
    };
    let delivered = async {
        while count("/0").await == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, delivered).await.expect("the first tries");
    let again = publish(&engines[0], batch(&["b", "c", "a"])).await;
    let known: Vec<_> = again.iter().map(|(_, known)| *known).collect();
    assert_eq!(known, [true, false, true]);
    assert!(engines[0].writable().is_ok());
    for data in ["/0", "/1", "a/0", "b/1", "c/1"] {
        assert_eq!(count(data).await, 1, "{data}");
    }
}

#[tokio::test]
async fn what_an_unanswered_try_has_stored_is_new_and_no_duplicate() {
    let nats = NatsCluster::start(1).await;
    let engine = engine(&nats, "pause").await;
    publish(&engine, batch(&["first"])).await;

    let groups = [
        (batch(&["a", "b"]), 2..=3),
        (batch(&["c", "", ""]), 4..=6),
        (batch(&["d"]), 7..=7),
        (batch(&[""]), 8..=8),
    ];
    for (group, vids) in groups {
        nats.servers[0].freeze();
        let thaw = async {
            // The second try is on its way when the first one is stored.
            sleep(limits::NATS_PUBLISH_ANSWER_WAIT + 2 * limits::NATS_PUBLISH_PAUSE).await;
            nats.servers[0].thaw();
        };
        let (published, ()) = tokio::join!(publish(&engine, group), thaw);
        assert_eq!(published, new(vids));
    }
    assert_eq!(stream(&nats, "pause").await.all().await.len(), 8);
    // Whoever publishes such an event anew gets a duplicate, whatever the first one went through.
    assert_eq!(publish(&engine, batch(&["d"])).await, [(7, true)]);
}

#[tokio::test]
async fn nothing_is_lost_or_stored_twice_when_the_leader_dies() {
    let mut nats = NatsCluster::start(3).await;
    let engines = [engine(&nats, "kill").await, engine(&nats, "kill").await];
    let stream = stream(&nats, "kill").await;
    let done = Arc::new(AtomicBool::new(false));
    let writers = engines.into_iter().enumerate().map(|(name, engine)| {
        let done = done.clone();
        tokio::spawn(async move { write_until(&engine, name, &done).await })
    });
    let writers: Vec<_> = writers.collect();

    until_it_grows(&stream).await;
    let leader = stream.until_leader().await;
    nats.server(&leader).kill();
    until_it_grows(&stream).await;
    nats.server(&leader).start();
    done.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("a writer"));
    }
    nats.until_ready().await;
    check_history(&acknowledged, &stream.all().await);
}

/// Publishes groups, some with ids and some without, and returns what was acknowledged.
async fn write_until(
    engine: &JetStreamEngine,
    name: usize,
    done: &AtomicBool,
) -> BTreeMap<Vid, String> {
    let mut acknowledged = BTreeMap::new();
    let mut group = 0;
    while !done.load(Ordering::Relaxed) {
        group += 1;
        let texts =
            |batch: usize| (0..=batch * 2).map(move |i| format!("{name} {group:06} {batch} {i}"));
        let batches = (0..=(group % 3)).map(|batch| {
            let id = |text: &str| {
                if group % 2 == 0 {
                    text.to_owned()
                } else {
                    String::new()
                }
            };
            texts(batch)
                .map(|text| event("a", &id(&text), &text))
                .collect()
        });
        let appended = append(engine, batches.collect()).await;
        for (batch, answer) in appended.batches.into_iter().enumerate() {
            let receipts = answer.expect("a success");
            for (receipt, text) in receipts.into_iter().zip(texts(batch)) {
                assert!(!receipt.duplicate, "{text}");
                acknowledged.insert(receipt.vid, text);
            }
        }
    }
    acknowledged
}

async fn until_it_grows(stream: &NatsStream) {
    let last = async || {
        let info = stream.info().await?;
        info["state"]["last_seq"].as_u64()
    };
    let growing = async {
        let mut before = None;
        loop {
            match (before, last().await) {
                (Some(before), Some(now)) if now > before + 200 => return,
                (None, now) => before = now,
                _ => {}
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, growing).await.expect("it grows");
}

fn check_history(acknowledged: &BTreeMap<Vid, String>, stored: &BTreeMap<Vid, Stored>) {
    let stored: BTreeMap<Vid, String> = stored
        .iter()
        .map(|(vid, stored)| (*vid, String::from_utf8(stored.data.clone()).expect("text")))
        .collect();
    // Each group was answered, so nothing else is there: nothing lost, nothing twice.
    assert_eq!(acknowledged.len(), stored.len());
    assert_eq!(acknowledged, &stored);
    for name in ["0 ", "1 "] {
        let own: Vec<_> = stored
            .values()
            .filter(|text| text.starts_with(name))
            .collect();
        assert!(own.is_sorted(), "events of one publisher are out of order");
    }
}
