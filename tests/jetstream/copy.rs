//! `vidette copy`: between data folders and streams, in both directions, also when it is killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream;
use serde_json::Value;
use tempfile::TempDir;
use vidette::engine::{
    Engine, JetStreamEngine, JetStreamOptions, Moment, PageBudget, ReadRequest, Retention,
    SqliteEngine,
};
use vidette::event::{Event, EventParts, NewEvent};
use vidette::limits::PAGE_EVENTS;
use vidette::topic::{Filter, Topic};

use crate::common::engines::DEDUPE_WINDOW;
use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::common::nats::{NatsCluster, requirements};

/// What two logs are compared by.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    vid: u64,
    time_ms: i64,
    sent: NewEvent,
}

fn shown(event: &Arc<Event>) -> Shown {
    Shown {
        vid: event.vid,
        time_ms: event.time_ms,
        sent: event.sent.clone(),
    }
}

/// All events of a log, in its order.
async fn events_of(engine: &dyn Engine) -> Vec<Shown> {
    let bounds = engine.state().bounds;
    let (mut events, mut after) = (Vec::new(), bounds.first - 1);
    while after < bounds.last {
        let request = ReadRequest {
            after,
            through: bounds.last,
            filter: Filter::parse([">", "vidette.>"]).expect("a filter"),
            budget: PageBudget::of_events(PAGE_EVENTS),
        };
        let page = engine.read(request).await.expect("a page");
        events.extend(page.events.iter().map(shown));
        after = page.through;
    }
    events
}

fn open_folder(folder: &Path) -> SqliteEngine {
    SqliteEngine::open(folder, DEDUPE_WINDOW).expect("an engine")
}

async fn open_stream(nats: &NatsCluster, stream: &str) -> JetStreamEngine {
    let options = JetStreamOptions {
        create: false,
        ..nats.options(stream)
    };
    let opened = JetStreamEngine::open(options, requirements()).await;
    opened.expect("an engine")
}

async fn events_of_folder(folder: &Path) -> Vec<Shown> {
    events_of(&open_folder(folder)).await
}

async fn events_of_stream(nats: &NatsCluster, stream: &str) -> Vec<Shown> {
    events_of(&open_stream(nats, stream).await).await
}

/// Are these the same, event by event?
#[track_caller]
fn assert_same(copied: &[Shown], original: &[Shown]) {
    let differing = copied
        .iter()
        .zip(original)
        .find(|(one, other)| one != other);
    assert!(differing.is_none(), "{differing:?}");
    assert_eq!(copied.len(), original.len());
}

/// Events of every form that there is.
fn all_forms() -> Vec<NewEvent> {
    let headers = vec![
        ("trace id".to_owned(), " two\nlines ".to_owned()),
        ("trace id".to_owned(), "ñ".to_owned()),
    ];
    let forms = [
        ("door.3", None, None, None, "{\"n\": 1.50}"),
        ("tür.ñ", Some("opened"), Some("an id"), None, "text"),
        (
            "a",
            None,
            Some(" outer "),
            Some("text/plain; charset=latin1"),
            "\u{ff}",
        ),
        (
            "b.c",
            Some(" x "),
            Some("~mark"),
            Some("image/png"),
            "\u{0}\u{1}",
        ),
    ];
    let forms = forms.map(|(topic, kind, id, content_type, data)| EventParts {
        topic,
        kind,
        id,
        content_type,
        headers: headers.clone(),
        data: data.into(),
    });
    let mut checked = forms.map(|parts| NewEvent::check(parts, 100).expect("an event"));
    // A dead letter of a source, whose topic no publisher may have.
    checked[0].topic = Topic::trusted("vidette.dead.gearman");
    checked.into()
}

fn number(n: usize) -> NewEvent {
    let (topic, id) = (format!("door.{}", n % 7), format!("id {n}"));
    let parts = EventParts {
        topic: &topic,
        id: Some(&id),
        data: format!("{{\"n\":{n}}}").into(),
        ..EventParts::default()
    };
    NewEvent::check(parts, 100).expect("an event")
}

