//! The hot paths as fixed scripts, over what the crate shows: the same work each time, on one
//! thread.
//!
//! `cargo test --test counts` counts their instructions, `cargo bench --bench hot_paths` measures
//! their time.

#[path = "tokens.rs"]
mod tokens;

use std::sync::Arc;
use std::time::Duration;
use vidette::caller::Caller;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Streaming;
use vidette::bus::{Bus, BusOptions, OnGap, Step, SubscribeRequest, Subscription};
use vidette::config::{Config, Overrides};
use vidette::cursor::Start;
use vidette::engine::{Engine, MemoryEngine, Retention, SqliteEngine};
use vidette::event::{EventParts, NewEvent};
use vidette::proto::event_bus_client::EventBusClient;
use vidette::proto::subscribe_response::Message;
use vidette::proto::{self, SubscribeResponse};
use vidette::server::Gateway;
use vidette::topic::{Filter, Topic};

const HOUR: Duration = Duration::from_secs(3600);
/// In the data of each event, so that a reader can count them in raw bytes.
const MARK: u8 = b'~';
const DATA: &str = "{\"door\":3,\"open\":true,\"by\":\"~\",\"text\":\"as long as an event is that somebody would really send\"}";

/// A script's name, what it does, and one unit of it that is counted.
pub(crate) const SCRIPTS: [(&str, &str); 15] = [
    ("match", "a topic matched with a filter of 60 patterns"),
    ("append", "an event appended, in a batch of 10, in memory"),
    (
        "commit",
        "an event published and committed on disk, in a transaction of its own",
    ),
    ("page", "an event read from the ring, 1,000 a page"),
    (
        "wake",
        "an event to 1 of 500 waiting subscriptions of their own topics",
    ),
    (
        "wild",
        "an event beside 2,000 wildcards of 20 subscriptions, one of which matches",
    ),
    (
        "come",
        "a subscription of 100 wildcards that comes and goes beside 2,000 others",
    ),
    ("sse", "an event encoded and delivered to 20 readers by SSE"),
    (
        "poll",
        "an event delivered to 5 long-polls, each answered and asked again",
    ),
    (
        "held",
        "a poll that waits and is answered by an event, one of 10 that wait for it",
    ),
    ("ready", "a poll that is answered at once"),
    (
        "grpc",
        "an event encoded and delivered to 20 streams by gRPC, and decoded there",
    ),
    ("known", "as sse, to 20 readers that have shown a token"),
    ("token", "a request with a token of ES256 that is new"),
    ("again", "a request with a token that has been verified"),
];

/// Runs so many units of a script.
pub(crate) async fn run(script: &str, units: u64) {
    match script {
        "match" => matching(units),
        "append" => append(units).await,
        "commit" => commit(units).await,
        "page" => page(units).await,
        "wake" => wake(units).await,
        "wild" => wild(units).await,
        "come" => come(units).await,
        "sse" => sse(units).await,
        "poll" => poll_together(units, 5).await,
        "held" => poll_together(units / 10, 10).await,
        "ready" => ready(units).await,
        "grpc" => grpc(units).await,
        "known" => tokens::known(units).await,
        "token" => tokens::new(units).await,
        "again" => tokens::again(units).await,
        other => panic!("no such script: {other}"),
    }
}

fn matching(units: u64) {
    let exact = (0..30).map(|n| format!("house.{n}.door.3"));
    let wild = (0..30).map(|n| {
        if n % 2 == 0 {
            format!("*.{n}.gate.*")
        } else {
            format!("garden.{n}.>")
        }
    });
    let patterns: Vec<String> = exact.chain(wild).collect();
    let filter = Filter::parse(patterns.iter().map(String::as_str)).expect("a filter");
    let topics = [
        "house.29.door.3",
        "house.7.gate.1",
        "garden.29.a.b.c",
        "nothing.of.the.kind",
    ];
    let topics = topics.map(|topic| Topic::for_publisher(topic).expect("a topic"));
    let matched = (0..)
        .zip(topics.iter().cycle())
        .take_while(|(n, _)| *n < units);
    let count = matched.filter(|(_, topic)| filter.matches(topic)).count();
    assert!(count as u64 <= units);
}

fn bus() -> Bus {
    bus_on(Arc::new(MemoryEngine::new(HOUR)))
}

