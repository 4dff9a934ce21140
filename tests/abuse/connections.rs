//! More connections than there may be, and connections whose requests never begin.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::common::gateway::Gateway;
use crate::common::target::Target;
use crate::ground::Ground;
use crate::h1;

/// Idle readers that fill `max_connections`, beside the two of the live events.
const IDLE: usize = 28;
/// How long a refusal may take to come.
const REFUSAL_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a request that a late reader has sent before it is refused.
const LATE_HEADER_BYTES: usize = 2000;
/// Pause between two bytes of a slow head.
const DRIP: Duration = Duration::from_millis(200);
/// How long an unfinished head may be held: its bound, and what a loaded machine adds.
const HEAD_WAIT: Duration = Duration::from_secs(15);

/// Readers over `max_connections` each get the refusal that was written for them.
pub async fn too_many(ground: &mut Ground) {
    ground.begin();
    let address = ground.target();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut stream = address.connect().await.expect("a connection");
        let request = h1::get(address, "/v1/poll?wait=100&topic=none");
        let _ = stream.write_all(request.as_bytes()).await;
        idle.push(stream);
    }
    sleep(Duration::from_millis(500)).await; // until all have been accepted
    let late = ground.count(60, 200);
    let labels = join_all((0..late).map(|_| come_late(address))).await;
    for label in labels {
        ground.got(label);
    }
    ground.check_got_only(&["429"]);
    let resets = ground.count_of("429 then reset");
    ground.check(
        resets == 0,
        format!("{resets} refusals were followed by a reset"),
    );
    drop(idle);
}

/// Sends a request in two parts, as a client does that receives the refusal in between.
async fn come_late(address: Target) -> String {
    let Ok(mut stream) = address.connect().await else {
        return "no connection".to_owned();
    };
    let long = "x".repeat(LATE_HEADER_BYTES);
    let request = h1::get(address, &format!("/v1/sse?topic=live&{long}"));
    let _ = stream.write_all(request.as_bytes()).await;
    sleep(Duration::from_millis(50)).await;
    let answer = h1::read_answer(&mut stream, REFUSAL_WAIT).await;
    let has_retry = answer.text().to_lowercase().contains("retry-after: ");
    if answer.label() == "429" && !has_retry {
        return "without Retry-After".to_owned();
    }
    answer.label()
}

/// Heads that come byte by byte, and never to their end.
pub async fn slow_heads(ground: &mut Ground) {
    ground.begin();
    let address = ground.target();
    let mut slow = JoinSet::new();
    for n in 0..ground.count(200, 2000) {
        let head: &[u8] = if n % 4 == 0 {
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n"
        } else {
            b"GET /v1/sse HTTP/1.1\r\nHost: "
        };
        slow.spawn(drip(address, head));
    }
    while let Some(label) = slow.join_next().await {
        ground.got(label.expect("a connection"));
    }
    ground.check_got_only(&["cut", "408"]);
    let are_gone = async |gateway: &Gateway| gateway.metric("vidette_connections").await <= 4.0;
    ground
        .check_soon(REFUSAL_WAIT, "their connections are held", are_gone)
        .await;
}

/// Sends a head byte by byte, then more of its last header; how it ended.
async fn drip(address: Target, head: &'static [u8]) -> String {
    let Ok(mut stream) = address.connect().await else {
        return "no connection".to_owned();
    };
    let until = Instant::now() + HEAD_WAIT;
    let is_h2 = head.starts_with(b"PRI");
    let (mut at, mut received) = (0, [0; 512]);
    while Instant::now() < until {
        // The preface of HTTP/2 has an end: it stops before it.
        let next = head.get(at).copied().or((!is_h2).then_some(b'a'));
        at += 1;
        if let Some(byte) = next
            && stream.write_all(&[byte]).await.is_err()
        {
            return "cut".to_owned();
        }
        match timeout(DRIP, stream.read(&mut received)).await {
            Ok(Ok(0) | Err(_)) => return "cut".to_owned(),
            Ok(Ok(_)) if received.starts_with(b"HTTP/1.1 408") => return "408".to_owned(),
            Ok(Ok(_)) | Err(_) => {}
        }
    }
    "held".to_owned()
}
