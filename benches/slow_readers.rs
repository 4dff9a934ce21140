//! Live readers beside slow ones: `cargo bench --bench slow_readers`.
//!
//! A log of 1,000,000 events, 1,000 live readers of one topic, 20 events a second. Measured in
//! turn: the latency of the live readers alone, and beside one reader that reads nothing, one that
//! reads 1 kB a second and one that reads the whole log from its oldest event. Afterwards each of
//! the three reads to the end and must receive every event. Bounded: `SLOW_READERS_ROUNDS` (3)
//! rounds of twice `SLOW_READERS_SECONDS` (8); loopback only.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

const OLD_EVENTS: u64 = 1_000_000;
const BATCH: u64 = 10_000;
const LIVE_READERS: usize = 1000;
const EVENTS_PER_SECOND: u32 = 20;
const READ_WAIT: Duration = Duration::from_millis(500);

struct Gateway {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn start() -> Self {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(folder.path()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the gateway starts");
        Gateway {
            address: address(&mut child),
            child,
            _folder: folder,
        }
    }

    fn rss_mb(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.unwrap_or_default().trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().unwrap_or(0) / 1024
    }

    async fn metric(&self, name: &str) -> String {
        let url = format!("http://{}/metrics", self.address);
        let answer = reqwest::get(url).await.expect("metrics");
        let (text, name) = (answer.text().await.expect("text"), format!("{name} "));
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or("?").to_owned()
    }

    async fn publish(&self, events: &serde_json::Value) {
        let url = format!("http://{}/v1/events", self.address);
        let request = reqwest::Client::new().post(url).json(events);
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success());
    }

    /// Fills the log.
    async fn publish_old_events(&self) {
        for batch in 0..OLD_EVENTS / BATCH {
            let event = |n| {
                let topic = format!("old.{}", n % 10);
                json!({ "topic": topic, "data": { "n": batch * BATCH + n } })
            };
            self.publish(&(0..BATCH).map(event).collect()).await;
        }
    }
}

/// The address in the gateway's log.
fn address(gateway: &mut Child) -> SocketAddr {
    let log = BufReader::new(gateway.stderr.take().expect("a pipe"));
    let mut lines = log.lines().map_while(Result::ok);
    let found = lines.find_map(|line| {
        let (_, address) = line.split_once("listening on http://")?;
        Some(address.trim().to_owned())
    });
    found.expect("an address").parse().expect("an address")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a stream. With a small buffer the gateway notices at once that its reader is slow.
async fn open(address: SocketAddr, query: &str, small_buffer: bool) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    if small_buffer {
        socket.set_recv_buffer_size(8192).expect("a buffer");
    }
    let mut stream = socket.connect(address).await.expect("a connection");
    let request = format!("GET /v1/sse?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("a request");
    stream
}

/// Finds `key` and the digits that follow it in a stream of bytes, across the ends of reads.
struct Numbers {
    key: &'static [u8],
    kept: Vec<u8>,
}

impl Numbers {
    fn after(key: &'static [u8]) -> Self {
        Numbers { key, kept: vec![] }
    }

    fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(u64)) {
        self.kept.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(at) = position(&self.kept[from..], self.key) {
            let start = from + at + self.key.len();
            let end = start + leading_digits(&self.kept[start..]);

            // The number may go on in the next read.
            if end == self.kept.len() {
                from += at;
                break;
            }
            found(number(&self.kept[start..end]));
            from = end;
        }

        // A key may have begun in the last bytes.
        let keep_from = from.max(self.kept.len().saturating_sub(64));
        self.kept.drain(..keep_from.min(self.kept.len()));
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|w| w == wanted)
}

fn leading_digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

fn number(digits: &[u8]) -> u64 {
    let text = std::str::from_utf8(digits);
    text.expect("digits").parse().expect("a number")
}

