//! When readers end and come back elsewhere: `make drain-long` prints it for 10,000 of them.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::common::gateway::Gateway;
use crate::streams::{gateway_over, until_subscribed};

/// How many readers there are, and over how many seconds they are ended.
fn scale() -> (usize, u64) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let readers = number("VIDETTE_DRAIN_READERS").unwrap_or(500);
    let seconds = number("VIDETTE_DRAIN_SECONDS").unwrap_or(2);
    (
        usize::try_from(readers).expect("a number of readers"),
        seconds,
    )
}

/// When a reader's stream ended, and when it read again elsewhere.
struct CameBack {
    ended: Instant,
    back: Instant,
}

async fn open(gateway: &Gateway) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("a connection");
    let request = b"GET /v1/sse HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("it is taken");
    stream
}

/// Reads to the end of a stream; gives the time after which its reader is to come back.
async fn read_to_end(mut stream: TcpStream) -> Duration {
    let mut read = String::new();
    stream
        .read_to_string(&mut read)
        .await
        .expect("an end, and no reset");
    let retry = read.lines().find_map(|line| line.strip_prefix("retry: "));
    let retry_ms = retry.and_then(|text| text.trim().parse().ok());
    Duration::from_millis(retry_ms.expect("a time after which to come back"))
}

/// Reads the first answer of a stream.
async fn read_hello(mut stream: TcpStream) -> TcpStream {
    let (mut read, mut bytes) = (Vec::new(), [0; 1024]);
    while !String::from_utf8_lossy(&read).contains("vidette.hello") {
        let count = stream.read(&mut bytes).await.expect("bytes");
        assert!(count > 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&bytes[..count]);
    }
    stream
}

/// Ends a gateway under its readers, who come back to another one as they are asked to.
async fn measure(readers: usize, seconds: u64) -> (Instant, Vec<CameBack>) {
    let mut gateway = gateway_over(&format!("{seconds}s"));
    let other = gateway_over("0s");
    let mut streams = Vec::new();
    for _ in 0..readers {
        streams.push(open(&gateway).await);
    }
    until_subscribed(&gateway, readers).await;

    let comes_back = |stream| async {
        let retry = read_to_end(stream).await;
        let ended = Instant::now();
        sleep(retry).await;
        let stream = read_hello(open(&other).await).await;
        (
            CameBack {
                ended,
                back: Instant::now(),
            },
            stream,
        )
    };
    let began = Instant::now();
    gateway.ask_to_end();
    let came_back = join_all(streams.into_iter().map(comes_back)).await;
    assert!(gateway.ended().await.success(), "{}", gateway.log());
    until_subscribed(&other, readers).await;
    (began, came_back.into_iter().map(|(one, _)| one).collect())
}

/// How many times fell into each such step after the beginning.
fn histogram(began: Instant, times: impl Iterator<Item = Instant>, step_ms: u128) -> Vec<usize> {
    let mut counts = Vec::new();
    for time in times {
        let at = usize::try_from((time - began).as_millis() / step_ms).expect("a time");
        counts.resize(counts.len().max(at + 1), 0);
        counts[at] += 1;
    }
    counts
}

fn print(seconds: u64, began: Instant, came_back: &[CameBack]) {
    let of = |step_ms| {
        let ends = histogram(began, came_back.iter().map(|one| one.ended), step_ms);
        let backs = histogram(began, came_back.iter().map(|one| one.back), step_ms);
        (ends, backs)
    };
    let (ends, backs) = of(1000);
    println!(
        "over = \"{seconds}s\"\n\n| second | streams ended | readers came back |\n|--:|--:|--:|"
    );
    for second in 0..ends.len().max(backs.len()) {
        let at = |counts: &[usize]| counts.get(second).copied().unwrap_or(0);
        println!("| {second} | {} | {} |", at(&ends), at(&backs));
    }
    let (ends, backs) = of(100);
    let most = |counts: &[usize]| counts.iter().max().copied().unwrap_or(0);
    println!("| most in 100 ms | {} | {} |\n", most(&ends), most(&backs));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_readers_come_back_elsewhere_when_they_are_asked_to() {
    let (readers, seconds) = scale();
    for seconds in [seconds, 0] {
        let (began, came_back) = measure(readers, seconds).await;
        assert_eq!(came_back.len(), readers);
        print(seconds, began, &came_back);
    }
}