fn bus_on(engine: Arc<dyn Engine>) -> Bus {
    let retention = Retention {
        max_age: HOUR,
        max_events: u64::MAX,
        max_bytes: u64::MAX,
        dedupe_window: HOUR,
    };
    let options = BusOptions {
        heartbeat: HOUR,
        max_subscribers: 10_000,
        max_event_bytes: 10_000,
        retention,
    };
    Bus::start(engine, options)
}

fn event(topic: &str) -> NewEvent {
    NewEvent::check(
        EventParts {
            topic,
            data: DATA.into(),
            ..EventParts::default()
        },
        10_000,
    )
    .expect("an event")
}

async fn publish(bus: &Bus, topic: &str) -> u64 {
    bus.publish(&Caller::gateway(), vec![event(topic)])
        .await
        .expect("a receipt")[0]
        .vid
}

async fn append(units: u64) {
    let bus = bus();
    for _ in 0..units / 10 {
        bus.publish(&Caller::gateway(), vec![event("house.7.door.3"); 10])
            .await
            .expect("receipts");
    }
}

async fn commit(units: u64) {
    let folder = TempDir::new().expect("a folder");
    let engine = SqliteEngine::open(folder.path(), HOUR).expect("a log");
    let bus = bus_on(Arc::new(engine));
    for _ in 0..units {
        publish(&bus, "house.7.door.3").await;
    }
}

async fn subscribe(bus: &Bus, topic: &str, start: Start) -> Subscription {
    subscribe_to(bus, &[topic], start).await
}

async fn subscribe_to(bus: &Bus, topics: &[impl AsRef<str>], start: Start) -> Subscription {
    let filter = Filter::parse(topics.iter().map(AsRef::as_ref)).expect("a filter");
    let request = SubscribeRequest {
        filter,
        start,
        on_gap: OnGap::Continue,
        limit: None,
    };
    Subscription::open(bus, &Caller::gateway(), request)
        .await
        .expect("a subscription")
}

/// Reads so many events.
async fn take(subscription: &mut Subscription, mut wanted: u64) {
    while wanted > 0 {
        if let Some(Step::Events(events, _)) = subscription.next().await.expect("no error") {
            wanted -= events.len() as u64;
        }
    }
}

async fn page(units: u64) {
    let bus = bus();
    bus.publish(&Caller::gateway(), vec![event("house.7.door.3"); 1000])
        .await
        .expect("receipts");
    for _ in 0..units / 1000 {
        take(&mut subscribe(&bus, "house.>", Start::Earliest).await, 1000).await;
    }
}

async fn wake(units: u64) {
    let bus = bus();
    let topics: Vec<String> = (0..500).map(|n| format!("house.{n}.door")).collect();
    let mut waiting = Vec::new();
    for topic in &topics {
        let mut subscription = subscribe(&bus, topic, Start::Latest).await;
        while !subscription.is_live() {
            subscription.next().await.expect("no error");
        }
        waiting.push(subscription);
    }
    for n in (0..500).cycle().take(usize::try_from(units).expect("few")) {
        publish(&bus, &topics[n]).await;
        take(&mut waiting[n], 1).await;
    }
}

fn wildcards(subscription: u64) -> Vec<String> {
    let pattern = |n| match n % 2 {
        0 => format!("house.{subscription}.*.{n}"),
        _ => format!("house.{subscription}.door.{n}.>"),
    };
    (0..100).map(pattern).collect()
}

async fn beside_wildcards() -> (Bus, Vec<Subscription>) {
    let (bus, mut others) = (bus(), Vec::new());
    for subscription in 0..20 {
        others.push(subscribe_to(&bus, &wildcards(subscription), Start::Latest).await);
    }
    (bus, others)
}

async fn wild(units: u64) {
    let (bus, _others) = beside_wildcards().await;
    for n in 0..units {
        publish(&bus, &format!("house.{}.window.4", n % 20)).await;
    }
}

async fn come(units: u64) {
    let (bus, _others) = beside_wildcards().await;
    let wildcards = wildcards(1000);
    for _ in 0..units {
        drop(subscribe_to(&bus, &wildcards, Start::Latest).await);
    }
}

/// A gateway in memory on this thread.
async fn gateway() -> (Bus, String) {
    gateway_with("").await
}