fn now() -> Moment {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since_1970.expect("a clock").as_millis();
    i64::try_from(ms).expect("a time").into()
}

async fn append(engine: &dyn Engine, events: Vec<NewEvent>, at: Moment) {
    for batch in events.chunks(1000) {
        let appended = engine.append(vec![batch.to_vec()], at).await;
        let batches = appended.expect("an answer").batches;
        assert!(batches.iter().all(Result::is_ok), "{batches:?}");
    }
}

/// A log in a folder with so many events, the oldest of which are an hour old.
async fn make_folder(folder: &Path, count: usize) {
    let engine = open_folder(folder);
    let hour_ago: Moment = (now().time_ms - 3_600_000).into();
    append(&engine, all_forms(), hour_ago).await;
    append(&engine, (0..count).map(number).collect(), now()).await;
}

fn folder_in(place: &TempDir, name: &str) -> PathBuf {
    place.path().join(name)
}

fn address(nats: &NatsCluster, stream: &str) -> String {
    let servers = nats.urls().join(",");
    format!("{servers}/{stream}")
}

/// The command, with the replicas of the cluster where it creates a stream.
fn copy(
    from: &dyn AsRef<std::ffi::OsStr>,
    to: &dyn AsRef<std::ffi::OsStr>,
    flags: &[&str],
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
    command.arg("copy").arg("--from").arg(from);
    command.arg("--to").arg(to).args(flags);
    // Servers reserve what a stream may grow to.
    command.env("VIDETTE_RETENTION__MAX_BYTES", "67108864");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr];
    texts.map(|text| String::from_utf8_lossy(text)).concat()
}

