//! Live readers beside slow ones: `cargo bench --bench slow_readers`.
//!
//! A log of 1,000,000 events, 1,000 live readers of one topic, 20 events a second. Measured in
//! turn: the latency of the live readers alone, and beside one reader that takes nothing, one that
//! takes 1 kB a second and one that reads the whole log from its oldest event. Afterwards each of
//! the three reads on to the end and must have every event. Bounded: `SLOW_READERS_ROUNDS` (3)
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

struct Gateway {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn start() -> Self {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path());
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let lines = BufReader::new(child.stderr.take().expect("a pipe"))
            .lines()
            .map_while(Result::ok);
        let found = lines.into_iter().find_map(|l| {
            l.split_once("listening on http://")
                .map(|(_, a)| a.trim().to_owned())
        });
        let address = found.expect("an address").parse().expect("an address");
        Gateway {
            child,
            address,
            _folder: folder,
        }
    }

    fn rss_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .unwrap_or("0 kB");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap_or(0)
            / 1024
    }

    async fn metric(&self, name: &str) -> String {
        let text = reqwest::get(format!("http://{}/metrics", self.address))
            .await
            .expect("metrics")
            .text()
            .await
            .expect("text");
        text.lines()
            .find_map(|l| l.strip_prefix(&format!("{name} ")))
            .unwrap_or("?")
            .to_owned()
    }

    async fn publish(&self, events: &serde_json::Value) {
        let url = format!("http://{}/v1/events", self.address);
        let answer = reqwest::Client::new()
            .post(url)
            .json(events)
            .send()
            .await
            .expect("an answer");
        assert!(answer.status().is_success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a stream; a small buffer makes the gateway feel at once that its reader is slow.
async fn open(address: SocketAddr, query: &str, small_buffer: bool) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    if small_buffer {
        socket.set_recv_buffer_size(8192).expect("a buffer");
    }
    let mut stream = socket.connect(address).await.expect("a connection");
    stream
        .write_all(format!("GET /v1/sse?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
        .await
        .expect("a request");
    stream
}

/// Finds `key` and the digits behind it in a stream of bytes, over the edges of reads.
struct Numbers {
    key: &'static [u8],
    kept: Vec<u8>,
}

impl Numbers {
    fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(u64)) {
        self.kept.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(at) = self.kept[from..]
            .windows(self.key.len())
            .position(|w| w == self.key)
        {
            let start = from + at + self.key.len();
            let digits = self.kept[start..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
            if start + digits == self.kept.len() {
                from += at;
                break; // the number may go on in the next read
            }
            found(
                std::str::from_utf8(&self.kept[start..start + digits])
                    .expect("digits")
                    .parse()
                    .expect("a number"),
            );
            from = start + digits;
        }
        let keep_from = from.max(self.kept.len().saturating_sub(64));
        self.kept.drain(..keep_from.min(self.kept.len()));
    }
}

/// Reads live events and notes how long each took, in microseconds.
fn live_reader(
    address: SocketAddr,
    epoch: Instant,
    measuring: Arc<AtomicBool>,
) -> JoinHandle<Vec<u32>> {
    tokio::spawn(async move {
        let mut stream = open(address, "topic=live", false).await;
        let (mut latencies, mut bytes) = (Vec::new(), vec![0; 4096]);
        let mut numbers = Numbers {
            key: b"\"sent_us\":",
            kept: Vec::new(),
        };
        while measuring.load(Ordering::Relaxed) {
            let Ok(Ok(count)) =
                tokio::time::timeout(Duration::from_millis(500), stream.read(&mut bytes)).await
            else {
                continue;
            };
            let now_us = micros(epoch);
            numbers.feed(&bytes[..count], |sent_us| {
                latencies.push(u32::try_from(now_us.saturating_sub(sent_us)).unwrap_or(u32::MAX));
            });
        }
        latencies
    })
}

/// The latencies of all live readers while events are published for so long, sorted.
async fn measure(gateway: &Gateway, epoch: Instant, seconds: u32) -> Vec<u32> {
    let measuring = Arc::new(AtomicBool::new(true));
    let readers: Vec<_> = (0..LIVE_READERS)
        .map(|_| live_reader(gateway.address, epoch, measuring.clone()))
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / EVENTS_PER_SECOND);
    for _ in 0..seconds * EVENTS_PER_SECOND {
        ticks.tick().await;
        gateway
            .publish(&json!({ "topic": "live", "data": { "sent_us": micros(epoch) } }))
            .await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    measuring.store(false, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for reader in readers {
        latencies.extend(reader.await.expect("a reader"));
    }
    latencies.sort_unstable();
    latencies
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).expect("a run is short")
}

fn percentile(sorted: &[u32], percent: usize) -> f64 {
    f64::from(sorted[(sorted.len() - 1) * percent / 100]) / 1000.0
}

/// How a slow reader takes its bytes until it is told to hurry.
#[derive(Clone, Copy)]
enum Pace {
    Nothing,
    OneKilobyteASecond,
    All,
}

/// Reads the old events from the oldest on, resuming when it is cut; gives how often it was cut.
fn slow_reader(address: SocketAddr, pace: Pace, hurry: Arc<AtomicBool>) -> JoinHandle<u32> {
    tokio::spawn(async move {
        let (mut newest, mut cuts) = (0, 0);
        let mut bytes = vec![0; 65_536];
        while newest < OLD_EVENTS {
            let after = if newest == 0 {
                "earliest".to_owned()
            } else {
                newest.to_string()
            };
            let mut stream = open(
                address,
                &format!("topic=old.>&after={after}").replace('>', "%3E"),
                true,
            )
            .await;
            let mut numbers = Numbers {
                key: b"\"vid\":",
                kept: Vec::new(),
            };
            while newest < OLD_EVENTS {
                let at_once = match pace {
                    _ if hurry.load(Ordering::Relaxed) => bytes.len(),
                    Pace::All => bytes.len(),
                    Pace::OneKilobyteASecond => 100,
                    Pace::Nothing => 0,
                };
                if at_once < bytes.len() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                if at_once == 0 {
                    continue;
                }
                let Ok(count @ 1..) = stream.read(&mut bytes[..at_once]).await else {
                    break;
                };
                numbers.feed(&bytes[..count], |vid| {
                    assert_eq!(vid, newest + 1, "an event is missing, or came twice");
                    newest = vid;
                });
            }
            cuts += u32::from(newest < OLD_EVENTS);
        }
        cuts
    })
}

fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

#[tokio::main]
async fn main() {
    let (rounds, seconds) = (
        setting("SLOW_READERS_ROUNDS", 3),
        setting("SLOW_READERS_SECONDS", 8),
    );
    let gateway = Gateway::start();
    let epoch = Instant::now();
    for batch in 0..OLD_EVENTS / BATCH {
        let event =
            |n| json!({ "topic": format!("old.{}", n % 10), "data": { "n": batch * BATCH + n } });
        gateway.publish(&(0..BATCH).map(event).collect()).await;
    }
    println!(
        "{OLD_EVENTS} events published in {:.1} s; {} MB resident",
        epoch.elapsed().as_secs_f32(),
        gateway.rss_mb()
    );
    println!(
        "round  alone p50/p99 ms  beside slow readers p50/p99 ms  p99 ratio  MB  cold reads  cuts"
    );
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let alone = measure(&gateway, epoch, seconds).await;
        let hurry = Arc::new(AtomicBool::new(false));
        let slow = [Pace::Nothing, Pace::OneKilobyteASecond, Pace::All]
            .map(|pace| slow_reader(gateway.address, pace, hurry.clone()));
        let beside = measure(&gateway, epoch, seconds).await;
        let rss_mb = gateway.rss_mb();
        hurry.store(true, Ordering::Relaxed);
        let mut cuts = 0;
        for reader in slow {
            cuts += reader.await.expect("every old event, in order, once");
        }
        let ratio = percentile(&beside, 99) / percentile(&alone, 99);
        ratios.push(ratio);
        let expected = LIVE_READERS * (seconds * EVENTS_PER_SECOND) as usize;
        assert_eq!(
            (alone.len(), beside.len()),
            (expected, expected),
            "a live reader has missed events"
        );
        println!(
            "{round:5}  {:6.1} / {:6.1}     {:6.1} / {:6.1}                {ratio:6.2}     {rss_mb:3}  {:>9}  {cuts}",
            percentile(&alone, 50),
            percentile(&alone, 99),
            percentile(&beside, 50),
            percentile(&beside, 99),
            gateway.metric("vidette_cold_reads_total").await,
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("median p99 ratio {:.2}", ratios[ratios.len() / 2]);
}
