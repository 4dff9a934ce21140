//! Clients that ask for old events and hang up while the log may be read for them.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;
use vidette::proto::SubscribeRequest;

use super::http2::Connection;
use super::target::{Stream, Target};

/// A client leaves after at most this long.
const STAY_MICROS: u64 = 4000;
/// The window of an HTTP/2 stream when nobody says otherwise.
const WINDOW_BYTES: u32 = 65_535;

/// Asks for what comes after a cursor in one of four ways, and leaves at once or nearly so; which
/// way it was. `topic` is exact, or empty for all.
pub async fn ask_and_leave(gateway: impl Into<Target>, cursor: &str, topic: &str) -> &'static str {
    let gateway = gateway.into();
    let stay = Duration::from_micros(fastrand::u64(..STAY_MICROS));
    let query = match topic {
        "" => format!("after={cursor}"),
        topic => format!("after={cursor}&topic={topic}"),
    };
    match fastrand::u8(..4) {
        0 => {
            leave_grpc(gateway, cursor, topic, stay).await;
            "left grpc"
        }
        1 => {
            leave_http(gateway, &format!("/v1/sse?{query}"), "", stay).await;
            "left sse"
        }
        2 => {
            // With the length of a body hyper drives the connection.
            let header = "Content-Length: 0\r\n";
            leave_http(gateway, &format!("/v1/poll?{query}"), header, stay).await;
            "left hyper"
        }
        _ => {
            leave_http(gateway, &format!("/v1/poll?{query}"), "", stay).await;
            "left poll"
        }
    }
}

/// Leaves with a reset instead of a goodbye.
pub fn reset(stream: Stream) {
    let _ = socket2::SockRef::from(stream.socket()).set_linger(Some(Duration::ZERO));
    drop(stream);
}

async fn leave_http(gateway: Target, path: &str, header: &str, stay: Duration) {
    let Ok(mut stream) = gateway.connect().await else {
        return;
    };
    let authorization = gateway.authorization();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {gateway}\r\n{authorization}{header}\r\n");
    let _ = stream.write_all(request.as_bytes()).await;
    sleep(stay).await;
    if fastrand::bool() {
        reset(stream);
    }
}

async fn leave_grpc(gateway: Target, cursor: &str, topic: &str, stay: Duration) {
    let Ok(mut connection) = Connection::open(gateway, WINDOW_BYTES).await else {
        return;
    };
    let request = SubscribeRequest {
        after: cursor.to_owned(),
        topic: Some(topic.to_owned())
            .filter(|topic| !topic.is_empty())
            .into_iter()
            .collect(),
        ..SubscribeRequest::default()
    };
    let message = prost::Message::encode_to_vec(&request);
    if let Ok(response) = connection.call_with("Subscribe", &message).await {
        sleep(stay).await;
        drop(response); // resets the stream
        tokio::task::yield_now().await;
    }
}