async fn gateway_with(settings: &str) -> (Bus, String) {
    let listen = vec!["127.0.0.1:0".parse().expect("an address")];
    let overrides = Overrides {
        listen,
        engine: Some("memory".to_owned()),
        ..Overrides::default()
    };
    let gateway = Gateway::start(&Config::parse(settings, overrides).expect("a configuration"))
        .await
        .expect("a gateway");
    let (bus, address) = (gateway.bus().clone(), gateway.addresses()[0].to_string());
    tokio::spawn(gateway.run(std::future::pending()));
    (bus, address)
}

async fn until_subscribed(bus: &Bus, count: usize) {
    while bus.subscribers() < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn ask(connection: &mut TcpStream, path: &str) {
    ask_with(connection, path, "").await;
}

async fn ask_with(connection: &mut TcpStream, path: &str, headers: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    connection
        .write_all(request.as_bytes())
        .await
        .expect("a request");
}

/// Reads up to the next event, and to the end of what came with it.
async fn read_event(connection: &mut TcpStream, buffer: &mut [u8], end: &[u8]) {
    let mut has_event = false;
    loop {
        let count = connection.read(buffer).await.expect("bytes");
        assert!(count > 0, "the gateway has closed the connection");
        has_event |= buffer[..count].contains(&MARK);
        if has_event && buffer[..count].ends_with(end) {
            return;
        }
    }
}

async fn sse(units: u64) {
    let (bus, address) = gateway().await;
    deliver(units, &bus, &address, &vec![String::new(); 20]).await;
}

/// Events to readers, each with these headers.
async fn deliver(units: u64, bus: &Bus, address: &str, headers: &[String]) {
    let (mut readers, mut buffer) = (Vec::new(), vec![0; 65_536]);
    for headers in headers {
        let mut reader = TcpStream::connect(address).await.expect("a connection");
        ask_with(&mut reader, "/v1/sse?topic=house.%3E", headers).await;
        readers.push(reader);
    }
    until_subscribed(bus, readers.len()).await;
    for _ in 0..units {
        publish(bus, "house.7.door.3").await;
        for reader in &mut readers {
            read_event(reader, &mut buffer, b"\n").await;
        }
    }
}

async fn poll_together(events: u64, pollers: usize) {
    let (bus, address) = gateway().await;
    let (mut readers, mut buffer) = (Vec::new(), vec![0; 65_536]);
    for _ in 0..pollers {
        readers.push(TcpStream::connect(&address).await.expect("a connection"));
    }
    let mut vid = publish(&bus, "house.7.door.3").await;
    for _ in 0..events {
        for reader in &mut readers {
            ask(reader, &format!("/v1/poll?topic=house.%3E&after={vid}")).await;
        }
        until_subscribed(&bus, readers.len()).await;
        vid = publish(&bus, "house.7.door.3").await;
        for reader in &mut readers {
            read_event(reader, &mut buffer, b"}").await;
        }
    }
}

async fn ready(units: u64) {
    let (bus, address) = gateway().await;
    let mut reader = TcpStream::connect(&address).await.expect("a connection");
    let seen = publish(&bus, "house.7.door.3").await;
    publish(&bus, "house.7.door.3").await;
    let (path, mut buffer) = (
        format!("/v1/poll?topic=house.%3E&after={seen}"),
        vec![0; 65_536],
    );
    for _ in 0..units {
        ask(&mut reader, &path).await;
        read_event(&mut reader, &mut buffer, b"}").await;
    }
}

async fn grpc(units: u64) {
    let (bus, address) = gateway().await;
    let client = EventBusClient::connect(format!("http://{address}"))
        .await
        .expect("a connection");
    let mut streams = Vec::new();
    for _ in 0..20 {
        let request = proto::SubscribeRequest {
            topic: vec!["house.>".to_owned()],
            ..Default::default()
        };
        streams.push(
            client
                .clone()
                .subscribe(request)
                .await
                .expect("a stream")
                .into_inner(),
        );
    }
    for _ in 0..units {
        publish(&bus, "house.7.door.3").await;
        for stream in &mut streams {
            next_batch(stream).await;
        }
    }
}

async fn next_batch(stream: &mut Streaming<SubscribeResponse>) {
    loop {
        let response = stream
            .message()
            .await
            .expect("no error")
            .expect("a message");
        if matches!(response.message, Some(Message::Events(_))) {
            return;
        }
    }
}
