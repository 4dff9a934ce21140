//! Requests that are small on the wire and large once they are decoded.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::common::gateway::PATIENCE;
use crate::common::http2;
use crate::common::http2::{Connection, error_label, grpc_outcome};
use crate::common::target::Target;
use crate::ground::Ground;
use crate::h1;

/// An empty item of the first field of a message, on the wire: of `PublishRequest.events`,
/// `SubscribeRequest.topic` and `ListTopicsRequest.topic`.
const EMPTY_ITEM: [u8; 2] = [0x0a, 0];
/// Zeros of a JSON array that is just as large as a body may be.
const ZEROS: usize = 8 * 1024 * 1024 - 1;
/// How long one request may take.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Millions of empty events or topics in one gRPC message.
pub async fn grpc_empty_items(ground: &mut Ground) {
    ground.begin();
    let items = ground.count(4_000_000, 8_000_000);
    let message = EMPTY_ITEM.repeat(items);
    for method in ["Publish", "PublishStream", "Subscribe", "ListTopics"] {
        let calling = async {
            let mut connection = Connection::open(ground.target(), 65_535).await?;
            let (response, mut stream) = connection.call(method).await?;
            let frame = http2::grpc_frame(&message, message.len());
            let _ = http2::send(&mut stream, frame, true).await; // refused early: see the response
            Ok::<_, h2::Error>(grpc_outcome(response).await)
        };
        let outcome = match timeout(ANSWER_WAIT, calling).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => error_label(&error),
            Err(_) => "silence".to_owned(),
        };
        ground.got(format!("{outcome} {method}"));
    }
    ground.check_got_only(&["grpc 3", "grpc 8"]);
}

/// Millions of zeros in JSON arrays.
pub async fn json_empty_items(ground: &mut Ground) {
    ground.begin();
    let address = ground.target();
    let mut body = b"[0".to_vec();
    body.extend(b",0".repeat(ZEROS - 1));
    body.push(b']');
    let body = Bytes::from(body);
    let requests = ground.count(8, 16);
    let labels = join_all((0..requests).map(|_| post_zeros(address, &body))).await;
    for label in labels {
        ground.got(label);
    }
    ground.check_got_only(&["400", "413", "503", "reset"]);
}

async fn post_zeros(address: Target, body: &Bytes) -> String {
    let Ok(mut stream) = address.connect().await else {
        return "no connection".to_owned();
    };
    let head = h1::post_head(address, "/v1/events", "application/json", body.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = timeout(PATIENCE, stream.write_all(body)).await;
    h1::read_answer(&mut stream, ANSWER_WAIT).await.label()
}