/// Runs it to its end: what it has said.
fn done(mut command: Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// Runs it where it must refuse.
fn refused(mut command: Command) -> String {
    let output = command.output().expect("it runs");
    assert!(!output.status.success(), "{}", said(&output));
    said(&output)
}

/// Polls until it holds, while the process runs. False where the process has ended.
async fn holds_while_running<F>(process: &mut Child, holds: impl Fn() -> F) -> bool
where
    F: Future<Output = bool>,
{
    let until = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < until {
        if holds().await {
            return true;
        }
        if process.try_wait().expect("its state").is_some() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it has not come so far");
}

#[tokio::test]
async fn a_log_with_holes_comes_back_from_a_stream_as_it_was() {
    let (nats, place) = (
        NatsCluster::start(1).await,
        TempDir::new().expect("a folder"),
    );
    let options = JetStreamOptions {
        first_vid: Some(501),
        ..nats.options("origin")
    };
    let origin = JetStreamEngine::open(options, requirements()).await;
    let origin = origin.expect("an engine");
    let context = jetstream::new(nats.client().await);
    let store_no_event = async || {
        let stored = context.publish("origin.a.*", "1".into()).await;
        stored.expect("sent").await.expect("stored");
    };

    // Holes at the begin, in the middle and at the end.
    store_no_event().await;
    append(&origin, all_forms(), now()).await;
    store_no_event().await;
    store_no_event().await;
    append(&origin, (0..2500).map(number).collect(), now()).await;
    store_no_event().await;
    drop(origin);

    let (one, two) = (folder_in(&place, "one"), folder_in(&place, "two"));
    let [first, second] = ["origin", "second"].map(|stream| address(&nats, stream));
    let text = done(copy(&first, &one, &[]));
    assert!(text.contains("2,504 events"), "{text}");
    assert!(
        text.contains("vids 501 to 3008 are kept, 4 of them without an event"),
        "{text}"
    );
    done(copy(&one, &second, &["--create", "--replicas", "1"]));
    done(copy(&second, &two, &[]));

    let original = events_of_stream(&nats, "origin").await;
    assert_eq!(original.len(), 2504);
    assert_eq!((original[0].vid, original[2503].vid), (502, 3007));
    for copied in [
        events_of_folder(&one).await,
        events_of_stream(&nats, "second").await,
        events_of_folder(&two).await,
    ] {
        assert_same(&copied, &original);
    }
    for state in [
        open_folder(&one).state(),
        open_stream(&nats, "second").await.state(),
        open_folder(&two).state(),
    ] {
        assert_eq!((state.bounds.first, state.bounds.last), (501, 3008));
    }
    let text = done(copy(&first, &two, &[]));
    assert!(text.contains("nothing to copy"), "{text}");
}

#[tokio::test]
async fn cursors_of_the_source_are_good_on_a_copy_up_to_where_it_was_copied() {
    let (nats, place) = (
        NatsCluster::start(1).await,
        TempDir::new().expect("a folder"),
    );
    let (source, folder) = (folder_in(&place, "source"), folder_in(&place, "folder"));
    make_folder(&source, 100).await;
    let epoch = open_folder(&source).state().lineage.epoch().clone();
    done(copy(
        &source,
        &address(&nats, "doors"),
        &["--create", "--replicas", "1"],
    ));
    done(copy(&address(&nats, "doors"), &folder, &[]));

    let flags = ["--stream", "doors", "--nats"].map(str::to_owned);
    let on_stream = Gateway::start_with(Setup {
        engine: "jetstream",
        flags: flags.into_iter().chain(nats.urls()).collect(),
        ..Setup::default()
    });
    let on_folder = Gateway::start_at(Setup::default(), &folder);
    for gateway in [&on_stream, &on_folder] {
        until_ready(gateway).await;
        let event = serde_json::json!({"topic": "new", "data": 1});
        gateway.publish(&event).await;
        // An id of the last minutes is still compared.
        let event = serde_json::json!({"topic": "new", "data": 1, "id": "id 5"});
        let answer = gateway.publish(&event).await;
        assert_eq!(
            (&answer["vid"], &answer["duplicate"]),
            (&10.into(), &true.into())
        );
        let poll = async |cursor: String| {
            let path = format!("/v1/poll?wait=0&limit=1&after={cursor}-{epoch}");
            gateway.get(&path).await
        };
        let answer = poll("50".into()).await;
        assert_eq!(
            (&answer["gap"], &answer["events"][0]["vid"]),
            (&Value::Null, &51.into())
        );
        let answer = poll("104".into()).await;
        assert_eq!(
            (&answer["gap"], &answer["events"][0]["vid"]),
            (&Value::Null, &105.into())
        );

        // Of a vid that the source may give to another event.
        assert_eq!(poll("105".into()).await["gap"]["reason"], "reset");
        // By the times that events had on the source.
        let since = gateway.get("/v1/poll?wait=0&limit=1&since=30m").await;
        assert_eq!(since["events"][0]["vid"], 5);
    }
}

async fn until_ready(gateway: &Gateway) {
    let is_ready = || async {
        let answer = reqwest::get(format!("{}/readyz", gateway.url())).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    gateway.until("ready", is_ready).await;
}

#[tokio::test]
async fn a_copy_that_is_killed_goes_on_where_it_was() {
    let (nats, place) = (
        NatsCluster::start(1).await,
        TempDir::new().expect("a folder"),
    );
    let (source, target) = (folder_in(&place, "source"), folder_in(&place, "target"));
    make_folder(&source, 12_000).await;
    publish_an_id_again(&source).await;
    let stream = address(&nats, "doors");
    let context = jetstream::new(nats.client().await);
    let last_of_stream = async || match context.get_stream("doors").await {
        Ok(stream) => stream.cached_info().state.last_sequence,
        Err(_) => 0,
    };

    let mut kills = 0;
    for killed_at in [1, 2000, 6000] {
        let command = copy(&source, &stream, &["--create", "--replicas", "1"]);
        kills += killed_when(command, async || last_of_stream().await >= killed_at).await;
    }
    assert!(kills >= 2, "only {kills} kills");
    let unfinished = JetStreamEngine::open(nats.options("doors"), requirements()).await;
    let text = unfinished.err().expect("a refusal").to_string();
    assert!(text.contains("has begun and not ended"), "{text}");
    let text = done(copy(&source, &stream, &[]));
    assert!(text.contains("goes on behind vid"), "{text}");
    let original = events_of_folder(&source).await;
    assert_same(&events_of_stream(&nats, "doors").await, &original);

    // And back, into a folder.
    let command = copy(&stream, &target, &[]);
    let kills = killed_when(command, async || newest_vid_noted(&target) > 0).await;
    assert_eq!(kills, 1);
    let text = done(copy(&stream, &target, &[]));
    assert!(text.contains("goes on behind vid"), "{text}");
    assert_same(&events_of_folder(&target).await, &original);
}

/// Publishes an id again, which the log has forgotten already.
async fn publish_an_id_again(folder: &Path) {
    let engine = SqliteEngine::open(folder, Duration::from_millis(1)).expect("an engine");
    append(&engine, vec![number(11_000)], now()).await;
}

/// The newest durable vid, which is noted beside the database twice a second.
fn newest_vid_noted(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let marks = files.filter(|f| {
        f.file_name()
            .to_string_lossy()
            .starts_with("vidette.newest")
    });
    let texts = marks.filter_map(|mark| std::fs::read_to_string(mark.path()).ok());
    let vids = texts.filter_map(|text| text.split('-').next()?.parse().ok());
    vids.max().unwrap_or(0)
}

/// Kills it as soon as that holds; 0 where it has ended before.
async fn killed_when<F>(mut command: Command, holds: impl Fn() -> F) -> usize
where
    F: Future<Output = bool>,
{
    let mut process = command.spawn().expect("it starts");
    let is_running = holds_while_running(&mut process, holds).await;
    process.kill().expect("it is killed");
    process.wait().expect("it has ended");
    usize::from(is_running)
}

#[tokio::test]
async fn into_a_log_with_events_of_its_own_events_come_once_and_with_new_vids() {
    let (nats, place) = (
        NatsCluster::start(1).await,
        TempDir::new().expect("a folder"),
    );
    let (source, folder) = (folder_in(&place, "source"), folder_in(&place, "folder"));
    make_folder(&source, 8_000).await;
    let stream = address(&nats, "doors");
    let on_stream = JetStreamEngine::open(nats.options("doors"), requirements()).await;
    let on_stream = on_stream.expect("an engine");
    append(&on_stream, vec![number(1_000_000)], now()).await;
    append(&open_folder(&folder), vec![number(1_000_000)], now()).await;
    for target in [stream.as_str(), folder.to_str().expect("a path")] {
        let text = refused(copy(&source, &target, &[]));
        assert!(
            text.contains("--renumber") && text.contains("vids are 1 to 1"),
            "{text}"
        );
    }

    // Killed, with others who append to the stream meanwhile.
    let last = async || on_stream.confirmed_last().await.unwrap_or(0);
    let renumber = || copy(&source, &stream, &["--renumber"]);
    let kills = killed_when(renumber(), async || last().await >= 3000).await;
    assert_eq!(kills, 1);
    append(&on_stream, vec![number(2_000_000)], now()).await;
    let text = done(renumber());
    assert!(text.contains("goes on behind vid"), "{text}");
    done(copy(&source, &folder, &["--renumber"]));
    for again in [renumber(), copy(&source, &folder, &["--renumber"])] {
        let text = done(again);
        assert!(text.contains("nothing to copy"), "{text}");
    }

    let own = [number(1_000_000), number(2_000_000)];
    let without_own = |events: Vec<Shown>| {
        let sent = events.into_iter().map(|event| event.sent);
        let copied: Vec<_> = sent.filter(|sent| !own.contains(sent)).collect();
        copied
    };
    let original = without_own(events_of_folder(&source).await);
    assert!(without_own(events_of_stream(&nats, "doors").await) == original);
    let renumbered = events_of_folder(&folder).await;
    assert!(
        renumbered.is_sorted_by_key(|event| event.time_ms),
        "times never fall"
    );
    assert!(without_own(renumbered) == original);
}

#[tokio::test]
async fn a_source_may_be_in_use_and_what_has_come_since_is_copied_by_the_next_run() {
    let place = TempDir::new().expect("a folder");
    let (source, target) = (folder_in(&place, "source"), folder_in(&place, "target"));
    let gateway = Gateway::start_at(Setup::default(), &source);
    gateway.publish_numbers("door.1", 10).await;
    done(copy(&source, &target, &[]));
    gateway.publish_numbers("door.1", 5).await;
    let text = done(copy(&source, &target, &[]));
    assert!(
        text.contains("goes on behind vid 10") && text.contains("5 events"),
        "{text}"
    );
    let text = refused(copy(&target, &source, &[]));
    assert!(text.contains("is held by another process"), "{text}");

    drop(gateway);
    let events = events_of_folder(&target).await;
    assert_eq!(events.len(), 15);
    assert_same(&events, &events_of_folder(&source).await);
    assert_eq!(
        open_folder(&source).state().lineage.earlier().len(),
        0,
        "left as it was"
    );
}

#[tokio::test]
async fn what_would_not_end_well_is_refused_before_anything_is_written() {
    let (nats, place) = (
        NatsCluster::start(1).await,
        TempDir::new().expect("a folder"),
    );
    let (source, target) = (folder_in(&place, "source"), folder_in(&place, "target"));
    let text = refused(copy(&source, &target, &[]));
    assert!(text.contains("there is no log in"), "{text}");
    make_folder(&source, 100).await;
    let text = refused(copy(&source, &source, &[]));
    assert!(text.contains("the same log"), "{text}");

    let config = folder_in(&place, "small.toml");
    std::fs::write(&config, "[retention]\nmax_events = 50\n").expect("a file");
    let config = config.to_str().expect("a path");
    let text = refused(copy(&source, &target, &["--to-config", config]));
    assert!(text.contains("104 events, and keeps 50"), "{text}");
    let stream = address(&nats, "doors");
    let create = ["--create", "--replicas", "1", "--to-config", config];
    let text = refused(copy(&source, &stream, &create));
    assert!(text.contains("retention.max_events"), "{text}");
}

#[tokio::test]
async fn a_copy_goes_on_when_the_leader_of_its_stream_dies() {
    let (mut nats, place) = (
        NatsCluster::start(3).await,
        TempDir::new().expect("a folder"),
    );
    let source = folder_in(&place, "source");
    make_folder(&source, 12_000).await;
    let stream = address(&nats, "doors");
    let context = jetstream::new(nats.client().await);
    // What is asked while the stream is being created may be lost.
    let info = async || {
        let asked = context.get_stream("doors");
        let stream = tokio::time::timeout(Duration::from_millis(200), asked).await;
        Some(stream.ok()?.ok()?.cached_info().clone())
    };
    let mut process = copy(&source, &stream, &["--create"])
        .spawn()
        .expect("it starts");
    let has_begun = async || {
        let info = info().await;
        info.is_some_and(|info| info.state.last_sequence >= 2000)
    };
    let is_running = holds_while_running(&mut process, has_begun).await;
    let cluster = info().await.and_then(|info| info.cluster);
    let leader = cluster
        .and_then(|cluster| cluster.leader)
        .expect("a leader");
    nats.server(&leader).kill();

    let output = process.wait_with_output().expect("it ends");
    assert!(is_running && output.status.success(), "{}", said(&output));
    nats.server(&leader).start();
    nats.until_ready().await;
    let original = events_of_folder(&source).await;
    assert_same(&events_of_stream(&nats, "doors").await, &original);
}

/// A log whose events have all left it still says which vid is the next one.
#[tokio::test]
async fn an_empty_log_hands_on_its_next_vid() {
    let (nats, place) = (
        NatsCluster::start(1).await,
        TempDir::new().expect("a folder"),
    );
    let (source, target) = (folder_in(&place, "source"), folder_in(&place, "target"));
    make_folder(&source, 10).await;
    let engine = open_folder(&source);
    let nothing = Retention {
        max_events: 0,
        ..requirements().retention
    };
    engine
        .trim(nothing, now().counted_ms)
        .await
        .expect("trimmed");
    drop(engine);
    done(copy(
        &source,
        &address(&nats, "doors"),
        &["--create", "--replicas", "1"],
    ));
    done(copy(&address(&nats, "doors"), &target, &[]));
    for bounds in [
        open_stream(&nats, "doors").await.state().bounds,
        open_folder(&target).state().bounds,
    ] {
        assert_eq!((bounds.first, bounds.last), (15, 14));
    }
}
