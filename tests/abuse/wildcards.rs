//! One connection that subscribes to as many patterns as it can.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Streaming};
use vidette::proto::{NewEvent, PublishRequest, SubscribeRequest, SubscribeResponse};

use crate::common::gateway::{Gateway, PATIENCE};
use crate::common::grpc;
use crate::ground::Ground;

/// Patterns of one subscription.
const PATTERNS: usize = 100;
/// Events published beside them in one batch.
const BATCH: usize = 1000;
/// How long leaving may take.
const LEAVE_WAIT: Duration = Duration::from_secs(20);
/// How long a gateway may take to end: its bound for a drain, and as much again.
const END_WAIT: Duration = Duration::from_secs(16);

pub async fn many_wildcards(ground: &mut Ground) {
    ground.begin();
    let subscriptions = ground.count(200, 1000);
    let open = subscribe(ground, 0..subscriptions).await;
    publish_a_batch(ground).await;
    drop(open);
    let is_alone = async |gateway: &Gateway| {
        let asking = timeout(LEAVE_WAIT, gateway.get("/v1/bus")).await;
        asking.is_ok_and(|bus| bus["subscribers"] == 1)
    };
    ground
        .check_soon(LEAVE_WAIT, "its subscriptions stay after it left", is_alone)
        .await;

    ground.end_live().await;
    let open = subscribe(ground, 0..subscriptions).await;
    ground.note_peak();
    if let Ok(status) = timeout(END_WAIT, ground.gateway.terminate()).await {
        ground.check(status.success(), format!("SIGTERM: {status}"));
    } else {
        ground.wrong(format!("SIGTERM: it has not ended after {END_WAIT:?}"));
        ground.gateway.kill();
    }
    drop(open);
    ground.start_again();
    ground.check_got_only(&["subscribed", "ResourceExhausted", "acknowledged batch"]);
}

/// So many subscriptions on one connection, each of patterns of its own.
async fn subscribe(
    ground: &mut Ground,
    numbers: std::ops::Range<usize>,
) -> Vec<Streaming<SubscribeResponse>> {
    let mut client = grpc::client(&ground.gateway.url()).await;
    let mut open = Vec::new();
    for n in numbers {
        let pattern = |m| format!("wild.*.{n}.{m}.>");
        let request = SubscribeRequest {
            topic: (0..PATTERNS).map(pattern).collect(),
            ..SubscribeRequest::default()
        };
        match timeout(PATIENCE, client.subscribe(request)).await {
            Ok(Ok(stream)) => {
                ground.got("subscribed");
                open.push(stream.into_inner());
            }
            Ok(Err(status)) => ground.got(format!("{:?}", status.code())),
            Err(_) => ground.got("silence"),
        }
    }
    open
}

async fn publish_a_batch(ground: &mut Ground) {
    let mut client = grpc::client(&ground.gateway.url()).await;
    let event = |n| NewEvent {
        topic: format!("wild.a.{n}.b"),
        data: "1".into(),
        ..NewEvent::default()
    };
    let events = (0..BATCH).map(event).collect();
    let publishing = client.publish(PublishRequest { events });
    let code = match timeout(PATIENCE, publishing).await {
        Ok(Ok(_)) => Code::Ok,
        Ok(Err(status)) => status.code(),
        Err(_) => Code::DeadlineExceeded,
    };
    let label = if code == Code::Ok {
        "acknowledged batch".to_owned()
    } else {
        format!("batch {code:?}")
    };
    ground.got(label);
}
