//! HTTP/2 streams that are opened and taken back.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::common::http2::{Connection, error_label};
use crate::ground::Ground;

/// The window of an HTTP/2 stream when nobody says otherwise.
const WINDOW_BYTES: u32 = 65_535;
/// Live events that a neighbour on the connection has to see afterwards.
const CHUNKS_AFTERWARDS: usize = 5;
/// How long that may take.
const NEIGHBOUR_WAIT: Duration = Duration::from_secs(5);
/// Streams that are opened and reset before others may use the thread.
const RESETS_AT_ONCE: usize = 50;

/// One caller behind a shared connection cancels all its requests; a neighbour reads on.
pub async fn reset_burst(ground: &mut Ground) {
    ground.begin();
    let opened = Connection::open(ground.target(), WINDOW_BYTES).await;
    let mut connection = opened.expect("a connection");
    let response = connection.get("/v1/sse?topic=live").await;
    let response = response.expect("a stream").await.expect("a response");
    let mut neighbour = response.into_body();

    // As many as may be open at once, each taken back before the gateway can have looked at it.
    for _ in 0..ground.count(100, 900) {
        let cancelling = connection.get_and_reset("/v1/poll?wait=20&topic=none");
        match cancelling.await {
            Ok(()) => ground.got("cancelled"),
            Err(error) => ground.got(error_label(&error)),
        }
    }

    let mut chunks = 0;
    let reading = async {
        // What is in its buffer already counts too, so read for a while.
        let until = Instant::now() + Duration::from_secs(1);
        while chunks < CHUNKS_AFTERWARDS || Instant::now() < until {
            let chunk = neighbour.data().await.ok_or("the stream ended")?;
            let bytes = chunk.map_err(|error| error_label(&error))?.len();
            let _ = neighbour.flow_control().release_capacity(bytes);
            chunks += 1;
        }
        Ok::<_, String>(())
    };
    match timeout(NEIGHBOUR_WAIT, reading).await {
        Ok(Ok(())) => ground.got("neighbour reads on"),
        Ok(Err(why)) => ground.got(format!("neighbour: {why}")),
        Err(_) => ground.got("neighbour: silence"),
    }
    ground.check_got_only(&["cancelled", "neighbour reads on"]);
}

/// Streams that are reset as soon as they are opened, as fast as they can be sent.
pub async fn rapid_reset(ground: &mut Ground) {
    ground.begin();
    let address = ground.target();
    let (mut left, until) = (
        ground.count(5000, 200_000),
        Instant::now() + ground.seconds(5, 60),
    );
    while left > 0 && Instant::now() < until {
        let Ok(mut connection) = Connection::open(address, WINDOW_BYTES).await else {
            ground.got("no connection");
            break;
        };
        while left > 0 && Instant::now() < until && !connection.has_ended() {
            left -= 1;
            let asking = connection.get_and_reset("/v1/poll?wait=20&topic=none");
            match timeout(NEIGHBOUR_WAIT, asking).await {
                Ok(Ok(())) => ground.got("reset"),
                Ok(Err(error)) => {
                    ground.got(error_label(&error));
                    break;
                }
                Err(_) => ground.got("silence"),
            }
            if left % RESETS_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        ground.got_many("connection ended", usize::from(connection.has_ended()));
    }
    ground.check(left == 0, format!("{left} resets could not be sent"));
}
