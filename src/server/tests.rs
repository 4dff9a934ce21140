//! Connections of a whole gateway over streams that are no sockets, and their configuration
//! replaced while they are served.

mod addresses;
mod encrypted;
mod ending;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::ConnectionContext;
use super::io::Io;
use super::{Gateway, LiveConfig};
use crate::bus::Bus;
use crate::caller::Caller;
use crate::config::{Config, Overrides};
use crate::engine::MemoryEngine;
use crate::event::{EventParts, NewEvent};
use crate::transport::PeerAddress;

const PATIENCE: Duration = Duration::from_secs(20);
const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 7);
/// Bytes that a stream holds between its two ends, unless a test says otherwise.
const STREAM_BYTES: usize = 1 << 20;

fn config(text: &str) -> Config {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:0".to_owned()],
        ..Overrides::default()
    };
    Config::parse(text, overrides).expect("a configuration")
}

/// A gateway whose connections a test makes itself.
struct TestGateway {
    context: Arc<ConnectionContext>,
    live: LiveConfig,
    bus: Bus,
}

impl TestGateway {
    async fn start(text: &str) -> Self {
        let engine = Arc::new(MemoryEngine::new(Duration::from_secs(60)));
        let gateway = Gateway::start_on(engine, &config(text)).await;
        let gateway = gateway.expect("a gateway");
        TestGateway {
            context: Arc::new(gateway.context()),
            live: gateway.live_config(),
            bus: gateway.bus().clone(),
        }
    }

    /// A connection whose two ends hold so many bytes between them.
    fn connect(&self, bytes: usize) -> Connected {
        let (near, far) = tokio::io::duplex(bytes);
        self.context
            .begin(Io::Memory(near), PeerAddress::Ip(PEER.into()));
        Connected(far)
    }

    /// Waits until the gateway has noticed which connections have ended.
    async fn until_open_are(&self, count: usize) {
        let are_open = async {
            while self.context.admission.open() != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, are_open).await.expect("in time");
    }

    async fn publish(&self, data: impl Into<Bytes>) {
        let parts = EventParts {
            topic: "door.1",
            data: data.into(),
            ..EventParts::default()
        };
        let event = NewEvent::check(parts, 1 << 20).expect("an event");
        let published = self.bus.publish(&Caller::gateway(), vec![event]).await;
        published.expect("a receipt");
    }
}

/// The client's end of a connection.
struct Connected(DuplexStream);

impl Connected {
    async fn send(&mut self, request: &str) {
        let sent = self.0.write_all(request.as_bytes()).await;
        sent.expect("the gateway reads");
    }

    /// Reads until there is this text.
    async fn read_to(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&read).contains(text) {
                let count = self.0.read_buf(&mut read).await.expect("bytes");
                assert!(count > 0, "ended: {:?}", String::from_utf8_lossy(&read));
            }
        };
        timeout(PATIENCE, reading).await.expect("in time");
        String::from_utf8(read).expect("text")
    }

    /// Reads to the end.
    async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        let reading = timeout(PATIENCE, self.0.read_to_end(&mut read)).await;
        reading.expect("in time").expect("an end");
        String::from_utf8(read).expect("text")
    }

    /// Asks and reads an answer with a length, on a connection that stays open.
    async fn ask(&mut self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let length = match body.len() {
            0 => String::new(),
            bytes => format!("Content-Length: {bytes}\r\n"),
        };
        let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n");
        self.send(&format!("{head}{body}")).await;

        let mut answer = self.read_to("\r\n\r\n").await;
        let head_end = answer.find("\r\n\r\n").expect("a head") + 4;
        let mut body = answer.split_off(head_end).into_bytes();
        let length = answer.to_lowercase();
        let length = length.split("content-length: ").nth(1).expect("a length");
        let length: usize = length
            .lines()
            .next()
            .expect("a line")
            .parse()
            .expect("digits");
        let read = body.len();
        body.resize(length, 0);
        let rest = timeout(PATIENCE, self.0.read_exact(&mut body[read..])).await;
        rest.expect("in time").expect("a body");

        let status = answer[9..12].parse().expect("a status");
        (status, String::from_utf8(body).expect("text"))
    }

    async fn get(&mut self, target: &str) -> (u16, String) {
        self.ask(&format!("GET {target}"), "", "").await
    }
}

const EVENT: &str = r#"{"topic":"door.1","data":1}"#;

#[tokio::test]
async fn both_drivers_answer_over_a_stream_that_is_no_socket() {
    let gateway = TestGateway::start("").await;
    let mut stream = gateway.connect(STREAM_BYTES);

    // First by the lean driver, then on the same connection by hyper.
    let (status, receipt) = stream.ask("POST /v1/events", "", EVENT).await;
    assert_eq!(
        (status, receipt.contains("\"vid\":1")),
        (200, true),
        "{receipt}"
    );
    let (status, polled) = stream.get("/v1/poll?after=0&wait=0").await;
    assert_eq!((status, polled.contains("door.1")), (200, true), "{polled}");
    let (status, of_hyper) = stream.get("/v1/bus").await;
    assert_eq!(
        (status, of_hyper.contains("\"last\":1")),
        (200, true),
        "{of_hyper}"
    );
    assert_eq!(stream.get("/v1/poll?after=0&wait=0").await.1, polled);
}

