//! A publish queue that is full, because a sync does not end.

use futures_util::{StreamExt as _, stream};
use tonic::Code;
use vidette::proto::{NewEvent, PublishRequest};

use crate::common::gateway::Gateway;
use crate::common::grpc::client;
use crate::shim::Shim;

const LARGEST: usize = 3 * 1024 * 1024;

async fn post(gateway: &Gateway, body: bytes::Bytes) -> reqwest::Response {
    let url = format!("{}/v1/topics/door.1", gateway.url());
    let request = reqwest::Client::new().post(url).body(body);
    request.send().await.expect("an answer")
}

/// However long it takes to send so much: the sync ends only when the test says so.
#[tokio::test]
async fn a_full_queue_refuses_at_once_and_loses_nothing_that_it_took() {
    let shim = Shim::new();
    let gateway = shim.start_with(format!("[limits]\nmax_event_bytes = {LARGEST}"));
    shim.on("hold", "-wal");

    // 21 of these fit into the 64 MiB of the queue.
    let body = bytes::Bytes::from(vec![0; LARGEST]);
    let publishing = (0..22).map(|_| post(&gateway, body.clone()));
    let mut publishing: stream::FuturesUnordered<_> = publishing.collect();
    let first = publishing.next().await.expect("an answer");
    assert_eq!(first.status(), 429);
    assert!(first.headers().contains_key("retry-after"), "{first:?}");
    let event = NewEvent {
        topic: "door.1".to_owned(),
        data: body.clone(),
        ..NewEvent::default()
    };
    let request = PublishRequest {
        events: vec![event],
    };
    let refused = client(&gateway.url()).await.publish(request).await;
    let refused = refused.expect_err("a full queue");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let refused = gateway.metric("vidette_publishes_refused_total").await;
    assert!(
        (refused - 2.0).abs() < f64::EPSILON,
        "{refused} were refused"
    );
    let bus = gateway.get("/v1/bus").await;
    assert_eq!(bus["last"], 0, "nothing is shown before it is durable");

    shim.holds_a_sync().await;
    shim.off("hold");
    let taken: Vec<_> = publishing.map(|answer| answer.status()).collect().await;
    assert_eq!(taken, [200; 21]);
    gateway.publish_numbers("door.1", 1).await;
    assert_eq!(gateway.get("/v1/bus").await["last"], 22);
}
