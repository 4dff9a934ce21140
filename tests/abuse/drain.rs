//! Who comes while the gateway drains is answered.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};
use vidette::proto::NewEvent;

use crate::common::gateway::PATIENCE;
use crate::common::http2;
use crate::common::leave::reset;
use crate::common::target::Target;
use crate::ground::Ground;
use crate::h1;

/// Data of an event that a reader leaves unread.
const LARGE_BYTES: usize = 1_000_000;
/// Events that no socket's buffers can take.
const LARGE_EVENTS: usize = 24;
/// Connections that are opened at the same moment.
const WAVE: usize = 20;
/// How long one of them may wait for its answer.
const ANSWER_WAIT: Duration = Duration::from_secs(4);

/// The drain lasts as long as a reader that does not read; others come meanwhile.
pub async fn late_callers(ground: &mut Ground) {
    let large = |_| NewEvent {
        topic: "large".into(),
        data: vec![b'7'; LARGE_BYTES].into(),
        ..NewEvent::default()
    };
    ground.fill((0..LARGE_EVENTS).map(large)).await;
    ground.begin();
    let address = ground.target();
    let mut unread = h1::connect_slow(address).await.expect("a connection");
    let request = h1::get(address, "/v1/sse?after=earliest&topic=large");
    unread
        .write_all(request.as_bytes())
        .await
        .expect("it is taken");
    sleep(Duration::from_millis(500)).await; // until its buffers are full

    ground.note_peak();
    ground.gateway.ask_to_end();
    wait_until_draining(address).await;
    for _ in 0..ground.count(3, 10) {
        let wave = join_all((0..WAVE).map(|n| call(address, n))).await;
        for label in wave {
            ground.got(label);
        }
    }
    reset(unread);
    let ending = timeout(PATIENCE, ground.gateway.ended()).await;
    ground.check(ending.is_ok_and(|s| s.success()), "it does not end well");
    ground.start_again();
    ground.check_got_only(&[
        "poll 503",
        "post 503",
        "sse closing",
        "grpc 14",
        "slow poll 503",
    ]);
}

/// Until a new reader is refused: the log speaks of the end a moment before.
async fn wait_until_draining(address: Target) {
    let until = Instant::now() + PATIENCE;
    let ask = h1::get(address, "/v1/poll?wait=0");
    while h1::ask(address, &ask, ANSWER_WAIT).await.label() != "503" && Instant::now() < until {
        sleep(Duration::from_millis(2)).await;
    }
}

/// One of five ways to come late, and what was answered.
async fn call(address: Target, number: usize) -> String {
    let poll = h1::get(address, "/v1/poll?wait=5");
    match number % 5 {
        0 => {
            let answer = h1::ask(address, &poll, ANSWER_WAIT).await;
            format!("poll {}{}", answer.label(), without_retry(&answer))
        }
        1 => {
            let post = h1::post_event(address, "late");
            let answer = h1::ask(address, &post, ANSWER_WAIT).await;
            format!("post {}{}", answer.label(), without_retry(&answer))
        }
        2 => {
            let request = h1::get(address, "/v1/sse");
            let answer = h1::ask(address, &request, ANSWER_WAIT).await;
            let text = answer.text();
            let is_closing = text.contains("event: vidette.closing") && text.contains("retry: ");
            let label = answer.label();
            match label.as_str() {
                "200" if is_closing => "sse closing".to_owned(),
                _ => format!("sse {label}"),
            }
        }
        3 => call_grpc(address).await,
        _ => {
            let Ok(mut stream) = address.connect().await else {
                return "slow poll refused".to_owned();
            };
            sleep(Duration::from_millis(100)).await;
            let _ = stream.write_all(poll.as_bytes()).await;
            let answer = h1::read_answer(&mut stream, ANSWER_WAIT).await;
            format!("slow poll {}{}", answer.label(), without_retry(&answer))
        }
    }
}

fn without_retry(answer: &h1::Answer) -> &'static str {
    let has_retry = answer.text().to_lowercase().contains("retry-after: ");
    match answer {
        h1::Answer::Status(503, _) if !has_retry => " without Retry-After",
        _ => "",
    }
}

async fn call_grpc(address: Target) -> String {
    let calling = async {
        let mut connection = http2::Connection::open(address, 65_535).await?;
        let response = connection.call_with("Subscribe", &[]).await?;
        Ok::<_, h2::Error>(http2::grpc_outcome(response).await)
    };
    match timeout(ANSWER_WAIT, calling).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => format!("grpc: {}", http2::error_label(&error)),
        Err(_) => "grpc: silence".to_owned(),
    }
}