#[tokio::test]
async fn an_event_stream_goes_on_through_a_stream_that_holds_little() {
    let gateway = TestGateway::start("").await;
    // It holds the request, which the lean driver takes whole or not at all.
    let mut stream = gateway.connect(100);
    stream
        .send("GET /v1/sse?topic=door.1&format=raw HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    stream.read_to("vidette.hello").await;
    let long = "x".repeat(10_000);
    gateway.publish(long.clone()).await;
    gateway.publish("the end").await;
    let read = stream.read_to("the end\n\n").await;
    assert!(read.contains(&format!("data: {long}\n\n")));
}

/// A client of HTTP/2.
async fn connect_h2(stream: Connected) -> SendRequest<Bytes> {
    let (requests, connection) = h2::client::handshake(stream.0).await.expect("HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    requests.ready().await.expect("a stream")
}

#[tokio::test]
async fn http2_is_answered_over_such_a_stream_too() {
    let gateway = TestGateway::start("").await;
    let mut requests = connect_h2(gateway.connect(STREAM_BYTES)).await;
    let request = Request::get("http://localhost/v1/poll?wait=0").body(());
    let (answer, _) = requests
        .send_request(request.expect("a request"), true)
        .expect("sent");
    let answer = timeout(PATIENCE, answer).await.expect("in time");
    assert_eq!(answer.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_peer_that_sends_no_more_is_answered_at_once() {
    let gateway = TestGateway::start("").await;
    let mut stream = gateway.connect(STREAM_BYTES);
    stream
        .send("GET /v1/poll?wait=100 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    stream.0.shutdown().await.expect("its end is sent");
    let answer = stream.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_cut_and_no_longer_counted() {
    let gateway = TestGateway::start("[limits]\nwrite_timeout = \"5s\"").await;
    gateway.publish("x".repeat(1000)).await;
    for by_hyper in ["", "Content-Length: 0\r\n"] {
        let mut stream = gateway.connect(200);
        let poll = "GET /v1/poll?after=0&wait=0 HTTP/1.1\r\nHost: localhost\r\n";
        stream.send(&format!("{poll}{by_hyper}\r\n")).await;
        gateway.context.admission.tracker.close();
        let gone = timeout(PATIENCE, gateway.context.admission.tracker.wait()).await;
        gone.expect("it is cut");
    }
}

#[tokio::test]
async fn over_the_limit_a_connection_is_answered_so() {
    let gateway = TestGateway::start("[limits]\nmax_connections = 1").await;
    let mut first = gateway.connect(STREAM_BYTES);
    assert_eq!(first.get("/healthz").await.0, 200);
    let refused = gateway.connect(STREAM_BYTES).read_to_end().await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    let text = "connection limit reached (limits.max_connections); retry shortly";
    assert!(refused.contains(text), "{refused}");
    assert_eq!(first.get("/healthz").await.0, 200);
}

const BEFORE: &str = "[legacy]\npath = \"/before.php\"\nwait = \"1ms\"";
const AFTER: &str = "[legacy]\npath = \"/after.php\"\nwait = \"1ms\"\n\
    [origins]\nallow = [\"https://a.test\"]\n[limits]\nmax_connections = 9";

/// Asks again and again, until both configurations have answered it; each answer is whole, and
/// of one of them.
async fn ask_until_replaced(mut stream: Connected) {
    loop {
        let (before, _) = stream.get("/before.php").await;
        let origin = "Origin: https://a.test\r\n";
        let (posted, receipt) = stream.ask("POST /v1/events", origin, EVENT).await;
        let (after, _) = stream.get("/after.php").await;
        assert!(matches!(before, 200 | 404), "{before}");
        assert!(matches!(after, 200 | 404), "{after}");
        assert!(matches!(posted, 200 | 403), "{posted} {receipt}");

        // Once the new one has answered, the old one never does again.
        if before == 404 {
            assert_eq!((posted, after), (200, 200));
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_requests_follow_a_new_configuration_and_old_streams_live_on() {
    let gateway = TestGateway::start(BEFORE).await;
    let mut stream = gateway.connect(STREAM_BYTES);
    stream
        .send("GET /v1/sse?topic=door.1&format=raw HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    stream.read_to("vidette.hello").await;
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let mut connection = gateway.connect(STREAM_BYTES);
        assert_eq!(connection.get("/before.php").await.0, 200);
        asking.spawn(ask_until_replaced(connection));
    }

    assert!(gateway.live.replace(&config(AFTER)).is_empty());
    let asked = timeout(PATIENCE, asking.join_all()).await;
    asked.expect("the new configuration is followed");

    // The stream of before goes on, and counts under the new limit.
    gateway.until_open_are(1).await;
    gateway.publish("still here").await;
    stream.read_to("still here").await;
    let mut open: Vec<_> = (0..8).map(|_| gateway.connect(STREAM_BYTES)).collect();
    for connection in &mut open {
        assert_eq!(connection.get("/after.php").await.0, 200);
    }
    let refused = gateway.connect(STREAM_BYTES).read_to_end().await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
}

#[tokio::test]
async fn what_only_a_restart_changes_is_named() {
    let gateway = TestGateway::start("").await;
    let same = gateway.live.replace(&config("[pages]\nstart = false"));
    assert!(same.is_empty(), "{same:?}");
    let text = "engine = \"memory\"\n[limits]\nmemory_budget = 200000000\nmax_event_bytes = 5\n\
        [bus]\nheartbeat = \"9s\"\n[[source.gearman]]\nfunction = \"f\"\ntopic = \"a\"";
    let named = gateway.live.replace(&config(text));
    let expected = [
        "engine, data_dir, jetstream",
        "limits.memory_budget",
        "source",
        "bus.heartbeat",
        "limits.max_event_bytes",
        "retention.dedupe_window",
    ];
    assert_eq!(named, expected);
}
