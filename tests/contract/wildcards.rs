//! Many wildcards: what all subscriptions together may have, and who is refused when it is too
//! much.

use tonic::Code;
use vidette::limits;
use vidette::proto::{self, SubscribeResponse};

use crate::common::gateway::Gateway;
use crate::common::grpc;
use crate::support::{gateway, get};

type Stream = tonic::Streaming<SubscribeResponse>;

/// A hundred patterns with `*` beyond the near tokens, each in another combination.
fn far_wildcards(from: usize) -> Vec<String> {
    let pattern = |n: usize| {
        let far = (0..10).map(|bit| if n >> bit & 1 == 1 { "*" } else { "b" });
        let tokens = ["a"; limits::NEAR_TOKENS].into_iter().chain(far);
        tokens.collect::<Vec<_>>().join(".")
    };
    (from + 1..=from + 100).map(pattern).collect()
}

async fn subscribe(client: &grpc::GrpcClient, topic: Vec<String>) -> Result<Stream, tonic::Status> {
    let request = proto::SubscribeRequest {
        topic,
        ..Default::default()
    };
    let stream = client.clone().subscribe(request).await;
    stream.map(tonic::Response::into_inner)
}

fn poll_of(topics: &[String]) -> String {
    let topics = topics.iter().map(|topic| format!("topic={topic}"));
    format!("/v1/poll?wait=0&{}", topics.collect::<Vec<_>>().join("&"))
}

async fn until_subscribers(gateway: &Gateway, count: usize) {
    gateway
        .until("they have come or gone", || async {
            gateway.get("/v1/bus").await["subscribers"] == count
        })
        .await;
}

#[tokio::test]
async fn combinations_of_wildcards_over_the_bound_are_refused_as_busy_until_others_leave() {
    let gateway = gateway("memory", "");
    let client = grpc::client(&gateway.url()).await;
    let mut taken = Vec::new();
    let refused = loop {
        match subscribe(&client, far_wildcards(taken.len() * 100)).await {
            Ok(stream) => taken.push(stream),
            Err(refused) => break refused,
        }
        assert!(
            taken.len() * 100 <= limits::MAX_FAR_SHAPES,
            "there is no bound"
        );
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let bound = limits::MAX_FAR_SHAPES.to_string();
    assert!(refused.message().contains(&bound), "{refused}");

    let polled = get(&gateway, &poll_of(&far_wildcards(taken.len() * 100))).await;
    assert!(polled.problem(429).contains(&bound), "{polled:?}");
    assert_eq!(polled.header("retry-after"), Some("1"));
    let known = get(&gateway, &poll_of(&far_wildcards(0))).await;
    assert_eq!(
        known.status, 200,
        "combinations that are there cost nothing"
    );
    let near = get(&gateway, "/v1/poll?wait=0&topic=*.*.*.*.*.*.b.%3E").await;
    assert_eq!(near.status, 200, "near ones are always taken");

    let before = taken.len();
    taken.pop();
    until_subscribers(&gateway, before - 1).await;
    let again = get(&gateway, &poll_of(&far_wildcards(before * 100))).await;
    assert_eq!(again.status, 200, "others have left");
}

/// As many as fit on a connection: they come, one event reaches those that it matches, they go.
#[tokio::test]
async fn a_thousand_subscriptions_of_a_hundred_wildcards_come_are_told_and_go() {
    let gateway = gateway("memory", "");
    let client = grpc::client(&gateway.url()).await;
    let mut streams = Vec::new();
    for n in 0..1000 {
        let patterns = (0..100).map(|k| format!("tenant.{n}.*.{k}.>"));
        streams.push(
            subscribe(&client, patterns.collect())
                .await
                .expect("a stream"),
        );
    }
    until_subscribers(&gateway, 1000).await;
    let events: Vec<_> = (0..1000)
        .map(|n| serde_json::json!({ "topic": format!("tenant.{n}.door.7.opened"), "data": n }))
        .collect();
    gateway.publish(&serde_json::json!(events)).await;
    for (n, stream) in streams.iter_mut().enumerate() {
        assert_eq!(first_event(stream).await, n as u64 + 1, "its own event");
    }
    drop(streams);
    until_subscribers(&gateway, 0).await;
}

/// The vid of the first event that comes, which has to come alone.
async fn first_event(stream: &mut Stream) -> u64 {
    loop {
        let response = stream
            .message()
            .await
            .expect("no error")
            .expect("a message");
        if let Some(proto::subscribe_response::Message::Events(batch)) = response.message {
            assert_eq!(batch.events.len(), 1);
            return batch.events[0].vid;
        }
    }
}