/// Reads live events and records how long each took, in microseconds.
async fn live_reader(address: SocketAddr, epoch: Instant, measuring: Arc<AtomicBool>) -> Vec<u32> {
    let mut stream = open(address, "topic=live", false).await;
    let (mut latencies, mut bytes) = (Vec::new(), vec![0; 4096]);
    let mut numbers = Numbers::after(b"\"sent_us\":");
    while measuring.load(Ordering::Relaxed) {
        // Without a bound a reader would not notice that the measuring has ended.
        let reading = tokio::time::timeout(READ_WAIT, stream.read(&mut bytes));
        let Ok(Ok(count)) = reading.await else {
            continue;
        };
        let now_us = micros(epoch);
        numbers.feed(&bytes[..count], |sent_us| {
            latencies.push(u32::try_from(now_us.saturating_sub(sent_us)).unwrap_or(u32::MAX));
        });
    }
    latencies
}

/// The latencies of all live readers while events are published for so long, sorted.
async fn measure(gateway: &Gateway, epoch: Instant, seconds: u32) -> Vec<u32> {
    let measuring = Arc::new(AtomicBool::new(true));
    let reader = |_| {
        let reading = live_reader(gateway.address, epoch, measuring.clone());
        tokio::spawn(reading)
    };
    let readers: Vec<JoinHandle<_>> = (0..LIVE_READERS).map(reader).collect();

    // All are connected before the first event, and have the last one before they stop.
    tokio::time::sleep(Duration::from_secs(1)).await;
    publish_live_events(gateway, epoch, seconds).await;
    tokio::time::sleep(READ_WAIT).await;
    measuring.store(false, Ordering::Relaxed);

    let mut latencies = Vec::new();
    for reader in readers {
        latencies.extend(reader.await.expect("a reader"));
    }
    latencies.sort_unstable();
    latencies
}

async fn publish_live_events(gateway: &Gateway, epoch: Instant, seconds: u32) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / EVENTS_PER_SECOND);
    for _ in 0..seconds * EVENTS_PER_SECOND {
        ticks.tick().await;
        let event = json!({ "topic": "live", "data": { "sent_us": micros(epoch) } });
        gateway.publish(&event).await;
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).expect("a run is short")
}

fn percentile(sorted: &[u32], percent: usize) -> f64 {
    f64::from(sorted[(sorted.len() - 1) * percent / 100]) / 1000.0
}

/// How a slow reader reads until it has to hurry.
#[derive(Clone, Copy)]
enum Pace {
    Nothing,
    OneKilobyteASecond,
    All,
}

impl Pace {
    /// Bytes that it reads ten times a second; `None` for all that come.
    fn bytes(self) -> Option<usize> {
        match self {
            Pace::Nothing => Some(0),
            Pace::OneKilobyteASecond => Some(100),
            Pace::All => None,
        }
    }
}

/// A reader of the old events.
struct SlowReader {
    address: SocketAddr,
    pace: Pace,
    hurry: Arc<AtomicBool>,
    /// The newest vid that it has received.
    newest: u64,
}

impl SlowReader {
    /// Reads from the oldest event on, and resumes when it is cut. Returns how often it was cut.
    async fn run(mut self) -> u32 {
        let mut cuts = 0;
        while self.newest < OLD_EVENTS {
            self.read_stream().await;
            cuts += u32::from(self.newest < OLD_EVENTS);
        }
        cuts
    }

    async fn read_stream(&mut self) {
        let query = format!("topic=old.%3E&after={}", self.after());

        // A cursor without an epoch is enough for a log that lasts as long as the bench.
        let mut stream = open(self.address, &query, true).await;
        let mut numbers = Numbers::after(b"\"vid\":");
        let mut bytes = vec![0; 65_536];
        while self.newest < OLD_EVENTS {
            let most = self.wait_for_turn(bytes.len()).await;
            if most == 0 {
                continue;
            }
            let Ok(count @ 1..) = stream.read(&mut bytes[..most]).await else {
                return;
            };
            numbers.feed(&bytes[..count], |vid| self.take(vid));
        }
    }

    fn after(&self) -> String {
        match self.newest {
            0 => "earliest".to_owned(),
            newest => newest.to_string(),
        }
    }

