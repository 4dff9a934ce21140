//! Readers that ask for much and read nothing.

use std::time::Duration;

use h2::client::ResponseFuture;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use vidette::proto::{NewEvent, SubscribeRequest};

use crate::common::gateway::Gateway;
use crate::common::http2::{Connection, error_label};
use crate::ground::Ground;
use crate::h1;

/// Data of one event, which is larger than a page.
const LARGE_BYTES: usize = 1_000_000;
/// Topics, each with one large event: a snapshot has as many.
const TOPICS: usize = 16;
/// How long a stalled stream may live: `write_timeout`, and what a debug build adds that reads and
/// encodes a page of a megabyte for each of hundreds.
const CUT_WAIT: Duration = Duration::from_secs(40);
/// Streams of one connection.
const STREAMS_A_CONNECTION: usize = 100;
/// A window that is not zero, and yet takes no event.
const TINY_BYTES: u32 = 16;

async fn fill(ground: &Ground) {
    let large = |n| NewEvent {
        topic: format!("large.{n}"),
        data: vec![b'7'; LARGE_BYTES].into(),
        content_type: "text/plain".into(),
        ..NewEvent::default()
    };
    ground.fill((0..TOPICS).map(large)).await;
}

/// Snapshot polls over HTTP/2 whose windows are zero.
pub async fn h2_zero_window(ground: &mut Ground) {
    let streams = ground.count(80, 400);
    let open = async |connection: &mut Connection, n: usize| {
        let path = "/v1/poll?topic=large.%3E&topic=none.";
        connection
            .get(&format!("{path}{n}&snapshot=true&wait=1"))
            .await
    };
    stall(ground, 0, streams, open).await;
}

/// Subscriptions to large events over HTTP/2 whose windows take a few bytes. Their filters differ,
/// so that nothing that one of them holds is another's.
pub async fn h2_tiny_window(ground: &mut Ground) {
    let streams = ground.count(900, 2000);
    let open = async |connection: &mut Connection, n: usize| {
        if n.is_multiple_of(2) {
            let path = "/v1/sse?after=earliest&topic=large.%3E&topic=none.";
            return connection.get(&format!("{path}{n}")).await;
        }
        let request = SubscribeRequest {
            topic: vec!["large.>".to_owned(), format!("none.{n}")],
            after: "earliest".to_owned(),
            ..SubscribeRequest::default()
        };
        let message = prost::Message::encode_to_vec(&request);
        connection.call_with("Subscribe", &message).await
    };
    stall(ground, TINY_BYTES, streams, open).await;
}

/// Opens streams that take no more than their window, and waits until each is cut.
async fn stall(
    ground: &mut Ground,
    window_bytes: u32,
    streams: usize,
    open: impl AsyncFn(&mut Connection, usize) -> Result<ResponseFuture, h2::Error>,
) {
    fill(ground).await;
    ground.begin();
    let mut connections = Vec::new();
    let mut stalled = JoinSet::new();
    for n in 0..streams {
        if n % STREAMS_A_CONNECTION == 0 {
            let opened = Connection::open(ground.target(), window_bytes).await;
            connections.push(opened.expect("a connection"));
        }
        let connection = connections.last_mut().expect("a connection");
        match open(connection, n).await {
            Ok(response) => drop(stalled.spawn(until_cut(response))),
            Err(error) => ground.got(error_label(&error)),
        }
    }
    while let Some(label) = stalled.join_next().await {
        ground.got(label.expect("a stream"));
    }
    ground.check_got_only(&["cut", "429", "503", "200 whole", "refused"]);
}

/// Reads nothing that would open the window, and waits for the end.
async fn until_cut(response: ResponseFuture) -> String {
    let ending = async {
        let Ok(response) = response.await else {
            return "cut".to_owned();
        };
        let status = response.status().as_u16();
        let mut body = response.into_body();
        loop {
            match body.data().await {
                // The reason of a stream that ends at once: what is left of it is less than a
                // stream takes, and goes with the connection.
                Some(Ok(bytes)) if bytes.starts_with(b":") => return "refused".to_owned(),
                Some(Ok(_)) => {} // its bytes are not released
                Some(Err(_)) => return "cut".to_owned(),
                None if status == 200 => return "200 whole".to_owned(),
                None => return status.to_string(),
            }
        }
    };
    timeout(CUT_WAIT, ending)
        .await
        .unwrap_or_else(|_| "held".to_owned())
}

/// Polls over HTTP/1.1 of connections that never read.
pub async fn h1_never_reads(ground: &mut Ground) {
    fill(ground).await;
    ground.begin();
    let address = ground.target();
    let mut unread = Vec::new();
    for n in 0..ground.count(64, 200) {
        let Ok(mut stream) = h1::connect_slow(address).await else {
            ground.got("no connection");
            continue;
        };
        let path = format!("/v1/poll?topic=large.%3E&topic=none.{n}&snapshot=true");
        let _ = stream.write_all(h1::get(address, &path).as_bytes()).await;
        unread.push(stream);
    }
    sleep(Duration::from_secs(1)).await; // until each has what the gateway makes for it
    ground.got_many("asked", unread.len());
    // The two of the live events, and the one that asks.
    let are_cut = async |gateway: &Gateway| gateway.metric("vidette_connections").await <= 4.0;
    ground
        .check_soon(CUT_WAIT, "connections that never read are not cut", are_cut)
        .await;
}
