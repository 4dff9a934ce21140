//! Request bodies that never end.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::common::http2::{Connection, error_label, grpc_frame, grpc_outcome, send};
use crate::common::target::Target;
use crate::ground::Ground;
use crate::h1;

/// The most that a body may have, in bytes; what is sent lacks the last of them.
const BODY_BYTES: usize = 16 * 1024 * 1024;

/// Over HTTP/1.1, each on a connection of its own.
pub async fn http(ground: &mut Ground) {
    ground.begin();
    let body = Bytes::from(vec![b' '; BODY_BYTES - 1]);
    let mut held = JoinSet::new();
    let (address, wait) = (ground.target(), ground.seconds(4, 90));
    for _ in 0..ground.count(36, 48) {
        held.spawn(hold_http(address, body.clone(), wait));
    }
    judge(ground, held, wait).await;
}

/// Over gRPC, each a message of a stream of its own.
pub async fn grpc(ground: &mut Ground) {
    ground.begin();
    let body = grpc_frame(&vec![0; BODY_BYTES - 1024], BODY_BYTES - 1023);
    let mut held = JoinSet::new();
    let (address, wait) = (ground.target(), ground.seconds(4, 90));
    for _ in 0..ground.count(36, 48) {
        held.spawn(hold_grpc(address, body.clone(), wait));
    }
    judge(ground, held, wait).await;
}

async fn judge(ground: &mut Ground, mut held: JoinSet<String>, wait: Duration) {
    while let Some(label) = held.join_next().await {
        ground.got(label.expect("a body"));
    }
    // The short form does not wait for the time after which a body is given up.
    let is_long_enough = wait > Duration::from_secs(70);
    if is_long_enough {
        let silent = ground.count_of("held");
        ground.check(
            silent == 0,
            format!("{silent} bodies are waited for after {wait:?}"),
        );
    }
    ground.check_got_only(&["held", "400", "408", "413", "429", "503", "reset", "grpc"]);
}

async fn hold_http(address: Target, body: Bytes, wait: Duration) -> String {
    let Ok(mut stream) = address.connect().await else {
        return "no connection".to_owned();
    };
    let until = Instant::now() + wait;
    let head = h1::post_head(address, "/v1/events", "application/json", BODY_BYTES);
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = timeout_at(until, stream.write_all(&body)).await; // refused early: see the answer
    match h1::read_answer(&mut stream, until - Instant::now()).await {
        h1::Answer::Silent => "held".to_owned(),
        answer => answer.label(),
    }
}

async fn hold_grpc(address: Target, body: Bytes, wait: Duration) -> String {
    let until = Instant::now() + wait;
    let opening = async {
        let mut connection = Connection::open(address, 65_535).await?;
        let (response, stream) = connection.call("Publish").await?;
        Ok::<_, h2::Error>((connection, response, stream))
    };
    let (_connection, response, mut stream) = match opening.await {
        Ok(opened) => opened,
        Err(error) => return error_label(&error),
    };
    let _ = timeout_at(until, send(&mut stream, body, false)).await;
    timeout_at(until, grpc_outcome(response))
        .await
        .unwrap_or_else(|_| "held".to_owned())
}