    /// Waits for as long as a slow reader does. Returns how many bytes it may read.
    async fn wait_for_turn(&self, all: usize) -> usize {
        let is_hurrying = self.hurry.load(Ordering::Relaxed);
        let slow = self.pace.bytes().filter(|_| !is_hurrying);
        if slow.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        slow.unwrap_or(all)
    }

    fn take(&mut self, vid: u64) {
        let expected = self.newest + 1;
        assert_eq!(vid, expected, "an event is missing, or came twice");
        self.newest = vid;
    }
}

fn setting(name: &str, default: u32) -> u32 {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

const HEAD: &str = "round  alone p50/p99 ms  beside slow readers p50/p99 ms  p99 ratio  MB  \
    cold reads  cuts";

#[tokio::main]
async fn main() {
    let rounds = setting("SLOW_READERS_ROUNDS", 3);
    let seconds = setting("SLOW_READERS_SECONDS", 8);
    let gateway = Gateway::start();
    let epoch = Instant::now();
    gateway.publish_old_events().await;
    let (took, rss_mb) = (epoch.elapsed().as_secs_f32(), gateway.rss_mb());
    println!("{OLD_EVENTS} events published in {took:.1} s; {rss_mb} MB resident\n{HEAD}");
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let result = run_round(&gateway, epoch, seconds).await;
        result.print(round);
        ratios.push(result.ratio());
    }
    ratios.sort_by(f64::total_cmp);
    println!("median p99 ratio {:.2}", ratios[ratios.len() / 2]);
}

/// What one round has shown.
struct Round {
    alone: Vec<u32>,
    beside: Vec<u32>,
    rss_mb: u64,
    cold_reads: String,
    cuts: u32,
}

async fn run_round(gateway: &Gateway, epoch: Instant, seconds: u32) -> Round {
    let alone = measure(gateway, epoch, seconds).await;
    let hurry = Arc::new(AtomicBool::new(false));

    // The slow ones start together with the second measurement, and all read the same old events.
    let slow = slow_readers(gateway.address, &hurry);
    let beside = measure(gateway, epoch, seconds).await;
    let rss_mb = gateway.rss_mb();

    // What they have not read is still there for them.
    hurry.store(true, Ordering::Relaxed);
    let cuts = cuts_of(slow).await;
    let expected = LIVE_READERS * (seconds * EVENTS_PER_SECOND) as usize;
    let received = (alone.len(), beside.len());
    assert_eq!(
        received,
        (expected, expected),
        "a live reader has missed events"
    );
    Round {
        alone,
        beside,
        rss_mb,
        cold_reads: gateway.metric("vidette_cold_reads_total").await,
        cuts,
    }
}

fn slow_readers(address: SocketAddr, hurry: &Arc<AtomicBool>) -> [JoinHandle<u32>; 3] {
    [Pace::Nothing, Pace::OneKilobyteASecond, Pace::All].map(|pace| {
        let reader = SlowReader {
            address,
            pace,
            hurry: hurry.clone(),
            newest: 0,
        };
        tokio::spawn(reader.run())
    })
}

async fn cuts_of(readers: [JoinHandle<u32>; 3]) -> u32 {
    let mut cuts = 0;
    for reader in readers {
        cuts += reader.await.expect("every old event, in order, once");
    }
    cuts
}

impl Round {
    fn ratio(&self) -> f64 {
        percentile(&self.beside, 99) / percentile(&self.alone, 99)
    }

    fn print(&self, round: u32) {
        let [alone, beside] = [&self.alone, &self.beside].map(|latencies| {
            let (p50, p99) = (percentile(latencies, 50), percentile(latencies, 99));
            format!("{p50:6.1} / {p99:6.1}")
        });
        let (ratio, rss_mb) = (self.ratio(), self.rss_mb);
        let (cold_reads, cuts) = (&self.cold_reads, self.cuts);
        print!("{round:5}  {alone}     {beside}                {ratio:6.2}     ");
        println!("{rss_mb:3}  {cold_reads:>9}  {cuts}");
    }
}
